"""Whether the layers of a stack fit each other, and whether their texts are right with the values that they get."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from buildsys import texts
from buildsys.config import template
from buildsys.config.model import Check, Stack
from buildsys.errors import Diagnostic
from buildsys.resolve.instance import LayerInstance


def stack_diagnostics(stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
    """Yield what does not fit."""
    yield from _platforms(stack, instances)
    yield from _checks(stack, instances)
    for each in instances:
        yield from text_diagnostics(stack.name, each)


def text_diagnostics(where: str, each: LayerInstance) -> Iterator[Diagnostic]:
    """Yield what is wrong with the texts of a layer once its parameters are filled in: a value may bring anything."""
    for what, written, rule in _texts(each):
        found = template.fill(written, each.parameters)
        if expected := rule(found):
            message = f"`{where}`: the {what} has more than one line"
            if "\n" not in found:
                message = f"`{where}`: the {what} of `{each.name}` becomes `{texts.shown(found)}`, expected {expected}"
            yield Diagnostic(message=message, location=each.location)


def _texts(each: LayerInstance) -> Iterator[tuple[str, str, texts.Rule]]:
    """Yield each text that is a template and reaches an instruction, a name or a shell, with its rule."""
    recipe = each.recipe
    for environment in recipe.environment:
        if environment.when.holds(each.parameters):
            for name, value in environment.set.items():
                yield f"variable `{name}`", value, texts.one_line
            for name, parts in [*environment.prepend.items(), *environment.append.items()]:
                for part in parts:
                    yield f"variable `{name}`", part, texts.one_line
    for key, value in recipe.labels.items():
        yield f"label `{key}`", value, texts.one_line
    for what, text, rule in (("`user`", recipe.user, texts.user), ("`workdir`", recipe.workdir, texts.workdir)):
        # What becomes empty says nothing.
        if text and template.fill(text, each.parameters):
            yield what, text, rule
    for packages in recipe.packages:
        if packages.when.holds(each.parameters):
            yield from (("package", name, texts.packages) for name in packages.names)
    for downloads in recipe.downloads.values():
        yield from (("`url`", one.url, texts.address) for one in downloads if one.when.holds(each.parameters))
    if recipe.parent:
        yield "parent's name", recipe.parent.name, texts.parent
        yield from (("image", image, texts.image) for image in recipe.parent.images)


def _platforms(stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
    for each in instances:
        for platform in stack.platforms:
            if platform not in each.recipe.platforms:
                listed = ", ".join(f"`{p}`" for p in each.recipe.platforms)
                message = f"`{stack.name}` is for `{platform}`, but the layer `{each.name}` is not"
                yield Diagnostic(message=message, location=each.location, hint=f"it can be made for {listed}")


def _checks(stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
    by_name = {each.name: each for each in instances}
    for each in instances:
        for check in each.recipe.checks:
            other = by_name.get(check.layer)
            if other is None or not check.when.holds(each.parameters):
                continue
            value = other.parameters.get(check.parameter)
            if value is not None and not _satisfies(value, template.fill(check.specifier, each.parameters)):
                yield _check_diagnostic(stack, each, check, value)


def _check_diagnostic(stack: Stack, each: LayerInstance, check: Check, value: str) -> Diagnostic:
    wanted = template.fill(check.specifier, each.parameters)
    which = f"`{each.name}` {each.parameters.get('version', '')}".rstrip()
    message = f"layer {which} needs `{check.layer}` {check.parameter} {wanted}, `{stack.name}` has {value}"
    locations = next((use.locations for use in stack.layers if use.layer == each.name), {})
    location = next((locations[name] for name in ("version", *locations) if name in locations), each.location)
    return Diagnostic(message=message, location=location, hint=check.message)


def _satisfies(value: str, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier, prereleases=True).contains(Version(value))
    except (InvalidVersion, InvalidSpecifier):
        return value == specifier
