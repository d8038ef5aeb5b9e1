"""Runs commands of buildsys as forks of processes that have loaded it (`server`), under conditions of the caller.

Imports nothing of buildsys.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

from tests.support.command_line import ROOT, environment

# As the end of all waiting on a machine with other work, and of processor time.
_SECONDS, _CPU_SECONDS = 120, 60
# Of what a fault may take, a part of the machine is enough: then Python raises MemoryError.
_ADDRESSES = 4 << 30
_PIPE_SIZE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended, and what it took, memory in bytes; a code below 0 is the signal that killed it."""

    code: int
    stdout: str
    stderr: str
    cpu_seconds: float
    memory: int

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What a command finds: variables, limits of `resource`, folders that vanish, rights, streams.

    Without `rights` modes hold, for root too. `streams` are those of the command: empty for a file of the caller, else
    `closed`, `gone` for a pipe without a reader, or a path. `patch` has constants of modules, by full name, that have
    another value.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    removed: Sequence[str] = ()
    rights: bool = True
    streams: tuple[str, str, str] = ("", "", "")
    patch: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


BOUNDED = MappingProxyType({"RLIMIT_AS": _ADDRESSES, "RLIMIT_CPU": _CPU_SECONDS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One command, or with `call` a function of `tests.support` as `module:name`, which gets the words."""

    words: tuple[str, ...]
    folder: Path
    conditions: Conditions
    call: str = ""


class Prepared:
    """A process to fork from; close it when done. `has_mounts` says whether it may mount disks."""

    def __init__(self, *, mounts: bool = False) -> None:
        words = [sys.executable, "-P", str(Path(__file__).with_name("server.py")), *(["mounts"] if mounts else [])]
        self._server = subprocess.Popen(
            words, cwd=ROOT, env=environment({}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._held = b""
        pid, self.has_mounts = self._answer(None)
        self._root = Path(f"/proc/{pid}/root")

    def run(
        self,
        folder: Path,
        words: Iterable[str | bytes],
        conditions: Conditions,
        *,
        call: str = "",
        seconds: float = _SECONDS,
    ) -> Ended:
        """Run buildsys in a folder to its end; raises `subprocess.TimeoutExpired`, and then has killed it."""
        with tempfile.TemporaryDirectory(prefix="buildsys-streams-") as name:
            files = [Path(name, each) for each in ("out", "err")]
            opened = [_pipe(file) if "RLIMIT_FSIZE" in conditions.limits else _file(file) for file in files]
            given = [os.devnull, *map(str, files)]
            child = self._ask(
                folder=str(folder),
                words=[base64.b64encode(os.fsencode(each)).decode() for each in words],
                environment=environment(conditions.environ),
                limits=dict(conditions.limits),
                removed=list(conditions.removed),
                plain_user=not conditions.rights,
                streams=[own or file for own, file in zip(conditions.streams, given, strict=True)],
                patch=dict(conditions.patch),
                call=call,
                seconds=int(seconds) + 5,
            )
            try:
                code, used, memory = self._answer(time.monotonic() + seconds)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._answer(None)
                raise subprocess.TimeoutExpired(["buildsys"], seconds) from None
            finally:
                stdout, stderr = map(_read, opened)
        return Ended(code=code, stdout=stdout, stderr=stderr, cpu_seconds=used, memory=memory)

    def mount(self, folder: Path, options: str) -> Path:
        """Put an empty disk at a folder, and return where the test finds it."""
        self._ask(mount=str(folder), options=options)
        return Path(f"{self._root}{folder}")

    def make_read_only(self, folder: Path) -> None:
        """Let a disk take no more."""
        self._ask(read_only=str(folder))

    def unmount(self, folder: Path) -> None:
        """Take a disk away."""
        self._ask(unmount=str(folder))

    def close(self) -> None:
        """End the process."""
        self._server.communicate()

    def _ask(self, **asked: Any) -> Any:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(asked).encode() + b"\n")
        answer = self._answer(None)
        assert not isinstance(answer, str), answer
        return answer

    def _answer(self, until: float | None) -> Any:
        """Return what the process says next; raises `TimeoutError` if that is not said in time."""
        assert self._server.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._server.stdout, selectors.EVENT_READ)
            while b"\n" not in self._held:
                if not selector.select(None if until is None else max(until - time.monotonic(), 0)):
                    raise TimeoutError
                piece = os.read(self._server.stdout.fileno(), 1 << 16)
                assert piece, "the prepared process has ended"
                self._held += piece
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)


class Pool:
    """Prepared processes that are free; a caller takes one, so that commands can run at once."""

    def __init__(self) -> None:
        self._free: SimpleQueue[Prepared] = SimpleQueue()

    @contextlib.contextmanager
    def one(self) -> Iterator[Prepared]:
        """Yield a process, and use it for no other command meanwhile."""
        taken = Prepared() if self._free.empty() else self._free.get()
        yield taken
        # After an error of its own it is not used again.
        self._free.put(taken)


POOL = Pool()


def _file(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)


def _pipe(path: Path) -> int:
    """Return a pipe with a name, for commands that may write no bytes to files."""
    os.mkfifo(path)
    opened = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(opened, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return opened


def _read(opened: int) -> str:
    """Return everything that was written to a file or pipe, and close it."""
    text = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(opened, _PIPE_SIZE):
            text += piece
    os.close(opened)
    return text.decode(errors="replace")


def run_all(jobs: Sequence[Job], at_once: int) -> list[Ended]:
    """Run jobs, several at once and each within bounds, and return how each ended, in their order."""

    def run(job: Job) -> Ended:
        bounded = replace(job.conditions, limits={**BOUNDED, **job.conditions.limits})
        with POOL.one() as process:
            return process.run(job.folder, job.words, bounded, call=job.call)

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(run, jobs))
