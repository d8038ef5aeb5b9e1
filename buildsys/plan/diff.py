"""What differs between two plans of one project, say of two revisions, and by which input; who uses what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from buildsys.errors import Diagnostic, InvalidInput, did_you_mean
from buildsys.plan.actions import Difference, first_difference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.resolve.node import Node
from buildsys.values import dataclass


class ChangeKind(StrEnum):
    """What became of a target from one plan to another; `TAGS`: its image is the same one, published elsewhere."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    TAGS = "tags"


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A node or image that differs between two plans: `cause` is the deepest target below it that changed by itself.

    `difference` is the cause's first differing input; None where the cause itself is new. `stack` is that of an image.
    """

    target: str
    title: str
    kind: str
    change: ChangeKind
    cause: str | None = None
    difference: Difference | None = None
    stack: str = ""


def compare(before: tuple[Plan, Keys], after: tuple[Plan, Keys]) -> tuple[Changed, ...]:
    """Return what differs, nodes in build order and then images, of each what was removed last.

    Keys decide what is rebuilt. An image of an equal key differs where its names or the platforms of its stack do.
    """
    found = tuple(_changes(before, after))
    return (*(each for each in found if each.kind == "node"), *(each for each in found if each.kind == "image"))


def _changes(before: tuple[Plan, Keys], after: tuple[Plan, Keys]) -> Iterator[Changed]:
    old_keys, new_keys = _fingerprints(before[1]), _fingerprints(after[1])
    for target in after[0].targets:
        found = _changed(after[0], target, ChangeKind.ADDED)
        if target not in old_keys:
            yield found
        elif old_keys[target].key != new_keys[target].key:
            cause, difference = _cause(target, old_keys, new_keys, after[0])
            yield replace(found, change=ChangeKind.CHANGED, cause=cause, difference=difference)
        elif difference := first_difference(_published(before[0], target), _published(after[0], target)):
            yield replace(found, change=ChangeKind.TAGS, cause=target, difference=difference)
    for target in before[0].targets:
        if target not in new_keys:
            yield _changed(before[0], target, ChangeKind.REMOVED)


def _fingerprints(keys: Keys) -> Mapping[str, Fingerprint]:
    return {**keys.nodes, **keys.stacks}


def _published(plan: Plan, name: str) -> Mapping[str, str]:
    """Return what the public names of an image and its index follow from, and nothing for a node."""
    image = plan.targets[name]
    if isinstance(image, Node):
        return {}
    return {
        "copies": " ".join(plan.copies),
        "platforms": " ".join(each.platform for each in plan.indexes[image.stack]),
        "repository": f"{plan.registry}/{image.repository}",
        "tags": " ".join(sorted(image.tags)),
    }


def _changed(plan: Plan, name: str, change: ChangeKind) -> Changed:
    target = plan.targets[name]
    if isinstance(target, Node):
        return Changed(target=name, title=target.title, kind="node", change=change)
    return Changed(target=name, title=target.title, kind="image", change=change, stack=target.stack)


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
