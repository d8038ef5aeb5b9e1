"""Events of one bake are folded into the steps that it ran: each once, by digest, whichever target shows it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

from buildsys.buildkit.progress import (
    LogNote,
    Status,
    StatusNote,
    StepKind,
    Text,
    VertexNote,
    kind_of,
    split_name,
    target_of,
)
from buildsys.values import dataclass

TAIL = 20
_TEXT_TAIL = 400
_LINE_LIMIT = 2000
_TEXT_LIMIT = 1 << 16
# A bake of the most targets that are built at once has a tenth of it; after that nothing is folded.
_MOST_STEPS = 100_000
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CANCELED = "context canceled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vertex:
    """One step: what it is, who shows it, how it went; times are seconds since 1970.

    `owner` is the target that the step belongs to: of those that show it, the one with the fewest steps,
    since a linked target shows its parents' steps and its own. It is empty where buildx names none: in a
    bake of one target that was not named to `Steps`.
    """

    digest: str
    name: str
    kind: StepKind
    targets: tuple[str, ...] = ()
    owner: str = ""
    started: float | None = None
    completed: float | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str = ""
    parts: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()

    @property
    def canceled(self) -> bool:
        """Whether it ended only because another step failed or the bake was stopped."""
        return self.error.endswith(_CANCELED)

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.started is not None and self.completed is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All steps of a bake, in the order in which they were first named, and the last lines of plain text."""

    vertexes: tuple[Vertex, ...] = ()
    text: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def exported(self, target: str) -> bool:
        """Whether a target was put where it goes, although its bake may have failed."""
        return any(
            each.kind is StepKind.EXPORT and each.owner == target and each.completed is not None and not each.error
            for each in self.vertexes
        )


@dataclass(slots=True)
class _Seen:
    """The state of one step under one name."""

    spans: dict[float, float] = field(default_factory=dict)
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""


class Steps:
    """Takes the events of one bake in their order; `snapshot()` is what they amount to so far.

    `targets` are the targets of the bake, linked ones too. Those that load a build definition of their own
    are learned, so it is needed only for a bake of a single target, whose name buildx does not show. `helpers` own only
    the steps that no other target shows.
    """

    def __init__(self, targets: Iterable[str] = (), *, helpers: Iterable[str] = (), tail: int = TAIL) -> None:
        self._targets = set(targets)
        self._helpers = frozenset(helpers)
        self._tail = tail
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._parts: dict[str, dict[str, None]] = {}
        self._lines: dict[str, deque[str]] = {}
        self._open: dict[tuple[str, int], str] = {}
        self._text: deque[str] = deque(maxlen=_TEXT_TAIL)
        self._warnings: dict[str, None] = {}

    def add(self, event: Status | Text) -> None:
        """Fold one event."""
        if isinstance(event, Text):
            self._text.append(event.text[:_TEXT_LIMIT])
            return
        if len(self._seen) > _MOST_STEPS:
            return
        for vertex in event.vertexes:
            self._add_vertex(vertex)
        for part in event.statuses:
            self._add_part(part)
        for log in event.logs:
            self._add_log(log)
        self._warnings.update(dict.fromkeys(event.warnings))

    def _add_vertex(self, note: VertexNote) -> None:
        words, rest = split_name(note.name)
        if len(words) == 2 and words[1] == "internal" and rest.startswith("load build definition"):
            self._targets.add(words[0])
        seen = self._seen.setdefault(note.digest, {}).setdefault(note.name, _Seen())
        if note.started is not None and note.completed is not None:
            seen.spans[note.started] = note.completed - note.started
        seen.started = note.started if seen.started is None else seen.started
        seen.completed = note.completed
        seen.cached = note.cached
        seen.error = note.error

    def _add_part(self, note: StatusNote) -> None:
        if note.text.startswith(("exporting ", "pushing ", "naming to ", "writing ")):
            self._parts.setdefault(note.vertex, {})[note.text] = None

    def _add_log(self, note: LogNote) -> None:
        key = (note.vertex, note.stream)
        *whole, rest = (self._open.get(key, "") + note.text).split("\n")
        self._open[key] = rest[-_LINE_LIMIT:]
        lines = self._lines.setdefault(note.vertex, deque(maxlen=self._tail))
        lines.extend(_shown(line) for line in whole)

    def snapshot(self) -> Snapshot:
        """Return the steps as they are now."""
        targets = frozenset(self._targets)
        shown = {
            digest: frozenset(found for name in names if (found := target_of(name, targets)))
            for digest, names in self._seen.items()
        }
        if len(targets) == 1:
            shown = dict.fromkeys(shown, targets)
        weight = Counter(target for who in shown.values() for target in who)
        rest: dict[str, list[str]] = {}
        for (vertex, _), text in self._open.items():
            if text:
                rest.setdefault(vertex, []).append(_shown(text))
        return Snapshot(
            vertexes=tuple(self._vertex(digest, shown[digest], weight, rest.get(digest, ())) for digest in self._seen),
            text=tuple(self._text),
            warnings=tuple(self._warnings),
        )

    def _vertex(self, digest: str, targets: frozenset[str], weight: Mapping[str, int], rest: Sequence[str]) -> Vertex:
        names = self._seen[digest]
        owner = min(targets - self._helpers or targets, key=lambda target: (weight[target], target), default="")
        name = next((name for name in names if owner and target_of(name, frozenset({owner}))), next(iter(names)))
        # buildx shifts the times of a step that began before the target's own stream, always to earlier ones:
        # the latest are the true ones.
        ended = [seen for seen in names.values() if seen.completed is not None]
        still = len(ended) < len(names) and not ended
        return Vertex(
            digest=digest,
            name=name,
            kind=kind_of(name),
            targets=tuple(sorted(targets)),
            owner=owner,
            started=max((seen.started for seen in names.values() if seen.started is not None), default=None),
            completed=None if still else max((seen.completed or 0.0 for seen in ended), default=None),
            seconds=max(sum(seen.spans.values()) for seen in names.values()),
            cached=bool(ended) and _first_ended(ended).cached,
            error=next((seen.error for seen in names.values() if seen.error), ""),
            parts=tuple(self._parts.get(digest, ())),
            # Lines that have not ended come last.
            tail=(*self._lines.get(digest, ()), *rest)[-self._tail :],
        )


def _first_ended(ended: Sequence[_Seen]) -> _Seen:
    """Return the occurrence that shows whether a step was executed.

    A cached step may appear later as not cached, when its content is fetched for another target; one that was executed
    may appear later as cached. What ended first is what happened.
    """
    return min(ended, key=lambda seen: (seen.completed or 0.0, seen.cached))


def _shown(line: str) -> str:
    """Return a line as a terminal would leave it: the last state of a progress bar, without colours."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return _ESCAPE.sub("", last)[:_LINE_LIMIT].rstrip()


def executed_runs(snapshot: Snapshot) -> tuple[Vertex, ...]:
    """Return every RUN that was executed and succeeded, each once however many targets show it."""
    return tuple(
        vertex
        for vertex in snapshot.vertexes
        if vertex.kind is StepKind.RUN and vertex.completed is not None and not vertex.cached and not vertex.error
    )


def failed(snapshot: Snapshot) -> tuple[Vertex, ...]:
    """Return the steps that failed by themselves, in order of end; an unreadable cache is none."""
    found = (
        vertex
        for vertex in snapshot.vertexes
        if vertex.error and not vertex.canceled and vertex.kind is not StepKind.CACHE_IMPORT
    )
    return tuple(sorted(found, key=lambda vertex: (vertex.completed or 0.0, vertex.digest)))


_EXPORTED = re.compile(r"exporting (manifest list|manifest|config) (sha256:[0-9a-f]{64})")
_PUSHED = re.compile(r"pushing manifest for (\S+)@(sha256:[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What a target's export reports: the digest that a tag would get, the image's own, and where it was pushed.

    `pushed` maps reference to digest, only for what the registry has taken entirely.
    """

    target: str
    digest: str
    manifest: str = ""
    config: str = ""
    pushed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def exported(snapshot: Snapshot) -> tuple[Exported, ...]:
    """Return what was exported, sorted by target, known also where bake failed and wrote no metadata."""
    found: list[Exported] = []
    for vertex in snapshot.vertexes:
        if vertex.kind is not StepKind.EXPORT:
            continue
        exported_digests = {what: digest for part in vertex.parts for what, digest in _EXPORTED.findall(part)}
        digest = exported_digests.get("manifest list") or exported_digests.get("manifest")
        if digest is None:
            continue
        done = vertex.completed is not None and not vertex.error
        pushed = dict(pair for part in vertex.parts for pair in _PUSHED.findall(part)) if done else {}
        found.append(
            Exported(
                target=vertex.owner,
                digest=digest,
                manifest=exported_digests.get("manifest", ""),
                config=exported_digests.get("config", ""),
                pushed=MappingProxyType(pushed),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.target, one.digest)))
