"""Runs the command line many times out of one prepared Python, as a user without rights or where no disk takes more.

The prepared process holds the libraries and forks for each command what then is `python -m buildsys`. It has a mount
namespace of its own where the system allows that: `/proc/PID/root` shows a test the disks that are mounted in it.
Imports nothing of buildsys.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.support.command_line import environment

SECONDS = 60
_SERVER = r"""
import base64, ctypes, fcntl, json, os, resource, runpy, signal, sys, traceback
import networkx, packaging.specifiers, packaging.version, pydantic, typer, typer.main, urllib3, yaml
pydantic.BaseModel, pydantic.TypeAdapter

libc = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_USER, PRIVATE, READ_ONLY, REMOUNT = 0x20000, 0x10000000, 1 << 18 | 1 << 14, 1, 32

def mount(source, folder, kind, flags, options=None):
    words = [each.encode() if each else None for each in (source, folder, kind)]
    if libc.mount(*words, flags, options.encode() if options else None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def alone():
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(NEW_MOUNTS if uid == 0 else NEW_MOUNTS | NEW_USER):
        return False
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount(None, "/", None, PRIVATE)
    return True

def without_rights():
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")

def place(number, what, pipe):
    if what == "closed":
        os.close(number)
    elif what == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, number)
    else:
        os.dup2(os.open(what, os.O_RDWR) if what else pipe, number)

def command(asked, pipes):
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, pipe in enumerate(pipes):
        place(number, asked["streams"][number], pipe)
    os.closerange(3, pipes[1])
    os.closerange(pipes[2] + 1, 64)
    # A command that reads without end fails, and does not take the memory of this machine.
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    for name, limit in asked["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    for folder in asked["removed"]:
        os.rmdir(folder)
    if asked["plain_user"]:
        without_rights()
    signal.alarm(asked["seconds"])
    # What Python does with its streams when it starts; as on most desktops, what UTF-8 does not have is an error.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
        except OSError:
            stream = None
        setattr(sys, name, stream)
    sys.argv[:] = ["buildsys", *map(os.fsdecode, map(base64.b64decode, asked["words"]))]
    sys.path.insert(0, os.environ["PYTHONPATH"])
    code = 0
    try:
        runpy.run_module("buildsys", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream and stream.flush()
        except OSError:
            # Python reports it at its end, and ends with this code.
            code = 120
    os._exit(code)

def run(asked):
    ends = [os.pipe(), os.pipe()]
    for reading, writing in ends:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(reading, False)
    child = os.fork()
    if not child:
        try:
            command(asked, (os.open(os.devnull, os.O_RDONLY), ends[0][1], ends[1][1]))
        except BaseException:
            os.write(ends[1][1], traceback.format_exc().encode())
        finally:
            os._exit(99)
    for _, writing in ends:
        os.close(writing)
    _, status, usage = os.wait4(child, 0)
    texts = []
    for reading, _ in ends:
        text = b""
        while True:
            try:
                piece = os.read(reading, 1 << 20)
            except BlockingIOError:
                break
            if not piece:
                break
            text += piece
        os.close(reading)
        texts.append(text.decode(errors="replace"))
    return [os.waitstatus_to_exitcode(status), *texts, usage.ru_maxrss / 1024]

def answer(asked):
    if "mount" in asked:
        mount("none", asked["mount"], "tmpfs", 0, asked["options"])
    elif "read_only" in asked:
        mount(None, asked["read_only"], None, REMOUNT | READ_ONLY)
    elif "unmount" in asked:
        if libc.umount2(asked["unmount"].encode(), 2):
            raise OSError(ctypes.get_errno(), "umount")
    else:
        return run(asked)

try:
    mounts = alone()
except OSError:
    mounts = False
print(json.dumps([os.getpid(), mounts]), flush=True)
for line in sys.stdin:
    try:
        found = answer(json.loads(line))
    except OSError as error:
        found = str(error)
    print(json.dumps(found), flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended, and how much memory it took, in MB; a code below 0 is the signal that killed it."""

    code: int
    stdout: str
    stderr: str
    megabytes: float

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What a command finds: variables, limits of `resource`, folders that vanish, rights, streams.

    Without `rights` modes hold, for root too. `streams` are those of the command: empty for a pipe to the test, else
    `closed`, `gone` for a pipe without a reader, or a path.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    removed: Sequence[str] = ()
    rights: bool = True
    streams: tuple[str, str, str] = ("", "", "")


class Prepared:
    """A prepared process; close it when done. `has_mounts` says whether it may mount disks."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVER],
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pid, self.has_mounts = self._answer()
        self._root = Path(f"/proc/{pid}/root")

    def run(self, folder: Path, words: Iterable[str | bytes], conditions: Conditions) -> Ended:
        """Run buildsys in a folder to its end."""
        code, stdout, stderr, megabytes = self._ask(
            folder=str(folder),
            words=[base64.b64encode(each.encode() if isinstance(each, str) else each).decode() for each in words],
            environment=environment(conditions.environ),
            limits=dict(conditions.limits),
            removed=list(conditions.removed),
            plain_user=not conditions.rights,
            streams=list(conditions.streams),
            seconds=SECONDS,
        )
        return Ended(code=code, stdout=stdout, stderr=stderr, megabytes=megabytes)

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
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer = self._answer()
        assert not isinstance(answer, str), answer
        return answer

    def _answer(self) -> Any:
        assert self._server.stdout
        return json.loads(self._server.stdout.readline())
