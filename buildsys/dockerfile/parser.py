"""A Dockerfile's text becomes instructions whose every character knows where it stands.

The splitting follows BuildKit's own (moby/buildkit, `frontend/dockerfile/parser`), line numbers included.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KEYWORDS = frozenset(
    {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"}
    | {"ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
LONGEST_LINE = 65535
"""Bytes that BuildKit's parser accepts in one line, those of a heredoc included."""

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_KEYWORD = re.compile(r"(\S+)[\t\v\f\r ]*")
_WORD = re.compile(r"""(?:[^\s'"\\$]|\\.|\$\{[^}]*\}|\$|'[^']*'|"(?:\\.|[^"\\])*")+|\s+""", re.DOTALL)
_QUOTING = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)
HEREDOC = re.compile(r"\d*<<(-?)([^<]+)\Z")
# Behind another one, the character of the escape is text: `a \\\\` ends its instruction.
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
    """Text joined from several places of the file: each character knows where it stands."""

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


def read_all(text: str) -> tuple[Read, ...]:
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
