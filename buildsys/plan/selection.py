"""Which stacks and nodes are meant by names, groups and patterns of the command line."""

from __future__ import annotations

from collections.abc import Iterable
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
    stacks = {stack.stack: stack.name for stack in plan.stacks}
    targets = {
        **{name: name for name in stacks.values()},
        **stacks,
        **{node.name: node.name for node in plan.nodes},
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


def _meant(word: str, plan: Plan, stacks: dict[str, str], targets: dict[str, str]) -> list[str]:
    if word in targets:
        return [targets[word]]
    if word in plan.groups:
        return list(plan.groups[word])
    if any(character in word for character in "*?["):
        return [target for name, target in stacks.items() if fnmatchcase(name, word)]
    return [name] if (name := target_name(word)) in targets else []


def _unknown(word: str, known: list[str]) -> Diagnostic:
    if not word:
        return Diagnostic(message="a name is empty", hint="remove it, or use `--all`")
    if len(parts := word.replace(",", " ").split()) > 1:
        listed = ", ".join(f"`{each}`" for each in parts)
        return Diagnostic(message=f"`{word}` is not one name", hint=f"give each name on its own: {listed}")
    what = "no stack matches" if any(character in word for character in "*?[") else "no stack, group or node is named"
    hint = did_you_mean(word.rstrip("/").rpartition("/")[2], known, _LISTED)
    return Diagnostic(message=f"{what} `{word}`", hint=hint)


def stack_named(plan: Plan, word: str) -> str:
    """Return the target of one stack; raises `InvalidInput` if the word means none."""
    for stack in plan.stacks:
        if word in (stack.stack, stack.name):
            return stack.name
    if members := plan.groups.get(word):
        titles = {stack.name: stack.stack for stack in plan.stacks}
        hint = f"name a stack of it, such as `{titles[members[0]]}`"
        raise InvalidInput([Diagnostic(message=f"`{word}` is a group, expected a stack", hint=hint)])
    raise InvalidInput([unknown_stack(word, (stack.stack for stack in plan.stacks))])


def unknown_stack(word: str, known: Iterable[str]) -> Diagnostic:
    """Return the error that no stack has a name."""
    return Diagnostic(message=f"no stack is named `{word}`", hint=did_you_mean(word, known, _LISTED))
