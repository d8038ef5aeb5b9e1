"""The folder `.buildsys/`: no symlink in it is followed, and nothing outside of it is touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import IO

from buildsys.errors import Diagnostic, InvalidInput, Unavailable
from buildsys.names import STATE_FOLDER
from buildsys.project.files import TEXT_LIMIT, Home, is_there, open_file, read_file
from buildsys.project.workspace import write_whole
from buildsys.texts import shown
from buildsys.values import dataclass

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_PIECE = 1 << 20
# What is in them is looked at when they are filled, and a run begins with an empty folder of its own.
_FILLED = (f"{STATE_FOLDER}/mirrors", f"{STATE_FOLDER}/environments", f"{STATE_FOLDER}/runs")


@dataclass(frozen=True, slots=True)
class State:
    """The state folder of the project at `root`; names are relative to that and begin with `.buildsys/`.

    Every method raises `InvalidInput` where something on the way is a symlink or of the wrong kind, and `Unavailable`
    where the disk does not take what is written.
    """

    root: Path

    def check(self, *files: str) -> None:
        """Raise for every symlink, and for anything but a file in the place of `files`: before a run, not at its end.

        Folders that are filled are not looked into.
        """
        diagnostics: list[Diagnostic] = []
        waiting = [STATE_FOLDER]
        while waiting:
            name = waiting.pop()
            try:
                path = self._find(name, stat.S_IFREG if name in files else None)
            except InvalidInput as error:
                diagnostics.extend(error.diagnostics())
                continue
            if path.is_dir() and name not in _FILLED:
                with written(path):
                    waiting += [f"{name}/{each.name}" for each in path.iterdir()]
        if diagnostics:
            raise InvalidInput(diagnostics)

    def folder(self, name: str) -> Path:
        """Return the path of a folder, created if it is missing."""
        path = self.root
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = self._find("/".join(parts[:count]), stat.S_IFDIR)
            with written(path):
                path.mkdir(exist_ok=True)
        return path

    def file(self, name: str) -> Path:
        """Return the path of a file, which need not be there; the folders above it are."""
        self.folder(name.rpartition("/")[0])
        return self._find(name, stat.S_IFREG)

    def read(self, name: str, limit: int = TEXT_LIMIT) -> bytes | None:
        """Return the bytes of a file, None if there is none."""
        path = self._find(name, stat.S_IFREG)
        return read_file(path, Home(root=self.root), name, limit) if is_there(path) else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        write_whole(self.file(name), data)

    def begin(self, name: str) -> IO[str]:
        """Return an empty text file to write to."""
        path = self.file(name)
        with written(path):
            return os.fdopen(os.open(path, _FLAGS | os.O_TRUNC, 0o644), "w", encoding="utf-8")

    def link(self, name: str, other: str) -> None:
        """Give a file, if it exists, a second name, at once in the place of what has that name."""
        path, target = self.file(name), self.file(other)
        if not is_there(path):
            return
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with written(target):
            try:
                os.link(path, partial, follow_symlinks=False)
            except OSError:
                # Not every file system has hard links.
                shutil.copyfile(path, partial, follow_symlinks=False)
            partial.replace(target)
            # Where both are one file already, the system leaves the other name too.
            partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from what they change under this lock too, for a moment."""
        path = self.file(f"{STATE_FOLDER}/lock")
        with written(path):
            file = os.open(path, _FLAGS, 0o644)
        try:
            # Where a file system has no locks, two runs at once are not kept apart, and each is right by itself.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def fill(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        is_secret: Callable[[bytes], bool] = lambda _: False,
        kept: Collection[str] = (),
    ) -> Path:
        """Make a folder hold these files, by path relative to it, what is `kept`, and nothing else; return its path.

        Modes are those that git would give, whatever the umask: they go into images. What `is_secret` only its owner
        may read.
        """
        secret = {each for each, data in files.items() if is_secret(data)}
        inside: dict[str, set[str]] = {"": {*kept}}
        for each in files:
            parts = each.split("/")
            if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
                raise InvalidInput([Diagnostic(message=f"`{shown(each)}` cannot be the name of a file in `{name}`")])
            for count in range(len(parts)):
                inside.setdefault("/".join(parts[:count]), set()).add(parts[count])
        for below, wanted in sorted(inside.items()):
            at = f"{name}/{below}".rstrip("/")
            folder = self.folder(at)
            with written(folder):
                folder.chmod(0o700 if secret else 0o755)
                for other in sorted({each.name for each in folder.iterdir()} - wanted):
                    _remove(self._find(f"{at}/{other}"))
        for each, data in files.items():
            path = self.file(f"{name}/{each}")
            with written(path):
                if not (path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data):
                    write_whole(path, data)
                path.chmod(0o600 if each in secret else 0o644)
        return self.root / name

    def copy(self, source: Path, name: str) -> None:
        """Make a folder hold what a different one does; symlinks stay symlinks, and must not leave it.

        What is right already is not touched: a build may be reading it.
        """
        diagnostics: list[Diagnostic] = []
        home = Home(root=source, shown=str(source), word=f"`{source}`")
        entries = list(home.walk("", diagnostics))
        if diagnostics:
            raise InvalidInput(diagnostics)
        top = self.folder(name)
        with written(top):
            top.chmod(0o755)
            for entry in entries:
                path = top / entry.name
                if entry.is_folder:
                    if path.is_symlink() or not path.is_dir():
                        path.unlink(missing_ok=True)
                        path.mkdir()
                    path.chmod(0o755)
                elif entry.is_link:
                    to = entry.path.readlink()
                    # The folder has a different path in a build.
                    _link(
                        path, os.path.relpath(home.find(entry.name), entry.path.parent) if to.is_absolute() else str(to)
                    )
                else:
                    mode = 0o755 if entry.status.st_mode & 0o100 else 0o644
                    # What others may not read in its place they may not read here either.
                    mode = mode if entry.status.st_mode & 0o004 else mode & 0o700
                    with open_file(entry.path, home, entry.name) as file:
                        _copy(file, path, mode)
            wanted = {entry.name for entry in entries}
            for folder in (top, *(top / entry.name for entry in entries if entry.is_folder)):
                for each in folder.iterdir():
                    if each.relative_to(top).as_posix() not in wanted:
                        _remove(each)

    def _find(self, name: str, kind: int | None = None) -> Path:
        """Return the path of a name; nothing above it nor itself is a symlink, and it is of the kind if it exists."""
        path = self.root
        parts = name.split("/")
        for count, part in enumerate(parts, 1):
            path = path / part
            shown = "/".join(parts[:count])
            try:
                found = stat.S_IFMT(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Home(root=self.root).unreadable(shown, error) from error
            expected = stat.S_IFDIR if count < len(parts) else kind
            if found == stat.S_IFLNK:
                message = f"`{shown}` is a symlink, and none is followed below `{STATE_FOLDER}`"
            elif expected is None or found == expected:
                continue
            else:
                message = f"`{shown}` is not {'a folder' if expected == stat.S_IFDIR else 'a file'}"
            hint = f"remove it: `rm {'-r ' if found == stat.S_IFDIR else ''}{shlex.quote(shown)}`"
            raise Home(root=self.root).wrong(shown, message, hint)
        return path


def append_to(path: Path) -> IO[bytes]:
    """Return a file below the state folder to add to; raises `OSError` if it is a symlink."""
    return os.fdopen(os.open(path, _FLAGS | os.O_APPEND, 0o644), "ab")


def _link(path: Path, to: str) -> None:
    """Let a path be a symlink to a text."""
    if not path.is_symlink() or str(path.readlink()) != to:
        _remove(path)
        path.symlink_to(to)


def _copy(file: IO[bytes], path: Path, mode: int) -> None:
    """Let a path be a file with the bytes of another; one that has them already is not written."""
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as other:
            is_same = all(one == two for one, two in zip_longest(_pieces(file), _pieces(other)))
        if is_same:
            path.chmod(mode)
            return
        file.seek(0)
    elif is_there(path):
        _remove(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with written(path):
        try:
            with partial.open("xb") as copy:
                shutil.copyfileobj(file, copy)
            partial.chmod(mode)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file, in pieces of one size but for the last."""
    while piece := _piece(file):
        yield piece


def _piece(file: IO[bytes]) -> bytes:
    """Return the next bytes of a file: a read without a buffer may bring fewer than there are."""
    found = bytearray()
    while len(found) < _PIECE and (some := file.read(_PIECE - len(found))):
        found += some
    return bytes(found)


def _remove(path: Path) -> None:
    if not is_there(path):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Raise `Unavailable` with the path for what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"`{error.filename or path}` cannot be written: {error.strerror}") from error
