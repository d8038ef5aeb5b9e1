"""A source tree as text becomes a catalog in which every reference exists, or every diagnostic at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from buildsys.config.layers import LAYER, load_layer
from buildsys.config.model import Catalog, Kind, Layer, Recipe, Stack
from buildsys.config.schema import Record, parse
from buildsys.config.source import Source, read
from buildsys.config.stacks import STACKS, families, load_stacks
from buildsys.dockerfile.ignore import ignored, rule_problems
from buildsys.errors import Diagnostic, Diagnostics, InvalidInput, Location, did_you_mean
from buildsys.names import LAYER_FILE, STACKS_FILE, layer_problem

SCHEMAS: Mapping[str, Record[Any]] = MappingProxyType({"layer": LAYER, "stacks": STACKS})


def load(tree: Mapping[str, str]) -> Catalog:
    """Return the catalog of a tree, which maps each text file's path below the project root to its text.

    Read are `stacks.yaml`, every `layers/<name>/layer.yaml` and the Dockerfiles beside it. Raises
    `InvalidInput` with everything that is wrong in all of them; references are checked once the shapes are right.
    """
    diagnostics = Diagnostics()
    layers: dict[str, Layer] = {}
    sources: dict[str, Source] = {}
    broken: set[str] = set()
    for path in sorted(tree):
        parts = path.split("/")
        if len(parts) != 3 or parts[0] != "layers":
            continue
        if parts[2].endswith(".dockerignore"):
            diagnostics.extend(rule_problems(tree[path], path))
        if parts[2] != LAYER_FILE:
            continue
        source = _read(tree[path], path, diagnostics)
        layer = load_layer(parts[1], source, tree, diagnostics) if source else None
        # A toolchain is a context by the one name `toolchain`, whatever its folder is called.
        only_toolchain = layer is not None and {each.kind for each in layer.recipes.values()} == {Kind.TOOLCHAIN}
        if (problem := layer_problem(parts[1])) and not (parts[1] == "toolchain" and only_toolchain):
            diagnostics.append(Diagnostic(message=problem, location=Location(file=path), hint="rename the folder"))
        if layer is None:
            broken.add(parts[1])
        else:
            layers[parts[1]] = layer
        if source:
            sources[parts[1]] = source
    diagnostics.extend(_without_recipe(tree))
    if STACKS_FILE not in tree:
        diagnostics.append(Diagnostic(message=f"`{STACKS_FILE}` is missing", location=Location(file=STACKS_FILE)))
        raise InvalidInput(diagnostics)
    source = _read(tree[STACKS_FILE], STACKS_FILE, diagnostics)
    shape = parse(source, STACKS, diagnostics) if source else None
    stacks = load_stacks(shape, source, diagnostics) if shape and source else ()
    diagnostics.extend(_references(layers, sources, broken, stacks))
    if diagnostics or shape is None:
        raise InvalidInput(diagnostics)
    return Catalog(
        registry=shape.registry,
        layers=MappingProxyType(layers),
        families=families(shape),
        stacks=stacks,
        warnings=tuple(_readable_metadata(layers, tree)),
    )


def _read(text: str, path: str, diagnostics: list[Diagnostic]) -> Source | None:
    try:
        return read(text, path)
    except InvalidInput as error:
        diagnostics.extend(error.diagnostics())
        return None


def _readable_metadata(layers: Mapping[str, Layer], tree: Mapping[str, str]) -> Iterable[Diagnostic]:
    """Yield a warning for each layer whose layer.yaml is in its build context: every edit changes the key."""
    for layer in layers.values():
        folder = layer.file.rpartition("/")[0]
        builds = any(recipe.dockerfile for recipe in layer.recipes.values())
        if builds and not ignored(tree.get(f"{folder}/.dockerignore", ""))(LAYER_FILE):
            message = f"`{layer.file}` is in the build context, so any edit of it rebuilds the layer"
            hint = f"add a line `layer.yaml`, or `*`, to `{folder}/.dockerignore`"
            yield Diagnostic(message=message, location=Location(file=layer.file), hint=hint)


def _without_recipe(tree: Mapping[str, str]) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each folder of `layers/` that has files and no `layer.yaml`."""
    folders = {path.split("/")[1] for path in tree if path.startswith("layers/") and path.count("/") >= 2}
    for name in sorted(folders):
        if f"layers/{name}/layer.yaml" not in tree:
            location = Location(file=f"layers/{name}/layer.yaml")
            yield Diagnostic(message=f"the layer `{name}` has no `layer.yaml`", location=location)


def _references(
    layers: Mapping[str, Layer], sources: Mapping[str, Source], broken: set[str], stacks: Iterable[Stack]
) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each name of a layer that does not exist; layers that could not be read do."""
    provided = {name for layer in layers.values() for name in layer.provides}
    known = {*layers, *broken, *provided}
    for stack in stacks:
        for use in stack.layers:
            # A provided name is no layer: which of its providers is meant must be said.
            if use.layer not in {*layers, *broken}:
                what = f"the stack `{stack.name}` has the layer `{use.layer}`"
                if stack.family:
                    what = f"the family `{stack.family}` has the layer `{use.layer}`"
                yield _no_layer(what, use.layer, {*layers, *broken}, use.location)
    for layer in layers.values():
        if layer.name in provided:
            message = f"`{layer.name}` is a layer and also a name that another layer provides"
            yield Diagnostic(message=message, location=Location(file=layer.file))
        for recipe in layer.recipes.values():
            yield from _recipe_references(recipe, layers, known, sources[layer.name])


def _recipe_references(
    recipe: Recipe, layers: Mapping[str, Layer], known: set[str], source: Source
) -> Iterable[Diagnostic]:
    for word, names in (
        ("requires", recipe.requires),
        ("after", recipe.after),
        ("conflicts", recipe.conflicts),
        ("checks", tuple(need.partition(".")[0] for check in recipe.checks for need in check.needs)),
        ("parameters", tuple(p.source.layer for p in recipe.parameters.values() if p.source)),
    ):
        for name in names:
            if name not in known:
                what = f"layer `{recipe.layer}`: `{word}` names `{name}`"
                yield _no_layer(what, name, known, _mention(source, recipe.flavour, word, name))
    if recipe.toolchain is None:
        return
    toolchain = recipe.toolchain.layer
    location = _mention(source, recipe.flavour, "toolchain", toolchain)
    if toolchain not in known:
        yield _no_layer(f"layer `{recipe.layer}` has the toolchain `{toolchain}`", toolchain, known, location)
    elif toolchain in layers:
        other = next(iter(layers[toolchain].recipes.values()))
        if other.kind is not Kind.TOOLCHAIN:
            message = f"`{toolchain}` is a layer of kind `{other.kind}`, expected a toolchain"
            yield Diagnostic(message=message, location=location)


def _mention(source: Source, flavour: str, word: str, name: str) -> Location:
    """Return where a field mentions a name: a flavour's own field goes before the common one."""
    for path in (("flavours", flavour, word), (word,)):
        if path not in source.values:
            continue
        inside = [each for each in source.values if each[: len(path)] == path]
        for each in inside:
            text = source.text(each)
            if text is not None and text.partition(".")[0] == name:
                return source.location(each)
        for each in inside:
            if str(each[-1]).partition(".")[0] == name:
                return source.key_location(each)
        return source.location(path)
    return Location(file=source.file)


def _no_layer(what: str, name: str, known: set[str], location: Location) -> Diagnostic:
    return Diagnostic(message=f"{what}, which does not exist", location=location, hint=did_you_mean(name, known))
