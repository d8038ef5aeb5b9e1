"""What BuildKit tells of one bake becomes events of the run and lines of each target's log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

from buildsys.buildkit.progress import Status, StepKind, Text, VertexNote, kind_of, split_name
from buildsys.events.events import Event, Noted, StepBegan, StepEnded
from buildsys.run.step_titles import titled

# Steps that do work, or fail in a way that a person must hear of.
_TOLD = frozenset(
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
        if not owner or kind not in _TOLD or note.cached:
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
