#!/usr/bin/env python3
"""Runs a command in namespaces of its own, where the kernel starts programs of 64-bit Arm by QEMU.

`binfmt_misc` of a user namespace is its own (Linux 6.7): nothing outside of it changes. An engine that the command
starts lists linux/arm64 as a platform. The network has nothing but its own loopback, and `/run` is empty.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import machine_apt
from machine_apt import CommandFailed, Failure, MachineUnfit
from private_engine import default_home

# Flags of unshare(2), mount(2) and prctl(2), as the kernel's headers have them.
_NEW_USER, _NEW_MOUNTS, _NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000
_RECURSIVE, _PRIVATE = 0x4000, 0x40000
_DEATH_SIGNAL = 1
_IDS = "0 0 65536"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Of an ELF file for 64-bit Arm (Debian's `qemu-user-static`, usr/share/binfmts/qemu-aarch64).
_MAGIC = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# By the name of the package: Debian 13 has the second alone.
_EMULATORS = {"qemu-user-static": "usr/bin/qemu-aarch64-static", "qemu-user": "usr/bin/qemu-aarch64"}


def emulator(home: Path) -> Path:
    """The emulator, from Debian's package: unpacked below `home` and not installed."""
    folder = home / "emulation"
    for package, program in _EMULATORS.items():
        if (folder / package / program).is_file():
            return folder / package / program
        try:
            found = unpacked(package, "", folder)
        except CommandFailed:
            continue
        if (found / program).is_file():
            return found / program
    raise MachineUnfit("its package mirror has no QEMU for programs of 64-bit Arm")


def unpacked(package: str, architecture: str, folder: Path) -> Path:
    """Unpack one package of the machine's release into a folder below `folder`, and return that."""
    root = folder / "-".join(filter(None, (package, architecture)))
    if not root.is_dir():
        downloads, source = folder / f"{root.name}.downloads", machine_apt.read_debian_source()
        state = folder / f"{root.name}.apt"
        machine_apt.fetch_newer_packages([package], [source.suite], source, state, downloads, architecture=architecture)
        machine_apt.unpack_packages(downloads, root)
    return root


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        code = ctypes.get_errno()
        raise MachineUnfit(f"{name} failed: {os.strerror(code)}")


def _mount(kind: bytes, target: str) -> None:
    _call("mount", b"none", target.encode(), kind, 0, None)


def enter(program: Path) -> None:
    """Prepare the namespaces that this process is in: mounts that exist in them alone, and the emulator."""
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    _mount(b"tmpfs", "/run")
    _mount(b"binfmt_misc", str(BINFMT))
    # F: the file is opened now, so that it need not be in any container.
    rule = f":qemu-aarch64:M::{_MAGIC}:{_MASK}:{program}:F"
    (BINFMT / "register").write_text(rule, encoding="ascii")
    machine_apt.run_command(["ip", "link", "set", "lo", "up"])


def run(command: Sequence[str], program: Path) -> int:
    """Run a command in new namespaces, and return its exit code; it ends with this process."""
    (unshared, tell_parent), (mapped, tell_child) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _call("prctl", _DEATH_SIGNAL, signal.SIGKILL)
            _call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_NETWORK)
            os.write(tell_parent, b"x")
            os.read(mapped, 1)
            enter(program)
            os.execvp(command[0], [*command])
        except (OSError, Failure) as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(MachineUnfit.exit_code)
    os.close(tell_parent)
    # Nothing is read where the child could not be unshared.
    if os.read(unshared, 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(_IDS, encoding="ascii")
        os.write(tell_child, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> int:
    """Run the command line; a failure is reported in one message and becomes the exit code."""
    parser = argparse.ArgumentParser(prog="emulation.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, default=default_home(), help="the folder of the private engine")
    parser.add_argument("command", nargs="+", help="what to run, behind `--`")
    arguments = parser.parse_args()
    try:
        machine_apt.check_machine()
        return run(arguments.command, emulator(arguments.home.expanduser().resolve()))
    except Failure as failure:
        print(f"error: {failure}" + (f"\nhint: {failure.hint}" if failure.hint else ""), file=sys.stderr, flush=True)
        return failure.exit_code


if __name__ == "__main__":
    sys.exit(main())
