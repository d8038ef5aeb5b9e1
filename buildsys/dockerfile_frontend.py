"""Whether a Dockerfile is read by BuildKit's own frontend, as we read it, and leaves BuildKit's arguments alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildsys.dockerfile_syntax import Read, directives, read_all, words
from buildsys.errors import Mistake, Place
from buildsys.names import PLATFORM_ARGUMENTS, is_switch
from buildsys.texts import control, shown, variable

# As BuildKit looks for a frontend, and as older ones did, which went on behind a directive that they did not know.
_DIRECTIVE = r"\s*{mark}\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z"
_MARKS = ("#", "//")


def frontend_problems(text: str, file: str) -> tuple[Mistake, ...]:
    """Return what brings in another frontend, or changes how this one reads and builds."""
    return (*_frontends(text, file), *_reading(text, file), *_arguments(text, file))


def argument_words(reads: Sequence[Read]) -> Iterator[tuple[str, bool, tuple[int, int]]]:
    """Yield each name that ARG declares, whether it has a default there, and its place."""
    for read in (read for read in reads if read.instruction.keyword == "ARG"):
        for word, offset in words(read.source.text[read.rest :]) or ():
            name, equals, _ = word.partition("=")
            yield name, bool(equals), read.source.at(read.rest + offset)


def _frontends(text: str, file: str) -> Iterator[Mistake]:
    """Yield a mistake for each way to name a frontend (moby/buildkit, `frontend/dockerfile/parser/directives.go`).

    These are `# syntax=`, `// syntax=` and a JSON object, each behind a byte order mark and a line `#!…` if there are.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    first = 1 if lines[0].startswith("#!") else 0
    hint = "remove the line: the frontend that BuildKit carries is used"
    for mark in _MARKS:
        form = re.compile(_DIRECTIVE.format(mark=mark))
        for number, line in enumerate(lines[first:], first + 1):
            found = form.match(line)
            if not found:
                break
            if found[1].lower() == "syntax":
                message = f"a `{mark} syntax=` line makes every build fetch a frontend from the network"
                yield Mistake(message=message, place=Place(file=file, line=number), hint=hint)
    if "\n".join(lines[first:]).lstrip(" \t\r\n").startswith("{"):
        message = "the file begins with `{`, and BuildKit fetches the frontend that a JSON object names"
        yield Mistake(message=message, place=Place(file=file, line=first + 1), hint="begin with `FROM`")


def _reading(text: str, file: str) -> Iterator[Mistake]:
    """Yield what BuildKit, an editor and we may read in different ways."""
    for name, value, number in directives(text.removeprefix("\ufeff").split("\n")):
        if name == "escape" and value != "\\":
            message = f"`# escape={shown(value)}` changes how every line is read, expected none"
            yield Mistake(message=message, place=Place(file=file, line=number), hint="continue lines with `\\`")
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if found := control(line.removesuffix("\r"), keep="\t"):
            message = f"the line holds the control character `{found}`"
            yield Mistake(message=message, place=Place(file=file, line=number))


def _arguments(text: str, file: str) -> Iterator[Mistake]:
    for name, has_default, (line, column) in argument_words(read_all(text)):
        place = Place(file=file, line=line, column=column, length=max(1, len(name)))
        if expected := variable(name):
            yield Mistake(message=f"`ARG {shown(name)}` is no plain name, expected {expected}", place=place)
        elif is_switch(name):
            message = f"`ARG {name}` changes how BuildKit builds"
            yield Mistake(message=message, place=place, hint="proxies and mirrors belong to this machine's settings")
        elif has_default and name in PLATFORM_ARGUMENTS:
            message = f"`ARG {name}` has a default, which BuildKit's own value would take the place of, or not"
            yield Mistake(message=message, place=place, hint=f"write `ARG {name}`: BuildKit sets it")
