"""What a bake prints, line by line: as it may be kept, and as an event whose output of steps is masked."""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from buildsys.buildkit.progress import Status, Text, parse_line
from buildsys.masks import Mask, MaskedStream

_ENCODED = frozenset({"data", "short", "detail"})
_JSON = {"ensure_ascii": False, "separators": (",", ":")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of a bake: `kept` goes into files; `event` has names and references as BuildKit gave them."""

    kept: bytes
    event: Status | Text


class MaskedProgress:
    """Masks the lines of one bake.

    Output of steps comes in pieces, a credential may be split between two of them. What else an event says is left to
    whoever shows it: a run goes by the names of steps and targets in it.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._streams: defaultdict[tuple[str, int], MaskedStream] = defaultdict(lambda: MaskedStream(mask))

    def take(self, line: bytes) -> tuple[Line, ...]:
        """Return what one line becomes: before the end of a step there may be a line with its last words."""
        if not self._mask:
            return (Line(kept=line, event=parse_line(line)),)
        try:
            value = json.loads(line.decode("utf-8", "replace"))
            logs = [self._log(entry) for entry in value.get("logs") or ()]
            ended = {str(entry["digest"]) for entry in value.get("vertexes") or () if entry.get("completed")}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
