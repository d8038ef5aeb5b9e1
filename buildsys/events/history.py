"""What earlier runs recorded: how long targets took, and what the last run left undone. It may be lost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from buildsys.events.events import BLOCKED, FAILED, MADE, NOT_REACHED, Event, TargetEnded

_VERSION = 1
# A target that came mostly from a cache says nothing of how long it takes.
_CACHED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """`seconds` by target; `undone` are the targets that the last run failed to make or did not reach.

    `ended` is when that was, in seconds since 1970, 0 if nobody knows. Of runs that went on at once, all count.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    undone: tuple[str, ...] = ()
    ended: float = 0.0


def read_history(text: str | None) -> History:
    """Return the history that a file holds; an unreadable one is empty."""
    try:
        value = json.loads(text or "")
        numbers = {str(name): float(each) for name, each in value["seconds"].items()}
        undone = tuple(str(name) for name in value["undone"])
        ended = float(value.get("ended", 0.0))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return History()
    seconds = {name: each for name, each in numbers.items() if math.isfinite(each) and each >= 0}
    return History(seconds=seconds, undone=undone, ended=ended if math.isfinite(ended) else 0.0)


def after(history: History, events: Iterable[Event], *, began: float = 0.0, ended: float = 0.0) -> History:
    """Return the history after a run with these events, which went on from `began` to `ended`."""
    seconds = dict(history.seconds)
    # What another run left undone meanwhile is not what an earlier run left.
    undone: dict[str, None] = dict.fromkeys(history.undone if began and history.ended > began else ())
    for event in events:
        if not isinstance(event, TargetEnded):
            continue
        if event.outcome in (FAILED, BLOCKED, NOT_REACHED):
            undone[event.target] = None
        else:
            undone.pop(event.target, None)
        if event.outcome == MADE and event.cached <= event.steps * _CACHED_SHARE:
            seconds[event.target] = round(event.seconds, 2)
    return History(seconds=seconds, undone=tuple(undone), ended=ended)


def text_of(history: History) -> str:
    """Return the text of a history's file."""
    value = {
        "version": _VERSION,
        "seconds": dict(sorted(history.seconds.items())),
        "undone": list(history.undone),
        "ended": history.ended,
    }
    return json.dumps(value, indent=1) + "\n"
