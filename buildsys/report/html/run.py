"""The events of one run are folded into what became of each target, with attempts and steps on one clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from buildsys.events.events import (
    NOT_REACHED,
    Event,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepBegan,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
    TargetStarted,
)

UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step; times are seconds since 1970. One that never ended ends with the run, and is `open`."""

    target: str
    name: str
    kind: str
    started: float
    completed: float
    cached: bool = False
    error: str = ""
    open: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.completed - self.started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt at a target; `why` is what failed if it was tried again."""

    number: int
    started: float
    ended: float
    why: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.ended - self.started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A target: what was planned and what became of it.

    `outcome` is that of `TargetEnded`; without one, `unfinished` if work on it had begun, else `not reached`.
    """

    plan: TargetPlanned
    outcome: str
    ended: TargetEnded | None = None
    attempts: tuple[Attempt, ...] = ()
    retries: tuple[Retried, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        """The name that bake knows it by."""
        return self.plan.name

    @property
    def title(self) -> str:
        """The name that a person knows it by."""
        return self.plan.title or self.plan.name

    @property
    def seconds(self) -> float:
        """From its first start to its end, the waits between its attempts too."""
        if self.attempts:
            return max(0.0, self.attempts[-1].ended - self.attempts[0].started)
        return self.ended.seconds if self.ended else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run; `began` and `end` are seconds since 1970, `end` that of the last thing known of it.

    `targets` are in build order. `done` is None if the run did not come to its end.
    """

    began: float
    end: float
    head: RunBegan | None = None
    done: RunEnded | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[Noted, ...] = ()
    tags: tuple[TagsMoved, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took, or had taken when it was last heard of."""
        return max(0.0, self.end - self.began)


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What the events say of one target."""

    plan: TargetPlanned
    ended: TargetEnded | None = None
    starts: list[TargetStarted] = field(default_factory=list)
    retries: list[Retried] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def run_of(events: Sequence[Event]) -> Run:
    """Fold the events of one run, whole or not, in their order."""
    head = next((each for each in events if isinstance(each, RunBegan)), None)
    done = next((each for each in events if isinstance(each, RunEnded)), None)
    began = head.at if head else min((each.at for each in events), default=0.0)
    end = max((each.at for each in events), default=began)
    if done:
        # The run knows its own length better than the clock that stamps its last line.
        end = max(began + done.seconds, began)
    seen = _seen(events, end)
    return Run(
        began=began,
        end=end,
        head=head,
        done=done,
        targets=tuple(_target(each, end) for each in seen.values()),
        notes=tuple(each for each in events if isinstance(each, Noted)),
        tags=tuple(each for each in events if isinstance(each, TagsMoved)),
    )


def _seen(events: Iterable[Event], end: float) -> Mapping[str, _Seen]:
    found: dict[str, _Seen] = {}
    # By digest: a step that several targets share may begin in the name of one and end in that of another.
    begun: dict[str, StepBegan] = {}
    for event in events:
        if isinstance(event, TargetPlanned):
            found.setdefault(event.name, _Seen(plan=event)).plan = event
        elif isinstance(event, TargetStarted | Retried | TargetEnded | StepBegan | StepEnded):
            # A target that nobody planned is shown all the same.
            unplanned = TargetPlanned(at=event.at, name=event.target, title=event.target, kind="node", action="")
            seen = found.setdefault(event.target, _Seen(plan=unplanned))
            if isinstance(event, StepBegan):
                begun[event.digest] = event
            else:
                _fold(seen, event, begun)
    for each in begun.values():
        found[each.target].steps.append(
            Step(target=each.target, name=each.name, kind=each.kind, started=each.at, completed=end, open=True)
        )
    return found


def _fold(seen: _Seen, event: TargetStarted | Retried | TargetEnded | StepEnded, begun: dict[str, StepBegan]) -> None:
    if isinstance(event, TargetStarted):
        seen.starts.append(event)
    elif isinstance(event, Retried):
        seen.retries.append(event)
    elif isinstance(event, TargetEnded):
        seen.ended = event
    else:
        begun.pop(event.digest, None)
        seen.steps.append(
            Step(
                target=event.target,
                name=event.name,
                kind=event.kind,
                started=event.started,
                completed=event.completed,
                cached=event.cached,
                error=event.error,
            )
        )


def _target(seen: _Seen, end: float) -> Target:
    outcome = seen.ended.outcome if seen.ended else UNFINISHED if seen.starts else NOT_REACHED
    return Target(
        plan=seen.plan,
        outcome=outcome,
        ended=seen.ended,
        attempts=_attempts(seen, end),
        retries=tuple(seen.retries),
        steps=tuple(sorted(seen.steps, key=lambda step: (step.started, step.completed))),
    )


def _end_of(seen: _Seen) -> float:
    """When work on a target ended: it may be told later, with others that were made by the same bake."""
    assert seen.ended
    told = seen.ended.at
    if seen.ended.started is None or not seen.ended.seconds:
        return told
    latest = max([start.at for start in seen.starts] + [step.completed for step in seen.steps], default=told)
    own = seen.ended.started + seen.ended.seconds
    return min(max(own, latest), told)


def _attempts(seen: _Seen, end: float) -> tuple[Attempt, ...]:
    last = _end_of(seen) if seen.ended else end
    if not seen.starts and seen.ended and seen.ended.started is not None and seen.ended.seconds > 0:
        started = seen.ended.started
        return (Attempt(number=1, started=started, ended=started + seen.ended.seconds),)
    found = []
    for position, start in enumerate(seen.starts):
        following = seen.starts[position + 1].at if position + 1 < len(seen.starts) else last
        failure = next((each for each in seen.retries if start.at <= each.at <= following), None)
        found.append(
            Attempt(
                number=start.attempt,
                started=start.at,
                ended=max(start.at, failure.at if failure else following),
                why=failure.why if failure else "",
            )
        )
    return tuple(found)
