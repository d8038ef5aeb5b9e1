"""Lines on a terminal or a pipe, and errors with the place and the line of the file that they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TextIO

from buildsys.errors import BuildsysError, Diagnostic, Differs, Location
from buildsys.masks import Mask
from buildsys.switches import wants_colour
from buildsys.texts import inert, shown

# A message may have several lines; other characters that a terminal would act on are written as escapes.
_KEPT = "\n\t"
_STYLES = {"error": "1;31", "hint": "36", "good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Screen:
    """Writes to a terminal or a pipe, in its encoding; in colour on a terminal, unless `environ` refuses it."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self.stream = stream
        self._colour = stream.isatty() and wants_colour(environ)

    def line(self, text: str = "") -> None:
        """Write a line."""
        encoding = self.stream.encoding or "utf-8"
        text = inert(text)
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def styled(self, text: str, style: str) -> str:
        """Return the text in a style, if this screen has colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text


def columns(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Return rows as lines whose columns begin at the same place."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))).rstrip()
        for row in rows
    ]


def show_error(error: BuildsysError, files: Mapping[str, str], screen: Screen, mask: Mask | None = None) -> None:
    """Write every diagnostic of an error with its location, the line of the file and the hint, all of it masked."""
    mask = mask or Mask()
    if isinstance(error, Differs):
        screen.line(mask.text(error.difference.rstrip("\n")))
    shown = {name: mask.text(text) for name, text in files.items()}
    for diagnostic in error.diagnostics():
        show_diagnostic(mask.value(diagnostic, keep=("file",)), shown, screen, word="error")
    several = len(error.diagnostics())
    if several > 1:
        screen.line(f"{several} errors")


def show_diagnostic(diagnostic: Diagnostic, files: Mapping[str, str], screen: Screen, *, word: str) -> None:
    """Write one diagnostic; `files` are the texts that locations refer to."""
    style = "error" if word == "error" else "bold"
    screen.line(f"{screen.styled(f'{word}:', style)} {shown(diagnostic.message, keep=_KEPT)}")
    location = diagnostic.location
    if location is not None:
        screen.line(f"  --> {shown(str(location))}")
        _show_source(location, files.get(location.file, ""), screen)
    if diagnostic.hint:
        screen.line(f"{screen.styled('hint:', 'hint')} {shown(diagnostic.hint, keep=_KEPT)}")


def _show_source(location: Location, text: str, screen: Screen) -> None:
    """Write the line of a location with carets below, unless it is empty or does not exist."""
    lines = text.split("\n")
    if not 0 < location.line <= len(lines) or not lines[location.line - 1].strip():
        return
    number = str(location.line)
    line = shown(lines[location.line - 1].rstrip("\r").replace("\t", " "))
    length = max(1, min(location.length, len(line) - location.column + 1))
    margin = " " * len(number)
    screen.line(f"{margin} |")
    screen.line(f"{number} | {line}")
    screen.line(f"{margin} | {' ' * (location.column - 1)}{screen.styled('^' * length, 'error')}")
