"""Which nodes and images are built, which exist, and the input that explains it best."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType

from buildsys.plan.keys import Keys
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget, Node
from buildsys.values import dataclass


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
    """What a run does about a node or image, and why.

    `build`: it is built. `reuse`: it exists, as `reference`. `leave`: it is missing, and no requested target needs it.
    `difference` is the one from what was last published under its name, if that is known.
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
    requested: Collection[str],
    *,
    foreign: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, Action]:
    """Return the action of every target, nodes in build order and then images.

    `existing` maps target to a reference with its digest, for what exists under its key; `previous` maps target to the
    inputs of what was last published under its name; `requested` are targets; `foreign` maps target to why what is
    under its key cannot be used. What exists is reused, and what only such targets need is skipped.
    """
    missing = needed(plan, existing, requested)
    found: dict[str, Action] = {}
    for name, target in plan.targets.items():
        if reference := existing.get(name):
            found[name] = Action(target=name, word=REUSE, reason=f"exists as {reference}", reference=reference)
        elif name not in missing:
            found[name] = Action(target=name, word=SKIP, reason="no requested target needs it")
        else:
            difference = first_difference(previous[name], keys.of(name).inputs) if name in previous else None
            if name in foreign:
                reason = foreign[name]
            elif difference is not None:
                reason = _reason(target, difference, keys, found)
            elif name in previous:
                reason = "the image published under its key is missing"
            else:
                reason = "nothing was published under its name yet"
            found[name] = Action(target=name, word=BUILD, reason=reason, difference=difference)
    return MappingProxyType(found)


def needed(plan: Plan, existing: Mapping[str, str], requested: Collection[str]) -> frozenset[str]:
    """Return what is requested and missing, with everything missing that it needs."""
    waiting, seen = [name for name in requested if name not in existing], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(need for need in plan.needs[name] if need not in existing)
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
    "timestamp",
    "platform",
    "order",
    "variable",
)
_LAST = ("base", "context", "artifact")
# Of a list with more words than this, only what changed is shown.
_MANY_WORDS = 4


def first_difference(before: Mapping[str, str], after: Mapping[str, str]) -> Difference | None:
    """Return the difference that explains most, None if there is none."""
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


def _reason(target: Node | ImageTarget, difference: Difference, keys: Keys, actions: Mapping[str, Action]) -> str:
    """Return why a target is built that differs from what was published; `actions` holds those of what it needs."""
    if difference.name.partition(" ")[0] in _LAST:
        return _reason_below(target, difference, keys, actions)
    return own_reason(target, difference)


def own_reason(target: Node | ImageTarget, difference: Difference) -> str:
    """Return why a target is rebuilt in which an input of its own differs, the parent of its first layer included."""
    kind, _, rest = difference.name.partition(" ")
    if kind == "base" and target.parent:
        return f"parent {target.parent.name} moved from {short(difference.before)} to {short(difference.after)}"
    if isinstance(target, Node) and kind in ("files", "run"):
        return f"`{kind}` of {target.recipe.file} changed"
    if isinstance(target, Node) and kind == "dockerfile":
        return f"{target.dockerfile} changed"
    if isinstance(target, Node) and kind in ("file", "folder"):
        context, _, inner = rest.partition(" ")
        path = f"{target.folder}/{rest}" if kind == "file" else f"{dict(target.folders).get(context, context)}/{inner}"
        what = "is new" if difference.before is None else "was removed" if difference.after is None else "changed"
        return f"{path} {what}"
    return format_difference(difference)


def _reason_below(target: Node | ImageTarget, difference: Difference, keys: Keys, actions: Mapping[str, Action]) -> str:
    before, after = short(difference.before), short(difference.after)
    other = next((each for each in target.below if keys.of(each).key == difference.after), None)
    if other is not None and actions[other].word == BUILD:
        return f"{other} is built"
    if difference.name == "base" and other is None:
        return own_reason(target, difference)
    return f"{difference.name} changed: {before} → {after}"


def format_difference(difference: Difference) -> str:
    """Return a difference for people: from what to what, and of a long list only what was added and removed."""
    before, after = difference.before or "", difference.after or ""
    added = [f"+{word}" for word in after.split() if word not in before.split()]
    removed = [f"-{word}" for word in before.split() if word not in after.split()]
    listed = " ".join([*added, *removed])
    if difference.name in ("argument PACKAGES", "platforms", "tags") and listed:
        return f"{difference.name.removeprefix('argument ').lower()} {listed}"
    if difference.name == "definition":
        return f"the definition of keys changed: {short(difference.before)} → {short(difference.after)}"
    if difference.name == "epoch":
        return f"packages are refreshed: {short(difference.before)} → {short(difference.after)}"
    if max(len(before.split()), len(after.split())) > _MANY_WORDS and listed:
        return f"{difference.name}: {listed}"
    return f"{difference.name}: {short(difference.before)} → {short(difference.after)}"


def short(value: str | None) -> str:
    """Return a value for people: a digest or key by its first digits, an empty one as two quotes."""
    if value is None:
        return "nothing"
    if not value:
        return '""'
    bare = value.removeprefix("sha256:")
    if len(bare) == 64 and all(character in "0123456789abcdef" for character in bare):
        return bare[:8]
    return value if len(value) <= 60 else value[:57] + "…"
