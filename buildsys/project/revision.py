"""Another revision of the project as git has it: the tree of a commit, whatever attributes and settings make of it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from buildsys.config.model import LINK, Contents, File
from buildsys.errors import BuildsysError, Diagnostic, InvalidInput, Unavailable
from buildsys.names import MOST_SYMLINKS
from buildsys.project.git import Entry, Objects, Repository, fetch, find_repository
from buildsys.project.workspace import ROOT_FILES
from buildsys.values import dataclass

_EXECUTABLE, _SYMLINK = "100755", "120000"
# `user@host:path`, see git-clone(1).
_SCP = re.compile(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+):(?!/)(.+)")


class ShallowClone(Unavailable):
    """The revision is not in this clone, which lacks a part of the history."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A revision of the project; what is asked of it is read from git at that time.

    `entries` are its files and symlinks by path, `paths` the same paths sorted.
    """

    entries: Mapping[str, Entry]
    paths: Sequence[str]
    objects: Objects

    def tree(self) -> Mapping[str, str]:
        """Return the root's files and all text files below `layers/` by path, as a workspace does."""
        paths = {name: name for name in ROOT_FILES}
        paths |= {f"layers/{name}": path for name, path in self._below("layers").items()}
        found = {}
        for name, path in paths.items():
            entry = self.entries.get(self._followed(path) or "")
            data = self.objects.data(entry.object) if entry else None
            if data is not None:
                with contextlib.suppress(UnicodeDecodeError):
                    found[name] = data.decode("utf-8")
        return found

    def contents(self, folders: Iterable[str]) -> Mapping[str, Mapping[str, File]]:
        """Return the files of folders, by path relative to each, as a workspace does."""
        return {folder: {name: self._file(path) for name, path in self._below(folder).items()} for folder in folders}

    def data(self, name: str) -> bytes:
        """Return the bytes of a file; raises `InvalidInput` where they are more than a text has."""
        data = self.objects.data(self.entries[self._followed(name) or ""].object)
        if data is None:
            raise InvalidInput([Diagnostic(message=f"`{name}` is too large to be copied")])
        return data

    def _below(self, folder: str) -> Mapping[str, str]:
        """Return the path of each file below a folder by its path relative to it."""
        followed = self._followed(folder)
        if followed is None:
            return {}
        start = f"{followed}/" if followed else ""
        first = bisect_left(self.paths, start)
        # The character after the slash: the first path that does not begin so.
        last = bisect_left(self.paths, f"{followed}0") if followed else len(self.paths)
        return {path.removeprefix(start): path for path in self.paths[first:last]}

    def _followed(self, path: str) -> str | None:
        """Return where a path leads if symlinks are followed, None if that is outside of the project."""
        left, symlinks = path.split("/")[::-1], 0
        found: list[str] = []
        while left:
            part = left.pop()
            if part == ".." and found:
                found.pop()
            elif part == "..":
                return None
            elif part not in ("", "."):
                found.append(part)
                entry = self.entries.get("/".join(found))
                if entry is None or entry.mode != _SYMLINK:
                    continue
                target = self._target(entry)
                symlinks += 1
                if target.startswith("/") or symlinks > MOST_SYMLINKS:
                    return None
                found.pop()
                left += target.split("/")[::-1]
        return "/".join(found)

    def _target(self, entry: Entry) -> str:
        return os.fsdecode(self.objects.data(entry.object) or b"")

    def _file(self, path: str) -> File:
        entry = self.entries[path]
        if entry.mode == _SYMLINK:
            return File(content=f"{LINK}{self._target(entry)}")
        rules = self.objects.data(entry.object) if path.endswith(".dockerignore") else None
        return File(
            content=f"sha256:{self.objects.digest(entry.object)}",
            executable=entry.mode == _EXECUTABLE,
            rules=None if rules is None else rules.decode("utf-8", "replace"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where the project's sources are from: an address, and the commit that they equal; empty where unknown."""

    source: str = ""
    revision: str = ""


def origin_of(root: Path, environ: Mapping[str, str], tree: Mapping[str, str], contents: Contents) -> Origin:
    """Return where sources are from, given as a workspace reads them; nothing where git has no answer.

    With a change that is not committed they are those of no revision.
    """
    try:
        repository = find_repository(root, environ)
        address = repository.ask("config", "--get", "remote.origin.url").decode(errors="replace").strip()
    except BuildsysError:
        address = ""
    try:
        with open_revision(root, "HEAD", environ) as head:
            equal = head.tree() == tree and head.contents(contents) == contents
            revision = _commit(repository, "HEAD") if equal else ""
    except BuildsysError:
        revision = ""
    return Origin(source=public_address(address), revision=revision)


def public_address(address: str) -> str:
    """Return a remote's address as a URL that anybody may read, without credentials; empty for a path."""
    if match := _SCP.fullmatch(address):
        return f"https://{match[1]}/{match[2]}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "ssh", "git") or not host:
        return ""
    scheme = parts.scheme if parts.scheme in ("http", "https") else "https"
    place = f"[{host}]" if ":" in host else host
    return f"{scheme}://{place}{f':{port}' if port and scheme == parts.scheme else ''}{parts.path}"


@contextlib.contextmanager
def open_revision(root: Path, revision: str, environ: Mapping[str, str]) -> Iterator[Revision]:
    """Give a revision of the project at `root`.

    Raises `ShallowClone` where only a deeper clone could have it, `InvalidInput` where there is no such revision or
    where git would take a folder of the project for the repository, `Unavailable` without git or where git refuses.
    """
    repository = find_repository(root, environ)
    commit = _commit(repository, revision)
    # With the slash a file of that name is none.
    tree = repository.object(f"{commit}:{repository.prefix}/" if repository.prefix else f"{commit}^{{tree}}")
    if tree is None:
        raise InvalidInput([Diagnostic(message=f"the revision `{revision}` has no folder `{repository.prefix}`")])
    with _opened(repository, tree) as found:
        yield found


@contextlib.contextmanager
def fetched_revision(address: str, revision: str, environ: Mapping[str, str]) -> Iterator[tuple[str, Revision]]:
    """Give the commit that a revision of the repository at an address is, and that revision. Raises as `fetch` does."""
    with tempfile.TemporaryDirectory(prefix="buildsys-") as folder:
        repository = fetch(address, revision, Path(folder), environ)
        commit = _commit(repository, "FETCH_HEAD")
        with _opened(repository, f"{commit}^{{tree}}") as found:
            yield commit, found


@contextlib.contextmanager
def _opened(repository: Repository, tree: str) -> Iterator[Revision]:
    entries = dict(repository.entries(tree))
    with repository.objects() as objects:
        yield Revision(entries=entries, paths=sorted(entries), objects=objects)


def _commit(repository: Repository, revision: str) -> str:
    hint = "name a branch, tag or commit that `git log` shows, such as `HEAD~1`"
    unknown = InvalidInput([Diagnostic(message=f"git has no revision `{revision}`", hint=hint)])
    if revision.startswith("-"):
        # Git would take it for an option.
        raise unknown
    found = repository.revision(revision)
    if found is None:
        if repository.ask("rev-parse", "--is-shallow-repository").strip() == b"true":
            raise ShallowClone(
                f"`{revision}` is not in this shallow clone",
                hint="deepen it: `git fetch --unshallow`, or `fetch-depth: 0` in a CI's checkout",
            )
        raise unknown
    commit = repository.object(f"{found}^{{commit}}")
    if commit is None:
        kind = repository.ask("cat-file", "-t", found).decode().strip()
        hint = "name a commit, a branch or a tag"
        raise InvalidInput([Diagnostic(message=f"`{revision}` is a {kind}, not a commit", hint=hint)])
    return commit
