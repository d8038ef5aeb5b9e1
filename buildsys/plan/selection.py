"""Which stacks and nodes are meant by names, groups and patterns of the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from buildsys.errors import Diagnostic, InvalidInput, did_you_mean
from buildsys.names import target_name
from buildsys.plan.plan import Plan

_LISTED = "run `buildsys list` to list all of them"


def select(plan: Plan, words: Iterable[str]) -> tuple[str, ...]:
    """Return the bake targets meant, stacks and nodes, each once, sorted by kind and name.

    A word is the name of a stack or node, as it is written or as bake writes it, a group, or a pattern with `*`,
    `?` or `[…]` over the names of stacks. No words mean the group `default`. Raises `InvalidInput` with the nearest
    match for each word that means nothing.
    """
    stacks = {stack: tuple(each.name for each in parts) for stack, parts in plan.indexes.items()}
    targets = {
        **{name: (name,) for names in stacks.values() for name in names},
        **stacks,
        **{node.name: (node.name,) for node in plan.nodes},
    }
    found: dict[str, None] = {}
    diagnostics = []
    for word in list(words) or ["default"]:
        meant = _meant(word, plan, stacks, targets)
        if not meant:
            diagnostics.append(_unknown(word, [*stacks, *plan.groups, *(node.name for node in plan.nodes)]))
        found.update(dict.fromkeys(meant))
    if diagnostics:
        raise InvalidInput(diagnostics)
    return tuple(sorted(found))


def listed(plan: Plan, words: Collection[str] = (), layers: Collection[str] = ()) -> tuple[str, ...]:
    """Return the stacks that words mean and that have all of some layers, in the plan's order; no words mean all.

    A node means the stacks that use it. Raises `InvalidInput` for words and layers that no stack has.
    """
    known = {each.name for image in plan.stacks for each in image.layers}
    if unknown := [name for name in layers if name not in known]:
        otherwise = "run `buildsys list --json` for the layers of all stacks"
        hints = {name: did_you_mean(name, known, otherwise) for name in unknown}
        raise InvalidInput([Diagnostic(message=f"no stack has a layer `{name}`", hint=hints[name]) for name in unknown])
    chosen = {*select(plan, words)} if words else set(plan.targets)
    return tuple(
        stack
        for stack, parts in plan.indexes.items()
        if any(each.name in chosen or chosen & {*each.below} for each in parts)
        and {*layers} <= {each.name for part in parts for each in part.layers}
    )


def _meant(word: str, plan: Plan, stacks: dict[str, tuple[str, ...]], targets: dict[str, tuple[str, ...]]) -> list[str]:
    if word in targets:
        return [*targets[word]]
    if word in plan.groups:
        return list(plan.groups[word])
    if any(character in word for character in "*?["):
        return [target for name, targets in stacks.items() if fnmatchcase(name, word) for target in targets]
    return [*targets.get(target_name(word), plan.groups.get(target_name(word), ()))]


def _unknown(word: str, known: list[str]) -> Diagnostic:
    if not word:
        return Diagnostic(message="a name is empty", hint="remove it, or use `--all`")
    if word in known:
        # It is a name of theirs without members: that of a group.
        return Diagnostic(message=f"the group `{word}` has no stacks", hint=_LISTED)
    if len(parts := word.replace(",", " ").split()) > 1:
        listed = ", ".join(f"`{each}`" for each in parts)
        return Diagnostic(message=f"`{word}` is not one name", hint=f"give each name on its own: {listed}")
    what = "no stack matches" if any(character in word for character in "*?[") else "no stack, group or node is named"
    hint = did_you_mean(word.rstrip("/").rpartition("/")[2], known, _LISTED)
    return Diagnostic(message=f"{what} `{word}`", hint=hint)


def stack_named(plan: Plan, word: str) -> str:
    """Return the target of one stack, of several platforms the first; raises `InvalidInput` if the word means none."""
    for stack in plan.stacks:
        if word in (stack.stack, stack.name, target_name(stack.stack)):
            return stack.name
    if members := plan.groups.get(word):
        titles = {stack.name: stack.stack for stack in plan.stacks}
        hint = f"name a stack of it, such as `{titles[members[0]]}`"
        raise InvalidInput([Diagnostic(message=f"`{word}` is a group, expected a stack", hint=hint)])
    raise InvalidInput([unknown_stack(word, (stack.stack for stack in plan.stacks))])


def unknown_stack(word: str, known: Iterable[str]) -> Diagnostic:
    """Return the error that no stack has a name."""
    return Diagnostic(message=f"no stack is named `{word}`", hint=did_you_mean(word, known, _LISTED))
