"""A terminal of the few controls that a live area uses: its content after everything that was written."""

from __future__ import annotations

import io
import re

_TOKEN = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


class Terminal(io.StringIO):
    """Keeps all lines, those that a real one has scrolled away too; what it does not know fails a test."""

    def __init__(self, width: int, encoding: str = "utf-8") -> None:
        super().__init__(newline="")
        self.width = width
        self.named = encoding
        self.lines = [""]
        self.row = self.column = 0
        self.cursor = True
        self.styles: list[str] = []
        self.raw = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.named

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self.named)
        self.raw += text
        end = 0
        for found in _TOKEN.finditer(text):
            assert found.start() == end, f"unknown control before {text[end : end + 20]!r}"
            end = found.end()
            if found[2]:
                self._control(found[1], found[2])
            else:
                self._put(found[0])
        assert end == len(text), f"unknown control in {text[end:]!r}"
        return len(text)

    def _control(self, value: str, letter: str) -> None:
        if letter == "A":
            self.row -= int(value or 1)
            assert self.row >= 0
        elif (value, letter) == ("2", "K"):
            self.lines[self.row] = ""
        elif letter == "m":
            self.styles.append(value)
        else:
            assert (value, letter) in (("?25", "l"), ("?25", "h")), f"unknown control {value}{letter}"
            self.cursor = letter == "h"

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self._next()
        else:
            if self.column == self.width:
                self._next()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    def _next(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append("")

    def screen(self) -> list[str]:
        """Return the lines without the empty ones at the end."""
        lines = [line.rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines
