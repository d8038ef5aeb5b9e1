"""How images get from one registry to another for good: with their nodes and what is beside them, by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace

from buildsys.errors import BuildsysError, Diagnostic, InvalidInput, Unavailable
from buildsys.events.events import TestState
from buildsys.fleet.durations import location
from buildsys.fleet.history import Archive, Record
from buildsys.image_tests.declared import declared_tests, tests_digest
from buildsys.image_tests.images import TestedImage, images_of
from buildsys.image_tests.records import RegistryRecords, location_of
from buildsys.inventory.shelf import parent_key
from buildsys.names import KEY_LABEL
from buildsys.oci.client import ask_many
from buildsys.oci.copies import Copied, Copy, copy_all, lacking
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Descriptor, Reference
from buildsys.plan.keys import Keys
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import ImageTarget, Node
from buildsys.run.decision import index_tags
from buildsys.run.index import TagMove, child_tag, move_unheld, tagged
from buildsys.run.inspection import shelf_of
from buildsys.run.store import Existing, Store
from buildsys.values import dataclass

# Returns why the image of a stack, the reference of its index, is not promoted; empty if it may be.
Gate = Callable[[str, Reference], str]
# Returns where documents of the image of a stack may be, in its repository.
Beside = Callable[[str, Reference], Iterable[Reference]]


class Refused(BuildsysError):
    """Images that a gate holds back; nothing was copied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is promoted: targets of a plan with its keys, and other images of the registry as `repository:tag`."""

    plan: Plan
    keys: Keys
    targets: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Promoted:
    """What a registry got: names of images and nodes, tags that moved, why some did not, what is lacking and why."""

    images: tuple[str, ...]
    nodes: int
    documents: int
    copied: int
    tags: tuple[str, ...]
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    mounted: int = 0
    sent: int = 0
    size: int = 0


def promote(
    source: Store,
    target: Store,
    request: Request,
    environ: Mapping[str, str],
    *,
    clock: Callable[[], float],
    gates: Iterable[Gate] = (),
    beside: Beside = lambda _stack, _image: (),
    stopped: Callable[[], bool] = lambda: False,
) -> Promoted:
    """Copy what is requested, with all nodes below it and their documents, and move the public tags there last.

    What exists there is neither sent nor written again. Documents come first, then nodes, then images, so that an image
    has everything that belongs to it whenever this ends. Raises `InvalidInput` for what is not published, `Refused`,
    `RegistryProblem`.
    """
    plan = request.plan
    images = {name: each for name in request.targets if isinstance(each := plan.targets[name], ImageTarget)}
    below = sorted(closure(plan.needs, request.targets), key=plan.order.__getitem__)
    existing = source.existing(plan, request.keys, below)
    others = _others(source, target, request.others)
    _check(source, request, images, existing, gates)
    stacks = {each.stack: each for each in images.values()}
    wanted = {
        name: Copy(
            source=Reference.parse(existing.indexes[name]),
            target=target.index(each.repository, request.keys.indexes[name].key),
            child_tag=child_tag,
        )
        for name, each in stacks.items()
    }
    nodes = {
        name: Copy(
            source=Reference.parse(existing.references[name]), target=target.location(plan.targets[name], request.keys)
        )
        for name in below
        if isinstance(plan.targets[name], Node) and name in existing.references
    }
    tags = index_tags(plan, images, {**environ, "BUILDSYS_REGISTRY": target.prefix})
    seen = tagged(target.registry, (each for own in tags.values() for each in own))
    results = {
        place: wanted[stack].target.with_tag(place.target)
        for stack in stacks
        for place in beside(stack, wanted[stack].source)
    }
    places = {**_document_places(source, target, request, nodes, stacks), **results}
    documents = [
        Copy(source=place.with_digest(each.digest), target=places[place])
        for place, each in ask_many(places, source.registry.head).items()
        if isinstance(each, Descriptor)
    ]
    done: list[Copied] = []
    problems: dict[Reference, RegistryProblem] = {}
    missing: tuple[Copy, ...] = ()
    # Of an image whose tags are to move every part is looked up: a clean-up may have deleted some, or may do so now.
    moving = [
        wanted[each.stack]
        for name, each in images.items()
        if any(seen[tag] != wanted[each.stack].source.digest for tag in tags[name])
    ]
    for group in (documents, [*nodes.values()], [*wanted.values(), *others], moving):
        lost, unknown = lacking(target.registry, group, verify=group is moving)
        known = [each.target for each in nodes.values()] if group and group is not documents else []
        copied = copy_all(target.registry, lost, beside=known, stopped=stopped)
        done.append(copied)
        missing += lost
        problems |= {**unknown, **copied.problems}
    whole = {name: each for name, each in wanted.items() if each.target not in problems}
    moves = {
        name: TagMove(
            stack=each.stack,
            repository=each.repository,
            image=str(whole[each.stack].result),
            tags=tags[name],
            key=request.keys.indexes[each.stack].key,
            reason=f"from {source.prefix}",
        )
        for name, each in images.items()
        if each.stack in whole
    }
    notes: list[str] = []
    moved: tuple[str, ...] = ()
    if not problems and not stopped():
        archive = Archive(registry=target.registry, prefix=target.prefix)
        record = Record(archive=archive, clock=clock, note=notes.append, by="promote")
        moved, failed, held = move_unheld(target.registry, moves, seen, record)
        notes += dict.fromkeys([*held.values(), *map(str, failed.values())])
        try:
            target.remember({name: str(each.result) for name, each in nodes.items()})
        except RegistryProblem as problem:
            notes.append(str(problem))
    named = {each.target: name for name, each in {**nodes, **wanted}.items()}
    return Promoted(
        images=(*stacks, *request.others),
        nodes=len(nodes),
        documents=len(documents),
        copied=len({each.target for each in missing} - problems.keys()),
        tags=moved,
        notes=tuple(notes),
        lacking={named.get(place, str(place)): str(problem) for place, problem in problems.items()},
        mounted=sum(each.mounted for each in done),
        sent=sum(each.sent for each in done),
        size=sum(each.size for each in done),
    )


def not_held(source: Store) -> Gate:
    """Return the gate that refuses an image which was taken back by a rollback."""

    def gate(stack: str, image: Reference) -> str:
        found = Archive(registry=source.registry, prefix=source.prefix).find(stack)
        if found is None or found.hold is None or found.hold.digest == image.digest:
            return ""
        is_old = any(each.digest == image.digest for each in found.entries)
        return f"its tags were rolled back from it to {found.hold.digest[:19]}" if is_old else ""

    return gate


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """The tests of published images as they are now, and their results beside the images."""

    workspace: Workspace
    source: Store
    plan: Plan

    def not_green(self, stack: str, image: Reference) -> str:
        """Return why an image with tests is not promoted: they did not all pass, on no machine. It is a gate."""
        records = RegistryRecords(registry=self.source.registry)
        for each, digest in self._images(stack, image):
            found = [record for gpu in (True, False) if (record := records.find(each, digest, gpu=gpu))]
            if not found:
                return f"its tests have not run in {each.reference}, see `buildsys test {stack}`"
            if not any(record.passed for record in found):
                wrong = next(one for one in found[0].results if one.state != TestState.PASSED)
                return f"the test `{wrong.test}` of {wrong.layer} {wrong.state} in {each.reference}: {wrong.problem}"
        return ""

    def results(self, stack: str, image: Reference) -> list[Reference]:
        """Return where the results of an image may be."""
        found = self._images(stack, image)
        return [location_of(each, digest, gpu=gpu) for each, digest in found for gpu in (True, False)]

    def _images(self, stack: str, image: Reference) -> list[tuple[TestedImage, str]]:
        """Return the images in an index that have tests, with the digest of these."""
        names = {each.name: str(image) for each in self.plan.indexes[stack]}
        tests = declared_tests(self.plan, names)
        return [
            (each, tests_digest(self.workspace, own))
            for name, each in images_of(self.source, self.plan, names).items()
            if (own := [test for test in tests if test.target == name])
        ]


def _check(
    source: Store, request: Request, images: Mapping[str, ImageTarget], existing: Existing, gates: Iterable[Gate]
) -> None:
    """Raise `InvalidInput` for what is not published as the project has it, and `Refused` for what a gate refuses."""
    lost = [name for name in request.targets if name not in existing.references]
    lost += [each.name for each in images.values() if each.stack not in existing.indexes and each.name not in lost]
    if lost:
        hint = f"run `buildsys bake --push {' '.join(lost[:3])}`, or check out the commit that was published"
        message = f"`{source.prefix}` does not have {', '.join(f'`{name}`' for name in lost[:3])} under the present key"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    stacks = {each.stack: Reference.parse(existing.indexes[each.stack]) for each in images.values()}
    refused = [
        f"`{stack}` is not promoted: {why}"
        for stack, image in sorted(stacks.items())
        for gate in gates
        if (why := gate(stack, image))
    ]
    if refused:
        raise Refused("\n".join(refused), hint="nothing was copied")


def _others(source: Store, target: Store, names: Iterable[str]) -> list[Copy]:
    """Return the copies of images that no plan has, such as those of `environment --dockerfile`: their key and tag."""
    found = []
    for name in names:
        place = Reference.parse(f"{source.prefix}/{name}")
        manifest = source.registry.manifest(place)
        if manifest is None:
            message = f"`{place}` does not exist"
            raise InvalidInput([Diagnostic(message=message, hint="name it as `repository:tag`, below the registry")])
        key = dict(manifest.annotations).get(KEY_LABEL)
        if key is None or not manifest.manifests:
            raise Unavailable(f"`{place}` is not an image that buildsys published", hint="build it with `environment`")
        to = Reference.parse(f"{target.prefix}/{name}")
        copy = Copy(source=place.with_digest(manifest.descriptor.digest), target=to, child_tag=child_tag)
        found += [replace(copy, target=to.with_tag(f"key-{key}")), copy]
    return found


def _document_places(
    source: Store, target: Store, request: Request, nodes: Iterable[str], stacks: Iterable[str]
) -> Mapping[Reference, Reference]:
    """Return where inventories and records of nodes, and inventories of base images, may be and are copied to."""
    plan, here, there = request.plan, shelf_of(source), shelf_of(target)
    keys = [request.keys.of(name).key for name in nodes]
    records = {location(source.prefix, key): location(target.prefix, key) for key in keys}
    for stack in stacks:
        for image in plan.indexes[stack]:
            digest = plan.parent(image.parent.name).locked.digest
            keys += [parent_key(digest, image.platform)] if digest else []
    return records | {here.location(key): there.location(key) for key in dict.fromkeys(keys)}
