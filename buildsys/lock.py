"""What `buildsys.lock` says: the digests of parent images and the freshness epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.errors import InvalidInput, Mistake, Place
from buildsys.source import Data, Source, read

LOCK_FILE = "buildsys.lock"
OVERLAY_FILE = "buildsys.lock.local"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedParent:
    """A parent image: `reference` has no digest; `digest` is None where it is unknown, `reason` says why."""

    reference: str
    digest: str | None
    reason: str | None = None
    local: bool = False

    @property
    def pinned(self) -> str:
        """The reference with its digest, if that is known, and then without its tag, which says less."""
        if self.digest is None:
            return self.reference
        return f"{_without_tag(self.reference)}@{self.digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The lock of a project; `epochs` maps a layer with `freshness` to the day it was last made fresh."""

    parents: Mapping[str, LockedParent] = field(default_factory=lambda: MappingProxyType({}))
    epochs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def parse_lock(text: str, file: str = LOCK_FILE) -> Lock:
    """Return what a lock file says; raises `InvalidInput` with every mistake."""
    source = read(text, file)
    mistakes: list[Mistake] = []
    data = source.data if isinstance(source.data, dict) else {}
    if data.get("version") != "1":
        message = f"the lock has version `{data.get('version')}`, this buildsys reads version `1`"
        mistakes.append(Mistake(message=message, place=source.place(("version",))))
    parents = {}
    for name, entry in _mapping(data.get("parents")).items():
        found = _parent(name, entry, source, mistakes)
        if found:
            parents[name] = replace(found, local=file == OVERLAY_FILE)
    epochs = {}
    for name, value in _mapping(data.get("epochs")).items():
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            epochs[name] = value
        else:
            message = f"the epoch of `{name}` is not a day such as `2026-01-31`"
            mistakes.append(Mistake(message=message, place=source.place(("epochs", name))))
    for key in data:
        if key not in ("version", "parents", "epochs"):
            mistakes.append(Mistake(message=f"unknown key `{key}`", place=source.key_place((key,))))
    if mistakes:
        raise InvalidInput(mistakes)
    return Lock(parents=MappingProxyType(parents), epochs=MappingProxyType(epochs))


def overlaid(lock: Lock, overlay: Lock) -> Lock:
    """Return the lock with the entries of an overlay in place of its own."""
    return Lock(
        parents=MappingProxyType({**lock.parents, **overlay.parents}),
        epochs=MappingProxyType({**lock.epochs, **overlay.epochs}),
    )


def _parent(name: str, entry: Data, source: Source, mistakes: list[Mistake]) -> LockedParent | None:
    place = source.place(("parents", name))
    fields = _mapping(entry)
    digest, reason = fields.get("digest"), fields.get("reason")
    images = fields.get("images")
    reference = images[0] if isinstance(images, list) and images else fields.get("reference")
    if not isinstance(reference, str) or not isinstance(digest, str):
        message = f"the entry `{name}` needs `images` or a `reference`, and a `digest`"
        mistakes.append(Mistake(message=message, place=place))
        return None
    if digest == "unknown":
        if not isinstance(reason, str):
            message = f"the digest of `{name}` is unknown, and no `reason` says why"
            mistakes.append(Mistake(message=message, place=place))
        return LockedParent(reference=reference, digest=None, reason=str(reason))
    if not _DIGEST.fullmatch(digest):
        message = f"`{digest}` is neither `unknown` nor `sha256:` and 64 hexadecimal digits"
        mistakes.append(Mistake(message=message, place=source.place(("parents", name, "digest"))))
        return None
    return LockedParent(reference=reference, digest=digest, reason=None)


def _mapping(value: Data) -> Mapping[str, Data]:
    return value if isinstance(value, dict) else {}


def _without_tag(reference: str) -> str:
    head, slash, last = reference.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def missing(lock: Lock, names: Mapping[str, Place]) -> tuple[Mistake, ...]:
    """Return a mistake for each parent, given with where it is declared, that the lock has no entry for."""
    return tuple(
        Mistake(message=f"`{LOCK_FILE}` has no entry for the parent `{name}`", place=place)
        for name, place in sorted(names.items())
        if name not in lock.parents
    )
