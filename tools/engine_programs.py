"""The programs of a private engine: fetched as packages, unpacked in its home, set up to find their files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import machine_apt
from engine_instance import say
from machine_apt import CommandFailed, remove_tree, run_command

NEWER_SUITES = ("testing", "unstable")
NEWER_PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "containerd", "tini-static")
# The command that each package of the machine's own release is needed for.
OWN_PACKAGES = {
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "docker-registry": "docker-registry",
    "debootstrap": "debootstrap",
}


def search_path(home: Path) -> str:
    """The PATH on which the daemons find their programs: wrappers, unpacked packages, then the machine's."""
    own = ("wrappers", "root/usr/sbin", "root/usr/bin", "root/sbin", "root/bin")
    return os.pathsep.join([*(str(home / name) for name in own), machine_path()])


def machine_path() -> str:
    """The PATH of the caller, and the folders of the system's own commands, which a user's may lack."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"


def tool_environment(home: Path) -> dict[str, str]:
    """The environment of the daemons: no setting of another engine or registry reaches them."""
    foreign = re.compile("DOCKER_|REGISTRY_|OTEL_|NOTIFY_")
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    return {**kept, "PATH": search_path(home)}


def install(home: Path) -> None:
    """Download and unpack the programs and write the wrappers, unless that once came to its end."""
    done = home / "root" / ".complete"
    if done.is_file():
        return
    source = machine_apt.read_debian_source()
    downloads = home / "downloads"
    own = [package for command, package in OWN_PACKAGES.items() if not shutil.which(command, path=machine_path())]
    say("downloading the engine")

    def fetch_and_unpack() -> None:
        machine_apt.fetch_newer_packages(NEWER_PACKAGES, NEWER_SUITES, source, home / "apt" / "newer", downloads)
        if own:
            machine_apt.fetch_own_packages(own, home / "apt" / "own", downloads)
        machine_apt.unpack_packages(downloads, home / "root")

    machine_apt.tried_again(fetch_and_unpack)
    _write_wrappers(home)
    for command in (["dockerd", "--version"], ["containerd", "--version"], ["runc", "--version"]):
        run_command(command, environment=tool_environment(home))
    done.touch()


def _write_wrappers(home: Path) -> None:
    """Make the unpacked programs find their own parts, which are not where they look for them."""
    root = home / "root"
    remove_tree(home / "wrappers")
    if (root / "usr/sbin/xtables-nft-multi").exists():
        libraries = sorted({str(path.parent) for path in root.glob("**/lib/*/lib*.so.*")})
        modules = next(root.glob("usr/lib/*/xtables"))
        settings = {"LD_LIBRARY_PATH": ":".join(libraries), "XTABLES_LIBDIR": str(modules)}
        for name in ("iptables", "ip6tables"):
            _write_script(home / "wrappers" / name, settings, root / "usr/sbin" / f"{name}-nft")
        try:
            run_command(["iptables", "-t", "nat", "-S"], environment=tool_environment(home))
        except CommandFailed:  # A kernel without nf_tables.
            for name in ("iptables", "ip6tables"):
                _write_script(home / "wrappers" / name, settings, root / "usr/sbin" / f"{name}-legacy")
    if (root / "usr/sbin/debootstrap").exists():
        settings = {"DEBOOTSTRAP_DIR": str(root / "usr/share/debootstrap")}
        _write_script(home / "wrappers" / "debootstrap", settings, root / "usr/sbin/debootstrap")
    (home / "bin").mkdir(exist_ok=True)
    make_link(home / "bin" / "docker", root / "usr/bin/docker")


def _write_script(path: Path, settings: Mapping[str, str], program: Path) -> None:
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(program))} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def make_link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, whatever it was before."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)
