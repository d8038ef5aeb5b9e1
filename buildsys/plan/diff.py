"""What differs between two plans of one project, say of two revisions, and by which input; who uses what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from buildsys.errors import Diagnostic, InvalidInput, did_you_mean
from buildsys.plan.actions import Difference, first_difference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.resolve.node import Node
from buildsys.values import dataclass


class ChangeKind(StrEnum):
    """What became of a target from one plan to another."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A node or image that differs between two plans: `cause` is the deepest target below it that changed by itself.

    `difference` is the cause's first differing input; None where the cause itself is new.
    """

    target: str
    title: str
    kind: str
    change: ChangeKind
    cause: str | None = None
    difference: Difference | None = None


def compare(before: tuple[Plan, Keys], after: tuple[Plan, Keys]) -> tuple[Changed, ...]:
    """Return what differs, nodes in build order and then images, of each what was removed last.

    Keys decide what is built; an image of an equal key differs too if it is published under other names.
    """
    found = tuple(_changes(before, after))
    return (*(each for each in found if each.kind == "node"), *(each for each in found if each.kind == "image"))


def _changes(before: tuple[Plan, Keys], after: tuple[Plan, Keys]) -> Iterator[Changed]:
    old_keys, new_keys = _fingerprints(before[1]), _fingerprints(after[1])
    for target in after[0].targets:
        title, kind = _title(after[0], target)
        if target not in old_keys:
            yield Changed(target=target, title=title, kind=kind, change=ChangeKind.ADDED)
        elif old_keys[target].key != new_keys[target].key:
            cause, difference = _cause(target, old_keys, new_keys, after[0])
            change = ChangeKind.CHANGED
            yield Changed(target=target, title=title, kind=kind, change=change, cause=cause, difference=difference)
        elif difference := _names_differ(before[0], after[0], target):
            change = ChangeKind.CHANGED
            yield Changed(target=target, title=title, kind=kind, change=change, cause=target, difference=difference)
    for target in before[0].targets:
        if target not in new_keys:
            title, kind = _title(before[0], target)
            yield Changed(target=target, title=title, kind=kind, change=ChangeKind.REMOVED)


def _fingerprints(keys: Keys) -> Mapping[str, Fingerprint]:
    return {**keys.nodes, **keys.stacks}


def _title(plan: Plan, name: str) -> tuple[str, str]:
    target = plan.targets[name]
    return (target.title, "node" if isinstance(target, Node) else "image")


def _names_differ(before: Plan, after: Plan, target: str) -> Difference | None:
    """Return how the repository or the tags of an image differ, which are in no key."""
    old, new = before.targets[target], after.targets[target]
    if isinstance(old, Node) or isinstance(new, Node):
        return None
    for name, one, other in (
        ("repository", old.repository, new.repository),
        ("tags", ", ".join(old.tags), ", ".join(new.tags)),
    ):
        if one != other:
            return Difference(name=name, before=one or None, after=other or None)
    return None


def _cause(
    target: str, before: Mapping[str, Fingerprint], after: Mapping[str, Fingerprint], plan: Plan
) -> tuple[str, Difference | None]:
    """Follow the first input that differs down to the target in which an input of its own differs."""
    while True:
        if target not in before:
            return target, None
        difference = first_difference(before[target].inputs, after[target].inputs)
        if difference is None or difference.name.partition(" ")[0] not in ("base", "context", "artifact"):
            return target, difference
        deeper = next((each for each in plan.needs[target] if after[each].key == difference.after), None)
        if deeper is None:
            return target, difference
        target = deeper


def users_of(plan: Plan, name: str) -> tuple[str, ...]:
    """Return the stacks whose images need a node, directly or not, sorted."""
    using = {name}
    # In build order, what a node needs comes before it: one pass is enough.
    for node in plan.nodes:
        if not using.isdisjoint(plan.needs[node.name]):
            using.add(node.name)
    return tuple(dict.fromkeys(image.stack for image in plan.stacks if not using.isdisjoint(image.below)))


def why_path(plan: Plan, stack: str, layer: str) -> tuple[tuple[str, str], ...]:
    """Return how a layer came into a stack: pairs of a layer and the reason for it, from the stack's own line on.

    Raises `InvalidInput` if the stack does not have it.
    """
    image = next(each for each in plan.stacks if each.name == stack)
    by_name = {each.name: each for each in image.layers}
    if layer not in by_name:
        hint = did_you_mean(layer, by_name, f"run `buildsys show {image.stack}` to list its layers")
        raise InvalidInput([Diagnostic(message=f"`{layer}` is not a layer of stack `{image.stack}`", hint=hint)])
    path: list[tuple[str, str]] = []
    name: str | None = layer
    while name is not None:
        why = by_name[name].why
        path.append((name, why))
        name = why.partition("`")[2].rstrip("`") or None
    return tuple(reversed(path))
