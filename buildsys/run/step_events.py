"""Which events of the run and which lines of a target's log follow from BuildKit's events of one bake."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import IO

from buildsys.buildkit.progress import Status, StepKind, Text, VertexNote, kind_of, split_name
from buildsys.dockerfile.parser import Dockerfile
from buildsys.events.events import Event, Noted, StepBegan, StepEnded
from buildsys.masks import Mask
from buildsys.project.state import append_to
from buildsys.values import dataclass

# Steps that do work, or fail in a way that a person must see.
_REPORTED = frozenset(
    {
        StepKind.RUN,
        StepKind.FILE,
        StepKind.SOURCE,
        StepKind.EXPORT,
        StepKind.PUSH,
        StepKind.CACHE_EXPORT,
        StepKind.CACHE_IMPORT,
    }
)
_CACHES = frozenset({StepKind.CACHE_EXPORT, StepKind.CACHE_IMPORT})


class StepEvents:
    """Takes what one bake of `targets` says, in its order; steps of the targets that are only `linked` are left out.

    `known` is what the RUNs of a target do, by the names that BuildKit has for them. Cached steps are left out too:
    what exists already shows again in every bake that links to it, under any name.
    """

    def __init__(
        self,
        targets: Collection[str],
        linked: Collection[str],
        log: Callable[[str, str], None],
        known: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self._known = known
        self._targets = frozenset(targets)
        self._linked = frozenset(linked)
        self._single = next(iter(self._targets)) if len(self._targets) == 1 else ""
        self._log = log
        self._owner: dict[str, str] = {}
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def take(self, event: Status | Text, at: float) -> Iterator[Event]:
        """Yield what an event amounts to; logs go to `log` as target and text."""
        if isinstance(event, Text):
            for target in self._targets if event.text.strip() else ():
                self._log(target, f"{event.text}\n")
            return
        for note in event.vertexes:
            yield from self._vertex(note, at)
        for log in event.logs:
            if owner := self._owner.get(log.vertex):
                self._log(owner, log.text)

    def _vertex(self, note: VertexNote, at: float) -> Iterator[Event]:
        words, text = split_name(note.name)
        first = words[0] if words else ""
        # buildx puts no target before a step in a bake of a single one.
        owner = first if first in self._targets else self._single if first not in self._linked else ""
        kind = kind_of(note.name)
        if not owner or kind not in _REPORTED or note.cached:
            return
        text = titled(text, self._known.get(owner, {}))
        self._owner.setdefault(note.digest, owner)
        if note.started is not None and note.digest not in self._begun:
            self._begun.add(note.digest)
            self._log(owner, f"\n# {text}\n")
            if note.completed is None:
                yield StepBegan(at=at, target=owner, digest=note.digest, name=text, kind=kind)
        if note.completed is None or note.digest in self._ended:
            return
        self._ended.add(note.digest)
        if note.error:
            self._log(owner, f"# {note.error}\n")
        yield StepEnded(
            at=at,
            target=owner,
            digest=note.digest,
            name=text,
            kind=kind,
            started=note.started or note.completed,
            completed=note.completed,
            error=note.error,
        )
        if kind in _CACHES and note.error and not note.error.endswith("context canceled"):
            yield Noted(at=at, about="cache", text=f"{owner}: {text}: {note.error}")


@dataclass(slots=True)
class TargetLogs:
    """The log files of the targets of one bake, each opened when something is first written to it."""

    file_of: Callable[[str], Path]
    mask: Mask
    _files: dict[str, IO[bytes] | None] = field(default_factory=dict)

    def write(self, target: str, text: str) -> None:
        """Add masked text to a target's log; a log that cannot be kept fails no build."""
        with contextlib.suppress(OSError):
            if target not in self._files:
                self._files[target] = None
                path = self.file_of(target)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[target] = append_to(path)
            if (file := self._files[target]) is not None:
                file.write(self.mask.text(text).encode(errors="replace"))
                file.flush()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()


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
