"""Finds the project root, reads its tree, compares or atomically writes files."""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildsys.bare_repository import refuse_bare_repositories
from buildsys.errors import Differs, InvalidInput, Mistake, Place, Unavailable
from buildsys.key import File

STACKS_FILE = "stacks.yaml"
OVERLAY_NAME = "buildsys.lock.local"
ROOT_FILES = (STACKS_FILE, "buildsys.lock", OVERLAY_NAME)
STATE_FOLDER = ".buildsys"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """A project on disk."""

    root: Path

    def tree(self) -> Mapping[str, str]:
        """Return what the core reads: the root's files and all text files below `layers/`, by path.

        Files that are not UTF-8 are left out, but for the root's, each layer.yaml and each Dockerfile: for these
        it raises `InvalidInput`.
        """
        found: dict[str, str] = {}
        mistakes = []
        paths = [self.root / name for name in ROOT_FILES]
        for folder, names, files in os.walk(self.root / "layers"):
            names.sort()
            paths += [Path(folder, name) for name in sorted(files)]
        for path in paths:
            if not path.is_file():
                continue
            name = path.relative_to(self.root).as_posix()
            try:
                # As it is: BuildKit takes a carriage return for the end of a line only before a line feed.
                found[name] = path.read_bytes().decode("utf-8")
            except UnicodeDecodeError:
                if path.name == "layer.yaml" or "Dockerfile" in path.name or path.parent == self.root:
                    mistakes.append(Mistake(message="the file is not UTF-8", place=Place(file=name)))
        if mistakes:
            raise InvalidInput(mistakes)
        return found

    def contents(self, folders: Iterable[str]) -> Mapping[str, Mapping[str, File]]:
        """Return the files of folders below the root, by path relative to each; a folder that is missing is empty."""
        return {folder: dict(_files(self.root / folder)) for folder in folders}

    def folder_modes(self, folders: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the modes of all folders in each folder, by path relative to it; itself has the empty path."""
        return {
            folder: {
                "" if path == str(self.root / folder) else Path(path).relative_to(self.root / folder).as_posix(): (
                    stat.S_IMODE(Path(path).stat().st_mode)
                )
                for path, _, _ in os.walk(self.root / folder)
            }
            for folder in folders
        }

    def read(self, name: str) -> str | None:
        """Return a file's text, or None if there is no such file."""
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write(self, name: str, text: str) -> bool:
        """Write a file whole or not at all; return whether that changed it."""
        if self.read(name) == text:
            return False
        write_whole(self.root / name, text.encode())
        return True

    def check(self, name: str, text: str, *, remedy: str) -> None:
        """Raise `Differs` if a file is not exactly `text`; `remedy` is the command that would make it so."""
        current = self.read(name)
        if current == text:
            return
        lines = difflib.unified_diff(
            (current or "").splitlines(keepends=True),
            text.splitlines(keepends=True),
            fromfile=f"{name} (as it is)",
            tofile=f"{name} (as it would be written)",
        )
        message = f"`{name}` is not what would be written now" if current else f"`{name}` does not exist"
        raise Differs(message, difference="".join(lines), hint=f"run `{remedy}` and commit the result")


def _files(folder: Path) -> Iterator[tuple[str, File]]:
    for path, names, files in os.walk(folder):
        names.sort()
        linked = [name for name in names if Path(path, name).is_symlink()]
        for name in sorted([*files, *linked]):
            file = Path(path, name)
            found = file.relative_to(folder).as_posix()
            if file.is_symlink():
                yield found, File(content=f"link:{file.readlink()}", stamp=_stamp(file.lstat()))
                continue
            # Before the bytes: a change while they are read shows in a later look.
            status = file.stat()
            data = file.read_bytes()
            rules = data.decode("utf-8", "replace") if name.endswith(".dockerignore") else None
            yield (
                found,
                File(
                    content=f"sha256:{hashlib.sha256(data).hexdigest()}",
                    executable=bool(status.st_mode & 0o100),
                    rules=rules,
                    mode=stat.S_IMODE(status.st_mode),
                    stamp=_stamp(status),
                ),
            )


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs after any change of a file: nobody can set the time of its last change back."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the mode it had; folders above it are made.

    Raises `Unavailable` where the disk does not take it.
    """
    try:
        _write_whole(path, data)
    except OSError as error:
        raise Unavailable(f"`{path}` cannot be written: {error.strerror}") from error


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(partial).chmod(mode)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def find_workspace(start: Path | None = None) -> Workspace:
    """Return the project that `start`, or else the current folder, is in: the nearest one with a stacks.yaml.

    Raises `InvalidInput` if there is none, or if files in it pass for a git repository of their own.
    """
    folder = (start or Path.cwd()).resolve()
    if not folder.is_dir():
        raise _no_project(f"`{start}` is not a folder")
    if start is not None and not (folder / STACKS_FILE).is_file():
        raise _no_project(f"`{start}` has no `{STACKS_FILE}`")
    for each in (folder, *folder.parents):
        if (each / STACKS_FILE).is_file():
            refuse_bare_repositories(each)
            return Workspace(root=each)
    raise _no_project(f"no `{STACKS_FILE}` in this folder or above it")


def _no_project(message: str) -> InvalidInput:
    return InvalidInput([Mistake(message=message, hint="go to the project, or name it: `buildsys -C DIR …`")])
