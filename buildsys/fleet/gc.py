"""How what nothing needs is deleted from a registry, by digest, while others publish to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import TypeVar

from buildsys.errors import InvalidInput, Unavailable
from buildsys.fleet.needs import Entries, Entry, Judged, Kind, Place, Roots, judge, kind_of
from buildsys.names import NODES, is_own_tag
from buildsys.oci.artifacts import put_time
from buildsys.oci.client import ListedRegistry, ask_many, in_threads
from buildsys.oci.http import DigestMismatch, RegistryProblem, Unauthorized, UnreadableManifest
from buildsys.oci.reference import Manifest, Reference
from buildsys.values import dataclass

_SEEN = "seen-"
# How a registry answers that has no catalog, in addition to 404 and to what is Unauthorized.
_NO_CATALOG = (400, 405, 501)
_NO_DELETION = 405
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was found, and what was done: `restored` was needed again while it was deleted."""

    found: Judged
    deleted: tuple[Entry, ...] = ()
    restored: tuple[Entry, ...] = ()
    has_catalog: bool = True


@dataclass(kw_only=True, slots=True)
class Collector:
    """Looks for what nothing needs below a prefix of a registry, and in a repository of caches.

    `roots` is called before each step: what is kept may change meanwhile. `repositories` are those that are known, for
    a registry without a catalog. `days` and `now` are those of `judge`.
    """

    registry: ListedRegistry
    prefix: str
    roots: Callable[[], Roots]
    repositories: frozenset[str]
    days: int
    now: float
    cache: Reference | None = None
    _known: dict[str, Manifest] = field(default_factory=dict)
    _times: Mapping[Place, float] = field(default_factory=dict)
    _has_catalog: bool = True

    def run(self, *, delete: bool) -> Collected:
        """Return what is unneeded; with `delete` delete it, and record when what has no time was first seen.

        What is needed by a time is put back: a run may have begun to use what it then lost. Raises `Unavailable` for a
        registry that does not allow deletion, and `RegistryProblem`.
        """
        entries = self._survey()
        found = self._judge(entries)
        result = Collected(found=found, has_catalog=self._has_catalog)
        if not delete:
            return result
        self._keep_times(found, entries)
        wanted = {each.place for each in found.unneeded}
        deleted, restored = dict[Place, Entry](), dict[Place, Entry]()
        # Records of what goes are written by this run too.
        for kind in dict.fromkeys([*(each.kind for each in found.unneeded), Kind.RECORD]) if wanted else ():
            entries = self._survey()
            held = _tags(entries)
            restored |= self._restore(deleted, entries)
            for entry in self._judge(entries).unneeded:
                is_wanted = entry.place in wanted or kind is Kind.RECORD
                if entry.kind is kind and is_wanted and not self._has_new_tag(entry, held):
                    self._delete(entry)
                    deleted[entry.place] = entry
        restored |= self._restore(deleted, self._survey()) if deleted else {}
        for entry in found.undated:
            self._write_time(entry, self.now)
        gone = tuple(each for place, each in deleted.items() if place not in restored)
        return replace(result, deleted=gone, restored=tuple(restored.values()))

    def _judge(self, entries: Entries) -> Judged:
        found = judge(entries, self.roots(), days=self.days, now=self.now, times=self._times)
        self._times = found.times
        return found

    def _keep_times(self, found: Judged, entries: Entries) -> None:
        """Record the times of images that only their indexes have: these are deleted first, by a run that may end."""
        dated = {each.subject for each in entries.values() if each.kind is Kind.RECORD}
        for entry in found.unneeded:
            if entry.kind is Kind.IMAGE and entry.place not in dated:
                self._write_time(entry, found.times[entry.place])

    def _write_time(self, entry: Entry, seconds: float) -> None:
        tag = f"{_SEEN}{entry.place[1].partition(':')[2]}"
        put_time(self.registry, entry.reference.with_tag(tag), entry.manifest.descriptor, seconds)

    def _survey(self) -> Entries:
        """Return all manifests that have a tag, as far as they can be read: what cannot is not deleted."""
        repositories = self._repositories()
        listed = in_threads(self.registry.tags, repositories)
        pairs = [(each.name, tag) for each, tags in zip(repositories, listed, strict=True) for tag in tags]
        tagged = list(filter(None, (_reference(f"{name}:{tag}") for name, tag in pairs)))
        names: dict[Reference, list[str]] = {}
        for reference, head in _readable(ask_many(tagged, self.registry.head, ends=_ends)).items():
            names.setdefault(reference.with_digest(head.digest), []).append(reference.target)
        self._read(names)
        found = {each: manifest for each in names if (manifest := self._known.get(each.target))}
        kinds = {each: kind_of(each, manifest, self.cache) for each, manifest in found.items()}
        # The blobs of images without a tag of their own count as kept too.
        indexes = [each for each, kind in kinds.items() if kind is not Kind.CACHE]
        self._read(each.with_digest(child.digest) for each in indexes for child in found[each].manifests)
        entries = [
            Entry(
                reference=each,
                kind=kinds[each],
                tags=tuple(sorted(names[each])),
                manifest=manifest,
                images=tuple(self._known[one.digest] for one in manifest.manifests if one.digest in self._known),
            )
            for each, manifest in found.items()
        ]
        return {each.place: each for each in entries}

    def _read(self, references: Iterable[Reference]) -> None:
        new = {each.target: each for each in references if each.target not in self._known}
        for reference, manifest in _readable(ask_many(new.values(), self.registry.manifest, ends=_ends)).items():
            self._known[reference.target] = manifest

    def _repositories(self) -> list[Reference]:
        nodes = Reference.parse(f"{self.prefix}/{NODES}")
        below = nodes.repository.removesuffix(NODES)
        try:
            names = {name for name in self.registry.repositories(nodes) if name.startswith(below)}
        except RegistryProblem as problem:
            if not isinstance(problem, Unauthorized) and problem.status not in _NO_CATALOG:
                raise
            names = set()
        self._has_catalog = bool(names)
        names |= {f"{below}{name}" for name in self.repositories}
        found = [*(_reference(f"{nodes.host}/{name}") for name in names), self.cache]
        return [each for _, each in sorted({each.name: each for each in found if each}.items())]

    def _has_new_tag(self, entry: Entry, held: frozenset[tuple[str, str]]) -> bool:
        """Whether an image got a tag since the last look, or an index that names it: all tags go with a digest.

        `held` are the tags of that look; only public ones move.
        """
        if entry.kind not in (Kind.INDEX, Kind.IMAGE):
            return False
        name, digest = entry.place
        tags = {tag for tag in self.registry.tags(entry.reference) if not (is_own_tag(tag) and (name, tag) in held)}
        places = [_reference(f"{name}:{tag}") for tag in sorted(tags - {*entry.tags})]
        heads = _readable(ask_many(filter(None, places), self.registry.head, ends=_ends))
        found = [place.with_digest(head.digest) for place, head in heads.items()]
        self._read(found)
        images = [self._known[each.target].manifests for each in found if each.target in self._known]
        return digest in {each.target for each in found} | {child.digest for each in images for child in each}

    def _delete(self, entry: Entry) -> None:
        try:
            self.registry.delete(entry.reference)
        except RegistryProblem as problem:
            if problem.status != _NO_DELETION:
                raise
            raise Unavailable(
                f"registry `{problem.host}` does not allow deletion",
                hint="start docker-registry with `REGISTRY_STORAGE_DELETE_ENABLED=true`; other registries have a "
                "setting of their own",
            ) from problem

    def _restore(self, deleted: Entries, entries: Entries) -> Entries:
        """Put back what was deleted and is needed by now, and return it; its blobs are still there."""
        held = _tags(entries)
        lost = {
            place: replace(each, tags=tuple(tag for tag in each.tags if (place[0], tag) not in held))
            for place, each in deleted.items()
            if place not in entries
        }
        unneeded = {each.place for each in self._judge({**lost, **entries}).unneeded} if lost else set()
        back = {place: each for place, each in lost.items() if place not in unneeded}
        order = list(Kind)
        for entry in sorted(back.values(), key=lambda each: -order.index(each.kind)):
            for target in [entry.reference.with_tag(tag) for tag in entry.tags] or [entry.reference]:
                self.registry.put_manifest(target, entry.manifest.raw, entry.manifest.descriptor.media_type)
        return back


def _tags(entries: Entries) -> frozenset[tuple[str, str]]:
    """Return all tags with their repositories."""
    return frozenset((place[0], tag) for place, each in entries.items() for tag in each.tags)


def _reference(text: str) -> Reference | None:
    """Return what a registry lists as a reference, None where it has a name that no registry may give."""
    try:
        return Reference.parse(text)
    except InvalidInput:
        return None


def _ends(problem: RegistryProblem) -> bool:
    return not isinstance(problem, DigestMismatch | UnreadableManifest)


def _readable(answers: Mapping[Reference, T | RegistryProblem | None]) -> dict[Reference, T]:
    """Return what exists and can be read; raises the first problem of another kind."""
    found: dict[Reference, T] = {}
    for reference, answer in answers.items():
        if isinstance(answer, RegistryProblem):
            if _ends(answer):
                raise answer
        elif answer is not None:
            found[reference] = answer
    return found
