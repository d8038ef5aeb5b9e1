"""What a run came to: counted from its events, whatever they were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    Event,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
)

IMAGE = "image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A target with its plan and its end."""

    plan: TargetPlanned
    end: TargetEnded


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A run's end, in numbers and names; `steps` and `cached` count RUN, COPY and the like of what was made.

    `runs` is the number of RUN steps that were executed to their good end; one that several bakes tell of counts once.
    """

    ended: tuple[Ended, ...] = ()
    notes: tuple[Noted, ...] = ()
    tags: TagsMoved | None = None
    began: RunBegan | None = None
    done: RunEnded | None = None
    retries: int = 0
    runs: int = 0
    steps: int = 0
    cached: int = 0

    def those(self, outcome: str, kind: str = "") -> tuple[Ended, ...]:
        """Return what ended so, in the order of its plan; of one kind, `node` or `image`, if it is given."""
        return tuple(each for each in self.ended if each.end.outcome == outcome and kind in ("", each.plan.kind))

    @property
    def unfinished(self) -> tuple[Ended, ...]:
        """What was to be made and is not there."""
        return tuple(each for each in self.ended if each.end.outcome in (FAILED, BLOCKED, NOT_REACHED))

    def blocked_by(self, target: str) -> tuple[Ended, ...]:
        """Return what a failed target blocks."""
        return tuple(each for each in self.those(BLOCKED) if each.end.blocked_by == target)


def summarise(events: Iterable[Event]) -> Summary:
    """Return the summary of a run; of a target that was made twice, the last end counts."""
    plans: dict[str, TargetPlanned] = {}
    ends: dict[str, TargetEnded] = {}
    runs = 0
    notes: dict[tuple[str, str], Noted] = {}
    began, done, tags, retries = None, None, None, 0
    for event in events:
        match event:
            case RunBegan():
                began = event
            case TargetPlanned():
                plans[event.name] = event
            case TargetEnded():
                ends[event.target] = event
            case StepEnded() if event.kind == StepKind.RUN and not event.cached and not event.error:
                runs += 1
            case Noted():
                notes.setdefault((event.about, event.text), event)
            case Retried():
                retries += 1
            case TagsMoved():
                tags = event
            case RunEnded():
                done = event
            case _:
                pass
    made = [end for end in ends.values() if end.outcome == MADE]
    return Summary(
        ended=tuple(Ended(plan=plan, end=ends[name]) for name, plan in plans.items() if name in ends),
        notes=tuple(notes.values()),
        tags=tags,
        began=began,
        done=done,
        retries=retries,
        runs=runs,
        steps=sum(end.steps for end in made),
        cached=sum(end.cached for end in made),
    )
