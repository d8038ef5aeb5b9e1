"""What an inventory is: the paths of a file system with type, mode, owner and size, and the packages in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from buildsys.values import dataclass

FILE, FOLDER, LINK = "f", "d", "l"
# Also pipes, sockets and devices, with the letters of find.
TYPES = frozenset({FILE, FOLDER, LINK, "p", "s", "b", "c"})
# Linux takes 4,096 bytes in a path; as text each may be an escape of four characters.
LONGEST_PATH = 4 * 4096
MOST_ENTRIES = 1_000_000
MOST_PACKAGES = 20_000
# Set-user-ID, set-group-ID, sticky, and three times read, write, search.
MOST_MODE = 0o7777
MOST_ID = (1 << 32) - 1
MOST_SIZE = 1 << 50


class UnreadableInventory(ValueError):
    """Bytes that are not an inventory, or that are more than one may have; the message says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One path: relative to the root, without `/` at its beginning, as `path_text` writes it.

    `size` is in bytes, 0 for all but files; `target` is that of a symlink. A hard link is a file of its own.
    """

    path: str
    type: str
    mode: int
    user: int
    group: int
    size: int = 0
    target: str = ""

    @property
    def is_plain_folder(self) -> bool:
        """Whether it is a folder as every system has it above what is installed: root's, with mode 0755."""
        return self.type == FOLDER and (self.mode, self.user, self.group) == (0o755, 0, 0)

    @property
    def words(self) -> str:
        """The entry as a message describes it."""
        if self.type == LINK:
            return f"a symlink to `{self.target}`"
        if self.type != FOLDER:
            return "no folder"
        return f"a folder of {self.user}:{self.group} with mode {self.mode:04o}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One installed package, as a database at `path` records it.

    `type` is that of a package URL: `deb`, `pypi` or `conda`; `source` is the source package, which security trackers
    name. What a database does not say is empty. `qualifiers` are sorted, and belong to the package URL.
    """

    type: str
    name: str
    version: str
    path: str
    architecture: str = ""
    source: str = ""
    source_version: str = ""
    licence: str = ""
    qualifiers: tuple[tuple[str, str], ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """What packages are sorted by."""
        return (self.type, self.name, self.version, self.architecture, self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """Everything in one file system: `entries` by path, and `packages`, both sorted.

    `newer` are the paths, not of its base, that are newer than images may be; only a list of the builder says it.
    """

    entries: Mapping[str, Entry]
    packages: tuple[Package, ...] = ()
    newer: tuple[str, ...] = ()


def inventory_of(entries: Iterable[Entry], packages: Iterable[Package]) -> Inventory:
    """Return an inventory with everything sorted; the last of two entries of one path counts."""
    found = {entry.path: entry for entry in entries}
    return Inventory(
        entries=MappingProxyType({path: found[path] for path in sorted(found)}),
        packages=tuple(sorted(packages, key=lambda package: package.order)),
    )


def path_text(raw: bytes) -> str:
    r"""Return a path as text: a backslash is written twice, a byte that is not UTF-8 as `\xNN`."""
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def folders_above(path: str) -> tuple[str, ...]:
    """Return the folders above a path, the highest first, without the root."""
    parts = path.strip("/").split("/")
    return tuple("/".join(parts[:number]) for number in range(1, len(parts)))
