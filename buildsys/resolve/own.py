"""What a stack's own fields add to its layers: one for its packages, and one for each declaration of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from buildsys.config.model import OwnFields, Stack
from buildsys.names import OWN_PACKAGES, PLATFORM, STACKS_FILE
from buildsys.recipes import template
from buildsys.recipes.parameters import Parameter, ParameterType
from buildsys.recipes.recipe import ImageFields, Kind, Packages, Recipe
from buildsys.resolve.instance import LayerInstance

_WHY = "declared by the stack"
_NO_SETTINGS = ImageFields()


def own_layers(stack: Stack, position: int) -> tuple[LayerInstance, ...]:
    """Return what the own fields of a stack of one platform are as layers, from a position in its list on.

    That of packages depends on nothing but their names, so that stacks with equal packages on equal bases share a node.
    """
    found = [*_packages(stack, position)]
    for number, own in enumerate(stack.own, position + len(found)):
        settings = replace(own.fields, packages=())
        if settings != _NO_SETTINGS:
            values = {each.name: getattr(settings, each.name) for each in fields(ImageFields)}
            recipe = _recipe(own.origin, "what the stack itself sets in its image", values)
            found.append(_instance(recipe, own, number, stack.platforms[0]))
    return tuple(found)


def _packages(stack: Stack, position: int) -> list[LayerInstance]:
    entries = [
        (template.fill(name, values), packages)
        for own in stack.own
        for values in [_values(own, stack.platforms[0])]
        for packages in own.fields.packages
        if packages.when.holds(values)
        for name in packages.names
    ]
    if not entries:
        return []
    names = sorted({word for text, _ in entries for word in text.split()})
    # As a parameter they are part of the name of the node.
    parameter = Parameter(name="packages", description="what is installed", type=ParameterType.WORDS)
    packages = Packages(names=tuple(map(template.literally, names)), location=entries[0][1].location)
    values = {"parameters": MappingProxyType({"packages": parameter}), "packages": (packages,)}
    own = next(each for each in stack.own if each.fields.packages)
    recipe = _recipe(OWN_PACKAGES, "packages that the stack itself names", values)
    return [
        replace(
            _instance(recipe, own, position, stack.platforms[0]),
            parameters=MappingProxyType({"packages": " ".join(names)}),
        )
    ]


def _recipe(name: str, description: str, values: dict[str, Any]) -> Recipe:
    return Recipe(
        layer=name, flavour="", file=STACKS_FILE, description=description, kind=Kind.SYSTEM, licence="", **values
    )


def _values(own: OwnFields, platform: str) -> Mapping[str, str]:
    return MappingProxyType({**own.values, PLATFORM: platform})


def _instance(recipe: Recipe, own: OwnFields, position: int, platform: str) -> LayerInstance:
    return LayerInstance(
        recipe=recipe,
        parameters=_values(own, platform),
        origins=MappingProxyType({}),
        why=_WHY,
        location=own.location,
        position=position,
        is_own=True,
    )
