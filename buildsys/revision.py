"""Another revision of the project as git has it: its tree and the contents of its folders."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildsys.errors import InvalidInput, Mistake, Unavailable
from buildsys.key import File
from buildsys.workspace import OVERLAY_NAME


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A revision: text files by path, and every file by its path with what keys are made of."""

    tree: Mapping[str, str]
    files: Mapping[str, File]

    def contents(self, folders: tuple[str, ...]) -> Mapping[str, Mapping[str, File]]:
        """Return the files of folders, as a workspace does."""
        return {
            folder: {
                path.removeprefix(f"{folder}/"): file
                for path, file in self.files.items()
                if path.startswith(f"{folder}/")
            }
            for folder in folders
        }


class ShallowClone(Unavailable):
    """The revision is not in this clone, which was made without its whole history."""


def read_revision(root: Path, revision: str) -> Revision:
    """Return a revision of the project at `root`.

    Raises `ShallowClone` where only a deeper clone could have it, `InvalidInput` where there is no such revision,
    `Unavailable` without git.
    """
    prefix = _git(root, "rev-parse", "--show-prefix").decode().removesuffix("\n").rstrip("/")
    try:
        _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except Unavailable:
        if _git(root, "rev-parse", "--is-shallow-repository").strip() == b"true":
            raise ShallowClone(
                f"`{revision}` is not in this shallow clone",
                hint="deepen it: `git fetch --unshallow`, or `fetch-depth: 0` in a CI's checkout",
            ) from None
        raise InvalidInput([Mistake(message=f"git knows no revision `{revision}`")]) from None
    tree_name = f"{revision}:{prefix}" if prefix else revision
    # From a folder that is not in the tree git would not archive it.
    top = Path(_git(root, "rev-parse", "--show-toplevel").decode().removesuffix("\n"))
    try:
        _git(top, "rev-parse", "--verify", "--quiet", tree_name)
    except Unavailable:
        raise InvalidInput([Mistake(message=f"the revision `{revision}` has no folder `{prefix}`")]) from None
    archive = _git(top, "archive", "--format=tar", tree_name)
    tree: dict[str, str] = {}
    files: dict[str, File] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for entry in tar:
            if entry.issym():
                files[entry.name] = File(content=f"link:{entry.linkname}")
            elif entry.isfile():
                opened = tar.extractfile(entry)
                assert opened is not None
                _add(entry.name, opened.read(), bool(entry.mode & 0o100), tree, files)
    # Parents that were made on this machine are the same ones whatever the revision.
    overlay = root / OVERLAY_NAME
    if overlay.is_file():
        tree[OVERLAY_NAME] = overlay.read_text(encoding="utf-8")
    return Revision(tree=tree, files=files)


def _add(name: str, data: bytes, executable: bool, tree: dict[str, str], files: dict[str, File]) -> None:
    try:
        text: str | None = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and (name.startswith("layers/") or "/" not in name):
        tree[name] = text
    rules = data.decode("utf-8", "replace") if name.endswith(".dockerignore") else None
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    files[name] = File(content=digest, executable=executable, rules=rules)


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Unavailable("the command `git` is not on PATH", hint="install git") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"git: {said[-1] if said else 'it failed and said nothing'}")
    return done.stdout
