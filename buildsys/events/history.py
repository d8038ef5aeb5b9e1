"""What earlier runs recorded: how long targets took, and which the last run did not finish. It may be lost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import field

from buildsys.events.events import MADE
from buildsys.events.model import RunModel
from buildsys.values import dataclass

_VERSION = 1
# The time of a target that came mostly from a cache is no estimate of a build.
_CACHED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """`seconds` by target; `undone` are the targets that the last run did not finish: failed, blocked, not reached.

    `ended` is its end, in seconds since 1970, 0 if that is unknown. Runs at the same time count as one.
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


def after(history: History, run: RunModel, *, began: float = 0.0, ended: float = 0.0) -> History:
    """Return the history after a run from `began` to `ended`."""
    seconds = {**history.seconds, **{name: each for name, each in measured(run).items() if each is not None}}
    # Targets that an earlier run left are not those that a run at the same time left.
    others = history.undone if began and history.ended > began else ()
    undone = [name for name in others if name not in run.targets or not run.targets[name].ended]
    return History(
        seconds=seconds,
        undone=tuple(dict.fromkeys([*undone, *(target.name for target in run.missing)])),
        ended=ended,
    )


def measured(run: RunModel) -> Mapping[str, float | None]:
    """Return how long each target took that a run built; None where a cache had most of it, so it estimates nothing."""
    ends = {target.name: target.ended for target in run.ended_as(MADE) if target.ended}
    return {
        name: round(end.seconds, 2) if end.cached <= end.steps * _CACHED_SHARE else None for name, end in ends.items()
    }


def text_of(history: History) -> str:
    """Return the text of a history's file."""
    value = {
        "version": _VERSION,
        "seconds": dict(sorted(history.seconds.items())),
        "undone": list(history.undone),
        "ended": history.ended,
    }
    return json.dumps(value, indent=1) + "\n"
