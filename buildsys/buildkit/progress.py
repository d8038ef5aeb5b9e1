"""One line of BuildKit's `--progress rawjson` becomes one event; its names become kinds and targets.

The format is BuildKit's `SolveStatus`, one JSON object a line on stderr, with plain text at the end of a
failed bake (`client/graph.go` of moby/buildkit; names are given by `frontend/dockerfile/dockerfile2llb`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class StepKind(StrEnum):
    """What a step does; a failure is judged by it before any word of its message."""

    INTERNAL = "internal"
    AUTH = "auth"
    RESOLVE = "resolve"
    SOURCE = "source"
    RUN = "run"
    FILE = "file"
    EXPORT = "export"
    PUSH = "push"
    CACHE_IMPORT = "cache-import"
    CACHE_EXPORT = "cache-export"


@dataclass(frozen=True, kw_only=True, slots=True)
class VertexNote:
    """What one line says about a step; times are seconds since 1970."""

    digest: str
    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusNote:
    """What one line says about a part of a step: a transfer, a layer, `exporting manifest sha256:…`."""

    vertex: str
    text: str
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogNote:
    """Output of a step, not necessarily whole lines; `stream` is 1 or 2."""

    vertex: str
    stream: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One rawjson line."""

    vertexes: tuple[VertexNote, ...] = ()
    statuses: tuple[StatusNote, ...] = ()
    logs: tuple[LogNote, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One line that is not rawjson: an error of buildx, or a frame of the Dockerfile that failed."""

    text: str


def parse_line(line: bytes | str) -> Status | Text:
    """Return the event of one line; whatever is not a `SolveStatus` is text, never an error."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    text = text.rstrip("\r\n")
    if not text.startswith("{"):
        return Text(text=text)
    try:
        raw = json.loads(text)
        return Status(
            vertexes=tuple(_vertex(entry) for entry in raw.get("vertexes") or ()),
            statuses=tuple(_status(entry) for entry in raw.get("statuses") or ()),
            logs=tuple(_log(entry) for entry in raw.get("logs") or ()),
            warnings=tuple(_decoded(entry.get("short", "")) for entry in raw.get("warnings") or ()),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Text(text=text)


def _vertex(entry: Mapping[str, Any]) -> VertexNote:
    return VertexNote(
        digest=str(entry["digest"]),
        name=" ".join(str(entry.get("name") or "").split()),
        started=_seconds(entry.get("started")),
        completed=_seconds(entry.get("completed")),
        cached=bool(entry.get("cached")),
        error=str(entry.get("error") or ""),
    )


def _status(entry: Mapping[str, Any]) -> StatusNote:
    return StatusNote(
        vertex=str(entry["vertex"]),
        text=str(entry.get("id") or entry.get("name") or ""),
        current=int(entry.get("current") or 0),
        total=int(entry.get("total") or 0),
        started=_seconds(entry.get("started")),
        completed=_seconds(entry.get("completed")),
    )


def _log(entry: Mapping[str, Any]) -> LogNote:
    return LogNote(
        vertex=str(entry["vertex"]),
        stream=int(entry.get("stream") or 1),
        text=_decoded(entry.get("data") or ""),
    )


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return data


def _seconds(stamp: object) -> float | None:
    # Go writes the zero time as year 1, which means that nothing is known.
    if not isinstance(stamp, str) or stamp.startswith("0001-"):
        return None
    return datetime.fromisoformat(stamp).timestamp()


_BRACKET = re.compile(r"\[([^\]]*)\] ?(.*)", re.DOTALL)
_POSITION = re.compile(r"(?:(.*) )?(\d+/\d+)")
_PLAIN_KINDS: tuple[tuple[str, StepKind], ...] = (
    ("exporting cache", StepKind.CACHE_EXPORT),
    ("preparing build cache", StepKind.CACHE_EXPORT),
    ("importing cache manifest", StepKind.CACHE_IMPORT),
    ("inferred cache manifest", StepKind.CACHE_IMPORT),
    ("exporting", StepKind.EXPORT),
    ("sending tarball", StepKind.EXPORT),
    ("importing to docker", StepKind.EXPORT),
    ("pushing", StepKind.PUSH),
    ("merging manifest list", StepKind.PUSH),
    ("resolve image config", StepKind.RESOLVE),
    ("load metadata for", StepKind.RESOLVE),
    ("docker-image://", StepKind.SOURCE),
    ("oci-layout://", StepKind.SOURCE),
    ("http://", StepKind.SOURCE),
    ("https://", StepKind.SOURCE),
    ("git://", StepKind.SOURCE),
)


def split_name(name: str) -> tuple[tuple[str, ...], str]:
    """Return the words in the leading brackets of a step's name, without `2/5`, and the rest of the name.

    `[gpu build 3/4] RUN make` gives `(("gpu", "build"), "RUN make")`.
    """
    found = _BRACKET.fullmatch(name)
    if not found:
        return (), name
    inside, rest = found.groups()
    position = _POSITION.fullmatch(inside)
    words = (position[1] or "") if position else inside
    return tuple(words.split()), rest


def target_of(name: str, targets: frozenset[str]) -> str | None:
    """Return the target that a step's name is shown under, if buildx put one of `targets` before it.

    buildx writes a target before each name if a bake has more than one (`util/progress` of docker/buildx).
    """
    words, _ = split_name(name)
    return words[0] if words and words[0] in targets else None


def kind_of(name: str) -> StepKind:
    """Return what a step does, recognised from its name alone."""
    words, rest = split_name(name)
    for prefix, kind in _PLAIN_KINDS:
        if rest.startswith(prefix):
            return kind
    if "auth" in words[:2]:
        return StepKind.AUTH
    if "internal" in words[:2]:
        return StepKind.INTERNAL
    if "context" in words[:2]:
        return StepKind.INTERNAL if rest.startswith(("load ", "transferring")) else StepKind.SOURCE
    instruction = rest.removeprefix("LINK ").partition(" ")[0]
    if instruction == "RUN":
        return StepKind.RUN
    if instruction == "FROM":
        return StepKind.SOURCE
    if instruction in ("COPY", "ADD", "WORKDIR"):
        return StepKind.FILE
    return StepKind.INTERNAL
