"""Which files of its contexts a Dockerfile copies or mounts by name, and which addresses it adds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildsys.dockerfile.parser import HEREDOC, Dockerfile, Read, plain_words
from buildsys.dockerfile.remote import Definition, expanded, is_address
from buildsys.values import dataclass

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
# What BuildKit takes for a pattern, which may match nothing, and what it reads in a way of its own.
_PATTERN = re.compile(r"[*?\[\\]")
_FIELD = re.compile(r"(?:\A|,)([A-Za-z]+)=([^,]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextSource:
    """A path below a context, which may have variables; `context` is empty for that of the Dockerfile itself.

    `known` are the arguments whose values its variables have there. A source of ADD may be an address: `checksum` is
    that of the instruction, and `definitions` are what the names in both mean there. `folder` is where ADD puts a file
    under the name that its address has, empty where that name does not count.
    """

    keyword: str
    path: str
    context: str
    known: frozenset[str]
    line: int
    column: int
    checksum: str = ""
    definitions: tuple[Definition, ...] = ()
    folder: str = ""

    def filled(self, arguments: Mapping[str, str]) -> str | None:
        """Return the path with the values of arguments; None where it is a pattern, an address, or not known here."""
        names = {found[1] or found[2] for found in _VARIABLE.finditer(self.path)}
        if not names <= (self.known & arguments.keys()):
            return None
        path = _VARIABLE.sub(lambda found: arguments[found[1] or found[2]], self.path)
        if "$" in path or _PATTERN.search(path) or is_address(path):
            return None
        return path


def context_sources(dockerfile: Dockerfile) -> tuple[ContextSource, ...]:
    """Return the sources of COPY, ADD and bind mounts in order, without those of stages."""
    stages = {stage.name.lower() for stage in dockerfile.stages if stage.name}
    set_there = {name for read in dockerfile.reads if read.instruction.keyword == "ENV" for name in _names(read)}
    declared: set[str] = set()
    scopes = _Scopes()
    found = []
    for read in dockerfile.reads:
        keyword = read.instruction.keyword
        scopes.take(read)
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
                        checksum=dict(read.instruction.flags).get("checksum", "") if keyword == "ADD" else "",
                        definitions=tuple(scopes.here) if keyword == "ADD" else (),
                        folder=_folder(read) if keyword == "ADD" else "",
                    )
                )
    return tuple(found)


def filled_name(dockerfile: Dockerfile, name: str) -> str | None:
    """Return what a FROM names, with the arguments before all stages in it; None where one of them is not known."""
    scopes = _Scopes()
    for read in dockerfile.reads:
        if read.instruction.keyword == "FROM":
            break
        scopes.take(read)
    return expanded(name, scopes.before, {})


class _Scopes:
    """What the names of variables mean at the current instruction: `here`, and before the first FROM.

    A stage has the definitions of the stage that it is built from; an ARG there may repeat one from before all stages.
    """

    def __init__(self) -> None:
        self.before: list[Definition] = []
        self.here = self.before
        self._stages: dict[str, list[Definition]] = {}

    def take(self, read: Read) -> None:
        """Take the next instruction."""
        keyword = read.instruction.keyword
        if keyword == "FROM":
            said = read.instruction.arguments.split()
            self.here = list(self._stages.get(said[0].lower() if said else "", ()))
            if len(said) == 3:
                self._stages[said[2].lower()] = self.here
        elif keyword in ("ARG", "ENV"):
            self.here += self._definitions(read, is_argument=keyword == "ARG")

    def _definitions(self, read: Read, *, is_argument: bool) -> Iterator[Definition]:
        said = plain_words(read.source.text[read.rest :])
        if not is_argument and said and "=" not in said[0]:
            # `ENV NAME value` is the old form of one variable.
            yield Definition(name=said[0], text=" ".join(said[1:]), is_argument=False)
            return
        for word in said:
            name, equals, text = word.partition("=")
            given = text if equals else None
            if is_argument and not equals and self.here is not self.before:
                given = next((each.text for each in reversed(self.before) if each.name == name), None)
            yield Definition(name=name, text=given, is_argument=is_argument)


def _folder(read: Read) -> str:
    """Return the target of an ADD that is written as a folder, empty for one that unpacks what it fetches."""
    target = plain_words(read.instruction.arguments)[-1]
    is_folder = target.endswith("/") or target.rpartition("/")[2] in (".", "..")
    return target if is_folder and dict(read.instruction.flags).get("unpack", "false") == "false" else ""


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
