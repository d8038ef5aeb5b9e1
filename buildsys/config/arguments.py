"""Whether the arguments of a Dockerfile and the inputs of its layer fit each other, one input to each argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildsys.config.model import ParameterType
from buildsys.config.scope import Scope
from buildsys.config.source import Path
from buildsys.dockerfile import lint
from buildsys.errors import Diagnostic, Location, did_you_mean
from buildsys.names import OWN_ARGUMENTS, PLATFORM_ARGUMENTS, argument_problem, is_switch


def check_inputs(scope: Scope, declared: Mapping[str, bool]) -> None:
    """Add a mistake for each input whose argument is not its own: another input would take its value's place."""
    taken: dict[str, str] = {}
    for argument, what, path in _inputs(scope, declared):
        first = taken.setdefault(argument, what)
        if problem := argument_problem(argument):
            scope.wrong(f"{what} has a reserved name: {problem}", path, "give it another name", key=True)
        elif first != what:
            scope.wrong(f"{what} and {first} would both be the argument `{argument}`", path, key=True)


def _inputs(scope: Scope, declared: Mapping[str, bool]) -> Iterator[tuple[str, str, Path]]:
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


def check_declared(scope: Scope, declared: Mapping[str, bool], file: str, text: str) -> None:
    """Add a mistake for each argument that nothing sets, and each download that the Dockerfile does not declare."""
    known = {argument for argument, _, _ in _inputs(scope, declared)} | OWN_ARGUMENTS | PLATFORM_ARGUMENTS
    for name in scope.said.downloads:
        address, checksum = download_arguments(name)
        if address not in declared or checksum not in declared:
            scope.wrong(f"`{file}` does not declare `{address}` and `{checksum}`", ("downloads", name), key=True)
    for name, has_default in declared.items():
        if name not in known and not has_default:
            message = f"`ARG {name}` is neither a parameter nor a download of this layer, and has no default"
            location = _location(file, text, name)
            hint = did_you_mean(name, known)
            scope.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))


def _location(file: str, text: str, name: str) -> Location:
    line, column = lint.argument_positions(text)[name]
    return Location(file=file, line=line, column=column, length=len(name))
