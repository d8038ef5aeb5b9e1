"""How images get from one registry to others: by digest, and each missing blob once, mounted where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace

from buildsys.oci.artifacts import pieces
from buildsys.oci.client import ImageRegistry, ask_many, in_threads, missing_parts
from buildsys.oci.http import NotFound, RateLimited, RegistryProblem, ServerError, UnexpectedAnswer, Unreachable
from buildsys.oci.reference import Descriptor, Manifest, Reference
from buildsys.values import dataclass

# Of these a registry says of everything else that it is asked for what it said of one.
_OF_THE_HOST = (Unreachable, ServerError, RateLimited)


class Stopped(RegistryProblem):
    """A copy that is missing because the run was stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A manifest to be copied, of an image, an index or a document: `source` has its digest, `target` a tag.

    `child_tag` returns the tag that an image of an index gets; a registry may delete one that has none.
    """

    source: Reference
    target: Reference
    child_tag: Callable[[Descriptor], str | None] = lambda _: None

    @property
    def result(self) -> Reference:
        """What the copy is when it exists."""
        assert self.source.digest
        return self.target.with_digest(self.source.digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What copying came to: why each target that lacks something lacks it; the blobs, and the bytes that were sent."""

    problems: Mapping[Reference, RegistryProblem] = field(default_factory=dict)
    mounted: int = 0
    sent: int = 0
    size: int = 0


def lacking(
    registry: ImageRegistry, copies: Iterable[Copy], *, verify: bool = False
) -> tuple[tuple[Copy, ...], Mapping[Reference, RegistryProblem]]:
    """Return the copies that do not exist, and why it is not known of some; `verify` looks up every blob.

    One request for each; a tag that names something else counts as missing.
    """
    wanted = {each.target: each for each in copies}
    found = ask_many(wanted, registry.head, ends=lambda problem: isinstance(problem, _OF_THE_HOST))
    problems = {target: each for target, each in found.items() if isinstance(each, RegistryProblem)}
    missing = []
    for target, copy in wanted.items():
        held = found[target]
        if isinstance(held, RegistryProblem):
            continue
        is_there = held is not None and held.digest == copy.source.digest
        if not is_there or (verify and missing_parts(registry, copy.result)):
            missing.append(copy)
    return tuple(missing), problems


def copy_all(
    registry: ImageRegistry,
    copies: Iterable[Copy],
    *,
    beside: Iterable[Reference] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> Copied:
    """Make copies, blobs first and tags last, and return what they came to; one that fails does not stop the others.

    A blob is mounted from a repository of the target's host that has it: one of these copies, the source, or an image
    of `beside`, which are read only if a blob is missing. Blobs that the target has are neither mounted nor sent.
    Nothing more is begun once `stopped` holds.
    """
    return _Work(registry=registry, stopped=stopped).run(tuple(copies), tuple(beside))


@dataclass(kw_only=True, slots=True)
class _Blob:
    """A blob for one host, the repository that it comes from, and those that it goes to."""

    descriptor: Descriptor
    source: Reference
    targets: list[Reference] = field(default_factory=list)
    missing: list[Reference] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class _Work:
    """Copies several images; `known` is a repository for a blob by host and digest, `ended` are hosts given up."""

    registry: ImageRegistry
    stopped: Callable[[], bool]
    known: dict[tuple[str, str], Reference] = field(default_factory=dict)
    ended: dict[str, RegistryProblem] = field(default_factory=dict)

    def run(self, copies: tuple[Copy, ...], beside: tuple[Reference, ...]) -> Copied:
        problems: dict[Reference, RegistryProblem] = {}
        manifests: dict[Reference, tuple[Manifest, ...]] = {}
        for copy, read in zip(copies, in_threads(self._read, copies), strict=True):
            if isinstance(read, RegistryProblem):
                problems[copy.target] = read
            else:
                manifests[copy.target] = read
        copies = tuple(each for each in copies if each.target in manifests)
        blobs = list(_blobs(copies, manifests).values())
        unknown: dict[tuple[str, str], RegistryProblem] = {}
        for found in in_threads(self._look, blobs):
            unknown |= found
        if any(each.missing and (each.missing[0].host, each.descriptor.digest) not in self.known for each in blobs):
            self._learn(beside)
        filled = in_threads(self._fill, [each for each in blobs if each.missing])
        failed = unknown | {place: problem for each in filled for place, problem in each[1].items()}

        def finish(copy: Copy) -> RegistryProblem | None:
            names = [each.digest for one in manifests[copy.target] for each in one.blobs]
            lost = next((failed[place] for each in names if (place := (copy.target.name, each)) in failed), None)
            return lost or self._finish(copy, manifests[copy.target])

        for copy, problem in zip(copies, in_threads(finish, copies), strict=True):
            problems |= {copy.target: problem} if problem else {}
        done = [each[0] for each in filled]
        return Copied(
            problems=problems,
            mounted=sum(each.mounted for each in done),
            sent=sum(each.sent for each in done),
            size=sum(each.size for each in done),
        )

    def _ask(self, host: str, action: Callable[[], None]) -> RegistryProblem | None:
        """Do something at a host, and return its problem; one that was given up is not asked."""
        if self.stopped():
            return Stopped("the run was stopped", host=host)
        if host in self.ended:
            return self.ended[host]
        try:
            action()
        except RegistryProblem as problem:
            if isinstance(problem, _OF_THE_HOST):
                self.ended[problem.host] = problem
            return problem
        return None

    def _read(self, copy: Copy) -> tuple[Manifest, ...] | RegistryProblem:
        """Return the manifests of what is copied, those that an index names before it."""
        found: list[Manifest] = []

        def read() -> None:
            found.extend(_with_children(self.registry, copy.source))

        return self._ask(copy.source.host, read) or tuple(found)

    def _look(self, blob: _Blob) -> dict[tuple[str, str], RegistryProblem]:
        """Find out which targets lack a blob, and return why that is not known of some."""
        digest, size = blob.descriptor.digest, blob.descriptor.size
        problems = {}
        for target in blob.targets:

            def look(target: Reference = target) -> None:
                if self.registry.blob_exists(target, digest, size):
                    self.known[target.host, digest] = target
                else:
                    blob.missing.append(target)

            if problem := self._ask(target.host, look):
                problems[target.name, digest] = problem
        return problems

    def _learn(self, beside: tuple[Reference, ...]) -> None:
        """Read which blobs other images have; what cannot be read is of no help."""

        def parts(reference: Reference) -> tuple[Manifest, ...]:
            return tuple(_with_children(self.registry, reference))

        found = ask_many(beside, parts, ends=lambda problem: isinstance(problem, _OF_THE_HOST))
        for reference, answer in found.items():
            for manifest in () if answer is None or isinstance(answer, RegistryProblem) else answer:
                for blob in manifest.blobs:
                    self.known.setdefault((reference.host, blob.digest), reference)

    def _fill(self, blob: _Blob) -> tuple[Copied, dict[tuple[str, str], RegistryProblem]]:
        """Give a blob to the targets that lack it, and return what was done and what failed."""
        digest, done, problems = blob.descriptor.digest, Copied(), {}
        for target in blob.missing:

            def fill(target: Reference = target) -> None:
                nonlocal done
                own = blob.source if blob.source.host == target.host else None
                held = self.known.get((target.host, digest), own)
                if held is not None and self.registry.mount_blob(target, digest, held):
                    done = replace(done, mounted=done.mounted + 1)
                else:
                    self.registry.send_blob(target, digest, lambda: self._pieces(blob))
                    done = replace(done, sent=done.sent + 1, size=done.size + blob.descriptor.size)
                self.known[target.host, digest] = target

            if problem := self._ask(target.host, fill):
                problems[target.name, digest] = problem
        return done, problems

    def _pieces(self, blob: _Blob) -> Iterator[bytes]:
        for piece in pieces(self.registry, blob.source, blob.descriptor):
            if self.stopped():
                raise Stopped("the run was stopped", host=blob.source.host)
            yield piece

    def _finish(self, copy: Copy, manifests: tuple[Manifest, ...]) -> RegistryProblem | None:
        """Write the manifests of a copy whose blobs exist, each with its tag."""
        whole = manifests[-1]
        tags = {each.digest: copy.child_tag(each) for each in whole.manifests}

        def write() -> None:
            for each in manifests[:-1]:
                digest = each.descriptor.digest
                tag = tags.get(digest)
                place = copy.target.with_tag(tag) if tag else copy.target.with_digest(digest)
                self.registry.put_manifest(place, each.raw, each.descriptor.media_type)
            self.registry.put_manifest(copy.target, whole.raw, whole.descriptor.media_type)

        return self._ask(copy.target.host, write)


def _with_children(registry: ImageRegistry, reference: Reference) -> Iterator[Manifest]:
    """Yield the manifests that an index names, and then its own; raises `RegistryProblem`, also for a missing one."""
    found = registry.manifest(reference)
    for child in found.manifests if found else ():
        inner = registry.manifest(reference.with_digest(child.digest))
        if inner is None or inner.manifests:
            what = "does not exist" if inner is None else "is an index in an index"
            message = f"`{reference.with_digest(child.digest)}` {what}, so it cannot be copied"
            raise UnexpectedAnswer(message, host=reference.host)
        yield inner
    if found is None:
        raise NotFound(f"`{reference}` does not exist, so it cannot be copied", host=reference.host, status=404)
    yield found


def _blobs(
    copies: Iterable[Copy], manifests: Mapping[Reference, tuple[Manifest, ...]]
) -> Mapping[tuple[str, str], _Blob]:
    found: dict[tuple[str, str], _Blob] = {}
    for copy in copies:
        for blob in (each for one in manifests[copy.target] for each in one.blobs):
            place = (copy.target.host, blob.digest)
            targets = found.setdefault(place, _Blob(descriptor=blob, source=copy.source)).targets
            if copy.target.name not in {each.name for each in targets}:
                targets.append(copy.target)
    return found
