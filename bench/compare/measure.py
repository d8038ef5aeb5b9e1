"""What a command costs: time, the processor time of an engine, disk, and bytes at the registry."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.window import Window

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One call; what it writes goes to `log`, and with `cut` it is stopped after so many seconds."""

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    cut: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What commands one after the other cost; bytes, and seconds.

    `engine` is the processor time of the daemons and of everything that ran in containers, `client` that of the
    commands themselves; `disk` is by how much the file system was fuller at its fullest.
    """

    code: int
    seconds: float
    engine: float
    client: float
    pulled: int
    pushed: int
    requests: int
    disk: int


def read_stat(text: str) -> tuple[int, int]:
    """Return the parent and the ticks of a process from `/proc/<pid>/stat`, those of its reaped children among them."""
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def ticks_below(roots: Iterable[int], processes: Mapping[int, tuple[int, int]]) -> int:
    """Return the ticks of some processes and of all their descendants, each once."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    waiting, seen = [pid for pid in roots if pid in processes], set[int]()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting.extend(children.get(pid, []))
    return sum(processes[pid][1] for pid in seen)


def _processes() -> dict[int, tuple[int, int]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[int(path.parent.name)] = read_stat(path.read_text(encoding="utf-8", errors="replace"))
    return found


def processor_seconds(roots: Sequence[int]) -> float:
    """Return the processor seconds of some processes and of all their descendants, so far."""
    return ticks_below(roots, _processes()) / TICKS


def measure(commands: Sequence[Command], roots: Sequence[int], window: Window, disk: Path) -> Cost:
    """Run commands one after the other, up to the first that fails, and return what they cost.

    `roots` are the daemons, which have ended nothing before and end nothing after; `disk` lies where they write.
    """
    used = shutil.disk_usage(disk).used
    fullest = used
    done = threading.Event()

    def watch() -> None:
        nonlocal fullest
        while not done.wait(SAMPLE_SECONDS):
            fullest = max(fullest, shutil.disk_usage(disk).used)

    watcher = threading.Thread(target=watch, daemon=True)
    before, passed = ticks_below(roots, _processes()), window.counts()
    watcher.start()
    client, code = 0.0, 0
    began = time.monotonic()
    try:
        for command in commands:
            code, seconds = run(command)
            client += seconds
            if code and command.cut is None:
                break
    finally:
        seconds = time.monotonic() - began
        done.set()
        watcher.join()
    after, now = ticks_below(roots, _processes()), window.counts()
    return Cost(
        code=code,
        seconds=seconds,
        engine=(after - before) / TICKS,
        client=client,
        pulled=now.pulled - passed.pulled,
        pushed=now.pushed - passed.pushed,
        requests=now.requests - passed.requests,
        disk=max(fullest, shutil.disk_usage(disk).used) - used,
    )


def run(command: Command) -> tuple[int, float]:
    """Run one command in a process group of its own; return its exit code and the processor seconds it took."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("wb") as log:
        process = subprocess.Popen(
            command.words,
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timer = threading.Timer(command.cut, lambda: _stop(process.pid)) if command.cut is not None else None
        if timer:
            timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _stop(process.pid)
            os.wait4(process.pid, 0)
            raise
        finally:
            if timer:
                timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def _stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
