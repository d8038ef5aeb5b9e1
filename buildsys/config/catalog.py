"""A source tree as text becomes a catalog in which every reference exists, or every diagnostic at once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from types import MappingProxyType
from typing import Any

from buildsys.config.lockfile import copied_layers
from buildsys.config.model import Catalog, Stack
from buildsys.config.stacks import STACKS, families, load_stacks, set_warnings
from buildsys.dockerfile.ignore import ignored, rule_problems
from buildsys.errors import (
    Diagnostic,
    Diagnostics,
    InvalidInput,
    Location,
    did_you_mean,
    enumerated,
    use_one_of,
    which_one,
)
from buildsys.names import LAYER_FILE, LOCK_FILE, STACKS_FILE, UNBUILT, layer_problem, secret_variable
from buildsys.oci.reference import prefix_problem, registry_prefix
from buildsys.recipes import template, versions
from buildsys.recipes.fields import newer_format
from buildsys.recipes.layers import LAYER, load_layer
from buildsys.recipes.recipe import Kind, Layer, Recipe
from buildsys.records.hints import dashed
from buildsys.records.schema import Record, parse
from buildsys.records.source import Path, Source, read
from buildsys.texts import excerpt

# What a person may write instead of `layer.yaml`.
_OTHER_NAME = re.compile(r"layers?\.ya?ml", re.IGNORECASE)
SCHEMAS: Mapping[str, Record[Any]] = MappingProxyType({"layer": LAYER, "stacks": STACKS})


def load(tree: Mapping[str, str]) -> Catalog:
    """Return the catalog of a tree, which maps each text file's path below the project root to its text.

    Read are `stacks.yaml`, every `layers/<name>/layer.yaml` and the Dockerfiles beside it. Raises
    `InvalidInput` with everything that is wrong in all of them; references are checked once the shapes are right.
    """
    diagnostics = Diagnostics()
    diagnostics.extend(_ignore_rules(tree))
    layers, sources, broken = _load_layers(tree, diagnostics)
    if STACKS_FILE not in tree:
        hint = "create it, with `stacks:` and below it a name and its `layers`"
        location = Location(file=STACKS_FILE)
        diagnostics.append(Diagnostic(message=f"`{STACKS_FILE}` is missing", location=location, hint=hint))
        raise InvalidInput(diagnostics)
    source = _read(tree[STACKS_FILE], STACKS_FILE, diagnostics)
    shape = parse(source, STACKS, diagnostics) if source else None
    stacks = load_stacks(shape, source, diagnostics) if shape and source else ()
    if shape and source:
        diagnostics.extend(_registry(shape.registry, source))
    diagnostics.extend(_references(layers, sources, broken, stacks, copied_layers(tree.get(LOCK_FILE, ""))))
    diagnostics.extend(_secrets(layers))
    if diagnostics or shape is None or source is None:
        raise InvalidInput(diagnostics)
    return Catalog(
        registry=shape.registry[0],
        copies=shape.registry[1:],
        layers=MappingProxyType(layers),
        families=families(shape),
        stacks=stacks,
        warnings=(*set_warnings(shape, source), *_copied_by_plain_bake(layers, tree)),
    )


def layers_of(tree: Mapping[str, str]) -> tuple[Mapping[str, Layer], tuple[Diagnostic, ...]]:
    """Return the layers of a tree that can be read, without looking at what they name, and what is wrong in others."""
    diagnostics = Diagnostics()
    layers, _, _ = _load_layers(tree, diagnostics)
    return layers, tuple(diagnostics)


def _load_layers(
    tree: Mapping[str, str], diagnostics: list[Diagnostic]
) -> tuple[dict[str, Layer], dict[str, Source], set[str]]:
    """Return the layers of a tree, their files, and the names of those that cannot be read."""
    layers: dict[str, Layer] = {}
    sources: dict[str, Source] = {}
    broken: set[str] = set()
    for path in sorted(tree):
        parts = path.split("/")
        if (len(parts), parts[0], parts[-1]) != (3, "layers", LAYER_FILE):
            continue
        source = _read(tree[path], path, diagnostics)
        layer = load_layer(parts[1], source, tree, diagnostics) if source else None
        # A toolchain is a context by the one name `toolchain`, whatever its folder is called.
        only_toolchain = layer is not None and {each.kind for each in layer.recipes.values()} == {Kind.TOOLCHAIN}
        if (problem := layer_problem(parts[1])) and not (parts[1] == "toolchain" and only_toolchain):
            better = dashed(parts[1])
            hint = "rename the folder" if layer_problem(better) else f"rename the folder to `{better}`"
            diagnostics.append(Diagnostic(message=problem, location=Location(file=path), hint=hint))
        if layer is None:
            broken.add(parts[1])
        else:
            layers[parts[1]] = layer
        if source:
            sources[parts[1]] = source
    for name, diagnostic in _without_recipe(tree):
        broken.add(name)
        diagnostics.append(diagnostic)
    return layers, sources, broken


def _registry(prefixes: Sequence[str], source: Source) -> Iterable[Diagnostic]:
    is_list = source.text(("registry",)) is None
    for number, prefix in enumerate(prefixes):
        location = source.location(("registry", number) if is_list else ("registry",))
        if found := prefix_problem(prefix):
            # What has an `@` may be a password.
            shown = "" if "@" in prefix else f"is `{excerpt(prefix)}` and "
            yield Diagnostic(message=f"`registry` {shown}{found[0]}", location=location, hint=found[1])
        elif len(prefixes) > 1 and registry_prefix(prefix) is None:
            message = f"`registry` is `{prefix}`, which names no registry, and images are copied between registries"
            yield Diagnostic(message=message, location=location, hint="write it like `registry.example.com/images`")


def _secrets(layers: Mapping[str, Layer]) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each secret that has the variable of a different one."""
    first: dict[str, str] = {}
    secrets = {
        (each.id, each.location): each for one in layers.values() for r in one.recipes.values() for each in r.secrets
    }
    for secret in secrets.values():
        variable = secret_variable(secret.id)
        if (other := first.setdefault(variable, secret.id)) != secret.id:
            message = f"the secrets `{secret.id}` and `{other}` would both be the variable `{variable}`"
            yield Diagnostic(message=message, location=secret.location, hint="rename one of them")


def _ignore_rules(tree: Mapping[str, str]) -> Iterable[Diagnostic]:
    for path in sorted(tree):
        if path.startswith("layers/") and path.count("/") == 2 and path.endswith(".dockerignore"):
            yield from rule_problems(tree[path], path)


def _read(text: str, path: str, diagnostics: list[Diagnostic]) -> Source | None:
    try:
        source = read(text, path)
    except InvalidInput as error:
        diagnostics.extend(error.diagnostics())
        return None
    if newer := newer_format(source):
        diagnostics.append(newer)
    return None if newer else source


def _copied_by_plain_bake(layers: Mapping[str, Layer], tree: Mapping[str, str]) -> Iterable[Diagnostic]:
    """Yield a warning for each layer whose whole folder is copied: plain bake also copies what is in no build here."""
    for layer in layers.values():
        folder = layer.file.rpartition("/")[0]
        is_ignored = ignored(tree.get(f"{folder}/.dockerignore", ""))
        there = {each.removeprefix(f"{folder}/").partition("/")[0] for each in tree if each.startswith(f"{folder}/")}
        sources = [each for recipe in layer.recipes.values() for each in recipe.sources if not each.context]
        copied = [
            name
            for name in UNBUILT
            if name in there and not is_ignored(name) and any(_takes(each.path, name) for each in sources)
        ]
        if copied:
            named = enumerated(copied)
            message = f"plain `docker buildx bake` also copies {named} of `{folder}`, which `buildsys bake` does not"
            hint = f"add {'a line' if len(copied) == 1 else 'lines'} {named} to `{folder}/.dockerignore`"
            yield Diagnostic(message=message, location=Location(file=layer.file), hint=hint)


def _takes(path: str, name: str) -> bool:
    """Whether a source that is the whole folder, or a pattern, has a name at its top."""
    first = posixpath.normpath(f"/{path}").strip("/").partition("/")[0]
    return not first or (first != name and fnmatchcase(name, first))


def _without_recipe(tree: Mapping[str, str]) -> Iterable[tuple[str, Diagnostic]]:
    """Yield the name of each folder of `layers/` that has files and no `layer.yaml`, and a diagnostic."""
    folders: dict[str, list[str]] = {}
    for path in sorted(tree):
        parts = path.split("/")
        if parts[0] == "layers" and len(parts) > 2:
            folders.setdefault(parts[1], []).extend(parts[2:] if len(parts) == 3 else ())
    for name, files in folders.items():
        if LAYER_FILE in files:
            continue
        file, hint = LAYER_FILE, f"create `layers/{name}/{LAYER_FILE}`, or remove the folder"
        if other := next((each for each in files if _OTHER_NAME.fullmatch(each)), None):
            file, hint = other, f"rename `layers/{name}/{other}` to `{LAYER_FILE}`"
        message = f"the layer `{name}` has no `{LAYER_FILE}`"
        yield name, Diagnostic(message=message, location=Location(file=f"layers/{name}/{file}"), hint=hint)


def _references(
    layers: Mapping[str, Layer],
    sources: Mapping[str, Source],
    broken: set[str],
    stacks: Iterable[Stack],
    copied: Collection[str],
) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each name of a layer that does not exist; layers that could not be read do.

    Layers that were `copied` may name others of their origin that they do not require.
    """
    providers = {
        name: (layer, source.location(("provides", index)))
        for layer, source in sources.items()
        for index, name in enumerate(_provided(source))
    }
    stacks = tuple(stacks)
    listed = {stack.name: {use.location for use in stack.layers} for stack in stacks}
    for stack in stacks:
        # What a stack extends is looked at there.
        inherited = listed[stack.base] if stack.base else set()
        for use in (each for each in stack.layers if each.location not in inherited):
            # A provided name is no layer: which of its providers is meant must be said.
            if use.layer not in {*layers, *broken}:
                what = f"the stack `{stack.name}` has the layer `{use.layer}`"
                if stack.family:
                    what = f"the family `{stack.family}` has the layer `{use.layer}`"
                otherwise = f"use `{providers[use.layer][0]}`" if use.layer in providers else None
                yield _no_layer(what, use.layer, {*layers, *broken}, use.location, otherwise)
    # What a layer provides is unknown while its file cannot be read.
    known = None if broken - sources.keys() else {*layers, *broken, *providers}
    for layer in layers.values():
        if layer.name in providers:
            provider, location = providers[layer.name]
            message = f"`{layer.name}` is a layer, and also a name that `{provider}` provides"
            hint = f"remove `{layer.name}` from `provides`, or rename the layer"
            yield Diagnostic(message=message, location=location, hint=hint)
        mentions = _Mentions(sources[layer.name])
        for recipe in layer.recipes.values():
            yield from _recipe_references(recipe, layers, known, mentions, is_copied=layer.name in copied)
            yield from _toolchain_reference(recipe, layers, (broken, providers.keys()), mentions)
            yield from _own_needs(layer, recipe, mentions)
            yield from _constraints(recipe, layers, mentions)


def _provided(source: Source) -> list[str]:
    """Return what a layer provides, whatever else is wrong in its file."""
    found = source.data.get("provides") if isinstance(source.data, dict) else None
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _recipe_references(
    recipe: Recipe, layers: Mapping[str, Layer], known: set[str] | None, mentions: _Mentions, *, is_copied: bool
) -> Iterable[Diagnostic]:
    for word, names in (
        ("requires", recipe.requires),
        ("after", recipe.after),
        ("conflicts", recipe.conflicts),
        ("checks", tuple(need.partition(".")[0] for check in recipe.checks for need in check.needs)),
        ("parameters", tuple(p.source.layer for p in recipe.parameters.values() if p.source)),
    ):
        for name in names if word == "requires" or not is_copied else ():
            if known is not None and name not in known:
                what = f"layer `{recipe.layer}`: `{word}` names `{name}`"
                yield _no_layer(what, name, known, mentions.layer(recipe.flavour, word, name))
    yield from _parameter_references(recipe, layers, mentions)


def _toolchain_reference(
    recipe: Recipe, layers: Mapping[str, Layer], others: tuple[set[str], Collection[str]], mentions: _Mentions
) -> Iterable[Diagnostic]:
    """Yield a diagnostic for a toolchain that is not a layer of that kind.

    `others` are the layers that could not be read, and the names that layers provide, which are none.
    """
    broken, provided = others
    if recipe.toolchain is None:
        return
    toolchain = recipe.toolchain.layer
    if toolchain not in {*layers, *broken}:
        location = mentions.layer(recipe.flavour, "toolchain", toolchain)
        what = f"layer `{recipe.layer}` has the toolchain `{toolchain}`"
        otherwise = _toolchains(layers) if toolchain in provided else None
        yield _no_layer(what, toolchain, {*layers, *broken}, location, otherwise)
    elif toolchain in layers:
        recipes, default = layers[toolchain].recipes, layers[toolchain].default_flavour
        other = recipes.get(recipe.toolchain.parameters.get("flavour", default)) or recipes[default]
        if other.kind is not Kind.TOOLCHAIN:
            location = mentions.layer(recipe.flavour, "toolchain", toolchain)
            message = f"`{toolchain}` is a layer of kind `{other.kind}`, expected a toolchain"
            yield Diagnostic(message=message, location=location, hint=_toolchains(layers))


def _parameter_references(recipe: Recipe, layers: Mapping[str, Layer], mentions: _Mentions) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each parameter of another layer that no flavour of it has."""
    named = [(each.source.layer, each.source.parameter) for each in recipe.parameters.values() if each.source]
    named += [(need.partition(".")[0], need.partition(".")[2]) for check in recipe.checks for need in check.needs]
    for name, parameter in named:
        meant = [layer for layer in layers.values() if name == layer.name or name in layer.provides]
        known = {each for layer in meant for one in layer.recipes.values() for each in one.parameters}
        if meant and parameter not in {*known, "flavour"}:
            hint = which_one(parameter, sorted(known), f"declare it in `{name}`")
            location = mentions.parameter(f"{name}.{parameter}")
            message = f"layer `{recipe.layer}` names the parameter `{parameter}` of `{name}`, which does not exist"
            yield Diagnostic(message=message, location=location, hint=hint)


def _constraints(recipe: Recipe, layers: Mapping[str, Layer], mentions: _Mentions) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each constraint that the scheme of its parameter cannot read."""
    for need, written in ((need, each) for check in recipe.checks for need, each in check.needs.items()):
        name, _, parameter = need.partition(".")
        meant = [layer for layer in layers.values() if name == layer.name or name in layer.provides]
        recipes = (one for layer in meant for one in layer.recipes.values() if parameter in one.parameters)
        for scheme in sorted({one.parameters[parameter].versions or versions.Scheme.PEP440 for one in recipes}):
            if form := versions.expected(template.sample(written, versions.sample(scheme)), scheme):
                message = f"the constraint is `{excerpt(written)}`, expected {form}"
                hint = f"write versions of the scheme `{scheme}`, which `{need}` has, or change its `versions`"
                yield Diagnostic(message=message, location=mentions.constraint(need, written), hint=hint)


def _toolchains(layers: Mapping[str, Layer]) -> str:
    kinds = {name: {each.kind for each in layer.recipes.values()} for name, layer in layers.items()}
    found = [name for name in sorted(kinds) if kinds[name] == {Kind.TOOLCHAIN}]
    return use_one_of(found) or "write a layer of kind `toolchain`"


def _own_needs(layer: Layer, recipe: Recipe, mentions: _Mentions) -> Iterable[Diagnostic]:
    """Yield a diagnostic for each field in which a layer names itself, or requires what it provides."""
    for word, names, own in (
        ("requires", recipe.requires, {layer.name, *layer.provides}),
        ("after", recipe.after, {layer.name}),
        ("conflicts", recipe.conflicts, {layer.name}),
    ):
        for name in sorted(own.intersection(names)):
            what = "itself" if name == layer.name else f"`{name}`, which it provides"
            location = mentions.layer(recipe.flavour, word, name)
            message = f"layer `{layer.name}`: `{word}` names {what}"
            yield Diagnostic(message=message, location=location, hint=f"remove `{name}` from `{word}`")


class _Mentions:
    """Where a layer.yaml names other layers and their parameters; each part of the file is looked through once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._layers: dict[Path, Mapping[str, Location]] = {}

    def layer(self, flavour: str, field: str, name: str) -> Location:
        """Return where a field names a layer: a flavour's own field goes before the common one."""
        paths: tuple[Path, ...] = (("flavours", flavour, field), (field,))
        path = next((each for each in paths if each in self.source.values), None)
        if path is None:
            return Location(file=self.source.file)
        if path not in self._layers:
            self._layers[path] = self._inside(path)
        return self._layers[path].get(name) or self.source.location(path)

    def _inside(self, path: Path) -> Mapping[str, Location]:
        texts, keys = dict[str, Location](), dict[str, Location]()
        for each, data in self.source.below(path):
            if isinstance(data, str) and (name := data.partition(".")[0]) not in texts:
                texts[name] = self.source.part_location(each, name)
            if (name := str(each[-1]).partition(".")[0]) not in keys:
                keys[name] = replace(self.source.key_location(each), length=len(name))
        return {**keys, **texts}

    def parameter(self, text: str) -> Location:
        """Return where the parameter in `layer.parameter` is named, as a value or as a key."""
        return self._parameters.get(text) or Location(file=self.source.file)

    def constraint(self, need: str, written: str) -> Location:
        """Return where a constraint on `layer.parameter` is written."""
        found = (path for path, data in self.source.below(()) if path[-2:] == ("needs", need) and data == written)
        return self.source.location(next(found, ()))

    @cached_property
    def _parameters(self) -> Mapping[str, Location]:
        found: dict[str, Location] = {}
        for path, data in self.source.below(()):
            name, _, parameter = data.partition("|")[0].partition(".") if isinstance(data, str) else ("", "", "")
            if parameter:
                found.setdefault(f"{name}.{parameter}", self.source.part_location(path, parameter))
            name, _, parameter = str(path[-1]).partition(".") if path else ("", "", "")
            if parameter:
                key = self.source.key_location(path)
                located = replace(key, column=key.column + len(name) + 1, length=len(parameter))
                found.setdefault(f"{name}.{parameter}", located)
        return found


def _no_layer(what: str, name: str, known: set[str], location: Location, otherwise: str | None = None) -> Diagnostic:
    message = f"{what}, which only names what a layer provides" if otherwise else f"{what}, which does not exist"
    hint = otherwise or did_you_mean(name, known, f"create `layers/{name}/{LAYER_FILE}`, or remove the name")
    return Diagnostic(message=message, location=location, hint=hint)
