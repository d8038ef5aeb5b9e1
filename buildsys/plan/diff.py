"""Two plans of one project, say of two revisions: what is new, what is gone, what differs and by which input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from buildsys.plan.actions import Difference, first_difference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A node or stack that is not the same in both: `cause` is the deepest target below it that brought it about.

    `difference` is the cause's first differing input; None where the cause itself is new.
    """

    target: str
    title: str
    kind: str
    word: str
    cause: str | None = None
    difference: Difference | None = None


def compare(before: tuple[Plan, Keys], after: tuple[Plan, Keys]) -> tuple[Changed, ...]:
    """Return what differs, nodes in build order and then stacks; keys decide, and nothing else."""
    return (
        *_differing(before, after, "node", _node_titles, lambda keys: keys.nodes),
        *_differing(before, after, "image", _stack_titles, lambda keys: keys.stacks),
    )


def _differing(
    before: tuple[Plan, Keys],
    after: tuple[Plan, Keys],
    kind: str,
    titles: Callable[[Plan], Mapping[str, str]],
    keyed: Callable[[Keys], Mapping[str, Fingerprint]],
) -> Iterator[Changed]:
    """Yield what differs among the nodes, or among the stacks, in the order of the plan; what is gone comes last."""
    now, then = titles(after[0]), titles(before[0])
    for target, title in now.items():
        old, new = keyed(before[1]).get(target), keyed(after[1])[target]
        if old is None:
            yield Changed(target=target, title=title, kind=kind, word=ADDED)
        elif old.key != new.key:
            cause, difference = _cause(target, before[1], after[1], after[0])
            yield Changed(target=target, title=title, kind=kind, word=CHANGED, cause=cause, difference=difference)
    for target, title in then.items():
        if target not in now:
            yield Changed(target=target, title=title, kind=kind, word=REMOVED)


def _node_titles(plan: Plan) -> Mapping[str, str]:
    return {node.name: node.title for node in plan.nodes}


def _stack_titles(plan: Plan) -> Mapping[str, str]:
    return {stack.name: stack.stack for stack in plan.stacks}


def _cause(target: str, before: Keys, after: Keys, plan: Plan) -> tuple[str, Difference | None]:
    """Go down along the first input that differs, to the target in which something of its own differs."""
    while True:
        old, new = _keyed(before, target), after.of(target)
        if old is None:
            return target, None
        difference = first_difference(old.inputs, new.inputs)
        if difference is None or difference.name.partition(" ")[0] not in ("base", "context", "artifact"):
            return target, difference
        deeper = next((each for each in plan.needs[target] if after.of(each).key == difference.after), None)
        if deeper is None:
            return target, difference
        target = deeper


def _keyed(keys: Keys, target: str) -> Fingerprint | None:
    return keys.nodes.get(target) or keys.stacks.get(target)


def users_of(plan: Plan, name: str) -> tuple[str, ...]:
    """Return the stacks that a node is part of, directly or by what they are made of, sorted."""
    using = {name}
    # In build order, what a node needs comes before it: one pass is enough.
    for node in plan.nodes:
        if not using.isdisjoint(plan.needs[node.name]):
            using.add(node.name)
    return tuple(stack.stack for stack in plan.stacks if not using.isdisjoint(stack.noded.needs))


def why_path(plan: Plan, stack: str, layer: str) -> tuple[tuple[str, str], ...]:
    """Return how a layer came into a stack: pairs of a layer and why it is there, from the stack's own line on.

    Empty if the stack does not have it.
    """
    found = next(each for each in plan.stacks if each.name == stack)
    by_name = {each.name: each for each in found.noded.layered.instances}
    path: list[tuple[str, str]] = []
    name: str | None = layer if layer in by_name else None
    while name is not None:
        why = by_name[name].why
        path.append((name, why))
        name = why.partition("`")[2].rstrip("`") or None
    return tuple(reversed(path))
