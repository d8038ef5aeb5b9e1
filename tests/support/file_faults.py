"""Faults of a file system, one line each: what is put in a project, the command, how it must end; and what was lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.prepared import Conditions

OTHER_USER = 65534
DISK = "size=1m,nr_inodes=300"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a fault is: a project as the test sees it, and the folder beside it; `asking` is a registry."""

    project: Path
    beside: Path
    asking: str


Step = Callable[[Place], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is done to a project, what runs, the exit code, and what the message says.

    In all texts `{project}`, `{beside}` and `{asking}` are replaced by what the place has. `changes` are files that
    the command may write. With `disk` the project is on a small disk of its own, `read_only` after the steps.
    """

    name: str
    words: str
    code: int
    says: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    changes: tuple[str, ...] = ()
    disk: str = ""
    read_only: bool = False
    folder: str = "{project}"
    bytes_of_words: bytes = b""

    def conditions_at(self, place: Place, given: Mapping[str, str]) -> Conditions:
        """Return the conditions with the names of the folders in them, and more variables."""
        conditions = self.conditions
        environ = {name: filled(value, place) for name, value in {**given, **conditions.environ}.items()}
        return Conditions(
            environ={name: value for name, value in environ.items() if value != "unset"},
            limits=conditions.limits,
            removed=[filled(each, place) for each in conditions.removed],
            rights=conditions.rights,
            streams=conditions.streams,
        )


def filled(text: str, place: Place) -> str:
    """Return a text with the names of the folders."""
    found = {"{project}": str(place.project), "{beside}": str(place.beside), "{asking}": place.asking}
    for name, value in found.items():
        text = text.replace(name, value)
    return text


def _free(place: Place, name: str) -> Path:
    """Return the path of a name, which is free, with the folders above it."""
    path = Path(os.path.normpath(place.project / filled(name, place)))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pipe(name: str) -> Step:
    return lambda place: os.mkfifo(_free(place, name))


def folder(name: str) -> Step:
    return lambda place: _free(place, name).mkdir()


def file(name: str, data: str | bytes = "x\n") -> Step:
    def step(place: Place) -> None:
        _free(place, name).write_bytes(data.encode() if isinstance(data, str) else data)

    return step


def add(name: str, data: str) -> Step:
    """Add to a file."""

    def step(place: Place) -> None:
        with (place.project / name).open("a", encoding="utf-8") as opened:
            opened.write(filled(data, place))

    return step


def link(name: str, to: str) -> Step:
    return lambda place: _free(place, name).symlink_to(filled(to, place))


def hard_link(name: str, to: str) -> Step:
    return lambda place: os.link(place.project / to, _free(place, name))


def mode(name: str, bits: int) -> Step:
    return lambda place: (place.project / name).chmod(bits)


def owner(name: str) -> Step:
    """Give something to another user."""

    def step(place: Place) -> None:
        if os.getuid():
            pytest.skip("only root gives files to others")
        os.chown(place.project / name, OTHER_USER, OTHER_USER, follow_symlinks=False)

    return step


def sparse(name: str, size: int) -> Step:
    """A file of a size that takes no room."""

    def step(place: Place) -> None:
        with _free(place, name).open("wb") as opened:
            opened.truncate(size)

    return step


def listening(name: str) -> Step:
    """A socket."""

    def step(place: Place) -> None:
        path = _free(place, name)
        above = os.open(path.parent, os.O_RDONLY)
        try:
            # The address of a socket has a hundred bytes at most.
            with socket.socket(socket.AF_UNIX) as opened:
                opened.bind(f"/proc/self/fd/{above}/{path.name}")
        finally:
            os.close(above)

    return step


def full(name: str = "filler") -> Step:
    """Take all room of the disk."""

    def step(place: Place) -> None:
        with (place.project / name).open("wb", buffering=0) as opened:
            try:
                while True:
                    opened.write(bytes(4096))
            except OSError:
                pass

    return step


def full_of_files() -> Step:
    """Take all files that the disk may have."""

    def step(place: Place) -> None:
        (place.project / "fillers").mkdir()
        try:
            for number in range(1 << 20):
                (place.project / "fillers" / str(number)).touch()
        except OSError:
            pass

    return step


def look(top: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of everything below a folder, by path."""
    return {os.path.relpath(path, top): (path.lstat().st_mode, _content(path)) for path in _below(top)}


def _below(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda each: each.name)
    for each in entries:
        yield Path(each.path)
        if each.is_dir(follow_symlinks=False):
            yield from _below(Path(each.path))


def _content(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return str(path.readlink())
    if not stat.S_ISREG(status.st_mode):
        return ""
    if status.st_size > 1 << 24:
        return f"{status.st_size} bytes"
    return hashlib.sha256(path.read_bytes()).hexdigest()
