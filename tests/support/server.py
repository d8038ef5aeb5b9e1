"""Forks for each command what then is `python -m buildsys`; a program of its own, and imports nothing of tests.

A start of Python costs more than most commands. The process has loaded buildsys, and has run a command of it once. A
request is a line of JSON on stdin. The answer to a command is a line with the process that runs it, and at its end one
with exit code, seconds of CPU, and the most memory in bytes. With `mounts` as an argument it has a mount namespace of
its own where the system allows that.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_USER, _PRIVATE, _READ_ONLY, _REMOUNT = 0x20000, 0x10000000, 1 << 18 | 1 << 14, 1, 32
_DETACH = 2
_CAPABILITIES = 0x20080522


def _mount(source: str | None, folder: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [each.encode() if each else None for each in (source, folder, kind)]
    if _LIBC.mount(*words, flags, options.encode() if options else None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _have_own_mounts() -> bool:
    uid, gid = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_MOUNTS if uid == 0 else _NEW_MOUNTS | _NEW_USER):
        return False
    try:
        if uid:
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
                    file.write(text)
        _mount(None, "/", None, _PRIVATE)
    except OSError:
        return False
    return True


def _drop_rights() -> None:
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if _LIBC.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _place(number: int, what: str) -> None:
    """Let a stream be a file; `closed` closes it, `gone` is a pipe without a reader."""
    if what == "closed":
        os.close(number)
    elif what == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, number)
    else:
        opened = os.open(what, os.O_RDONLY if number == 0 else os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)


def _load() -> None:
    """Import buildsys, and run a command, so that what it loads when it first runs is loaded."""
    package = importlib.import_module("buildsys")
    for each in pkgutil.walk_packages(package.__path__, "buildsys."):
        if not each.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(each.name)
    sys.argv[:] = ["buildsys", "plan", "--offline", "--json"]
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_module("buildsys", run_name="__main__", alter_sys=True)
    gc.collect()
    gc.freeze()


def _become(asked: dict[str, Any]) -> str:
    """Let this process be the one that is asked for; return the function to call, empty for the command line."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    for number, what in enumerate(asked["streams"]):
        _place(number, what)
    os.closerange(3, 64)
    for name, limit in asked["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    for folder in asked["removed"]:
        Path(folder).rmdir()
    if asked["plain_user"]:
        _drop_rights()
    signal.alarm(asked["seconds"])
    # What Python does with its streams when it starts; as on most desktops, what UTF-8 does not have is an error.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[:] = ["buildsys", *map(os.fsdecode, map(base64.b64decode, asked["words"]))]
    tempfile.tempdir = None
    for name, value in asked["patch"].items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    return str(asked["call"])


def _serve(own_mounts: bool) -> str | None:
    """Answer requests to their end; return in each process that was forked for one, with the function to call."""
    answers = os.fdopen(os.dup(1), "w")
    print(json.dumps([os.getpid(), own_mounts]), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        found: Any = None
        try:
            if "mount" in asked:
                _mount("none", asked["mount"], "tmpfs", 0, asked["options"])
            elif "read_only" in asked:
                _mount(None, asked["read_only"], None, _REMOUNT | _READ_ONLY)
            elif "unmount" in asked:
                if _LIBC.umount2(asked["unmount"].encode(), _DETACH):
                    raise OSError(ctypes.get_errno(), "umount")
            else:
                child = os.fork()
                if not child:
                    return _become(asked)
                print(json.dumps(child), file=answers, flush=True)
                _, status, used = os.wait4(child, 0)
                code = os.waitstatus_to_exitcode(status)
                found = [code, used.ru_utime + used.ru_stime, used.ru_maxrss << 10]
        except OSError as error:
            found = str(error)
        print(json.dumps(found), file=answers, flush=True)
    return None


_mounts = "mounts" in sys.argv[1:] and _have_own_mounts()
sys.path.insert(0, os.environ["PYTHONPATH"])
_load()
_asked = _serve(_mounts)
if _asked is not None:
    _module, _, _name = _asked.partition(":")
    if _module:
        getattr(importlib.import_module(_module), _name)()
    else:
        runpy.run_module("buildsys", run_name="__main__", alter_sys=True)
