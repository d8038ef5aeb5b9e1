"""Whether a Dockerfile is read by BuildKit's own frontend, as we read it, and leaves BuildKit's arguments alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildsys.dockerfile.parser import HEREDOC, Read, directives, read_all, words
from buildsys.errors import Diagnostic, Location
from buildsys.names import PLATFORM_ARGUMENTS, is_switch
from buildsys.texts import control, shown, variable

# As BuildKit looks for a frontend, and as older ones did, which went on behind a directive that they did not know.
_DIRECTIVE = r"\s*{mark}\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z"
_MARKS = ("#", "//")
_DELIMITER = re.compile(r"(['\"]?)[A-Za-z0-9_.-]+\1")
_ODD_VARIABLE = re.compile(r"\$\{(?![A-Za-z_][A-Za-z0-9_]*\})")


def frontend_problems(text: str, file: str) -> tuple[Diagnostic, ...]:
    """Return what brings in another frontend, or changes how this one reads and builds."""
    reads = read_all(text)
    return (*_frontends(text, file), *_reading(text, file), *_ambiguous(reads, file), *_arguments(reads, file))


def argument_words(reads: Sequence[Read]) -> Iterator[tuple[str, bool, tuple[int, int]]]:
    """Yield each name that ARG declares, whether it has a default there, and its place."""
    for read in (read for read in reads if read.instruction.keyword == "ARG"):
        for word, offset in words(read.source.text[read.rest :]) or ():
            name, equals, _ = word.partition("=")
            yield name, bool(equals), read.source.at(read.rest + offset)


def _frontends(text: str, file: str) -> Iterator[Diagnostic]:
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
                yield Diagnostic(message=message, location=Location(file=file, line=number), hint=hint)
    if "\n".join(lines[first:]).lstrip(" \t\r\n").startswith("{"):
        message = "the file begins with `{`, and BuildKit fetches the frontend that a JSON object names"
        yield Diagnostic(message=message, location=Location(file=file, line=first + 1), hint="begin with `FROM`")


def _reading(text: str, file: str) -> Iterator[Diagnostic]:
    """Yield what BuildKit, an editor and we may read in different ways."""
    for name, value, number in directives(text.removeprefix("\ufeff").split("\n")):
        if name == "escape" and value != "\\":
            message = f"`# escape={shown(value)}` changes how every line is read, expected none"
            yield Diagnostic(
                message=message, location=Location(file=file, line=number), hint="continue lines with `\\`"
            )
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if found := control(line.removesuffix("\r"), keep="\t"):
            message = f"the line holds the control character `{found}`"
            yield Diagnostic(message=message, location=Location(file=file, line=number))


def _ambiguous(reads: Sequence[Read], file: str) -> Iterator[Diagnostic]:
    """Yield what BuildKit's reader of flags and its reader of shell words may take otherwise than ours do.

    BuildKit reads flags byte by byte, with quotes and backslashes of its own, and mounts as CSV; a word that its shell
    reader cannot end opens no heredoc (moby/buildkit, `frontend/dockerfile/parser/split_command.go`, `parser.go`).
    """
    for read in reads:
        text, keyword = read.source.text, read.instruction.keyword
        head = text[len(keyword) : read.rest]
        line, column = read.source.at(read.rest)
        location = Location(file=file, line=line, column=column)
        if not (head.isascii() and head.replace("\t", " ").isprintable()) or set(head) & set("'\"\\`"):
            message = f"the flags of `{keyword}` have quotes, backslashes or letters that not all readers read alike"
            yield Diagnostic(message=message, location=location, hint="write flags in plain ASCII, without quotes")
        rest = text[read.rest :]
        opens = "<<" in rest and keyword in ("ADD", "COPY", "RUN")
        if (opens or keyword == "ARG") and words(rest) is None:
            message = f"a quote or brace of this `{keyword}` is not closed as all readers see it"
            yield Diagnostic(message=message, location=location, hint="write it without quotes inside of `${…}`")
        elif opens and _ODD_VARIABLE.search(rest):
            message = f"this `{keyword}` has `<<` and a `${{…}}` that is more than a name, which readers tell apart"
            yield Diagnostic(message=message, location=location, hint="use the variable in the body, or without `<<`")
        for word, offset in (words(rest) or ()) if opens else ():
            if (opened := HEREDOC.match(word)) and not _DELIMITER.fullmatch(opened[2]):
                line, column = read.source.at(read.rest + offset)
                message = f"`{shown(word)}` opens a heredoc whose end readers look for by different words"
                hint = "end it by a plain word, such as `<<EOF`"
                yield Diagnostic(message=message, location=Location(file=file, line=line, column=column), hint=hint)


def _arguments(reads: Sequence[Read], file: str) -> Iterator[Diagnostic]:
    for name, has_default, (line, column) in argument_words(reads):
        location = Location(file=file, line=line, column=column, length=max(1, len(name)))
        if expected := variable(name):
            yield Diagnostic(message=f"`ARG {shown(name)}` is no plain name, expected {expected}", location=location)
        elif is_switch(name):
            message = f"`ARG {name}` changes how BuildKit builds"
            yield Diagnostic(
                message=message, location=location, hint="proxies and mirrors belong to this machine's settings"
            )
        elif has_default and name in PLATFORM_ARGUMENTS:
            message = f"`ARG {name}` has a default, which BuildKit's own value would take the place of, or not"
            yield Diagnostic(message=message, location=location, hint=f"write `ARG {name}`: BuildKit sets it")
