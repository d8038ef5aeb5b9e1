"""Pages of docs/ as they are written: their commands by kind, and the output that they show."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"


class Page:
    """A page: `shown` is the output in fences without a kind, `kinds` are those of the others."""

    def __init__(self, name: str) -> None:
        text = (_DOCS / name).read_text(encoding="utf-8")
        self._fenced = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
        self.shown = tuple(text for kind, text in self._fenced if not kind)
        self.kinds = frozenset(kind for kind, _ in self._fenced if kind)

    def commands(self, kind: str) -> list[str]:
        """Return the commands of a kind: those of `sh` need neither an engine nor a network."""
        return [line for found, text in self._fenced if found == kind for line in text.splitlines()]

    def script(self, kind: str) -> str:
        """Return the commands of a kind as a shell script that prints each and stops at the first that fails."""
        return "\n".join(("set -eu", *(f"echo '$ {line}'\n{line}" for line in self.commands(kind))))


_TUTORIAL = Page("tutorial.md")
SHOWN, KINDS, commands, script = _TUTORIAL.shown, _TUTORIAL.kinds, _TUTORIAL.commands, _TUTORIAL.script
