"""Whether the layers of a stack fit each other: platforms, and versions that need each other."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from buildsys import template
from buildsys.errors import Mistake
from buildsys.instance import Instance
from buildsys.model import Check, Stack


def stack_mistakes(stack: Stack, instances: tuple[Instance, ...]) -> Iterator[Mistake]:
    """Yield what does not fit."""
    yield from _platforms(stack, instances)
    yield from _checks(stack, instances)


def _platforms(stack: Stack, instances: tuple[Instance, ...]) -> Iterator[Mistake]:
    for each in instances:
        for platform in stack.platforms:
            if platform not in each.recipe.platforms:
                listed = ", ".join(f"`{p}`" for p in each.recipe.platforms)
                message = f"`{stack.name}` is for `{platform}`, but the layer `{each.name}` is not"
                yield Mistake(message=message, place=each.place, hint=f"it can be made for {listed}")


def _checks(stack: Stack, instances: tuple[Instance, ...]) -> Iterator[Mistake]:
    by_name = {each.name: each for each in instances}
    for each in instances:
        for check in each.recipe.checks:
            other = by_name.get(check.layer)
            if other is None or not check.when.holds(each.parameters):
                continue
            value = other.parameters.get(check.parameter)
            if value is not None and not _satisfies(value, template.fill(check.specifier, each.parameters)):
                yield _check_mistake(stack, each, check, value)


def _check_mistake(stack: Stack, each: Instance, check: Check, value: str) -> Mistake:
    wanted = template.fill(check.specifier, each.parameters)
    which = f"`{each.name}` {each.parameters.get('version', '')}".rstrip()
    message = f"layer {which} needs `{check.layer}` {check.parameter} {wanted}, `{stack.name}` has {value}"
    places = next((use.places for use in stack.layers if use.layer == each.name), {})
    place = next((places[name] for name in ("version", *places) if name in places), each.place)
    return Mistake(message=message, place=place, hint=check.message)


def _satisfies(value: str, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier, prereleases=True).contains(Version(value))
    except (InvalidVersion, InvalidSpecifier):
        return value == specifier
