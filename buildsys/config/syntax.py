"""What libyaml, or the parser of PyYAML, says of a text that is not YAML, in words that help to fix it."""

from __future__ import annotations

import re
from typing import Any

from buildsys.errors import Diagnostic, Location
from buildsys.values import dataclass

_QUOTE = "put a text that begins with this character in quotes"
_ALIKE = "indent the line as those beside it, or put a text with special characters in quotes"
_BACKSLASH = "write `\\\\` for a backslash, or put the text in single quotes"


@dataclass(frozen=True, slots=True)
class _Words:
    """A message and a hint in place of a parser's; with `from_start` the place is where what is wrong begins."""

    message: str
    hint: str
    from_start: bool = False


# What a parser says, as a regular expression.
_KNOWN = {
    r"expected ',' or '\]'": _Words(
        "the list has no `,` or `]` here", "close it with `]`, or separate its entries by `,`"
    ),
    r"expected ',' or '\}'": _Words(
        "the mapping has no `,` or `}` here", "close it with `}`, or separate its keys by `,`"
    ),
    r"expected ':'": _Words("the line is not `key: value`", "write `: ` behind the key, on one line with it", True),
    r"expected (the )?key|expected <block end>|<document start>": _Words(
        "the line does not fit those beside it", _ALIKE
    ),
    r"expected '-'": _Words(
        "the line is no entry of the list above it", "begin each entry with `- `, all indented alike"
    ),
    r"node content": _Words("a value is missing here", _QUOTE),
    r"cannot start any token|alphabetic or numeric|tag|directive": _Words(
        "the character has a meaning in YAML", _QUOTE
    ),
    r"mapping values": _Words(
        "the `:` is not allowed here", "put a text with `: ` in quotes, or indent as the line above"
    ),
    r"sequence entries|mapping keys": _Words("the list or key is not allowed here", "begin it on a line of its own"),
    r"end of stream|document indicator": _Words(
        "the quote has no end", "close it with the quote that it begins with", True
    ),
    r"escape|hexdec": _Words("the text has an escape that YAML does not know", _BACKSLASH),
    r"comment or line break|indentation indicator": _Words(
        "the text is on the line of its `|` or `>`", "begin it on the next line"
    ),
    r"nesting depth": _Words("the value has too many levels", "write it with less nesting"),
    r"%YAML|incompatible": _Words("the file has a `%YAML` line", "remove the line"),
}


def syntax_diagnostic(error: Any, text: str, file: str) -> Diagnostic:
    """Return what to say of a `yaml.MarkedYAMLError`: where it is or, for what is never closed, where that begins."""
    lines = text.split("\n")
    conflict = next((i for i, each in enumerate(lines, 1) if each.startswith(("<<<<<<<", ">>>>>>>"))), None)
    if conflict is not None:
        hint = "resolve the conflict: this looks like a conflict marker of git"
        return Diagnostic(message="not valid YAML", location=Location(file=file, line=conflict), hint=hint)
    problem = error.problem or "it cannot be read"
    known = next((words for said, words in _KNOWN.items() if re.search(said, problem)), None)
    words = known or _Words(problem.removeprefix("found "), "put texts with special characters in quotes")
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    unclosed = mark is not None and start is not None and "',' or" in problem and _is_behind(mark, start, lines)
    if start is not None and (words.from_start or unclosed):
        mark = start
    location = _location(mark, lines, file)
    line = lines[location.line - 1]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        words = _Words("the line is indented by a tab", "indent with spaces, not tabs")
    elif unclosed:
        words = _Words(words.message.replace(" here", " at its end"), words.hint)
    elif "{" in line and '"{' not in line and not line.rstrip().endswith(("}", ",")):
        words = _Words(words.message, "put a text that starts with `{` in quotes")
    return Diagnostic(message=f"not valid YAML: {words.message}", location=location, hint=words.hint)


def _is_behind(mark: Any, start: Any, lines: list[str]) -> bool:
    """Whether a mark is on a line after that of `start`, or at the end of the text."""
    return mark.line > start.line or not "".join([lines[mark.line][mark.column :], *lines[mark.line + 1 :]]).strip()


def _location(mark: Any, lines: list[str], file: str) -> Location:
    """Return the location of a mark; one behind the last line is at the end of the last text."""
    if mark is None:
        return Location(file=file)
    if mark.line < len(lines) and (mark.line or mark.column) and lines[mark.line :] != [""]:
        return Location(file=file, line=mark.line + 1, column=min(mark.column, len(lines[mark.line])) + 1)
    last = max((number for number, line in enumerate(lines) if line.strip()), default=0)
    if mark.line <= last:
        return Location(file=file, line=mark.line + 1, column=mark.column + 1)
    return Location(file=file, line=last + 1, column=max(1, len(lines[last].rstrip())))
