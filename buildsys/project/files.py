"""Reads files of other users: bounded, never outside the folder that they belong to, never from a device."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from buildsys.errors import Diagnostic, InvalidInput, Location, did_you_mean
from buildsys.values import dataclass

TEXT_LIMIT = 4 << 20
# Of a folder, to look for what was meant.
_MOST_NAMES = 1000
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symlink",
}
_HINT = "put the file or folder itself there; for a symlink in an image, use `RUN ln -s` in its Dockerfile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A folder, file or symlink below a folder: its path relative to that, where it is, and its own status."""

    name: str
    path: Path
    status: os.stat_result

    @property
    def is_link(self) -> bool:
        """Whether it is a symlink."""
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """A folder that nothing read in it may leave, whatever symlinks lead there.

    `private` are names below it that symlinks must not lead to, nor folders be walked with. In messages `word` is
    the folder, and `shown` comes before the names, which are relative to `root` without it.
    """

    root: Path
    private: frozenset[str] = frozenset()
    shown: str = ""
    word: str = "the project"

    def find(self, name: str) -> Path:
        """Return where a name leads when all symlinks are followed; there need not be anything.

        Raises `InvalidInput` for symlinks that leave the folder or lead to themselves, and for what cannot be read.
        """
        path = self.root / name
        try:
            found = Path(os.path.realpath(path, strict=True))
        except OSError as error:
            if error.errno == errno.ELOOP:
                message = f"the symlink `{self.show(name)}` points to itself"
                raise self.wrong(name, message, "remove it, or point it to a file or folder") from None
            if error.errno not in _MISSING:
                raise self.unreadable(name, error) from error
            found = Path(os.path.realpath(path))
        if message := self._strays(name, found):
            raise self.wrong(name, message, _HINT)
        return found

    def find_folder(self, name: str) -> Path | None:
        """Return where a folder is whose files may all be read; None if there is no folder. Raises as `find` does."""
        found = self.find(name)
        if not found.is_dir():
            return None
        if self.private and found == Path(os.path.realpath(self.root)):
            message = f"`{self.show(name)}` is all of {self.word}, with `.git` and its other private files"
            raise self.wrong(name, message, "name a folder inside of it")
        return found

    def read(self, name: str, limit: int = TEXT_LIMIT) -> bytes | None:
        """Return the bytes of a file, None if there is none; raises `InvalidInput` where it cannot be read."""
        found = self.find(name)
        return read_file(found, self, name, limit) if is_there(found) else None

    def walk(
        self, folder: str, diagnostics: list[Diagnostic], is_excluded: Callable[[str], bool] = lambda _: False
    ) -> Iterator[Entry]:
        """Yield what is in a folder, each folder before what is in it; symlinks are yielded, not followed.

        Symlinks that leave the home, what is neither file nor folder, and what cannot be read are diagnostics, but for
        paths, relative to the folder, that nothing reads because they are excluded: these are left out.
        """
        try:
            top = self.find_folder(folder)
        except InvalidInput as error:
            diagnostics.extend(error.diagnostics())
            return
        waiting = [] if top is None else [("", top)]
        while waiting:
            above, path = waiting.pop()
            try:
                with os.scandir(path) as scanned:
                    entries = sorted((each.name, each.path, each.stat(follow_symlinks=False)) for each in scanned)
            except OSError as error:
                if not is_excluded(above):
                    diagnostics.extend(self.unreadable(_below(folder, above), error).diagnostics())
                continue
            for name, location, status in entries:
                entry = Entry(name=f"{above}{name}", path=Path(location), status=status)
                try:
                    self._check(_below(folder, entry.name), entry)
                except InvalidInput as error:
                    if not is_excluded(entry.name):
                        diagnostics.extend(error.diagnostics())
                    continue
                yield entry
                if entry.is_folder:
                    waiting.append((f"{entry.name}/", entry.path))

    def _check(self, name: str, entry: Entry) -> None:
        if entry.is_link:
            self.find(name)
        elif not entry.is_folder:
            check_regular(entry.status, self, name)

    def _strays(self, name: str, found: Path) -> str:
        """Return what is wrong with where a name leads, empty if nothing is."""
        root = os.path.realpath(self.root)
        inside = os.path.relpath(found, root)
        first = inside.split(os.sep, 1)[0]
        if first == os.pardir:
            return f"{self._link(name)} points outside {self.word}, to `{found}`"
        # A file system may know no capitals.
        if first.casefold() in self.private and found != Path(os.path.normpath(Path(root, name))):
            return f"{self._link(name)} points to `{inside}`, a private file of {self.word}"
        return ""

    def _link(self, name: str) -> str:
        """Return what to call the first symlink on the way to a name."""
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            above = "/".join(parts[:count])
            if Path(self.root, above).is_symlink():
                return f"the symlink `{self.show(above)}`"
        return f"`{self.show(name)}`"

    def show(self, name: str) -> str:
        """Return a name as messages have it."""
        return str(Path(self.shown, name))

    def wrong(self, name: str, message: str, hint: str | None = None) -> InvalidInput:
        """Return the error that something is wrong with a name."""
        return InvalidInput([Diagnostic(message=message, location=Location(file=self.show(name)), hint=hint)])

    def unreadable(self, name: str, error: OSError) -> InvalidInput:
        """Return the error that a name cannot be read."""
        return self.wrong(name, f"`{self.show(name)}` cannot be read: {error.strerror}", "check its owner and mode")


def check_regular(status: os.stat_result, home: Home, name: str) -> None:
    """Raise `InvalidInput` unless a status is that of a file, whose name in a home is in the message."""
    if not stat.S_ISREG(status.st_mode):
        message = f"`{home.show(name)}` is {kind_of(status)}, expected a file"
        raise home.wrong(name, message, "put a file there, or remove it")


def kind_of(status: os.stat_result) -> str:
    """Return what a status is of, in words."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a device")


def lack(path: Path, kind: str) -> str:
    """Return what a path is in place of `kind`, symlinks followed: a part of a sentence, empty where it is that."""
    try:
        found = kind_of(path.stat())
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == kind else f"is {found}, expected {kind}"


@contextlib.contextmanager
def open_file(path: Path, home: Home, name: str) -> Iterator[IO[bytes]]:
    """Yield a regular file to read, which messages call by its name in a home; a symlink is not followed.

    Raises `InvalidInput` for anything but a file that can be read, also while it is open.
    """
    try:
        # Opening a device may do something, so it is looked at before; and after, when it can no longer be exchanged.
        check_regular(path.lstat(), home, name)
        with os.fdopen(os.open(path, _OPEN), "rb", buffering=0) as file:
            check_regular(os.fstat(file.fileno()), home, name)
            yield file
    except OSError as error:
        raise home.unreadable(name, error) from error


def read_file(path: Path, home: Home, name: str, limit: int = TEXT_LIMIT) -> bytes:
    """Return the bytes of a regular file; raises `InvalidInput` as `open_file` does, and for more than `limit`."""
    with open_file(path, home, name) as file:
        found = bytearray()
        if os.fstat(file.fileno()).st_size > limit:
            raise _too_large(home, name, limit)
        while len(found) <= limit and (piece := file.read(limit + 1 - len(found))):
            found += piece
    if len(found) > limit:
        raise _too_large(home, name, limit)
    return bytes(found)


def _too_large(home: Home, name: str, limit: int) -> InvalidInput:
    return home.wrong(name, f"`{home.show(name)}` is larger than {limit >> 20} MiB, the limit for such a file")


def read_named(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """Return the bytes of a file that a person names, wherever it is; raises `InvalidInput` as `read_file` does."""
    real = Path(os.path.realpath(path))
    try:
        real.lstat()
    except FileNotFoundError:
        names: list[str] = []
        with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
            names = [each.name for each in itertools.islice(entries, _MOST_NAMES)]
        hint = did_you_mean(path.name, names, "check the path, which is relative to the current folder")
        raise InvalidInput([Diagnostic(message=f"`{path}` does not exist", hint=hint)]) from None
    except OSError as error:
        raise InvalidInput([Diagnostic(message=f"`{path}` cannot be read: {error.strerror}")]) from error
    return read_file(real, Home(root=path.parent, shown=str(path.parent)), path.name, limit)


def decoded(data: bytes, name: str) -> str:
    """Return the text of a file, whose name is in the message; raises `InvalidInput` if it is not UTF-8."""
    try:
        # As it is: BuildKit takes a carriage return for the end of a line only before a line feed.
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput([Diagnostic(message="the file is not UTF-8", location=Location(file=name))]) from None


def digest_file(path: Path, home: Home, name: str) -> tuple[os.stat_result, str]:
    """Return the status of a regular file from before its bytes were read, and their sha256. Raises as `open_file`."""
    with open_file(path, home, name) as file:
        return os.fstat(file.fileno()), hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def is_there(path: Path) -> bool:
    """Whether there is anything at a path, be it a symlink to nothing."""
    return os.path.lexists(path)
