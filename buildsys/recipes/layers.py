"""A folder of `layers/` becomes a layer: one whole recipe for each flavour of its `layer.yaml`, with its Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any

from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in
from buildsys.dockerfile import lint, mounts
from buildsys.dockerfile.parser import Dockerfile
from buildsys.dockerfile.sources import context_sources
from buildsys.errors import Diagnostic, Location, did_you_mean, nearest, which_one
from buildsys.names import (
    DEFAULT_PLATFORM,
    OWN_ARGUMENTS,
    PLATFORM_ARGUMENTS,
    argument_problem,
    context_problem,
    download_arguments,
    is_switch,
    layer_problem,
    secret_problem,
)
from buildsys.recipes.fields import FORMAT, LINE, MEANT, NAME, NAMES, NOTHING, TEXT
from buildsys.recipes.owned import check_owned, owned
from buildsys.recipes.parameters import ParameterType, named_by
from buildsys.recipes.recipe import OS, RECIPE_FIELDS, Kind, Layer, Recipe, RecipeFields, built_with
from buildsys.recipes.scope import Scope, part_problems
from buildsys.records.hints import dashed
from buildsys.records.schema import Record, nullable, optional, parse, required
from buildsys.records.shapes import Dictionary, Nullable
from buildsys.records.source import Path, Source
from buildsys.texts import shown
from buildsys.values import dataclass

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFile(RecipeFields):
    """A layer: a reusable recipe for images."""

    description: str = required(TEXT, "one line")
    licence: str = required(LINE, "licence of the software that the layer installs")
    format: int = optional(FORMAT, 1, "version of the format, default 1; a later one is refused")
    provides: tuple[str, ...] = optional(NAMES, (), "other names for the layer in `requires`, such as `os`")
    flavours: Mapping[str, RecipeFields] = optional(
        Dictionary(Nullable(RECIPE_FIELDS, RecipeFields()), key=NAME),
        NOTHING,
        "variants of the layer; their fields replace the common ones, parameters and downloads are merged",
    )
    default_flavour: str | None = nullable(NAME, None, "flavour for stacks that name none")


LAYER = Record(LayerFile, "LayerFile", meant=MEANT)


def load_layer(name: str, source: Source, tree: Mapping[str, str], diagnostics: list[Diagnostic]) -> Layer | None:
    """Return a layer, or None after adding everything that is wrong with its `layer.yaml` and Dockerfiles.

    `tree` maps every text file of the project to its text. References to other layers are not looked at.
    """
    before = len(diagnostics)
    if not source.data:
        needed = "add `description: …`, `kind: …` and `licence: …`"
        message, location = f"the layer `{name}` is empty", Location(file=source.file)
        diagnostics.append(Diagnostic(message=message, location=location, hint=needed))
        return None
    file = parse(source, LAYER, diagnostics)
    # What is not read would be missed where it is used.
    if file is None or len(diagnostics) > before:
        return None
    folder = f"{source.file.rpartition('/')[0]}/"
    names = [path.removeprefix(folder) for path in tree if path.startswith(folder)]

    @cache
    def dockerfile(path: str) -> Dockerfile | None:
        return Dockerfile.parse(tree[path], path) if path in tree else None

    recipes: dict[str, Recipe] = {}
    for flavour in file.flavours or [""]:
        own = file.flavours.get(flavour, RecipeFields())
        scope = Scope(file, flavour, own, source=source, diagnostics=diagnostics)
        if recipe := _recipe(name, scope, dockerfile, names):
            recipes[flavour] = recipe
    for index, provided in enumerate(file.provides):
        if problem := layer_problem(provided):
            location = source.location(("provides", index))
            diagnostics.append(Diagnostic(message=problem, location=location, hint="rename it"))
    default = file.default_flavour or next(iter(file.flavours), "")
    if default not in (file.flavours or [""]):
        message = f"`default_flavour` is `{default}`, which is not a flavour of this layer"
        hint = which_one(default, file.flavours, "remove `default_flavour`")
        location = source.location(("default_flavour",))
        diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
    diagnostics.extend(_unmounted_by_all(file, recipes.values(), source))
    if len(diagnostics) > before:
        return None
    return Layer(
        name=name,
        file=source.file,
        recipes=MappingProxyType(recipes),
        default_flavour=default,
        provides=file.provides,
    )


def _recipe(name: str, scope: Scope, read: Callable[[str], Dockerfile | None], names: Collection[str]) -> Recipe | None:
    """Return the recipe of a flavour, or None after adding everything that is wrong to the scope."""
    before, said, flavour = len(scope.diagnostics), scope.said, scope.flavour
    if said.kind is None:
        hint = "add `kind: artifact`, or `system` or `toolchain`"
        scope.wrong("`kind` is missing", ("flavours", flavour) if flavour else (), hint, key=True)
        return None
    scope.check()
    check_owned(name, scope, said.kind)
    _check_downloads(scope)
    for problem in part_problems(said):
        scope.wrong(*problem)
    found = len(scope.diagnostics)
    dockerfile = _dockerfile(scope, said.kind, read, names)
    if len(scope.diagnostics) > found:
        return None
    _check_inputs(scope, _declared(scope, dockerfile))
    contexts = _contexts(scope, said.kind)
    if dockerfile:
        _check_dockerfile(scope, said.kind, dockerfile, contexts)
    mounted = frozenset(each.id for each in mounts.secret_mounts(dockerfile)) if dockerfile else frozenset()
    _check_secrets(scope, mounted)
    _check_unused(scope, dockerfile)
    if len(scope.diagnostics) > before:
        return None
    values = {each.name: getattr(said, each.name) for each in fields(RecipeFields)}
    added: dict[str, Any] = {
        "layer": name,
        "flavour": flavour,
        "file": scope.source.file,
        "platforms": said.platforms or (DEFAULT_PLATFORM,),
        "places": _places(scope),
        "dockerfile": None,
        "secrets": tuple(each for each in said.secrets if each.id in mounted),
    }
    if said.files:
        added["prefix"] = owned(said.files.values())
    if said.run:
        added |= {"declared": _declared(scope, None), "added_layers": 1}
    if dockerfile:
        added |= {
            "dockerfile": dockerfile.file,
            "text": dockerfile.text,
            "declared": frozenset(dockerfile.declared),
            "references": frozenset(each.name for each in dockerfile.references),
            "added_layers": dockerfile.added_layers,
            "mounted": mounted,
            "uncredentialed": mounts.without_credentials(dockerfile),
            "sources": context_sources(dockerfile),
        }
    return Recipe(**{**values, **added})


def _places(scope: Scope) -> Mapping[tuple[str, str], Location]:
    """Return where fields are written that another layer may contradict, and the names in them."""
    found = {
        (name, item): scope.location((name, index))
        for name in ("requires", "after", "conflicts", "platforms")
        for index, item in enumerate(getattr(scope.said, name))
    }
    for name in ("freshness", "toolchain", "kind", "prefix", "downloads", "packages", "run"):
        if getattr(scope.said, name):
            found[name, ""] = scope.location((name,), key=True)
    if scope.said.files:
        found["prefix", ""] = scope.location(("files",), key=True)
    for name, parameter in scope.parameters.items():
        for value in parameter.supported_until:
            found["supported_until", f"{name} {value}"] = scope.location(("parameters", name, "supported_until", value))
    for name in ("memory", "disk"):
        if getattr(scope.said.weight, name):
            found["weight", name] = scope.location(("weight", name))
    return MappingProxyType(found)


def _check_secrets(scope: Scope, mounted: Collection[str]) -> None:
    """Add a diagnostic for each secret that cannot have its id, or that no RUN mounts."""
    seen = set[str]()
    for index, secret in enumerate(scope.said.secrets):
        path = ("secrets", index, "id")
        if problem := secret_problem(secret.id):
            scope.wrong(problem, path, "remove the entry")
        elif secret.id in seen:
            scope.wrong(f"the secret `{secret.id}` is declared twice", path, "remove one of the entries")
        # A common secret may be there for another flavour.
        elif secret.id not in mounted and (not scope.flavour or scope.in_flavour("secrets")):
            scope.wrong(*_unmounted(secret.id, path))
        seen.add(secret.id)


def _unmounted_by_all(file: LayerFile, recipes: Collection[Recipe], source: Source) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each common secret that the RUN steps of no flavour mount."""
    # Where a flavour is wrong, what it mounts is unknown.
    known = file.flavours and len(recipes) == len(file.flavours)
    for index, secret in enumerate(file.secrets if known else ()):
        if not any(secret.id in each.mounted for each in recipes):
            message, path, hint = _unmounted(secret.id, ("secrets", index, "id"))
            yield Diagnostic(message=message, location=source.location(path), hint=hint)


def _unmounted(secret: str, path: Path) -> tuple[str, Path, str]:
    hint = f"write `RUN --mount=type=secret,id={secret},required=true …`, or remove the entry"
    return f"no RUN mounts the secret `{secret}`", path, hint


def _check_downloads(scope: Scope) -> None:
    for name, variants in scope.said.downloads.items():
        for index, download in enumerate(variants):
            path = ("downloads", name, index)
            if download.sha256 is None and not download.reason:
                hint = "add `reason: …`: why no source has it"
                scope.wrong("`sha256: unknown` needs a `reason`", (*path, "sha256"), hint)
            if any(credentials_in(download.url)):
                scope.wrong(f"the address {IN_HISTORY}", (*path, "url"), NO_CREDENTIALS)


def _dockerfile(
    scope: Scope, kind: Kind, read: Callable[[str], Dockerfile | None], names: Collection[str]
) -> Dockerfile | None:
    """Return the Dockerfile, None where there is none; `names` are the files of the layer."""
    folder, name = scope.source.file.rpartition("/")[0], scope.said.dockerfile
    if name is not None and not _FILE_NAME.fullmatch(name):
        message = f"`{shown(name)}` is not the name of a file in `{folder}`"
        scope.wrong(message, ("dockerfile",), f"write `{name.rpartition('/')[2] or 'Dockerfile'}`")
        return None
    file = f"{folder}/{name or 'Dockerfile'}"
    found = read(file)
    for field in ("files", "run"):
        if getattr(scope.said, field) and (found is not None or name is not None):
            message = f"`{file}` builds the layer, and so would `{field}`"
            scope.wrong(message, (field,), f"remove `{field}` and do its work in `{file}`, or remove that", key=True)
    if scope.said.files or scope.said.run:
        return None
    if found is not None:
        return found
    near = nearest(name or "Dockerfile", [each for each in names if "dockerfile" in each.lower()])
    if name is not None:
        hint = f"did you mean `{near}`?" if near else f"create `{file}`"
        scope.wrong(f"`{file}` does not exist", ("dockerfile",), hint)
    elif kind is not Kind.SYSTEM:
        who = "an artifact" if kind is Kind.ARTIFACT else f"a {kind}"
        first = "FROM toolchain AS build" if kind is Kind.ARTIFACT else "FROM base"
        hint = f"rename `{folder}/{near}` to `Dockerfile`" if near else f"create it, beginning with `{first}`"
        scope.wrong(f"`{file}` is missing, and {who} needs it", ("kind",), hint)
    return None


def _check_dockerfile(scope: Scope, kind: Kind, dockerfile: Dockerfile, contexts: Mapping[str, str]) -> None:
    """Check the Dockerfile, and note the parameters that it uses."""
    switches = {each.argument for each in scope.parameters.values() if is_switch(each.argument)}
    # That a parameter is a switch of BuildKit is said where it is declared.
    said = [lint.argument_location(dockerfile, each) for each in dockerfile.arguments if each.name in switches]
    found = lint.problems(dockerfile, contexts, scope.flavour)
    scope.diagnostics.extend(each for each in found if each.location not in said)
    if not lint.is_readable(dockerfile):
        scope.used.update(scope.parameters)
        return
    if kind is Kind.ARTIFACT and scope.said.prefix:
        scope.diagnostics.extend(lint.artifact_problems(dockerfile, scope.said.prefix))
    _check_declared(scope, dockerfile)
    secrets = {each.id: each.location for each in scope.said.secrets}
    scope.diagnostics.extend(mounts.secret_problems(dockerfile, secrets, scope.source.file))
    declared = dockerfile.declared
    scope.used.update(name for name, each in scope.parameters.items() if each.argument in declared)
    scope.used.update(each.name for each in dockerfile.references)


def _contexts(scope: Scope, kind: Kind) -> Mapping[str, str]:
    """Return the contexts that a Dockerfile may name, with what each is; the first is what the layer is built on."""
    folders = {}
    for field, layers in (("requires", scope.said.requires), ("after", scope.said.after)):
        for index, name in enumerate(layers):
            if problem := context_problem(name):
                scope.wrong(problem, (field, index), f"remove `{name}`")
    others = {*scope.said.requires, *scope.said.after} - {OS}
    for name, parameter in scope.parameters.items():
        if parameter.type is not ParameterType.FOLDER:
            continue
        folders[name] = "a folder"
        problem = context_problem(name)
        if name in others and kind is Kind.ARTIFACT:
            problem = f"`{name}` is the context of the layer `{name}`"
        if problem:
            message = f"the folder `{name}` would be a context of that name: {problem}"
            scope.wrong(message, ("parameters", name), "rename the parameter", key=True)
    mirrors = {"mirrors": "the settings of package mirrors"}
    if kind is not Kind.ARTIFACT:
        return {"base": "which is the image that `parent` names, or the layer below", **mirrors, **folders}
    what = "which is what artifacts are built on: for another image, write a layer of kind `toolchain`"
    return {"toolchain": what, **mirrors, **dict.fromkeys(sorted(others), "a layer"), **folders}


def _check_unused(scope: Scope, dockerfile: Dockerfile | None) -> None:
    """Add a diagnostic for each parameter that changes nothing.

    One that distinguishes the names of nodes must change what is built: two values would share one node.
    """
    where = f"flavour `{scope.flavour}`" if scope.flavour else "this layer"
    if scope.said.kind is Kind.TOOLCHAIN and scope.said.parent is None:
        # The missing parent is reported elsewhere, and its name may use them.
        return
    references = {each.name for each in dockerfile.references} if dockerfile else ()
    declared = _declared(scope, dockerfile)
    built = built_with(scope.said, declared, references)
    scope.used.update(name for name, each in scope.parameters.items() if each.argument in declared)
    has_node = dockerfile is not None or bool(scope.said.packages or scope.said.files or scope.said.run)
    for name, parameter in scope.parameters.items():
        # One of a single value is a remark.
        distinguishes = parameter.label and len(parameter.values) != 1
        used = scope.used if not parameter.label else built if has_node else scope.in_image
        # A common parameter may be there for another flavour.
        if name in used or (scope.flavour and not scope.in_flavour("parameters", name)):
            continue
        hint = f"remove it, or declare `ARG {parameter.argument}` in the Dockerfile"
        hint = f"remove it, or write `${parameter.argument}` in `run`" if scope.said.run else hint
        if distinguishes:
            message = f"the parameter `{name}` is marked `label`, and nothing that is built uses it"
            scope.wrong(message, ("parameters", name), hint, key=True)
        elif not parameter.label and parameter.type is not ParameterType.FOLDER:
            scope.wrong(f"nothing in {where} uses the parameter `{name}`", ("parameters", name), hint, key=True)


def _declared(scope: Scope, dockerfile: Dockerfile | None) -> Collection[str]:
    """Return the arguments of a Dockerfile, or those that the commands of `run` name."""
    if dockerfile:
        return dockerfile.declared
    return named_by(scope.said.run, (*(argument for argument, _, _ in _inputs(scope, ())), *PLATFORM_ARGUMENTS))


def _check_inputs(scope: Scope, declared: Collection[str]) -> None:
    """Add a diagnostic for each input whose argument is not its own: another input would take its value's place."""
    taken: dict[str, str] = {}
    for argument, what, path in _inputs(scope, declared):
        first = taken.setdefault(argument, what)
        if problem := argument_problem(argument):
            scope.wrong(f"{what} has a reserved name: {problem}", path, "rename it", key=True)
        elif first != what:
            message = f"{what} and {first} would both be the argument `{argument}`"
            scope.wrong(message, path, "rename one of them", key=True)


def _inputs(scope: Scope, declared: Collection[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield the argument, the words for a message, and the place of each input of the layer."""
    for name, parameter in scope.parameters.items():
        # A folder is a context, and an argument only where the Dockerfile asks for its path.
        if (
            parameter.type is not ParameterType.FOLDER
            or parameter.argument in declared
            or is_switch(parameter.argument)
        ):
            yield parameter.argument, f"the parameter `{name}`", ("parameters", name)
    for name in scope.said.downloads:
        for argument in download_arguments(name):
            yield argument, f"the download `{name}`", ("downloads", name)
    for index, arguments in enumerate(scope.said.arguments):
        for name in arguments.lines:
            yield name, f"the lines of `{name}`", ("arguments", index, "lines", name)


def _check_declared(scope: Scope, dockerfile: Dockerfile) -> None:
    """Add a diagnostic for each argument that nothing sets, and each download that the Dockerfile does not declare."""
    declared = dockerfile.declared
    known = {argument for argument, _, _ in _inputs(scope, declared)} | OWN_ARGUMENTS | PLATFORM_ARGUMENTS
    for name in scope.said.downloads:
        missing = [f"`ARG {each}`" for each in download_arguments(name) if each not in declared]
        if missing:
            message = f"`{dockerfile.file}` does not have {' and '.join(missing)} for the download `{name}`"
            hint = "declare them in the stage that fetches the file"
            scope.wrong(message, ("downloads", name), hint, key=True)
    first = {each.name: each for each in reversed(dockerfile.arguments)}
    for name, has_default in declared.items():
        if name not in known and not has_default:
            message = f"`ARG {name}` is neither a parameter nor a download of this layer, and has no default"
            location = lint.argument_location(dockerfile, first[name])
            otherwise = f"declare the parameter `{dashed(name)}`, or give the argument a default"
            near = did_you_mean(name, known, otherwise)
            scope.diagnostics.append(Diagnostic(message=message, location=location, hint=near))
