"""A folder of `layers/` becomes a layer: one whole recipe for each flavour."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from buildsys.config.layers import load_recipe
from buildsys.config.model import Layer, Recipe
from buildsys.config.schema import LayerFile
from buildsys.config.schema_diagnostics import parse
from buildsys.config.scope import Fields, Scope
from buildsys.config.source import Source
from buildsys.errors import Diagnostic
from buildsys.names import layer_problem


def load_layer(name: str, source: Source, tree: Mapping[str, str], diagnostics: list[Diagnostic]) -> Layer | None:
    """Return a layer, or None after adding every mistake of its `layer.yaml` and Dockerfiles.

    `tree` maps every text file of the project to its text. References to other layers are not looked at.
    """
    before = len(diagnostics)
    shape = parse(source, LayerFile, diagnostics)
    if shape is None:
        return None
    recipes: dict[str, Recipe] = {}
    for flavour in shape.flavours or [""]:
        fields = Fields(shape, shape.flavours.get(flavour), ("flavours", flavour) if flavour else ())
        scope = Scope(source=source, fields=fields, diagnostics=diagnostics)
        if recipe := load_recipe(name, flavour, scope, tree):
            recipes[flavour] = recipe
    for index, provided in enumerate(shape.provides):
        if problem := layer_problem(provided):
            diagnostics.append(Diagnostic(message=problem, location=source.location(("provides", index))))
    default = shape.default_flavour or next(iter(shape.flavours), "")
    if default not in (shape.flavours or [""]):
        near = get_close_matches(default, shape.flavours, 1)
        diagnostics.append(
            Diagnostic(
                message=f"`default_flavour` is `{default}`, which is not a flavour of this layer",
                location=source.location(("default_flavour",)),
                hint=f"did you mean `{near[0]}`?" if near else None,
            )
        )
    if len(diagnostics) > before:
        return None
    return Layer(
        name=name,
        file=source.file,
        recipes=MappingProxyType(recipes),
        default_flavour=default,
        provides=tuple(shape.provides),
    )
