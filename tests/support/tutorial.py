"""The commands and the output on a page of docs/, as the page has them: in the order of its fences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

_DOCS = Path(__file__).parents[2] / "docs"


class Page:
    """A page: `lines` are all commands, `kinds` those of their fences; `shown` is the output in the other fences."""

    def __init__(self, name: str) -> None:
        text = (_DOCS / name).read_text(encoding="utf-8")
        fenced = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
        self.shown = tuple(text for kind, text in fenced if not kind)
        self._commands = [(kind, line) for kind, text in fenced if kind for line in text.splitlines()]
        self.kinds = frozenset(kind for kind, _ in self._commands)
        self.lines = tuple(line for _, line in self._commands)

    def commands(self, kind: str) -> list[str]:
        """Return the commands of a kind: those of `sh` need neither an engine nor a network."""
        return [line for found, line in self._commands if found == kind]

    def script(self, kind: str) -> str:
        """Return the commands of a kind as a shell script that prints each and stops at the first that fails."""
        return as_script(self.commands(kind))


def as_script(lines: Iterable[str], behind: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return lines as such a script; `behind` maps some of them to what is run after them without being printed."""
    found = (f"echo '$ {line}'\n{line}\n{behind.get(line, '')}" for line in lines)
    return "\n".join(("set -eu", *found))
