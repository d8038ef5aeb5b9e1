"""Puts new files and folders into a project, all of them or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from buildsys.errors import Unavailable
from buildsys.project.files import is_there
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFile:
    """A file to be written; `data` of a symlink is where it leads."""

    data: bytes
    executable: bool = False
    is_link: bool = False


Files = Mapping[str, NewFile]
"""Files by path: below the project, or below a folder of it."""


def place(root: Path, folders: Mapping[str, Files], files: Files, *, replaced: Collection[str] = ()) -> None:
    """Put folders and then files into the folder `root`, which need not exist, by path relative to it.

    Everything is written beside its place first and moved there last, in the order given, so an error or an interrupt
    leaves everything as before. Only empty folders, and what `replaced` names, may exist. Raises `Unavailable` where
    the disk does not take it.
    """
    try:
        _place(root, folders, files, replaced)
    except OSError as error:
        raise Unavailable(f"`{error.filename or root}` cannot be written: {error.strerror}") from error


def _place(root: Path, folders: Mapping[str, Files], files: Files, replaced: Collection[str]) -> None:
    with contextlib.ExitStack() as undone:
        _create(root, undone)
        stage = Path(tempfile.mkdtemp(dir=root, prefix=".buildsys-"))
        undone.callback(shutil.rmtree, stage, ignore_errors=True)
        for folder, inside in folders.items():
            for name, file in inside.items():
                _write(stage / "new" / folder / name, file)
        for name, file in files.items():
            _write(stage / "new" / name, file)
        for name in (*folders, *files):
            _create((root / name).parent, undone)
            _move(stage, root, name, undone, may_exist=name in replaced)
        undone.pop_all()
        shutil.rmtree(stage, ignore_errors=True)


def _create(folder: Path, undone: contextlib.ExitStack) -> None:
    """Create a folder and those above it; if it is undone, each that was created and is empty is removed."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        undone.callback(_remove_empty, each)


def _is_empty(path: Path) -> bool:
    """Whether a path is a folder without anything in it, which a folder may replace."""
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write(path: Path, file: NewFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.is_link:
        path.symlink_to(os.fsdecode(file.data))
        return
    path.write_bytes(file.data)
    path.chmod(0o755 if file.executable else 0o644)


def _move(stage: Path, root: Path, name: str, undone: contextlib.ExitStack, *, may_exist: bool) -> None:
    """Move something from the stage to its place, and what exists there out of its way."""
    target, new = root / name, stage / "new" / name
    if is_there(target) and not _is_empty(target):
        if not may_exist:
            raise FileExistsError(17, "it exists", str(target))
        old = stage / "old" / name
        old.parent.mkdir(parents=True, exist_ok=True)
        target.rename(old)
        undone.callback(old.rename, target)
    new.rename(target)
    undone.callback(target.rename, new)
