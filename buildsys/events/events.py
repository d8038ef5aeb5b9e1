"""What happens in a run, as values and as JSON lines: the one thing that screens, reports and programs are made of.

Version 1. A line is an object with `event` (the kind), `at` (seconds since 1970) and the fields of its class here.
Fields may be added in version 1; whoever reads skips kinds and fields that it does not know.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buildsys.buildkit.failure import Checksum, Failure, FailureKind

VERSION = 1
MADE, REUSED, FAILED, BLOCKED, NOT_REACHED = "made", "reused", "failed", "blocked", "not reached"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunBegan:
    """The first event. `jobs` and `max_targets`: bake processes and targets at once; `command` is what was typed."""

    at: float
    version: int = VERSION
    command: str
    driver: str = ""
    builder: str = ""
    registry: str = ""
    jobs: int = 0
    max_targets: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetPlanned:
    """A target that the run has to do with, in build order, all before the first start.

    `kind` is `node` or `image`; `action` is `build`, `reuse` or `leave`; `estimate` is in seconds, None if no run has
    recorded it; `needs` are the targets that it stands on; `layer` is empty for an image.
    """

    at: float
    name: str
    title: str
    kind: str
    layer: str = ""
    action: str
    reason: str = ""
    needs: tuple[str, ...] = ()
    estimate: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetStarted:
    """Work on a target begins; `attempt` is 1 the first time."""

    at: float
    target: str
    attempt: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBegan:
    """A step of a target runs. A step that several targets share is told once."""

    at: float
    target: str
    digest: str
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEnded:
    """A step has ended. `kind` is a `progress.StepKind`; times are seconds since 1970; `cached`: it had not to run."""

    at: float
    target: str
    digest: str
    name: str
    kind: str
    started: float
    completed: float
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried:
    """A target failed in a way that may pass, and is tried again after `wait` seconds; `of` is the most attempts."""

    at: float
    target: str
    attempt: int
    of: int
    wait: float
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayer:
    """A blob of an image: `size` in bytes as stored, `layer` the buildsys layer that it comes from, if known."""

    digest: str
    size: int
    layer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetEnded:
    """What became of a target: `outcome` is `made`, `reused`, `failed`, `blocked` or `not reached`.

    `size` is in bytes, None if unknown. `steps` counts its own RUN, COPY and the like, `cached` those of them that came
    from a cache. `blocked_by` is the failed target that it needs; `file` is the Dockerfile of a failure below the
    project's root; `alone` the command that reproduces a failure, `log` the file with all its output.
    """

    at: float
    target: str
    outcome: str
    started: float | None = None
    seconds: float = 0.0
    reference: str = ""
    size: int | None = None
    layers: tuple[ImageLayer, ...] = ()
    steps: int = 0
    cached: int = 0
    attempts: int = 0
    blocked_by: str = ""
    failure: Failure | None = None
    file: str = ""
    alone: str = ""
    log: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """Something that does not fail a run and must not pass unnoticed: a cache, the disk, a damaged blob."""

    at: float
    about: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TagsMoved:
    """Public tags were moved, each given whole; `missing` are the targets because of which others were not.

    `failed` are the images whose tags the registry did not take.
    """

    at: float
    tags: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnded:
    """The last event. `runs` counts the RUN steps that were executed; `signal` is 0 if none stopped it."""

    at: float
    exit_code: int
    seconds: float
    runs: int = 0
    retries: int = 0
    signal: int = 0


Event = (
    RunBegan
    | TargetPlanned
    | TargetStarted
    | StepBegan
    | StepEnded
    | Retried
    | TargetEnded
    | Noted
    | TagsMoved
    | RunEnded
)

_KINDS: Mapping[str, type[Event]] = {
    "run": RunBegan,
    "target": TargetPlanned,
    "start": TargetStarted,
    "step-began": StepBegan,
    "step": StepEnded,
    "retry": Retried,
    "end": TargetEnded,
    "note": Noted,
    "tags": TagsMoved,
    "done": RunEnded,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def line_of(event: Event) -> str:
    """Return an event as one line of JSON, without its end of line."""
    fields = dataclasses.asdict(event)
    return json.dumps({"event": _NAMES[type(event)], **fields}, ensure_ascii=True, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of JSON lines; what is not whole or not known is left out."""
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        event = _read(value) if isinstance(value, dict) else None
        if event is not None:
            yield event


def _read(value: Mapping[str, Any]) -> Event | None:
    kind = _KINDS.get(str(value.get("event")))
    if kind is None:
        return None
    try:
        return kind(**{name: _plain(name, value[name]) for name in _field_names(kind) if name in value})
    except (TypeError, ValueError, KeyError):
        return None


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(kind))


def _plain(name: str, value: Any) -> Any:
    if name == "failure" and isinstance(value, dict):
        known = {each: _plain(each, value[each]) for each in _field_names(Failure) if each in value}
        return Failure(**{**known, "kind": FailureKind(known["kind"])})
    if name == "checksum" and isinstance(value, dict):
        return Checksum(**value)
    if name == "layers" and isinstance(value, list):
        return tuple(
            ImageLayer(**{key: each[key] for key in _field_names(ImageLayer) if key in each}) for each in value
        )
    return tuple(value) if isinstance(value, list) else value
