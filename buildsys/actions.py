"""Which nodes and stacks are built, which exist, and the first input that says why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from buildsys.key import Keys
from buildsys.plan import Plan

BUILD, REUSE, LEAVE = "build", "reuse", "leave"


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
    word: str
    reason: str
    reference: str | None = None
    difference: Difference | None = None


def decide(
    plan: Plan,
    keys: Keys,
    existing: Mapping[str, str],
    previous: Mapping[str, Mapping[str, str]],
    wanted: Collection[str],
) -> Mapping[str, Action]:
    """Return the action of every target, nodes in build order and then stacks.

    `existing` maps target to a reference with its digest, for what exists under its key; `previous` maps target to the
    inputs of what was last published under its name; `wanted` are the targets asked for. What exists is not made
    again, and what only such a thing needs is left.
    """
    needed = set(_needed(plan, existing, wanted))
    stacks = {stack.name: stack for stack in plan.stacks}
    found: dict[str, Action] = {}
    for name in [*(node.name for node in plan.nodes), *stacks]:
        if reference := existing.get(name):
            found[name] = Action(target=name, word=REUSE, reason=f"exists as {reference}", reference=reference)
        elif name not in needed:
            found[name] = Action(target=name, word=LEAVE, reason="nothing asked for needs it")
        else:
            difference = first_difference(previous[name], keys.of(name).inputs) if name in previous else None
            reason = _reason(plan, name, difference, found, known=name in previous)
            found[name] = Action(target=name, word=BUILD, reason=reason, difference=difference)
    return MappingProxyType(found)


def _needed(plan: Plan, existing: Mapping[str, str], wanted: Collection[str]) -> Iterator[str]:
    below = {node.name: node.below for node in plan.nodes}
    below |= {stack.name: stack.noded.needs for stack in plan.stacks}
    waiting, seen = [name for name in wanted if name not in existing], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        waiting.extend(need for need in below[name] if need not in existing)


# What a person would name first; an input that follows from another comes last.
_ORDER = ("definition", "dockerfile", "file", "folder", "argument", "download", "epoch", "platforms", "variable")
_LAST = ("base", "context", "artifact")


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


def _reason(plan: Plan, name: str, difference: Difference | None, done: Mapping[str, Action], *, known: bool) -> str:
    node = next((each for each in plan.nodes if each.name == name), None)
    stack = next((each for each in plan.stacks if each.name == name), None)
    below = node.below if node else stack.noded.needs if stack else ()
    built = [each for each in below if done[each].word == BUILD]
    if difference is None:
        if known:
            return "what was published under its key is gone"
        return "nothing was published under its name yet"
    word, _, rest = difference.name.partition(" ")
    if word in ("base", "context", "artifact"):
        if built:
            return f"{built[0]} is built"
        if word == "base" and not (node.base if node else stack.noded.base if stack else None):
            parent = node.parent.name if node and node.parent else stack.noded.parent.name if stack else ""
            return f"parent {parent} moved from {short(difference.before)} to {short(difference.after)}"
        return f"{difference.name} is another one: {short(difference.before)} → {short(difference.after)}"
    folder = node.folder if node else ""
    if word == "dockerfile" and node:
        return f"{node.dockerfile} changed"
    if word in ("file", "folder"):
        path = f"{folder}/{rest}" if word == "file" else rest
        what = "is new" if difference.before is None else "is gone" if difference.after is None else "changed"
        return f"{path} {what}"
    if difference.name == "argument PACKAGES":
        return _packages(difference)
    if word == "epoch":
        return f"its packages are made fresh: {difference.before} → {difference.after}"
    return f"{difference.name}: {short(difference.before)} → {short(difference.after)}"


def _packages(difference: Difference) -> str:
    before, after = (difference.before or "").split(), (difference.after or "").split()
    added = [f"+{name}" for name in after if name not in before]
    removed = [f"-{name}" for name in before if name not in after]
    return f"packages {' '.join([*added, *removed])}"


def short(value: str | None) -> str:
    """Return a value as a person reads it: a digest or key by its first digits."""
    if value is None:
        return "nothing"
    bare = value.removeprefix("sha256:")
    if len(bare) == 64 and all(character in "0123456789abcdef" for character in bare):
        return bare[:8]
    return value if len(value) <= 60 else value[:57] + "…"
