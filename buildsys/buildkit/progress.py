"""What a line of BuildKit's `--progress rawjson` says: as an event, masked to be kept, as plain progress.

The format is BuildKit's `SolveStatus`, one JSON object a line on stderr, with plain text at the end of a
failed bake (`client/graph.go` of moby/buildkit; names are given by `frontend/dockerfile/dockerfile2llb`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from buildsys.foreign import object_of
from buildsys.masks import Mask, MaskedStream
from buildsys.values import dataclass


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


# What a line that is not a `SolveStatus` raises where it is read as one.
_ODD = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def parse_line(line: bytes | str) -> Status | Text:
    """Return the event of one line; whatever is not a `SolveStatus` is text, never an error."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    text = text.rstrip("\r\n")
    if not text.startswith("{"):
        return Text(text=text)
    try:
        raw = object_of(text)
        return Status(
            vertexes=tuple(_vertex(entry) for entry in raw.get("vertexes") or ()),
            statuses=tuple(_status(entry) for entry in raw.get("statuses") or ()),
            logs=tuple(_log(entry) for entry in raw.get("logs") or ()),
            warnings=tuple(_decoded(entry.get("short", "")) for entry in raw.get("warnings") or ()),
        )
    except _ODD:
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
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return None


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


_ENCODED = frozenset({"data", "short", "detail"})
_JSON = {"ensure_ascii": False, "separators": (",", ":")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a bake: `kept` goes into files; `event` has names and references as BuildKit gave them."""

    kept: bytes
    event: Status | Text


class MaskedProgress:
    """Masks the lines of one bake.

    Output of steps comes in pieces, a credential may be split between two of them. The rest of an event is masked
    where it is shown: a run needs the names of steps and targets in it.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._streams: defaultdict[tuple[str, int], MaskedStream] = defaultdict(lambda: MaskedStream(mask))

    def take(self, line: bytes) -> tuple[Line, ...]:
        """Return what one line becomes: before the end of a step there may be a line with its remaining output."""
        if not self._mask:
            return (Line(kept=line, event=parse_line(line)),)
        try:
            value = object_of(line.decode("utf-8", "replace"))
            logs = [self._log(entry) for entry in value.get("logs") or ()]
            ended = {str(entry["digest"]) for entry in value.get("vertexes") or () if entry.get("completed")}
        except _ODD:
            return (Line(kept=self._mask.data(line), event=parse_line(line)),)
        if last := self._rest(ended):
            return self._line({"logs": logs + last}), self._line({**value, "logs": []})
        return (self._line({**value, "logs": logs}),)

    def rest(self) -> Line | None:
        """Return what was held back at the end of the bake, if anything was."""
        logs = self._rest({vertex for vertex, _ in self._streams})
        return self._line({"logs": logs}) if logs else None

    def _log(self, entry: dict[str, Any]) -> dict[str, Any]:
        data = entry.get("data") or ""
        try:
            piece = base64.b64decode(data, validate=True)
        except binascii.Error:
            piece = data.encode()
        stream = self._streams[str(entry["vertex"]), int(entry.get("stream") or 1)]
        return {**entry, "data": base64.b64encode(stream.take(piece)).decode()}

    def _rest(self, vertexes: set[str]) -> list[dict[str, Any]]:
        found = []
        for vertex, stream in [key for key in self._streams if key[0] in vertexes]:
            if held := self._streams.pop((vertex, stream)).rest():
                found.append({"vertex": vertex, "stream": stream, "data": base64.b64encode(held).decode()})
        return found

    def _line(self, value: dict[str, Any]) -> Line:
        text = json.dumps(value, **_JSON)  # type: ignore[arg-type]
        kept = json.dumps(self._masked(value), **_JSON)  # type: ignore[arg-type]
        return Line(kept=f"{kept}\n".encode("utf-8", "replace"), event=parse_line(text))

    def _masked(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            return self._encoded(value) if name in _ENCODED else self._mask.text(value)
        if isinstance(value, list):
            return [self._masked(each, name) for each in value]
        if isinstance(value, dict):
            return {self._mask.text(key): self._masked(each, key) for key, each in value.items()}
        return value

    def _encoded(self, value: str) -> str:
        """Return a text that is base64: output of a step, a warning, the Dockerfile that it is about."""
        try:
            return base64.b64encode(self._mask.data(base64.b64decode(value, validate=True))).decode()
        except binascii.Error:
            return self._mask.text(value)


class PlainProgress:
    """Writes one bake's events as the lines of BuildKit's own plain progress.

    `target` begins each line, since several bakes print at once.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._numbers: dict[str, int] = {}
        self._shown: set[tuple[str, str]] = set()

    def take(self, event: Status | Text) -> Iterator[str]:
        """Yield the lines of one event."""
        if isinstance(event, Text):
            yield f"{self._target} | {event.text}"
            return
        for note in event.vertexes:
            yield from self._vertex(note)
        for status in event.statuses:
            if (
                status.vertex in self._numbers
                and status.completed is not None
                and self._new(status.vertex, status.text)
            ):
                yield self._line(status.vertex, f"{status.text} done")
        for log in event.logs:
            for line in log.text.splitlines():
                yield self._line(log.vertex, line)

    def _vertex(self, note: VertexNote) -> Iterator[str]:
        if note.started is None and note.completed is None and not note.cached:
            return
        if note.digest not in self._numbers:
            self._numbers[note.digest] = len(self._numbers) + 1
            yield self._line(note.digest, note.name)
        if note.completed is None or not self._new(note.digest, f"end {note.error}"):
            return
        if note.error:
            yield self._line(note.digest, f"ERROR: {note.error}")
        elif note.cached:
            yield self._line(note.digest, "CACHED")
        else:
            yield self._line(note.digest, f"DONE {note.completed - (note.started or note.completed):.1f}s")

    def _new(self, digest: str, text: str) -> bool:
        known = (digest, text) in self._shown
        self._shown.add((digest, text))
        return not known

    def _line(self, digest: str, text: str) -> str:
        return f"{self._target} | #{self._numbers.get(digest, 0)} {text}"
