"""What an inventory says to people: sizes by folder, files that run as others, files that differ at each build."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

from buildsys.inventory.model import FILE, Entry, Inventory
from buildsys.values import dataclass

SET_USER_ID, SET_GROUP_ID = 0o4000, 0o2000
# Of a folder's bytes, from which on its folders say more than it does.
_MOSTLY = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Unstable:
    """A file that differs from build to build, and what a recipe does about it."""

    path: str
    fix: str


# As `find -path` reads patterns. Where the content decides, as in `*.pyc` and `/etc/shadow`, no name says enough.
_DELETE = "delete it in the RUN that writes it"
_UNSTABLE: tuple[tuple[str, str], ...] = (
    ("var/log/*.log", _DELETE),
    ("var/log/apt/*", _DELETE),
    ("var/cache/ldconfig/aux-cache", _DELETE),
    ("var/cache/apt/*.bin", "run `apt-get clean` in the RUN that installs"),
    ("var/cache/apt/archives/*.deb", "run `apt-get clean` in the RUN that installs"),
    ("var/lib/apt/lists/*_*", "delete `/var/lib/apt/lists/*` in the RUN that updates"),
    ("var/cache/dnf/*", "run `dnf clean all` in the RUN that installs"),
    ("var/lib/dnf/history.sqlite*", _DELETE),
    ("var/lib/systemd/catalog/database", _DELETE),
    ("var/cache/fontconfig/*", _DELETE),
    ("etc/apt/apt.conf.d/01autoremove-kernels", _DELETE),
    ("run/mount/utab", _DELETE),
    ("etc/machine-id", "empty it"),
    ("var/lib/dbus/machine-id", _DELETE),
    ("etc/ssh/ssh_host_*", "delete it, and create it when a container starts"),
    ("root/.wget-hsts", "run wget with `--no-hsts`"),
    ("*/conda-meta/history", _DELETE),
    ("*/.conda/environments.txt", _DELETE),
)


def unstable_files(inventory: Inventory, base: Inventory | None = None) -> tuple[Unstable, ...]:
    """Return the files that differ from build to build, sorted by path; those that the base has as they are count not.

    An empty file differs from nothing.
    """
    found = []
    for path, entry in inventory.entries.items():
        if entry.type != FILE or not entry.size or (base is not None and base.entries.get(path) == entry):
            continue
        fix = next((fix for pattern, fix in _UNSTABLE if fnmatchcase(path, pattern)), None)
        if fix is not None:
            found.append(Unstable(path=path, fix=fix))
    return tuple(found)


def privileged_files(inventory: Inventory) -> tuple[Entry, ...]:
    """Return the files with the set-user-ID or set-group-ID bit, sorted by path."""
    return tuple(
        entry
        for entry in inventory.entries.values()
        if entry.type == FILE and entry.mode & (SET_USER_ID | SET_GROUP_ID)
    )


def added_files(inventory: Inventory, base: Inventory | None = None) -> Inventory:
    """Return the files of an inventory, without those that the base has as they are."""
    known = base.entries if base else {}
    kept = {path: each for path, each in inventory.entries.items() if each.type == FILE and known.get(path) != each}
    return Inventory(entries=MappingProxyType(kept))


def largest_folders(sizes: Mapping[str, int], most: int) -> Mapping[str, int]:
    """Return the largest of the folders of `folder_sizes`, the largest first.

    Left out are those that hold little beside folders that `sizes` has too.
    """
    below: dict[str, int] = {}
    for path, size in sizes.items():
        if path:
            parent = path.rpartition("/")[0]
            below[parent] = below.get(parent, 0) + size
    found = [each for each in sizes.items() if each[0] and each[1] and below.get(each[0], 0) < _MOSTLY * each[1]]
    return dict(sorted(found, key=lambda each: (-each[1], each[0]))[:most])


def folder_sizes(inventory: Inventory, *, depth: int = 2) -> Mapping[str, int]:
    """Return the bytes of all files below each folder up to a depth, sorted by path; the empty path is everything."""
    found: dict[str, int] = {"": 0}
    for path, entry in inventory.entries.items():
        if entry.type != FILE:
            continue
        parts = path.split("/")[:-1][:depth]
        for number in range(len(parts) + 1):
            folder = "/".join(parts[:number])
            found[folder] = found.get(folder, 0) + entry.size
    return dict(sorted(found.items()))
