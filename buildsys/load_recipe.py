"""One flavour of a `layer.yaml`, with its Dockerfile, becomes a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from buildsys import dockerfile
from buildsys.errors import Mistake, Place
from buildsys.load_fields import (
    read_arguments,
    read_checks,
    read_downloads,
    read_environment,
    read_healthcheck,
    read_labels,
    read_line,
    read_packages,
    read_parent,
    read_tests,
    read_toolchain,
    read_weight,
    read_words,
)
from buildsys.load_scope import Scope
from buildsys.model import OS, Download, Kind, ParameterType, Recipe
from buildsys.names import visible

_OWN_ARGUMENTS = frozenset({"PACKAGES", "EPOCH", "PREFIX"})


def load_recipe(name: str, flavour: str, scope: Scope, tree: Mapping[str, str]) -> Recipe | None:
    """Return the recipe, or None after adding every mistake to the scope; `tree` maps path to text."""
    before = len(scope.mistakes)
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
    given = read_arguments(scope)
    own = {name for each in given for name in each.lines}
    declared, references = _read_dockerfile(scope, kind, file, tree[file] if file else "", own, downloads)
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
        arguments=given,
        declared=declared,
        references=references,
        parameters=MappingProxyType(scope.parameters),
        packages=packages,
        parent=read_parent(scope),
        downloads=MappingProxyType(downloads),
        environment=read_environment(scope),
        labels=MappingProxyType(read_labels(scope)),
        ports=scope.strings("ports"),
        user=read_line(scope, "user"),
        workdir=read_line(scope, "workdir"),
        entrypoint=read_words(scope, "entrypoint"),
        command=read_words(scope, "command"),
        healthcheck=read_healthcheck(scope),
        checks=read_checks(scope),
        freshness=_optional(scope.get("freshness")[0]),
        tests=read_tests(scope),
        weight=read_weight(scope),
    )
    _check_unused(scope, flavour)
    return recipe if len(scope.mistakes) == before else None


def _read_dockerfile(
    scope: Scope, kind: Kind, file: str | None, text: str, own: set[str], downloads: Mapping[str, tuple[Download, ...]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Check the Dockerfile and return the arguments that it declares and the contexts that it names."""
    if file is None:
        return frozenset(), frozenset()
    prefix = scope.get("prefix")[0]
    contexts = _contexts(scope, kind)
    scope.mistakes.extend(dockerfile.problems(text, file, contexts))
    if kind is Kind.ARTIFACT and prefix is not None:
        scope.mistakes.extend(dockerfile.artifact_problems(text, file, str(prefix)))
    declared = dockerfile.declared_arguments(text)
    references = frozenset(each.name for each in dockerfile.references(text))
    _check_arguments(scope, declared, own, downloads, file, text)
    scope.used.update(name for name, p in scope.parameters.items() if p.argument in declared)
    scope.used.update(references & scope.parameters.keys())
    return frozenset(declared), references


def _contexts(scope: Scope, kind: Kind) -> frozenset[str]:
    folders = {name for name, p in scope.parameters.items() if p.type is ParameterType.FOLDER}
    if kind is not Kind.ARTIFACT:
        return frozenset({"base", "mirrors", *folders})
    others = {*scope.strings("requires"), *scope.strings("after")} - {OS}
    return frozenset({"toolchain", "mirrors", *others, *folders})


def _dockerfile_name(scope: Scope, folder: str, kind: Kind, tree: Mapping[str, str]) -> str | None:
    value, path = scope.get("dockerfile")
    if value is not None and (not str(value).isprintable() or "/" in str(value) or value in ("", ".", "..", "-")):
        scope.wrong(f"`{visible(str(value))}` is not the name of a file in `{folder}`", path)
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


def _check_arguments(
    scope: Scope,
    declared: Mapping[str, bool],
    own: set[str],
    downloads: Mapping[str, object],
    file: str,
    text: str,
) -> None:
    known = _OWN_ARGUMENTS | own | {parameter.argument for parameter in scope.parameters.values()}
    for name in downloads:
        word = name.upper().replace("-", "_")
        known |= {f"{word}_URL", f"{word}_SHA256"}
        if f"{word}_URL" not in declared or f"{word}_SHA256" not in declared:
            scope.wrong(f"`{file}` does not declare `{word}_URL` and `{word}_SHA256`", ("downloads", name), key=True)
    for name, has_default in declared.items():
        if name not in known and not has_default:
            near = get_close_matches(name, known, 1)
            message = f"`ARG {name}` is neither a parameter nor a download of this layer, and has no default"
            hint = f"did you mean `{near[0]}`?" if near else None
            scope.mistakes.append(Mistake(message=message, place=_argument_place(file, text, name), hint=hint))


def _argument_place(file: str, text: str, name: str) -> Place:
    line, column = dockerfile.argument_positions(text)[name]
    return Place(file=file, line=line, column=column, length=len(name))


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
