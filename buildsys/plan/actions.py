"""Which nodes and stacks are built, which exist, and the first input that says why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from buildsys.plan.keys import Keys
from buildsys.plan.plan import Plan, StackTarget
from buildsys.resolve.node import Node


class ActionKind(StrEnum):
    """What is done about a target; `SKIP` is written `leave` in JSON and events."""

    BUILD = "build"
    REUSE = "reuse"
    SKIP = "leave"


BUILD, REUSE, SKIP = ActionKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first input in which two keys differ; None where one side does not have it."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What is done about a node or stack, and why.

    `build`: it is made. `reuse`: it exists, as `reference`. `leave`: it does not exist, and nothing asked for needs it.
    `difference` is against what was last published under its name, if that is known.
    """

    target: str
    word: ActionKind
    reason: str
    reference: str | None = None
    difference: Difference | None = None


def decide(
    plan: Plan,
    keys: Keys,
    existing: Mapping[str, str],
    previous: Mapping[str, Mapping[str, str]],
    wanted: Collection[str],
    foreign: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, Action]:
    """Return the action of every target, nodes in build order and then stacks.

    `existing` maps target to a reference with its digest, for what exists under its key; `previous` maps target to the
    inputs of what was last published under its name; `wanted` are the targets asked for; `foreign` maps target to why
    what is under its key cannot be used. What exists is reused, and what only such a thing needs is left.
    """
    missing = needed(plan, existing, wanted)
    targets: dict[str, Node | StackTarget] = {node.name: node for node in plan.nodes}
    targets |= {stack.name: stack for stack in plan.stacks}
    found: dict[str, Action] = {}
    for name, target in targets.items():
        if reference := existing.get(name):
            found[name] = Action(target=name, word=REUSE, reason=f"exists as {reference}", reference=reference)
        elif name not in missing:
            found[name] = Action(target=name, word=SKIP, reason="nothing asked for needs it")
        else:
            difference = first_difference(previous[name], keys.of(name).inputs) if name in previous else None
            if name in foreign:
                reason = foreign[name]
            elif difference is not None:
                reason = _reason(target, difference, keys, found)
            elif name in previous:
                reason = "what was published under its key is gone"
            else:
                reason = "nothing was published under its name yet"
            found[name] = Action(target=name, word=BUILD, reason=reason, difference=difference)
    return MappingProxyType(found)


def needed(plan: Plan, existing: Mapping[str, str], wanted: Collection[str]) -> frozenset[str]:
    """Return what is asked for and does not exist, with everything that this needs and that does not exist."""
    below = {node.name: node.below for node in plan.nodes}
    below |= {stack.name: stack.noded.needs for stack in plan.stacks}
    waiting, seen = [name for name in wanted if name not in existing], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.extend(need for need in below[name] if need not in existing)
    return frozenset(seen)


# What a person would name first; an input that follows from another comes last.
_ORDER = (
    "definition",
    "dockerfile",
    "file",
    "folder",
    "argument",
    "download",
    "epoch",
    "platforms",
    "order",
    "variable",
)
_LAST = ("base", "context", "artifact")
# A list with more words than this is told by what changed in it.
_MANY_WORDS = 4


def first_difference(before: Mapping[str, str], after: Mapping[str, str]) -> Difference | None:
    """Return the difference that says most, None if there is none."""
    names = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    if not names:
        return None

    def rank(name: str) -> tuple[int, str]:
        word = name.partition(" ")[0]
        if word in _ORDER:
            return _ORDER.index(word), name
        return (len(_ORDER) + 1 if word in _LAST else len(_ORDER)), name

    first = min(names, key=rank)
    return Difference(name=first, before=before.get(first), after=after.get(first))


def _reason(target: Node | StackTarget, difference: Difference, keys: Keys, done: Mapping[str, Action]) -> str:
    node = target if isinstance(target, Node) else None
    made_of = target.below if isinstance(target, Node) else target.noded.needs
    word, _, rest = difference.name.partition(" ")
    if word in ("base", "context", "artifact"):
        other = next((each for each in made_of if keys.of(each).key == difference.after), None)
        if other is not None and done[other].word == BUILD:
            return f"{other} is built"
        if word == "base" and other is None:
            parent = target.parent if isinstance(target, Node) else target.noded.parent
            name = parent.name if parent else ""
            return f"parent {name} moved from {short(difference.before)} to {short(difference.after)}"
        return f"{difference.name} is another one: {short(difference.before)} → {short(difference.after)}"
    if word == "dockerfile" and node:
        return f"{node.dockerfile} changed"
    if word in ("file", "folder") and node:
        context, _, inner = rest.partition(" ")
        path = f"{node.folder}/{rest}" if word == "file" else f"{dict(node.folders).get(context, context)}/{inner}"
        what = "is new" if difference.before is None else "is gone" if difference.after is None else "changed"
        return f"{path} {what}"
    return told(difference)


def told(difference: Difference) -> str:
    """Return a difference as a person reads it: from what to what, of a long list only what came and went."""
    before, after = difference.before or "", difference.after or ""
    came = [f"+{word}" for word in after.split() if word not in before.split()]
    went = [f"-{word}" for word in before.split() if word not in after.split()]
    listed = " ".join([*came, *went])
    if difference.name == "argument PACKAGES" and listed:
        return f"packages {listed}"
    if difference.name == "epoch":
        return f"its packages are made fresh: {short(difference.before)} → {short(difference.after)}"
    if max(len(before.split()), len(after.split())) > _MANY_WORDS and listed:
        return f"{difference.name}: {listed}"
    return f"{difference.name}: {short(difference.before)} → {short(difference.after)}"


def short(value: str | None) -> str:
    """Return a value as a person reads it: a digest or key by its first digits, an empty one as two quotes."""
    if value is None:
        return "nothing"
    if not value:
        return '""'
    bare = value.removeprefix("sha256:")
    if len(bare) == 64 and all(character in "0123456789abcdef" for character in bare):
        return bare[:8]
    return value if len(value) <= 60 else value[:57] + "…"
