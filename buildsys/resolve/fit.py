"""Whether the layers of a stack fit its platform and each other's versions."""

from __future__ import annotations

from collections.abc import Iterator

from buildsys.config.model import Stack
from buildsys.errors import Diagnostic, did_you_mean, nearest, which_one
from buildsys.recipes import template, versions
from buildsys.recipes.recipe import Check
from buildsys.resolve.instance import LayerInstance


def platform_diagnostics(
    stack: Stack, instances: tuple[LayerInstance, ...], reported: set[tuple[str, str]]
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each platform that layers do not have, once for all stacks of a family."""
    for platform in stack.platforms:
        without = [each for each in instances if platform not in each.recipe.platforms]
        key = (stack.family or stack.name, platform)
        if not without or key in reported:
            continue
        reported.add(key)
        names = ", ".join(f"`{each.name}`" for each in without)
        known = list(dict.fromkeys(other for each in without for other in each.recipe.platforms))
        hint = which_one(platform, known)
        location = stack.platform_locations.get(platform, without[0].location)
        # Where a stack names none, the layer is what differs from the rest.
        if len(without) < len(instances):
            otherwise = f"add `{platform}` to the `platforms` of {names}, or remove it from the stack"
            near = next((each for each in known if nearest(each, [platform])), known[0])
            hint = did_you_mean(near, [platform], otherwise)
            location = without[0].recipe.place("platforms", near)
        words = "the layer" if len(without) == 1 else "the layers"
        verb = "is" if len(without) == 1 else "are"
        who = f"the family `{stack.family}`" if stack.family else f"`{stack.name}`"
        message = f"{who} is for `{platform}`, but {words} {names} {verb} not"
        yield Diagnostic(message=message, location=location, hint=hint)


def check_diagnostics(stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each version of a layer that a check of a different one does not allow."""
    by_name = {each.name: each for each in instances}
    for each in instances:
        for check in each.recipe.checks:
            for need, specifier in check.needs.items() if check.when.holds(each.parameters) else ():
                layer, _, parameter = need.partition(".")
                if layer not in by_name or parameter not in by_name[layer].parameters:
                    continue
                value, declared = by_name[layer].parameters[parameter], by_name[layer].recipe.parameters.get(parameter)
                scheme = (declared and declared.versions) or versions.Scheme.PEP440
                required = template.fill(specifier, each.parameters)
                if not versions.satisfies(value, required, scheme):
                    needed = f"needs `{layer}` {parameter} {required}, `{stack.name}` has {value}"
                    yield _check_diagnostic(stack, each, check, needed)


def _check_diagnostic(stack: Stack, each: LayerInstance, check: Check, needed: str) -> Diagnostic:
    which = f"`{each.name}` {each.parameters.get('version', '')}".rstrip()
    message = f"layer {which} {needed}"
    locations = next((use.locations for use in stack.layers if use.layer == each.name), {})
    location = next((locations[name] for name in ("version", *locations) if name in locations), each.location)
    hint = f"choose versions that fit: {check.message}" if check.message else "set a version of either that fits"
    return Diagnostic(message=message, location=location, hint=hint)
