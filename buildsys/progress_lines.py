"""A bake's events become plain lines: each step that does work, when it starts and when it ends."""

from __future__ import annotations

from collections.abc import Callable

from buildsys.progress import Status, StepKind, Text, VertexNote, kind_of, split_name

_SHOWN = frozenset({StepKind.RUN, StepKind.FILE, StepKind.EXPORT, StepKind.PUSH, StepKind.CACHE_EXPORT})
_LONGEST = 70


class Lines:
    """Takes events and writes lines; a step that several targets share is written once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def take(self, event: Status | Text) -> None:
        """Take the next event."""
        if isinstance(event, Text):
            return
        for note in event.vertexes:
            if kind_of(note.name) in _SHOWN:
                self._vertex(note)

    def _vertex(self, note: VertexNote) -> None:
        if note.digest in self._ended or note.cached:
            return
        name = _shown(note.name)
        if note.started is not None and note.digest not in self._begun:
            self._begun.add(note.digest)
            if kind_of(note.name) is StepKind.RUN:
                self._write(f"  ...   {name}")
        if note.completed is not None:
            self._ended.add(note.digest)
            seconds = note.completed - (note.started or note.completed)
            word = "fail" if note.error else "done"
            self._write(f"  {word}  {name}  {seconds:.1f} s")


def _shown(name: str) -> str:
    words, rest = split_name(name)
    text = " ".join(part for part in rest.split() if not part.startswith("--mount="))
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"{words[0]}  {text}" if words else text
