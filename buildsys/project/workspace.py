"""Finds the project root, reads its tree, compares or atomically writes files."""

from __future__ import annotations

import difflib
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from buildsys.config.model import File
from buildsys.errors import Diagnostic, Diagnostics, Differs, InvalidInput, Location, Unavailable
from buildsys.names import LAYER_FILE, LOCK_FILE, OVERLAY_FILE, SETTINGS_FILE, STACKS_FILE, STATE_FOLDER
from buildsys.oci.reference import registry_prefix
from buildsys.project.contexts import exclusion_of, files_of, is_needed
from buildsys.project.files import TEXT_LIMIT, Entry, Home, decoded, is_there, lack, read_file
from buildsys.project.variables import COPY_TO
from buildsys.records.source import read
from buildsys.values import dataclass

ROOT_FILES = (STACKS_FILE, LOCK_FILE, OVERLAY_FILE)
# What holds secrets of a machine beside a project: no symlink that is committed makes it a part of the project.
_NEEDED = (LAYER_FILE, "Dockerfile", ".dockerignore")
# As much as is read of an object of git.
COPY_LIMIT = 16 << 20
PRIVATE = frozenset({".git", STATE_FOLDER, SETTINGS_FILE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """A project on disk; nothing in it is read or written through symlinks that leave it."""

    root: Path

    @property
    def home(self) -> Home:
        """The project's folder as what reads do not leave."""
        return Home(root=self.root, private=PRIVATE)

    def tree(self) -> Mapping[str, str]:
        """Return what the core reads: the root's files and all text files below `layers/`, by path.

        A layer may be a symlink to a folder of the project. Files that are large or not UTF-8 are left out, but for the
        root's, each layer.yaml, .dockerignore and Dockerfile: for these, for symlinks that leave the project, for what
        is no file and for what cannot be read it raises `InvalidInput`.
        """
        found: dict[str, str] = {}
        diagnostics = Diagnostics()
        home = self.home
        is_excluded = _layer_exclusion(home)
        entries: dict[str, Entry | None] = {name: None for name in ROOT_FILES if is_there(self.root / name)}
        entries |= _layer_entries(home, is_excluded, diagnostics)
        for name, entry in entries.items():
            try:
                path = _linked(home, name) if entry is None or entry.is_link else entry.path
                if path is not None and (text := _text(home, name, path)) is not None:
                    found[name] = text
            except InvalidInput as error:
                if entry is None or not is_excluded(name.removeprefix("layers/")):
                    diagnostics.extend(error.diagnostics())
        if diagnostics:
            raise InvalidInput(diagnostics)
        return found

    def contents(self, folders: Iterable[str]) -> Mapping[str, Mapping[str, File]]:
        """Return the files of folders below the root, by path relative to each; a folder that is missing is empty.

        Raises `InvalidInput` for symlinks that leave the project, anything but files, what cannot be read, and what is
        too large or has a name that BuildKit does not transfer.
        """
        diagnostics = Diagnostics()
        home = self.home
        found = {folder: files_of(home, folder, diagnostics) for folder in folders}
        if diagnostics:
            raise InvalidInput(diagnostics)
        return found

    def folder(self, name: str) -> Path | None:
        """Return where a folder of the project really is, None if there is none; raises `InvalidInput` if outside."""
        return self.home.find_folder(name)

    def read(self, name: str) -> str | None:
        """Return a file's text, or None if there is no such file.

        Raises `InvalidInput` if it lies outside of the project, is no file, not UTF-8, large or unreadable.
        """
        data = self.home.read(name)
        return None if data is None else decoded(data, name)

    def data(self, name: str) -> bytes:
        """Return the bytes of a file that is to be copied. Raises as `read` does, with a higher limit."""
        return self.home.read(name, COPY_LIMIT) or b""

    def write(self, name: str, text: str) -> bool:
        """Write a file whole or not at all; return whether that changed it.

        Raises `InvalidInput`, and writes nothing, if it lies outside of the project or is no file.
        """
        if self._current(name, len(text)) == text:
            return False
        write_whole(self.home.find(name), text.encode())
        return True

    def _current(self, name: str, length: int) -> str | None:
        """Return what a generated file holds, None if there is none; of one that is far too large nothing."""
        found = self.home.find(name)
        if not is_there(found):
            return None
        limit = max(TEXT_LIMIT, 4 * length)
        if found.lstat().st_size > limit:
            return ""
        # Bytes that are no text never make it equal to a text.
        return _lines(read_file(found, self.home, name, limit).decode("utf-8", "surrogateescape"))

    def check(self, name: str, text: str, *, remedy: str) -> None:
        """Raise `Differs` if a file is not exactly `text`; `remedy` is the command that would make it so."""
        current = self._current(name, len(text))
        if current == text:
            return
        lines = difflib.unified_diff(
            (current or "").splitlines(keepends=True),
            text.splitlines(keepends=True),
            fromfile=f"{name} (as it is)",
            tofile=f"{name} (as it would be written)",
        )
        message = f"`{name}` is not up to date" if current is not None else f"`{name}` does not exist"
        raise Differs(message, difference="".join(lines), hint=f"run `{remedy}` and commit the result")


def _layer_exclusion(home: Home) -> Callable[[str], bool]:
    """Return whether no Dockerfile of its layer reads a path, which is relative to `layers/`."""

    @functools.cache
    def exclusion(layer: str) -> Callable[[str], bool]:
        return exclusion_of(home, f"layers/{layer}")

    def is_excluded(path: str) -> bool:
        layer, _, inside = path.partition("/")
        return exclusion(layer)(inside)

    return is_excluded


def _layer_entries(
    home: Home, is_excluded: Callable[[str], bool], diagnostics: list[Diagnostic]
) -> dict[str, Entry | None]:
    """Return the files and symlinks below `layers/` by path; the symlinks of layers themselves are followed.

    A folder in the place of a file that is needed is returned too.
    """
    found: dict[str, Entry | None] = {}

    def take(name: str, entry: Entry) -> None:
        if not entry.is_folder or (name.count("/") == 2 and entry.path.name in _NEEDED):
            found[name] = entry

    for entry in home.walk("layers", diagnostics, is_excluded):
        name = f"layers/{entry.name}"
        if entry.is_link and "/" not in entry.name and entry.path.is_dir():
            for each in home.walk(name, diagnostics, functools.partial(_within, is_excluded, entry.name)):
                take(f"{name}/{each.name}", each)
        else:
            take(name, entry)
    return found


def _within(is_excluded: Callable[[str], bool], layer: str, path: str) -> bool:
    return is_excluded(f"{layer}/{path}")


def _linked(home: Home, name: str) -> Path | None:
    """Return the file that a name leads to, None if it leads to a folder or to nothing."""
    found = home.find(name)
    parts = name.split("/")
    if "Dockerfile" in parts[-1] and len(parts) == 3 and not found.is_relative_to(home.find(f"layers/{parts[1]}")):
        message = f"the symlink `{name}` points outside its layer's folder, and BuildKit reads a Dockerfile only there"
        raise home.wrong(name, message, "put the file itself there")
    return None if not is_there(found) or (len(parts) > 1 and found.is_dir()) else found


def _text(home: Home, name: str, path: Path) -> str | None:
    """Return the text of a file; None of one that is not needed and is large or not a text."""
    folder, _, own = name.rpartition("/")
    needed = not folder or is_needed(own)
    if not needed and path.lstat().st_size > TEXT_LIMIT:
        return None
    data = read_file(path, home, name)
    try:
        return decoded(data, name)
    except InvalidInput:
        if needed:
            raise
        return None


def _lines(text: str) -> str:
    """Return a text with one kind of line end, as Python reads text files."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the mode it had; folders above it are created.

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
    try:
        folder = Path(os.path.realpath(start or Path.cwd()))
    except FileNotFoundError:
        raise _no_project("the current folder no longer exists") from None
    if problem := lack(folder, "a folder"):
        raise _no_project(f"`{start}` {problem}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise _no_project(f"`{start or folder}` cannot be read: Permission denied")
    if start is not None and not is_there(folder / STACKS_FILE):
        raise _no_project(f"`{start}` has no `{STACKS_FILE}`")
    for each in (folder, *folder.parents):
        # Also where it is no file: that it cannot be read is said by who reads it.
        if is_there(each / STACKS_FILE):
            _refuse_bare_repositories(each)
            return Workspace(root=each)
    raise _no_project(f"no `{STACKS_FILE}` in this folder or above it", folder)


def _no_project(message: str, folder: Path | None = None) -> InvalidInput:
    hint = "change to the project folder, or name it: `buildsys -C DIR …`"
    if folder and is_there(folder / "stacks.yml"):
        hint = f"rename `stacks.yml` to `{STACKS_FILE}`"
    return InvalidInput([Diagnostic(message=message, hint=hint)])


def _refuse_bare_repositories(root: Path) -> None:
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
                message=f"the folder `{folder}` looks like a bare git repository, whose programs git would run",
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


def named_prefix(workspace: Workspace, environ: Mapping[str, str]) -> str | None:
    """Return the registry and repository prefix that images go to, None if it is not a registry."""
    return registry_prefix(environ.get("BUILDSYS_REGISTRY") or next(iter(_declared(workspace)), "buildsys"))


def copy_prefixes(workspace: Workspace, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the prefixes that get copies of what is published to that of `named_prefix`.

    Who names another registry means that one alone: the declared ones do not get its images.
    """
    given = environ.get(COPY_TO)
    if given is None:
        return () if environ.get("BUILDSYS_REGISTRY") else _declared(workspace)[1:]
    return tuple(dict.fromkeys(given.split()))


def _declared(workspace: Workspace) -> tuple[str, ...]:
    data = read(workspace.read(STACKS_FILE) or "", STACKS_FILE).data
    found = data.get("registry") if isinstance(data, dict) else None
    return tuple(each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str) and each)


def prefix_location(workspace: Workspace, environ: Mapping[str, str]) -> Location | None:
    """Return where `stacks.yaml` names the registry and prefix, None if the environment names them."""
    if environ.get("BUILDSYS_REGISTRY"):
        return None
    source = read(workspace.read(STACKS_FILE) or "", STACKS_FILE)
    return source.location(("registry",) if source.text(("registry",)) else ("registry", 0))
