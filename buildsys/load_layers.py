"""A folder of `layers/` becomes a layer: one whole recipe for each flavour."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from buildsys.errors import Mistake
from buildsys.load_recipe import load_recipe
from buildsys.load_scope import Fields, Scope
from buildsys.model import Layer, Recipe
from buildsys.names import layer_problem
from buildsys.schema import LayerFile
from buildsys.schema_mistakes import parse
from buildsys.source import Source


def load_layer(name: str, source: Source, tree: Mapping[str, str], mistakes: list[Mistake]) -> Layer | None:
    """Return a layer, or None after adding every mistake of its `layer.yaml` and Dockerfiles.

    `tree` maps every text file of the project to its text. References to other layers are not looked at.
    """
    before = len(mistakes)
    shape = parse(source, LayerFile, mistakes)
    if shape is None:
        return None
    recipes: dict[str, Recipe] = {}
    for flavour in shape.flavours or [""]:
        fields = Fields(shape, shape.flavours.get(flavour), ("flavours", flavour) if flavour else ())
        scope = Scope(source=source, fields=fields, mistakes=mistakes)
        if recipe := load_recipe(name, flavour, scope, tree):
            recipes[flavour] = recipe
    for index, provided in enumerate(shape.provides):
        if problem := layer_problem(provided):
            mistakes.append(Mistake(message=problem, place=source.place(("provides", index))))
    default = shape.default_flavour or next(iter(shape.flavours), "")
    if default not in (shape.flavours or [""]):
        near = get_close_matches(default, shape.flavours, 1)
        mistakes.append(
            Mistake(
                message=f"`default_flavour` is `{default}`, which is not a flavour of this layer",
                place=source.place(("default_flavour",)),
                hint=f"did you mean `{near[0]}`?" if near else None,
            )
        )
    if len(mistakes) > before:
        return None
    return Layer(
        name=name,
        file=source.file,
        recipes=MappingProxyType(recipes),
        default_flavour=default,
        provides=tuple(shape.provides),
    )
