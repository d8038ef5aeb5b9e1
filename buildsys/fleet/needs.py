"""Which manifests of a registry something needs: decided by digest, from what was read of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from buildsys.fleet.durations import RECORD
from buildsys.fleet.history import HISTORY
from buildsys.fleet.use import USED
from buildsys.image_tests.records import TESTS
from buildsys.inventory.shelf import INVENTORY
from buildsys.names import KEY_LABEL, NODES, is_own_tag
from buildsys.oci.artifacts import TIME, subject_of, time_of
from buildsys.oci.reference import Descriptor, Manifest, Reference, is_digest
from buildsys.run.store import read_inputs
from buildsys.values import dataclass

DAY = 86400.0
_KEY = re.compile(r"[0-9a-f]{64}")
# That of an environment on a stack unless a person gives one.
_DEFAULT_TAG = "latest"
# What is about one manifest, which it is kept and deleted with.
_ABOUT = frozenset(each.manifest for each in (INVENTORY, RECORD, TESTS, TIME))

Place = tuple[str, str]
"""A repository, with its registry, and a digest in it."""


class Kind(StrEnum):
    """What a manifest is, in the order of deletion: what names a manifest goes before it, what dates it after it."""

    INDEX = "index"
    IMAGE = "image"
    NODE = "node"
    CACHE = "cache"
    RECORD = "record"
    HISTORY = "history"
    FOREIGN = "foreign"


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """What is kept with everything that it was built from: keys, digests, and the targets whose caches are kept."""

    keys: frozenset[str]
    digests: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A manifest in a repository with all of its tags; `reference` has its digest.

    `images` are the manifests that an index names, as far as they can be read.
    """

    reference: Reference
    kind: Kind
    tags: tuple[str, ...]
    manifest: Manifest
    images: tuple[Manifest, ...] = ()

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.reference.name, self.manifest.descriptor.digest

    @property
    def in_nodes(self) -> bool:
        """Whether it is in the repository of nodes, whose tags are keys."""
        return self.reference.repository.rpartition("/")[2] == NODES

    @property
    def subject(self) -> Place:
        """What it is about, for a record."""
        return self.reference.name, subject_of(self.manifest)[1]


Entries = Mapping[Place, Entry]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What is unneeded, what would be but for its unknown time, and the bytes of what nothing that is kept names.

    `times` are the seconds since 1970 when manifests were written, as far as that is known.
    """

    unneeded: tuple[Entry, ...]
    undated: tuple[Entry, ...]
    kept: int
    size: int
    times: Mapping[Place, float]


def kind_of(reference: Reference, manifest: Manifest, cache: Reference | None) -> Kind:
    """Return what a manifest is; `cache` is the repository of caches. What carries no key of buildsys is foreign."""
    document, _ = subject_of(manifest)
    if document in _ABOUT:
        return Kind.RECORD
    if document == HISTORY.manifest:
        return Kind.HISTORY
    if cache is not None and reference.name == cache.name:
        return Kind.CACHE
    if KEY_LABEL not in dict(manifest.annotations):
        return Kind.FOREIGN
    if manifest.manifests:
        return Kind.INDEX
    return Kind.NODE if reference.repository.rpartition("/")[2] == NODES else Kind.IMAGE


def judge(entries: Entries, roots: Roots, *, days: int, now: float, times: Mapping[Place, float]) -> Judged:
    """Return which of some manifests are unneeded at a time in seconds since 1970.

    An image of an environment is kept for `days` after its last use; nothing that is younger than a day is unneeded,
    nor what it names, and what has no time counts as young. `times` are those of an earlier look: what was deleted
    since may have dated something else.
    """
    times = {**times, **_times(entries)}
    used = {
        each.subject: time_of(each.manifest.annotations) or 0.0
        for each in entries.values()
        if each.kind is Kind.RECORD and any(tag.startswith(USED) for tag in each.tags)
    }
    recent = {place for place, at in used.items() if at >= now - days * DAY}
    chosen = recent | {place for place, each in entries.items() if _is_root(each, roots, used)}
    young = {place for place in entries if times.get(place, now) >= now - DAY}
    needed, kept = _closure(entries, chosen), _closure(entries, chosen | young)
    unneeded = [each for place, each in entries.items() if place not in kept]
    left = {blob.digest for place in kept for blob in _blobs(entries[place])}
    freed = {blob.digest: blob.size for each in unneeded for blob in _blobs(each) if blob.digest not in left}
    order = list(Kind)
    unneeded.sort(key=lambda each: (order.index(each.kind), each.reference.name, each.tags))
    return Judged(
        unneeded=tuple(unneeded),
        undated=tuple(each for place, each in entries.items() if place not in needed and place not in times),
        kept=len(kept),
        size=sum(freed.values()),
        times=times,
    )


def _times(entries: Entries) -> dict[Place, float]:
    """Return when manifests were written: by themselves, by the records about them and by the indexes that name them.

    What none of these says is missing.
    """
    times: dict[Place, float] = {}
    for place, entry in entries.items():
        at = time_of(entry.manifest.annotations)
        if at is None:
            continue
        about = [entry.subject] if entry.kind is Kind.RECORD else []
        for each in (place, *about, *((place[0], child.digest) for child in entry.manifest.manifests)):
            times[each] = max(at, times.get(each, 0.0))
    return times


def _is_root(entry: Entry, roots: Roots, used: Mapping[Place, float]) -> bool:
    """Whether something is kept for its own sake, however old it is."""
    if entry.kind in (Kind.HISTORY, Kind.FOREIGN) or entry.place[1] in roots.digests:
        return True
    if entry.kind is Kind.RECORD:
        return False
    if entry.kind is Kind.CACHE:
        return not roots.targets.isdisjoint(entry.tags)
    return any(_keeps(tag, entry, roots, is_environment=entry.place in used) for tag in entry.tags)


def _keeps(tag: str, entry: Entry, roots: Roots, *, is_environment: bool) -> bool:
    """Whether a tag keeps what it names."""
    if entry.in_nodes and _KEY.fullmatch(tag):
        return tag in roots.keys
    if is_own_tag(tag):
        return entry.kind in (Kind.INDEX, Kind.IMAGE) and tag.partition("-")[2] in roots.keys
    return not (is_environment and tag == _DEFAULT_TAG)


def _closure(entries: Entries, chosen: Iterable[Place]) -> set[Place]:
    """Return some places, and those of everything that they name, that they were built from, and that is about them."""
    nodes: dict[str, list[Place]] = {}
    records: dict[str, list[Entry]] = {}
    for place, each in entries.items():
        if each.kind is Kind.NODE:
            for key in filter(_KEY.fullmatch, each.tags):
                nodes.setdefault(key, []).append(place)
        elif each.kind is Kind.RECORD:
            records.setdefault(each.subject[1], []).append(each)
    found, waiting = set[Place](), list(chosen)
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        found.add(place)
        # Also about an image that has no tag of its own.
        waiting += [each.place for each in records.get(place[1], ()) if each.place[0] == place[0]]
        if place not in entries:
            continue
        manifest = entries[place].manifest
        waiting += [(place[0], child.digest) for child in manifest.manifests]
        for value in (read_inputs(manifest) or {}).values():
            waiting += nodes.get(value, ())
            if is_digest(value):
                # The inventory of a parent image is beside the nodes.
                waiting += [each.place for each in records.get(value, ()) if each.in_nodes]
    return found & entries.keys()


def _blobs(entry: Entry) -> Iterator[Descriptor]:
    """Yield what a registry has for a manifest and the images that it names, the manifests themselves too."""
    yield entry.manifest.descriptor
    yield from entry.manifest.blobs
    yield from entry.manifest.manifests
    for image in entry.images:
        yield from image.blobs
