"""What a RUN that is written as a here-document does: BuildKit names it by its first line, which sets up the shell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from buildsys.dockerfile.parser import Dockerfile

_NAMED = re.compile(r"(?P<head>RUN .*?)<<-?[\"']?\w+[\"']? \((?P<first>.*?)(?:\.\.\.)?\)")
# The command that takes the time, in this order; else the first that does anything.
_TELLING = (
    re.compile(r"\b(?:make|ninja)\b|\bcmake --build\b"),
    re.compile(r"\bapt-get\b.* install\b|\bdpkg -i\b|\bpip3?\b.* (?:install|download)\b|\buv pip\b"),
    re.compile(r"\b(?:conda|mamba|micromamba)\b"),
)
_NOTHING = re.compile(
    r"(?:set|\.|cd|export|mkdir|trap|if|then|else|fi|for|do|done|case|esac|\w+=\S*)(?:\s|$|;)|[#{}()]|$"
)


def titles(dockerfile: str) -> Mapping[str, str]:
    """Return what each such RUN of a Dockerfile does, by its first line; two that begin alike are left out."""
    found: dict[str, str] = {}
    doubled = set[str]()
    for instruction in Dockerfile.parse(dockerfile, "Dockerfile").runs:
        if not instruction.heredocs:
            continue
        lines = [line.strip() for line in instruction.heredocs[0].splitlines()]
        first = lines[0] if lines else ""
        if first in found:
            doubled.add(first)
        found[first] = _telling(lines)
    return {first: title for first, title in found.items() if title and first not in doubled}


def _telling(lines: list[str]) -> str:
    working = list(_working(lines))
    for pattern in _TELLING:
        for line in working:
            if pattern.search(line):
                return line
    return working[0] if working else ""


def _working(lines: list[str]) -> Iterator[str]:
    joined = ""
    for line in lines:
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        if not _NOTHING.match(joined):
            yield " ".join(joined.split())
        joined = ""


def titled(name: str, known: Mapping[str, str]) -> str:
    """Return the name of a step with what it does in the place of its first line, if that is known."""
    found = _NAMED.fullmatch(name)
    title = known.get(found["first"].strip()) if found else None
    return f"RUN {title}" if title else name
