"""The tutorial as it is written: its commands by kind, and the output that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

_TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
_FENCED = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```$", _TEXT, re.MULTILINE)
SHOWN = tuple(text for kind, text in _FENCED if not kind)
KINDS = frozenset(kind for kind, _ in _FENCED if kind)
LINES = tuple(line for kind, text in _FENCED if kind for line in text.splitlines())
"""All commands, in the order of the page."""


def commands(kind: str) -> list[str]:
    """Return the commands of a kind: those of `sh` need neither an engine nor a network."""
    return [line for found, text in _FENCED if found == kind for line in text.splitlines()]


def script(kind: str) -> str:
    """Return the commands of a kind as a shell script that prints each and stops at the first that fails."""
    return as_script(commands(kind))


def as_script(lines: Iterable[str], behind: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return lines as such a script; `behind` maps some of them to what is run after them without being printed."""
    found = (f"echo '$ {line}'\n{line}\n{behind.get(line, '')}" for line in lines)
    return "\n".join(("set -eu", *found))
