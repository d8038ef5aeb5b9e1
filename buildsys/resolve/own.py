"""What a stack's own fields add to its layers: packages, commands, files, and the settings of each declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from buildsys.config.model import OwnFields, Stack
from buildsys.names import OWN_COMMANDS, OWN_FILES, OWN_PACKAGES, PLATFORM_ARGUMENTS, STACKS_FILE, short_hash
from buildsys.recipes import template
from buildsys.recipes.fields import NOTHING
from buildsys.recipes.owned import owned
from buildsys.recipes.parameters import Parameter, ParameterType, named_by
from buildsys.recipes.recipe import ImageFields, Kind, Packages, PlacedFile, Recipe
from buildsys.resolve.generated import files_dockerfile, run_step
from buildsys.resolve.instance import LayerInstance

_WHY = "declared by the stack"
_NO_SETTINGS = ImageFields()


def own_layers(stack: Stack, position: int) -> tuple[LayerInstance, ...]:
    """Return what the own fields of a stack are as layers, from a position in its list on.

    What is built depends on nothing but itself, so that stacks with equal packages, commands or files share its node.
    """
    found = [*_packages(stack.own), *_commands(stack.own), *_files(stack.own)]
    for own in stack.own:
        settings = replace(own.fields, packages=(), run=(), files=NOTHING)
        if settings != _NO_SETTINGS:
            values = {each.name: getattr(settings, each.name) for each in fields(ImageFields)}
            found.append(_instance(_recipe(own.origin, "what the stack itself sets in its image", values), own))
    return tuple(replace(each, position=number) for number, each in enumerate(found, position))


def _packages(declared: Iterable[OwnFields]) -> Iterator[LayerInstance]:
    entries = [
        (template.fill(name, own.values), packages, own)
        for own in declared
        for packages in own.fields.packages
        if packages.when.holds(own.values)
        for name in packages.names
    ]
    if not entries:
        return
    names = sorted({word for text, _, _ in entries for word in text.split()})
    # As a parameter they are part of the name of the node.
    parameter = Parameter(name="packages", description="what is installed", type=ParameterType.WORDS)
    packages = Packages(names=tuple(map(template.literally, names)), location=entries[0][1].location)
    values = {"parameters": MappingProxyType({"packages": parameter}), "packages": (packages,)}
    recipe = _recipe(OWN_PACKAGES, "packages that the stack itself names", values)
    parameters = MappingProxyType({"packages": " ".join(names)})
    yield replace(_instance(recipe, entries[0][2]), parameters=parameters)


def _commands(declared: Iterable[OwnFields]) -> Iterator[LayerInstance]:
    own = [each for each in declared if each.fields.run]
    if own:
        run = tuple(command for each in own for command in each.fields.run)
        values = {"run": run, "added_layers": 1, "declared": named_by(run, PLATFORM_ARGUMENTS)}
        places = MappingProxyType({("run", ""): own[0].location})
        recipe = _recipe(OWN_COMMANDS, "commands that the stack itself runs", {**values, "places": places})
        yield replace(_instance(recipe, own[0]), parameters=NOTHING, contents=short_hash(run_step(recipe)))


def _files(declared: Iterable[OwnFields]) -> Iterator[LayerInstance]:
    found: dict[str, tuple[PlacedFile, OwnFields]] = {
        entry.path: (replace(entry, owner=template.literally(template.fill(entry.owner, own.values))), own)
        for own in declared
        for entry in own.fields.files.values()
    }
    if found:
        entries, (own, *_) = zip(*found.values(), strict=True)
        values = {
            "kind": Kind.ARTIFACT,
            "files": MappingProxyType({entry.path: entry for entry in entries}),
            "prefix": owned(entries),
            "places": MappingProxyType({("prefix", ""): entries[0].location}),
        }
        recipe = _recipe(OWN_FILES, "files that the stack itself has", values)
        contents = short_hash(files_dockerfile(entries, NOTHING))
        location = entries[0].location
        yield replace(_instance(recipe, own), parameters=NOTHING, contents=contents, location=location)


def _recipe(name: str, description: str, values: dict[str, Any]) -> Recipe:
    common = {"layer": name, "flavour": "", "file": STACKS_FILE, "description": description, "licence": ""}
    return Recipe(**{**common, "kind": Kind.SYSTEM, **values})


def _instance(recipe: Recipe, own: OwnFields) -> LayerInstance:
    return LayerInstance(
        recipe=recipe,
        parameters=own.values,
        origins=MappingProxyType({}),
        why=_WHY,
        location=own.location,
        is_own=True,
    )
