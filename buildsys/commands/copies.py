"""What further registries get of what a run published: its images by digest, and then their public tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from buildsys.errors import BuildsysError
from buildsys.events.events import ImagesCopied
from buildsys.oci.copies import Copied, Copy, copy_all, lacking
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget
from buildsys.run.decision import index_tags
from buildsys.run.index import child_tag, move_tags, tagged
from buildsys.run.publish import Published
from buildsys.run.session import Session
from buildsys.run.store import Store
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Further:
    """A registry that gets copies, as a run finds it: `tags` by target, and what each of them names.

    `problem` is why that is not known: then this run does not ask it again.
    """

    store: Store
    tags: Mapping[str, tuple[str, ...]]
    seen: Mapping[str, str | None] = field(default_factory=dict)
    problem: RegistryProblem | None = None


def look(
    store: Store, prefixes: tuple[str, ...], plan: Plan, targets: tuple[str, ...], environ: Mapping[str, str]
) -> tuple[Further, ...]:
    """Return further registries with what the public tags of some targets name there, before a run."""
    found = []
    for prefix in prefixes:
        further = Store(registry=store.registry, prefix=prefix)
        tags = index_tags(plan, targets, {**environ, "BUILDSYS_REGISTRY": prefix})
        try:
            seen = tagged(store.registry, (each for own in tags.values() for each in own))
            found.append(Further(store=further, tags=tags, seen=seen))
        except RegistryProblem as problem:
            found.append(Further(store=further, tags=tags, problem=problem))
    return tuple(found)


def copy(session: Session, published: Published, registries: tuple[Further, ...]) -> bool:
    """Copy the images that exist to further registries, and move their public tags; return whether nothing is missing.

    Tags move by the rules of the registry that is copied from. A registry with a problem does not keep the others from
    their copies; what each has and lacks is an event.
    """
    complete = True
    for further in registries:
        if session.stop.requested:
            return False
        event = _copied(session, published, further)
        session.journal.emit(event)
        complete = complete and not (event.lacking or event.untagged)
    return complete


def _copied(session: Session, published: Published, further: Further) -> ImagesCopied:
    plan, keys = published.decision.plan, published.decision.keys
    images = {
        name: target
        for name in further.tags
        if isinstance(target := plan.targets[name], ImageTarget) and target.stack in published.indexes
    }
    wanted = {
        each.stack: Copy(
            source=Reference.parse(published.indexes[each.stack]),
            target=further.store.index(each.repository, keys.indexes[each.stack].key),
            child_tag=child_tag,
        )
        for each in images.values()
    }
    problems: dict[Reference, RegistryProblem] = {}
    missing: tuple[Copy, ...] = ()
    done = Copied()
    if further.problem is not None:
        problems = {each.target: further.problem for each in wanted.values()}
    else:
        missing, unknown = lacking(further.store.registry, wanted.values(), verify=session.options.verify)
        if missing:
            place, stop = further.store.index, session.stop
            beside = [place(parts[0].repository, keys.indexes[name].key) for name, parts in plan.indexes.items()]
            done = copy_all(further.store.registry, missing, beside=beside, stopped=lambda: stop.requested)
        problems = {**unknown, **done.problems}
    held = {stack: str(each.result) for stack, each in wanted.items() if each.target not in problems}
    whole = {name: held[each.stack] for name, each in images.items() if each.stack in held}
    moved, untagged = _move_tags(session, published, further, whole)
    copied = {each.target for each in missing} - problems.keys()
    return ImagesCopied(
        at=session.context.clock(),
        registry=further.store.prefix,
        references=tuple(held.values()),
        copied=tuple(stack for stack, each in wanted.items() if each.target in copied),
        lacking=tuple(stack for stack, each in wanted.items() if each.target in problems),
        tags=moved,
        untagged=tuple(dict.fromkeys(images[name].stack if name in images else name for name in untagged)),
        why=str(next(iter([*problems.values(), *untagged.values()]), "")),
        sent=done.sent,
        mounted=done.mounted,
        size=done.size,
    )


def _move_tags(
    session: Session, published: Published, further: Further, whole: Mapping[str, str]
) -> tuple[tuple[str, ...], Mapping[str, BuildsysError]]:
    """Move the public tags of images that a registry has; return those that moved, and the problem of each target."""
    whole = {name: each for name, each in whole.items() if name not in published.held}
    if session.stop.requested or (published.missing and not session.options.partial_tags) or not whole:
        return (), {}
    try:
        return move_tags(further.store.registry, whole, further.tags, further.seen)
    except RegistryProblem as problem:
        return (), dict.fromkeys(whole, problem)
