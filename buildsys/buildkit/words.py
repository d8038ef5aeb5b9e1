"""What BuildKit tells of a bake in the words of its own plain progress: numbered steps, what they say, how they end."""

from __future__ import annotations

from collections.abc import Iterator

from buildsys.buildkit.progress import Status, Text, VertexNote


class BuildkitWords:
    """Takes what one bake says, in its order; `target` stands before each line, since several bakes speak at once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._numbers: dict[str, int] = {}
        self._shown: set[tuple[str, str]] = set()

    def take(self, event: Status | Text) -> Iterator[str]:
        """Yield lines."""
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
