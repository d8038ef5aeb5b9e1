"""What an origin offers to a project: files of layers, what they require, entries of the lock, and what differs."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from types import MappingProxyType
from typing import TypeVar

from buildsys.config.catalog import layers_of
from buildsys.config.lockfile import Lock, LockedLayer, parse_lock
from buildsys.config.model import LINK, File
from buildsys.errors import Diagnostic, InvalidInput, did_you_mean, enumerated
from buildsys.names import LOCK_FILE, UNBUILT
from buildsys.plan.epochs import next_epoch
from buildsys.project.origins import Library, OpenOrigin
from buildsys.project.placement import Files, NewFile
from buildsys.recipes import template
from buildsys.recipes.fields import LOCKED
from buildsys.recipes.recipe import Layer

V = TypeVar("V")
IGNORE_FILE = ".dockerignore"
IGNORED = "# For people and for tests: no build reads them.\n" + "".join(f"{name}\n" for name in UNBUILT)
"""The rules that keep plain bake from copying what `buildsys bake` does not copy."""
# A longer text is compared as a whole.
_LONGEST_TEXT = 1 << 20


class Offer:
    """The layers that an open origin has, and what a project needs of its lock for them."""

    def __init__(self, origin: OpenOrigin) -> None:
        self.origin = origin
        tree = origin.library.tree()
        self.layers, self._problems = layers_of(tree)
        self.lock = parse_lock(tree[LOCK_FILE], f"{origin.origin}: {LOCK_FILE}") if LOCK_FILE in tree else Lock()
        self._files: dict[str, Files] = {}

    def check(self, name: str) -> None:
        """Raise `InvalidInput` unless the origin has a layer that can be copied."""
        if name in self.layers:
            return
        own = f"layers/{name}/"
        wrong = [each for each in self._problems if each.location and each.location.file.startswith(own)]
        if wrong:
            # The files of the origin are not those of the project.
            raise InvalidInput(_elsewhere(each, str(self.origin.origin)) for each in wrong)
        hint = did_you_mean(name, self.layers, f"use one of {enumerated(sorted(self.layers))}")
        raise InvalidInput([Diagnostic(message=f"`{self.origin.origin}` has no layer `{name}`", hint=hint)])

    def files(self, name: str) -> Files:
        """Return the files of a layer, with the `.dockerignore` that plain bake needs."""
        if name not in self._files:
            found = dict(read_files(self.origin.library, name))
            if IGNORE_FILE not in found and any("Dockerfile" in path for path in found):
                found[IGNORE_FILE] = NewFile(data=IGNORED.encode())
            self._files[name] = found
        return self._files[name]

    def entry(self, name: str) -> LockedLayer:
        """Return what the lock says of a layer that is copied."""
        origin, found = self.origin.origin, checksum(contents_of(self.files(name)))
        return LockedLayer(origin=origin.origin, ref=origin.ref, revision=self.origin.revision, sha256=found)

    def required(self, names: Sequence[str], taken: Collection[str], present: Collection[Layer]) -> tuple[str, ...]:
        """Return the layers that layers require, but for names that are taken, in the order of need.

        `present` are the layers of the project, which may provide a name. Raises `InvalidInput` for what the origin
        lacks, and for a name that several of its layers provide.
        """
        chosen = {name: self.layers[name] for name in names}
        provided: dict[str, str] = {}
        waiting = [*names]
        while waiting or provided:
            if waiting:
                layer = chosen[waiting.pop(0)]
                needed = [name for name in needs(layer) if name not in {*chosen, *taken}]
                provided |= {name: layer.name for name in needed if name not in self.layers}
                found = [name for name in needed if name in self.layers]
            else:
                # Last, because a layer that is wanted anyway may provide it.
                name, user = provided.popitem()
                others = (*chosen.values(), *present)
                found = [] if _providers(name, others) else [self._provider(name, user)]
            chosen |= {name: self.layers[name] for name in found}
            waiting += found
        return tuple(name for name in chosen if name not in names)

    def _provider(self, name: str, user: str) -> str:
        """Return the only layer that provides a name."""
        found = _providers(name, self.layers.values())
        if not found:
            self.check(name)
        if len(found) == 1:
            return found[0]
        message = f"`{user}` requires `{name}`, which no layer of this project provides"
        hint = f"add one of {enumerated(found)} too, such as `buildsys add {found[0]} {user}`"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])

    def added_to(self, lock: Lock, names: Iterable[str], today: date) -> Lock:
        """Return a lock with the entries that copied layers need; those that it has for parents and epochs stay."""
        layers = [self.layers[name] for name in names]
        recipes = [recipe for layer in layers for recipe in layer.recipes.values()]
        parents = [recipe.parent.name for recipe in recipes if recipe.parent]
        downloads = [each for r in recipes for variants in r.downloads.values() for each in variants]
        urls = [each.url for each in downloads if each.sha256 in (None, LOCKED)]
        fresh = {recipe.layer for recipe in recipes if recipe.freshness}
        epochs = {name: next_epoch(self.lock.epochs.get(name), today) for name in fresh}
        return replace(
            lock,
            timestamp=self.lock.timestamp if lock.timestamp is None else lock.timestamp,
            parents=MappingProxyType({**_matching(self.lock.parents, parents), **lock.parents}),
            epochs=MappingProxyType({**epochs, **lock.epochs}),
            downloads=MappingProxyType({**_matching(self.lock.downloads, urls), **lock.downloads}),
            layers=MappingProxyType({**lock.layers, **{layer.name: self.entry(layer.name) for layer in layers}}),
        )


def _elsewhere(found: Diagnostic, origin: str) -> Diagnostic:
    assert found.location is not None
    return replace(found, location=replace(found.location, file=f"{origin}: {found.location.file}"))


def _matching(entries: Mapping[str, V], templates: Iterable[str]) -> dict[str, V]:
    """Return the entries whose names are what templates may become."""
    forms = [re.escape(template.sample(each, "\0")).replace(re.escape("\0"), ".+") for each in templates]
    return {name: entry for name, entry in entries.items() if any(re.fullmatch(form, name) for form in forms)}


def needs(layer: Layer) -> tuple[str, ...]:
    """Return the layers, and the names that layers provide, without which a layer cannot be planned."""
    found: dict[str, None] = {}
    for recipe in layer.recipes.values():
        toolchain = (recipe.toolchain.layer,) if recipe.toolchain else ()
        found |= dict.fromkeys((*recipe.requires, *toolchain))
    return tuple(found)


def _providers(name: str, layers: Iterable[Layer]) -> list[str]:
    return sorted({layer.name for layer in layers if name in layer.provides})


def read_files(library: Library, name: str) -> Files:
    """Return the files of a layer in a library."""
    folder = f"layers/{name}"
    found = {}
    for path, file in library.contents([folder])[folder].items():
        if file.content.startswith(LINK):
            found[path] = NewFile(data=file.content.removeprefix(LINK).encode(), is_link=True)
        else:
            found[path] = NewFile(data=library.data(f"{folder}/{path}"), executable=file.executable)
    return found


def contents_of(files: Files) -> Mapping[str, File]:
    """Return new files as a workspace would read them."""
    return {
        path: File(content=f"{LINK}{file.data.decode()}")
        if file.is_link
        else File(content=f"sha256:{hashlib.sha256(file.data).hexdigest()}", executable=file.executable)
        for path, file in files.items()
    }


def checksum(files: Mapping[str, File]) -> str:
    """Return the checksum of a layer's files: their paths, what they hold, and which of them can be run."""
    listed = [[path, file.content, file.executable] for path, file in sorted(files.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def difference(folder: str, before: Files, after: Files, title: str) -> str:
    """Return a unified diff of the files of a folder, in the order of their paths."""
    parts = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        name = f"{folder}/{path}"
        lines_before, lines_after = _lines(old), _lines(new)
        if lines_before is None or lines_after is None:
            parts.append(f"{name} differs\n")
            continue
        ends = ("/dev/null" if old is None else name, "/dev/null" if new is None else f"{name} ({title})")
        lines = [*difflib.unified_diff(lines_before, lines_after, *ends)]
        # Two files of one text are not equal: one of them can be run, or is a symlink.
        parts += [line if line.endswith("\n") else f"{line}\n" for line in lines] or [f"{name} has a different mode\n"]
    return "".join(parts)


def _lines(file: NewFile | None) -> list[str] | None:
    """Return the lines of a file, none of one that does not exist; None where it is no text, or a long one."""
    if file is None:
        return []
    if len(file.data) > _LONGEST_TEXT:
        return None
    try:
        return file.data.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
