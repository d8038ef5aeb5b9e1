"""One flavour of a `layer.yaml`, with its Dockerfile, becomes a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from buildsys.config.arguments import check_declared, check_inputs
from buildsys.config.fields import (
    read_arguments,
    read_checks,
    read_downloads,
    read_environment,
    read_healthcheck,
    read_labels,
    read_packages,
    read_parent,
    read_tests,
    read_toolchain,
    read_user,
    read_weight,
    read_words,
    read_workdir,
)
from buildsys.config.model import OS, Kind, ParameterType, Recipe
from buildsys.config.scope import Scope
from buildsys.dockerfile import lint
from buildsys.names import context_problem
from buildsys.texts import shown

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def load_recipe(name: str, flavour: str, scope: Scope, tree: Mapping[str, str]) -> Recipe | None:
    """Return the recipe, or None after adding every mistake to the scope; `tree` maps path to text."""
    before = len(scope.diagnostics)
    kind_name, _ = scope.get("kind")
    if kind_name is None:
        scope.wrong("`kind` is missing", ("flavours", flavour) if flavour else (), key=True)
        return None
    kind = Kind(str(kind_name))
    prefix, prefix_path = scope.get("prefix")
    requires, after = scope.strings("requires"), scope.strings("after")
    packages = read_packages(scope, kind)
    downloads = read_downloads(scope)
    folder = scope.source.file.rpartition("/")[0]
    file = _dockerfile_name(scope, folder, kind, tree)
    if kind is Kind.ARTIFACT and prefix is None:
        scope.wrong("an artifact needs a `prefix`", (), hint="the one path that it owns, such as `/opt/tool`")
    if kind is not Kind.ARTIFACT and prefix is not None:
        scope.wrong(f"a {kind} layer has no `prefix`, only an artifact owns a path", prefix_path, key=True)
    declared, references = _read_dockerfile(scope, kind, file, tree[file] if file else "")
    recipe = Recipe(
        layer=name,
        flavour=flavour,
        file=scope.source.file,
        description=str(scope.get("description")[0]),
        kind=kind,
        licence=str(scope.get("licence")[0]),
        platforms=scope.strings("platforms") or ("linux/amd64",),
        requires=requires,
        after=after,
        conflicts=scope.strings("conflicts"),
        order=_integer(scope.get("order")[0]),
        accelerator=_optional(scope.get("accelerator")[0]),
        prefix=_optional(prefix),
        toolchain=read_toolchain(scope),
        dockerfile=file,
        arguments=read_arguments(scope),
        declared=declared,
        references=references,
        parameters=MappingProxyType(scope.parameters),
        packages=packages,
        parent=read_parent(scope),
        downloads=MappingProxyType(downloads),
        environment=read_environment(scope),
        labels=MappingProxyType(read_labels(scope)),
        ports=scope.strings("ports"),
        user=read_user(scope),
        workdir=read_workdir(scope),
        entrypoint=read_words(scope, "entrypoint"),
        command=read_words(scope, "command"),
        healthcheck=read_healthcheck(scope),
        checks=read_checks(scope),
        freshness=_optional(scope.get("freshness")[0]),
        tests=read_tests(scope),
        weight=read_weight(scope),
    )
    _check_unused(scope, flavour)
    return recipe if len(scope.diagnostics) == before else None


def _read_dockerfile(scope: Scope, kind: Kind, file: str | None, text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Check the Dockerfile and return the arguments that it declares and the contexts that it names."""
    declared = lint.declared_arguments(text)
    check_inputs(scope, declared)
    contexts = _contexts(scope, kind)
    if file is None:
        return frozenset(), frozenset()
    prefix = scope.get("prefix")[0]
    scope.diagnostics.extend(lint.problems(text, file, contexts))
    if kind is Kind.ARTIFACT and prefix is not None:
        scope.diagnostics.extend(lint.artifact_problems(text, file, str(prefix)))
    references = frozenset(each.name for each in lint.references(text))
    check_declared(scope, declared, file, text)
    scope.used.update(name for name, p in scope.parameters.items() if p.argument in declared)
    scope.used.update(references & scope.parameters.keys())
    return frozenset(declared), references


def _contexts(scope: Scope, kind: Kind) -> frozenset[str]:
    folders = set()
    for field in ("requires", "after"):
        for index, name in enumerate(scope.strings(field)):
            if problem := context_problem(name):
                scope.wrong(problem, (*scope.get(field)[1], index))
    others = {*scope.strings("requires"), *scope.strings("after")} - {OS}
    for name, _, path in scope.fields.joined("parameters"):
        if scope.parameters[name].type is not ParameterType.FOLDER:
            continue
        folders.add(name)
        problem = context_problem(name)
        if name in others and kind is Kind.ARTIFACT:
            problem = f"`{name}` is the context of the layer `{name}`"
        if problem:
            scope.wrong(f"the folder `{name}` would be a context of that name: {problem}", path, key=True)
    if kind is not Kind.ARTIFACT:
        return frozenset({"base", "mirrors", *folders})
    return frozenset({"toolchain", "mirrors", *others, *folders})


def _dockerfile_name(scope: Scope, folder: str, kind: Kind, tree: Mapping[str, str]) -> str | None:
    value, path = scope.get("dockerfile")
    if value is not None and not _FILE_NAME.fullmatch(str(value)):
        scope.wrong(f"`{shown(str(value))}` is not the name of a file in `{folder}`", path)
        return None
    file = f"{folder}/{value or 'Dockerfile'}"
    if file in tree:
        return file
    if value is not None:
        scope.wrong(f"`{file}` does not exist", path)
    elif kind is not Kind.SYSTEM:
        scope.wrong(f"`{file}` is missing, and {_a(kind)} needs it", ("kind",))
    return None


def _a(kind: Kind) -> str:
    return "an artifact" if kind is Kind.ARTIFACT else f"a {kind}"


def _check_unused(scope: Scope, flavour: str) -> None:
    for name, _, path in scope.fields.joined("parameters"):
        parameter = scope.parameters[name]
        if name not in scope.used and not parameter.label and parameter.type is not ParameterType.FOLDER:
            where = f"flavour `{flavour}`" if flavour else "this layer"
            if flavour and path[0] != "flavours":
                continue
            scope.wrong(f"nothing in {where} uses the parameter `{name}`", path, key=True)


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
