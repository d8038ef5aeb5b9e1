"""Runs commands of buildsys as forks of one process that has loaded it, and measures each; also a program of its own.

A start of Python costs more than most commands. A job is a line of JSON on stdin: its number, `words`, `folder`,
`environment`, `output`, and `patch`: constants of modules, by full name, that are replaced in this fork. A result is a
line on stdout: number, exit code, seconds of CPU, and the most memory in bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.support.command_line import ROOT, environment

# Seconds of CPU, and as the end of all waiting on a machine with other work, of the clock.
_CPU_SECONDS, _KILLED_AFTER = 60, 120
# What most commands load; a revision that lacks one has another name for it.
_LOADED = (
    "buildsys.cli.app",
    "buildsys.cli",
    "buildsys.run.store",
    "buildsys.run.warm",
    "buildsys.commands.lock",
    "buildsys.commands.query",
    "buildsys.commands.plan",
    "buildsys.report.tables",
    "buildsys.report.console",
    "urllib3",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One command, or with `call` a function of `tests.support` as `module:name`, which gets the words."""

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    patch: Mapping[str, int] = field(default_factory=dict)
    call: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended; `code` is negative for a signal, which is that of an alarm after its time."""

    code: int
    cpu_seconds: float
    memory: int
    output: str


def run_all(jobs: Sequence[Job], scratch: Path, at_once: int) -> list[Ended]:
    """Run jobs, several at once, and return how each ended, in their order."""
    if not jobs:
        return []
    lines = []
    for number, job in enumerate(jobs):
        fields = {
            "words": job.words,
            "folder": str(job.folder),
            "environment": environment(job.environment),
            "output": str(scratch / f"{number}.out"),
            "patch": dict(job.patch),
            "call": job.call,
        }
        lines.append(json.dumps(fields))
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"from tests.support.forked import serve; serve({at_once})"],
        input="\n".join(lines),
        cwd=ROOT,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[Ended] = []
    for number, line in sorted((each["number"], each) for each in map(json.loads, done.stdout.splitlines())):
        output = (scratch / f"{number}.out").read_text(encoding="utf-8", errors="replace")
        found.append(Ended(code=line["code"], cpu_seconds=line["cpu_seconds"], memory=line["memory"], output=output))
    return found


def serve(at_once: int) -> None:
    """Run the jobs on stdin."""
    jobs = [json.loads(line) for line in sys.stdin]
    for name in _LOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    main = importlib.import_module("buildsys.__main__").main
    _warm(main, str(jobs[0]["folder"]))
    running: dict[int, int] = {}
    waiting = list(enumerate(jobs))
    while waiting or running:
        while waiting and len(running) < at_once:
            number, job = waiting.pop(0)
            process = os.fork()
            if process == 0:
                _child(job, main)
            running[process] = number
        process, status, usage = os.wait4(-1, 0)
        found = {"number": running.pop(process), "code": os.waitstatus_to_exitcode(status)}
        used = usage.ru_utime + usage.ru_stime
        print(json.dumps({**found, "cpu_seconds": used, "memory": usage.ru_maxrss << 10}))
    sys.stdout.flush()


def _warm(main: Callable[[], None], folder: str) -> None:
    """Run a command here, so that what it loads when it first runs is loaded."""
    os.chdir(folder)
    sys.argv = ["buildsys", "plan", "--offline", "--json"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    os.chdir(ROOT)


def _child(job: dict[str, object], main: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.alarm(_KILLED_AFTER)
        # Of what a fault may take, a part of the machine is enough.
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        output = os.open(str(job["output"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        os.environ.clear()
        os.environ.update(job["environment"])  # type: ignore[call-overload]
        os.chdir(str(job["folder"]))
        for name, value in job["patch"].items():  # type: ignore[attr-defined]
            module, _, constant = name.rpartition(".")
            setattr(importlib.import_module(module), constant, value)
        sys.argv = ["buildsys", *job["words"]]  # type: ignore[misc]
        module, _, name = str(job["call"]).partition(":")
        code = _code_of(getattr(importlib.import_module(module), name) if module else main)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _code_of(main: Callable[[], None]) -> int:
    import traceback

    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
