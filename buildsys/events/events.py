"""What happens in a run, as values and as JSON lines: the one source of screens, reports and other programs.

Version 1. A line is an object with `event` (the kind), `at` (seconds since 1970) and the fields of its class here.
Fields may be added in version 1; a reader skips kinds and fields that it does not know.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.values import dataclass

VERSION = 1


class Outcome(StrEnum):
    """How a target ended."""

    MADE = "made"
    REUSED = "reused"
    FAILED = "failed"
    BLOCKED = "blocked"
    NOT_REACHED = "not reached"


class TargetKind(StrEnum):
    """What a target is: a layer built once, or an image of a stack."""

    NODE = "node"
    IMAGE = "image"


class TestState(StrEnum):
    """How a test, or all tests of an image, ended: an image without tests is `untested`, and not green."""

    __test__ = False
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNTESTED = "untested"


MADE, REUSED, FAILED, BLOCKED, NOT_REACHED = Outcome
PASSED = TestState.PASSED


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
    recorded it; `needs` are the targets that it is built from; `layer` is empty for an image.
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
    """A step of a target runs. A step that several targets share is reported once."""

    at: float
    target: str
    digest: str
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEnded:
    """The end of a step. `kind` is a `progress.StepKind`; times are seconds since 1970; `cached`: not executed."""

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
    """A transient failure of a target, which is retried after `wait` seconds; `of` is the maximum of attempts."""

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
class FolderSize:
    """The bytes of all files that a node has below a folder, which is written without `/` at its beginning."""

    path: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetEnded:
    """The end of a target: `outcome` is `made`, `reused`, `failed`, `blocked` or `not reached`.

    `size` is in bytes, None if unknown. `unpacked` are the bytes of the files that a node adds to what it is built on,
    None without an inventory, and `folders` the largest folders of these. `steps` counts its own RUN, COPY and the
    like, `cached` those of them that came from a cache. `blocked_by` is the failed target that it needs; `file` is the
    Dockerfile of a failure below the project's root; `alone` the command that reproduces a failure, `log` the file with
    all its output.
    """

    at: float
    target: str
    outcome: str
    started: float | None = None
    seconds: float = 0.0
    reference: str = ""
    size: int | None = None
    layers: tuple[ImageLayer, ...] = ()
    unpacked: int | None = None
    folders: tuple[FolderSize, ...] = ()
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
class ImageTested:
    """The tests of an image have ended: `state` is `passed`, `failed`, `skipped` or `untested`, the rest counts tests.

    `reference` is what was tested, by digest. `remembered` are those of the `passed` that an earlier run executed.
    """

    at: float
    target: str
    state: str
    reference: str = ""
    passed: int = 0
    remembered: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TagsMoved:
    """Public tags were moved, each given whole; `missing` are the targets that kept others from moving.

    `failed` are the images whose tags the registry did not take.
    """

    at: float
    tags: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagesCopied:
    """What a further registry has of the images that were asked for: `registry` is its prefix.

    `references` are those of the images that it has, with digests; `copied` are the stacks that this run copied,
    `lacking` those that it lacks; `tags` moved, and `untagged` are stacks with a tag that did not. `why` is the first
    problem. `sent` and `mounted` count blobs, `size` is that of the sent ones in bytes.
    """

    at: float
    registry: str
    references: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    untagged: tuple[str, ...] = ()
    why: str = ""
    sent: int = 0
    mounted: int = 0
    size: int = 0


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
    | ImageTested
    | TagsMoved
    | ImagesCopied
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
    "tested": ImageTested,
    "tags": TagsMoved,
    "copies": ImagesCopied,
    "done": RunEnded,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def line_of(event: Event) -> str:
    """Return an event as one line of JSON, without its end of line."""
    fields = dataclasses.asdict(event)
    return json.dumps({"event": _NAMES[type(event)], **fields}, ensure_ascii=True, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of JSON lines, and never raise for what they hold.

    Left out are lines that are not whole or that lack a field which their kind must have, kinds and fields that are not
    known, and values that are not of their field's type; a failure of a kind that is not known is `unknown`.
    """
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        kind = _KINDS.get(str(value.get("event"))) if isinstance(value, dict) else None
        event = None if kind is None else _record(kind, value)
        if event is not None:
            yield event


_T = TypeVar("_T")
# Seconds since 1970, from 1938 to the year 5138: no calendar takes what lies far beyond. A clock may be set back.
_LEAST_SECONDS, _MOST_SECONDS = -1e9, 1e11
_MOST = 1 << 63
_FAILURES: Mapping[str, FailureKind] = {str(kind): kind for kind in FailureKind}


class _Unreadable(Exception):
    """A value that is not of the type of its field."""


def _record(kind: type[_T], value: object) -> _T | None:
    """Return a value of one of the classes here, None if something that it must have is missing or of another type."""
    if not isinstance(value, dict):
        return None
    found = {}
    for name, hint in _fields_of(cast(Hashable, kind)).items():
        if name in value:
            with contextlib.suppress(_Unreadable):
                found[name] = _value(hint, value[name])
    try:
        return kind(**found)
    except TypeError:
        return None


@functools.cache
def _fields_of(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


def _value(hint: Any, value: object) -> object:
    """Return a value of JSON as one of the type of a field; raises `_Unreadable`."""
    choices = get_args(hint)
    if type(None) in choices:
        (other,) = (each for each in choices if each is not type(None))
        return None if value is None else _value(other, value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(choices[0], each) for each in value)
    if hint is FailureKind and isinstance(value, str):
        return _FAILURES.get(value, FailureKind.UNKNOWN)
    if hint is str and isinstance(value, str):
        # JSON can name half a character, which no file takes.
        return value.encode("utf-8", "replace").decode()
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and type(value) is int and abs(value) < _MOST:
        return value
    if hint is float and type(value) in (int, float) and _LEAST_SECONDS < cast(float, value) < _MOST_SECONDS:
        return float(cast(float, value))
    if dataclasses.is_dataclass(hint) and (found := _record(cast(type[object], hint), value)) is not None:
        return found
    raise _Unreadable
