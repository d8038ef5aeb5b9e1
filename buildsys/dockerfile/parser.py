"""What a Dockerfile says: its text becomes instructions, stages, arguments and references, each with its place.

The splitting follows BuildKit's own (moby/buildkit, `frontend/dockerfile/parser`), line numbers included.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

from buildsys.values import dataclass

KEYWORDS = frozenset(
    {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"}
    | {"ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_KEYWORD = re.compile(r"(\S+)[\t\v\f\r ]*")
_WORD = re.compile(r"""(?:[^\s'"\\$]|\\.|\$\{[^}]*\}|\$|'[^']*'|"(?:\\.|[^"\\])*")+|\s+""", re.DOTALL)
_QUOTING = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)
HEREDOC = re.compile(r"\d*<<(-?)([^<]+)\Z")
# Behind the same character, that of the escape is text: `a \\\\` ends its instruction.
_CONTINUED = {"\\": re.compile(r"(?<!\\)\\[ \t]*\Z"), "`": re.compile(r"(?<!`)`[ \t]*\Z")}
_KNOWN_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_FLAGGED = frozenset({"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"})
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """One instruction; lines count from 1, `end_line` is that of its last heredoc's delimiter.

    `arguments` has no flags; a flag without `=` has the value "". `heredocs` are the bodies as a command or
    file receives them, without the leading tabs that `<<-` drops.
    """

    keyword: str
    arguments: str
    flags: tuple[tuple[str, str], ...]
    line: int
    end_line: int
    heredocs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Text joined from several places of the file: each character knows its line and column."""

    text: str
    starts: tuple[int, ...]
    origins: tuple[tuple[int, int], ...]

    def at(self, offset: int) -> tuple[int, int]:
        """Return line and column of a character."""
        piece = bisect_right(self.starts, offset) - 1
        line, column = self.origins[piece]
        return line, column + offset - self.starts[piece]


@dataclass(frozen=True, slots=True)
class Read:
    """An instruction with its source, the offset of each flag's value, and of the arguments."""

    instruction: Instruction
    source: Text
    values: tuple[tuple[str, str, int], ...]
    rest: int
    unended: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A FROM with what follows it; `base` is its text, `name` is None unless AS gives one."""

    base: str
    name: str | None
    line: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """A name that an ARG declares, and whether it has a default there."""

    name: str
    has_default: bool
    line: int
    column: int


How: TypeAlias = Literal["FROM", "--from", "mount"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The name of an image or named context that a Dockerfile takes from outside, and where it is written."""

    name: str
    line: int
    column: int
    how: How


@dataclass(frozen=True, kw_only=True, slots=True)
class Dockerfile:
    """What a Dockerfile says, in order; instructions before the first FROM belong to no stage.

    `references` is every name that a FROM, `--from=` or `--mount=…,from=` takes from outside of the file.
    """

    file: str
    text: str
    reads: tuple[Read, ...]
    stages: tuple[Stage, ...]
    arguments: tuple[Argument, ...]
    references: tuple[Reference, ...]

    @classmethod
    def parse(cls, text: str, file: str) -> Dockerfile:
        """Return what a text says; never fails: a heredoc without its end reaches to the end of the file."""
        reads = _read_all(text)
        stages = tuple(_stages([read.instruction for read in reads]))
        return cls(
            file=file,
            text=text,
            reads=reads,
            stages=stages,
            arguments=tuple(_arguments(reads)),
            references=tuple(_references(reads, stages)),
        )

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The instructions without their places."""
        return tuple(read.instruction for read in self.reads)

    @property
    def runs(self) -> tuple[Instruction, ...]:
        """The RUN instructions."""
        return tuple(each for each in self.instructions if each.keyword == "RUN")

    @property
    def declared(self) -> dict[str, bool]:
        """The names that ARG declares, and whether any declaration of each has a default."""
        found: dict[str, bool] = {}
        for each in self.arguments:
            found[each.name] = found.get(each.name, False) or each.has_default
        return found

    @property
    def added_layers(self) -> int:
        """How many layers the last stage adds to its base."""
        makers = ("RUN", "COPY", "ADD", "WORKDIR")
        return sum(each.keyword in makers for each in self.stages[-1].instructions) if self.stages else 0


def _stages(instructions: Sequence[Instruction]) -> Iterator[Stage]:
    starts = [index for index, one in enumerate(instructions) if one.keyword == "FROM"]
    for start, end in pairwise([*starts, len(instructions)]):
        said = instructions[start].arguments.split()
        name = said[2] if len(said) == 3 and said[1].upper() == "AS" else None
        base = said[0] if said else ""
        line = instructions[start].line
        yield Stage(base=base, name=name, line=line, instructions=tuple(instructions[start + 1 : end]))


def _arguments(reads: Sequence[Read]) -> Iterator[Argument]:
    for read in (read for read in reads if read.instruction.keyword == "ARG"):
        for word, offset in words(read.source.text[read.rest :]) or ():
            name, equals, _ = word.partition("=")
            line, column = read.source.at(read.rest + offset)
            yield Argument(name=name, has_default=bool(equals), line=line, column=column)


def _references(reads: Sequence[Read], stages: Sequence[Stage]) -> Iterator[Reference]:
    """Yield the names that are no stages.

    As in BuildKit (measured with 0.25): FROM sees the stages before it, `--from=` and mounts see all of them
    by name in any case, and a number is a stage for `COPY --from=` only. `scratch` is nothing.
    """
    names = [(stage.name or "").lower() for stage in stages]
    for how, name, (line, column) in _mentions(reads):
        visible = [n for n, stage in zip(names, stages, strict=True) if how != "FROM" or stage.line < line]
        numbered = how == "--from" and name.isdecimal() and int(name) < len(stages)
        if name and name != "scratch" and name.lower() not in visible and not numbered:
            yield Reference(name=name, line=line, column=column, how=how)


def _mentions(reads: Sequence[Read]) -> Iterator[tuple[How, str, tuple[int, int]]]:
    """Yield each name in FROM, `--from=` and mounts, an ONBUILD's too, with its place."""
    for read in reads:
        if read.instruction.keyword == "FROM":
            yield "FROM", next(iter(read.instruction.arguments.split()), ""), read.source.at(read.rest)
        for flag, value, offset in read.values:
            if flag == "from":
                yield "--from", value, read.source.at(offset)
            for field in re.finditer(r"(?:\A|,)(?i:from)=([^,]*)", value) if flag == "mount" else ():
                yield "mount", field[1], read.source.at(offset + field.start(1))


def _read_all(text: str) -> tuple[Read, ...]:
    """Return the instructions in order; never fails: a heredoc without its end reaches to the end of the file."""
    # BuildKit drops a byte order mark, and the carriage returns of a line's end.
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape = next((value for name, value, _ in directives(lines) if name == "escape"), "\\")
    continued = _CONTINUED.get(escape, _CONTINUED["\\"])
    found = []
    position = 0
    while position < len(lines):
        if _is_nothing(lines[position]):
            position += 1
            continue
        pieces: list[tuple[str, int]] = []
        goes_on = True
        while goes_on and position < len(lines):
            line = lines[position]
            position += 1
            # Comments, and empty lines once one began, do not end an instruction.
            if pieces and _is_nothing(line):
                continue
            end = continued.search(line)
            goes_on = end is not None
            pieces.append((line[: end.start()] if end else line, position))
        source = _joined(pieces)
        read, position = _instruction(source, pieces[0][1], lines, position)
        found.append(read)
    return tuple(found)


def directives(lines: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Yield name, value and line number of each directive; they end at the first line that is none BuildKit knows."""
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        found = _DIRECTIVE.match(line.strip())
        if not found or found[1].lower() in seen or found[1].lower() not in _KNOWN_DIRECTIVES:
            return
        seen.add(found[1].lower())
        yield found[1].lower(), found[2], number


def words(text: str) -> list[tuple[str, int]] | None:
    """Return the words of a text as a shell splits them, quotes kept, each with its offset; None if a quote is open."""
    found = []
    position = 0
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            return None
        if not word[0].isspace():
            found.append((word[0], position))
        position = word.end()
    return found


def plain_words(arguments: str) -> list[str]:
    """Return the words of COPY or ADD without quotes, from either of its forms, heredocs left out."""
    if arguments.lstrip().startswith("["):
        try:
            parsed = json.loads(arguments)
        except ValueError:
            parsed = None
        if isinstance(parsed, list) and all(isinstance(word, str) for word in parsed):
            return list(parsed)
    return [_unquoted(word) for word, _ in words(arguments.partition("\n")[0]) or ()]


def _is_nothing(line: str) -> bool:
    bare = line.strip()
    return not bare or bare.startswith("#")


def _joined(pieces: Sequence[tuple[str, int]]) -> Text:
    """Join the physical lines of an instruction, without the white space before the first."""
    text, starts, origins = "", [], []
    for index, (piece, line) in enumerate(pieces):
        skipped = len(piece) - len(piece.lstrip()) if index == 0 else 0
        starts.append(len(text))
        origins.append((line, skipped + 1))
        text += piece[skipped:]
    return Text(text.rstrip(), tuple(starts), tuple(origins))


def _instruction(source: Text, line: int, lines: Sequence[str], position: int) -> tuple[Read, int]:
    """Return the instruction and the index of the line after it and its heredocs."""
    head = _KEYWORD.match(source.text)
    keyword = head[1].upper() if head else ""
    rest = head.end() if head else 0
    inner = keyword
    if keyword == "ONBUILD" and (nested := _KEYWORD.match(source.text, rest)):
        inner = nested[1].upper()
        flags, values, _ = _flags(source.text, nested.end(), inner)
    else:
        flags, values, rest = _flags(source.text, rest, keyword)
    bodies, unended, end = _heredocs(source.text[rest:], inner, lines, position)
    instruction = Instruction(
        keyword=keyword,
        arguments=source.text[rest:].strip(),
        flags=flags,
        line=line,
        end_line=max(end, source.origins[-1][0]),
        heredocs=bodies,
    )
    return Read(instruction, source, values, rest, unended), end


def _flags(
    text: str, position: int, keyword: str
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str, int], ...], int]:
    """Return the flags, the same with the offset of each value, and where the arguments start."""
    flags, values = [], []
    while keyword in _FLAGGED and text.startswith("--", position):
        end = position
        while end < len(text) and not text[end].isspace():
            word = _WORD.match(text, end)
            end = word.end() if word else len(text)
        name, equals, value = text[position + 2 : end].partition("=")
        plain = _unquoted(value)
        flags.append((name, plain))
        values.append((name, plain, position + 2 + len(name) + len(equals)))
        position = end
        while position < len(text) and text[position].isspace():
            position += 1
    return tuple(flags), tuple(values), position


def _heredocs(
    arguments: str, keyword: str, lines: Sequence[str], position: int
) -> tuple[tuple[str, ...], str | None, int]:
    """Return the bodies of the heredocs that the arguments open, the name of one without an end, and the next index."""
    bodies: list[str] = []
    for word, _ in (words(arguments) or ()) if keyword in _WITH_HEREDOCS else ():
        opened = HEREDOC.match(word)
        if not opened:
            continue
        name, body = _unquoted(opened[2]), []
        while position < len(lines):
            line = lines[position].lstrip("\t") if opened[1] else lines[position]
            position += 1
            if line == name:
                break
            body.append(line)
        else:
            return (*bodies, "".join(f"{each}\n" for each in body)), name, position
        bodies.append("".join(f"{each}\n" for each in body))
    return tuple(bodies), None, position


def _unquoted(word: str) -> str:
    return _QUOTING.sub(lambda found: found[1] or found[2] or found[3] or "", word)
