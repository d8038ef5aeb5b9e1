"""Whether the arguments of a Dockerfile and the inputs of its layer fit each other, one input to each argument."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from buildsys.config.model import ParameterType
from buildsys.config.scope import Scope
from buildsys.config.source import Path
from buildsys.dockerfile.lint import argument_location
from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import Diagnostic, did_you_mean
from buildsys.names import OWN_ARGUMENTS, PLATFORM_ARGUMENTS, argument_problem, is_switch


def check_inputs(scope: Scope, declared: Collection[str]) -> None:
    """Add a diagnostic for each input whose argument is not its own: another input would take its value's place."""
    taken: dict[str, str] = {}
    for argument, what, path in _inputs(scope, declared):
        first = taken.setdefault(argument, what)
        if problem := argument_problem(argument):
            scope.wrong(f"{what} has a reserved name: {problem}", path, "give it another name", key=True)
        elif first != what:
            scope.wrong(f"{what} and {first} would both be the argument `{argument}`", path, key=True)


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


def download_arguments(name: str) -> tuple[str, str]:
    """Return the arguments of a download: its address and its checksum."""
    word = name.upper().replace("-", "_")
    return f"{word}_URL", f"{word}_SHA256"


def check_declared(scope: Scope, dockerfile: Dockerfile) -> None:
    """Add a diagnostic for each argument that nothing sets, and each download that the Dockerfile does not declare."""
    declared = dockerfile.declared
    known = {argument for argument, _, _ in _inputs(scope, declared)} | OWN_ARGUMENTS | PLATFORM_ARGUMENTS
    for name in scope.said.downloads:
        address, checksum = download_arguments(name)
        if address not in declared or checksum not in declared:
            message = f"`{dockerfile.file}` does not declare `{address}` and `{checksum}`"
            scope.wrong(message, ("downloads", name), key=True)
    first = {each.name: each for each in reversed(dockerfile.arguments)}
    for name, has_default in declared.items():
        if name not in known and not has_default:
            message = f"`ARG {name}` is neither a parameter nor a download of this layer, and has no default"
            location = argument_location(dockerfile, first[name])
            scope.diagnostics.append(Diagnostic(message=message, location=location, hint=did_you_mean(name, known)))
