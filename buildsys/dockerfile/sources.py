"""Which files of its contexts a Dockerfile copies or mounts by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildsys.dockerfile.parser import HEREDOC, Dockerfile, Read, plain_words
from buildsys.values import dataclass

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
# What BuildKit takes for a pattern, which may match nothing, and what it reads in a way of its own.
_PATTERN = re.compile(r"[*?\[\\]")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|git@|[^/]+\.[^/]+/.*\.git(?:#|\Z)")
_FIELD = re.compile(r"(?:\A|,)([A-Za-z]+)=([^,]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextSource:
    """A path below a context, which may have variables; `context` is empty for that of the Dockerfile itself.

    `known` are the arguments whose values its variables have there.
    """

    keyword: str
    path: str
    context: str
    known: frozenset[str]
    line: int
    column: int

    def filled(self, arguments: Mapping[str, str]) -> str | None:
        """Return the path with the values of arguments; None where it is a pattern, an address, or not known here."""
        names = {found[1] or found[2] for found in _VARIABLE.finditer(self.path)}
        if not names <= (self.known & arguments.keys()):
            return None
        path = _VARIABLE.sub(lambda found: arguments[found[1] or found[2]], self.path)
        if "$" in path or _PATTERN.search(path) or _REMOTE.match(path):
            return None
        return path


def context_sources(dockerfile: Dockerfile) -> tuple[ContextSource, ...]:
    """Return the sources of COPY, ADD and bind mounts in order, without those of stages."""
    stages = {stage.name.lower() for stage in dockerfile.stages if stage.name}
    set_there = {name for read in dockerfile.reads if read.instruction.keyword == "ENV" for name in _names(read)}
    declared: set[str] = set()
    found = []
    for read in dockerfile.reads:
        keyword = read.instruction.keyword
        if keyword == "FROM":
            declared = set()
        elif keyword == "ARG":
            declared |= set(_names(read)) - set_there
        for path, context, offset in _sources(read):
            if context.lower() not in stages and not context.isdecimal():
                line, column = read.source.at(offset)
                found.append(
                    ContextSource(
                        keyword=keyword,
                        path=path,
                        context=context,
                        known=frozenset(declared),
                        line=line,
                        column=column,
                    )
                )
    return tuple(found)


def _names(read: Read) -> Iterator[str]:
    """Yield the names that ARG or ENV sets, in either form."""
    for word in plain_words(read.source.text[read.rest :]):
        yield word.partition("=")[0]


def _sources(read: Read) -> Iterator[tuple[str, str, int]]:
    """Yield each path of an instruction, the context that it is in, and the offset where it is written."""
    text, keyword = read.source.text, read.instruction.keyword
    if keyword in ("COPY", "ADD"):
        context = dict(read.instruction.flags).get("from", "")
        at = read.rest
        for path in plain_words(read.instruction.arguments)[:-1]:
            if not HEREDOC.match(path):
                at = max(text.find(path, at), read.rest)
                yield path, context, at
    for flag, value, offset in read.values if keyword == "RUN" else ():
        fields = {found[1].lower(): found[2] for found in _FIELD.finditer(value)} if flag == "mount" else {}
        if fields.get("type", "bind") == "bind" and (mounted := fields.get("source", fields.get("src", ""))):
            yield mounted, fields.get("from", ""), offset + max(value.find(mounted), 0)
