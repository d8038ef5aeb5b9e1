"""Which paths an artifact owns: its prefixes, or those of its files; and which fields fit no layer of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from buildsys.dockerfile.lint import looks_secret
from buildsys.names import prefix_problem
from buildsys.recipes.parameters import named_by
from buildsys.recipes.recipe import Kind, PlacedFile
from buildsys.recipes.scope import Scope
from buildsys.records.source import Path
from buildsys.texts import excerpt

MOST_FILES = 100
"""Entries of `files`: each may be a step of its build, and kernels stack few file systems more."""
_NOT_OF_FILES = ("prefix", "toolchain", "downloads", "arguments", "freshness")


def check_owned(name: str, scope: Scope, kind: Kind) -> None:
    """Add a diagnostic for each path that a layer cannot own, and for what its kind cannot have."""
    said = scope.said
    if kind is Kind.ARTIFACT and said.packages:
        hint = "remove `packages`: a layer of kind `system`, which this one may require, can have them"
        scope.wrong("an artifact cannot add packages to the system", ("packages",), hint, key=True)
    _check_run(scope, kind)
    for field in ("prefix", "files"):
        if kind is not Kind.ARTIFACT and getattr(said, field):
            message = f"a {kind} layer has no `{field}`, only an artifact owns a path"
            scope.wrong(message, (field,), f"remove `{field}`, or write `kind: artifact`", key=True)
    if kind is Kind.ARTIFACT and not (said.prefix or said.files):
        path = ("flavours", scope.flavour) if scope.flavour else ()
        scope.wrong("an artifact needs a `prefix`", path, f"add `prefix: /opt/{name}`, the path that it owns", key=True)
    elif kind is Kind.ARTIFACT:
        _check_prefixes(name, scope)
        _check_files(name, scope)


def _check_run(scope: Scope, kind: Kind) -> None:
    if kind is not Kind.SYSTEM and scope.said.run:
        hint = "write a Dockerfile, or remove `run`"
        scope.wrong(f"`run` is for layers of kind `system`, and this one is of kind `{kind}`", ("run",), hint, key=True)
    for name, parameter in scope.parameters.items():
        if looks_secret(parameter.argument) and named_by(scope.said.run, [parameter.argument]):
            message = f"the parameter `{name}` looks like a secret, and arguments stay readable in the image's history"
            hint = "write a Dockerfile that mounts a secret; rename a public value, such as `gpg-fingerprint`"
            scope.wrong(message, ("parameters", name), hint, key=True)


def _check_prefixes(name: str, scope: Scope) -> None:
    for index, prefix in enumerate(scope.said.prefix):
        if problem := prefix_problem(prefix, name):
            scope.wrong(problem[0], ("prefix", index), problem[1])
        for other in scope.said.prefix:
            if prefix.startswith(f"{other}/"):
                message = f"`{excerpt(prefix)}` is below the prefix `{excerpt(other)}`, which has it already"
                scope.wrong(message, ("prefix", index), f"remove `{excerpt(prefix)}`")


def owned(files: Iterable[PlacedFile]) -> tuple[str, ...]:
    """Return the prefixes of an artifact of files, sorted: what is in a folder of it needs none of its own."""
    folders = tuple(each.path for each in files if each.is_folder)
    return tuple(sorted(each.place for each in files if not each.path.startswith(_others(each, folders))))


def _others(entry: PlacedFile, folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(folder for folder in folders if folder != entry.path)


def _check_files(name: str, scope: Scope) -> None:
    for field in _NOT_OF_FILES:
        if scope.said.files and getattr(scope.said, field):
            hint = f"remove `{field}`: its paths are those of `files`" if field == "prefix" else f"remove `{field}`"
            scope.wrong(f"an artifact of `files` has no `{field}`, nothing is built for it", (field,), hint, key=True)
    for message, path, better, is_key in file_problems(name, scope.said.files):
        scope.wrong(message, ("files", *path), better, key=is_key)


def file_problems(name: str, entries: Mapping[str, PlacedFile]) -> Iterator[tuple[str, Path, str | None, bool]]:
    """Yield message, path, hint, and whether its key is meant, of each entry of `files` that cannot be as it is."""
    if len(entries) > MOST_FILES:
        message = f"`files` has {len(entries)} entries, expected at most {MOST_FILES}"
        yield message, (), "put files into a folder, and name that by `from`", True
    for path, entry in entries.items():
        shown = excerpt(path)
        if problem := prefix_problem(entry.place, name):
            is_system = problem[0].startswith(f"`{entry.place}` is a folder of the system")
            listed = f"list what is put there, such as `{entry.place}/{name}`"
            yield problem[0], (path,), listed if is_system else problem[1], True
        elif not entry.is_folder and entry.source is None:
            hint = f"add `from: {path.rpartition('/')[2]}`, or write `{shown}/` for an empty folder"
            yield f"the file `{shown}` has no `from`", (path,), hint, True
        elif not entry.is_folder and (inside := next((p for p in entries if p.startswith(f"{path}/")), None)):
            message = f"`{shown}` is a file here, and `{excerpt(inside)}` needs a folder there"
            yield message, (path,), f"write `{shown}/` for a folder, or remove one of them", True
        if {".", ".."} & {*(entry.source or "").split("/")}:
            yield "`from` has `.` or `..`", (path, "from"), "write the path without them", False
