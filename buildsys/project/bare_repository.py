"""Refuses folders of a project that git would take for a repository of their own."""

from __future__ import annotations

import os.path
from pathlib import Path

from buildsys.errors import Diagnostic, InvalidInput


def refuse_bare_repositories(root: Path) -> None:
    """Raise `InvalidInput` if committed files pass for a repository where git may look for one.

    Git takes the first folder on its way up that has the parts of a repository, and runs the programs that the
    `config` in it names; only from 2.38 on can it be asked not to. People start git in the project, and buildx
    starts it in the folder of each layer, so looked at are the project, `layers`, each layer, and every folder
    above the project up to the one that has the `.git` of its repository.
    """
    layers = root / "layers"
    folders = [root, *_above(root), layers, *sorted(layers.glob("*"))]
    if found := [folder for folder in folders if _looks_bare(folder)]:
        raise InvalidInput(
            Diagnostic(
                message=f"the folder `{folder}` looks like a bare git repository, and git would run what it says",
                hint="rename its `HEAD`: the `config` of a repository names programs",
            )
            for folder in found
        )


def _above(root: Path) -> list[Path]:
    """Return the folders above the project up to the top of its repository; none where there is no repository."""
    found: list[Path] = []
    for folder in (root, *root.parents):
        if folder != root:
            found.append(folder)
        if os.path.lexists(folder / ".git"):
            return found
    return []


def _looks_bare(folder: Path) -> bool:
    """Return whether a folder has what `is_git_directory` in git's setup.c wants; `commondir` leads to the rest."""

    def has(*names: str) -> bool:
        return all(os.path.lexists(folder / name) for name in names)

    return has("HEAD") and (has("objects", "refs") or has("commondir"))
