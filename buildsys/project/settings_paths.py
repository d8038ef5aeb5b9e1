"""Whether builds may be given what the settings name: not where a commit could choose a file of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from buildsys.errors import Diagnostic, InvalidInput, Location, Unavailable
from buildsys.project.files import Home, read_file
from buildsys.project.git import find_repository
from buildsys.project.workspace import PRIVATE, Workspace


def settings_text(root: Path, name: str) -> str | None:
    """Return the text of a settings file, None if there is none; one that is named in the project must not lead out."""
    path = root / name
    workspace = Workspace(root=root)
    if Path(os.path.normpath(path)).is_relative_to(root):
        return workspace.read(name)
    data = read_file(Path(os.path.realpath(path)), Home(root=path.parent, shown=str(path.parent)), path.name)
    return data.decode("utf-8", "replace")


def path_diagnostics(
    root: Path, key: str, path: Path, file: Path | None, location: Location | None
) -> Iterator[Diagnostic]:
    """Yield what is wrong with a path that `key` of the settings names.

    `file` is the settings file that names it, at `place`; None if the environment does. A path in the project must not
    lead out of it; one outside is not taken from a file that is committed.
    """
    real = Path(os.path.realpath(path))
    named = f"`{key}` names `{path}`"
    if root.is_relative_to(real):
        message = f"{named}, which holds the whole of the project"
        yield Diagnostic(
            message=message, location=location, hint="name a folder that holds only what builds are to get"
        )
    elif Path(os.path.normpath(path)).is_relative_to(root):
        if not real.is_relative_to(root):
            message = f"{named}, which leads out of the project by a symlink, to `{real}`"
            yield Diagnostic(message=message, location=location, hint=f"name `{real}` itself")
        elif real.relative_to(root).parts[0].casefold() in PRIVATE:
            message = f"{named}, and `{real.relative_to(root)}` is what the project keeps to itself"
            yield Diagnostic(message=message, location=location, hint="name what only builds are to get")
    elif file is not None and _is_committed(root, file):
        message = f"{named}, outside of the project, in a file that is committed to git"
        variable = f"BUILDSYS_{key.upper()}"
        hint = f"name it by `{variable}`, or keep the file on this machine alone: `git rm --cached {file.name}`"
        yield Diagnostic(message=message, location=location, hint=hint)


def _is_committed(root: Path, file: Path) -> bool:
    """Whether git tracks a file, by its own path or by the one that a symlink leads to; without git nothing does.

    Raises `InvalidInput` where git does not say.
    """
    real = Path(os.path.realpath(root))
    own = Path(os.path.realpath(file.parent), file.name)
    names = {
        each.relative_to(real).as_posix() for each in (own, Path(os.path.realpath(file))) if each.is_relative_to(real)
    }
    if not names:
        return False
    try:
        return find_repository(real).tracks(*sorted(names))
    except Unavailable as error:
        if "not a git repository" in error.message or "not on PATH" in error.message:
            return False
        message = f"git does not say whether `{file.name}` is committed: {error.message.removeprefix('git: ')}"
        hint = "name `ca` by `BUILDSYS_CA` and `files` by `BUILDSYS_FILES`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)]) from error
