"""The events of a run so far become where it stands: what is done, what runs, how long is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from buildsys.buildkit.failure import FailureKind
from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    REUSED,
    Event,
    Retried,
    RunBegan,
    RunEnded,
    StepBegan,
    StepEnded,
    TargetEnded,
    TargetPlanned,
    TargetStarted,
)
from buildsys.report.text import clean, step_words, told_apart

# An image runs nothing; what it takes is a few requests to a registry, or an export.
_IMAGE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A target at work, and since when its step runs, or it itself where none does; `again`: when it is tried again.

    All times are in seconds since 1970.
    """

    target: str
    title: str
    step: str
    since: float
    again: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """The seconds that are left; not `whole` if nobody knows what some of the targets take."""

    seconds: float
    whole: bool


class RunState:
    """Takes the events of a run in their order; whoever draws them asks."""

    def __init__(self) -> None:
        self.retries = 0
        self.reused = 0
        self.ended = False
        self._jobs = 0
        self._titles: dict[str, str] = {}
        self._called: dict[str, list[str]] = {}
        self._shown: dict[str, str] = {}
        self._work: dict[str, TargetPlanned] = {}
        self._started: dict[str, float] = {}
        self._steps: dict[str, StepBegan] = {}
        self._again: dict[str, Retried] = {}
        self._outcomes: dict[str, str] = {}
        self._failed: set[str] = set()
        self._blocked: set[str] = set()
        self._stopped: dict[str, float] = {}

    def take(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case RunBegan():
                self._jobs = event.jobs
            case TargetPlanned():
                self._plan(event)
            case TargetStarted():
                self._again.pop(event.target, None)
                self._started[event.target] = event.at
            case StepBegan():
                self._again.pop(event.target, None)
                self._steps[event.digest] = event
            case StepEnded():
                self._steps.pop(event.digest, None)
            case Retried():
                self.retries += 1
                self._leave(event.target)
                self._again[event.target] = event
                if event.target in self._work:
                    self._started[event.target] = event.at + event.wait
            case TargetEnded():
                self._end(event)
            case RunEnded():
                self.ended = True
            case _:
                pass

    def _plan(self, event: TargetPlanned) -> None:
        if event.name not in self._titles:
            title = self._titles[event.name] = clean(event.title)
            if event.action != "leave":
                self._called.setdefault(title, []).append(event.name)
            self._shown = {}
            self.reused += event.action == "reuse"
        if event.action == "build":
            self._work[event.name] = event
            # What was damaged is planned again, whatever became of it before.
            self._outcomes.pop(event.name, None)
            self._failed.discard(event.name)
            self._blocked.discard(event.name)

    def _end(self, event: TargetEnded) -> None:
        if event.target in self._started:
            self._stopped[event.target] = max(0.0, event.at - self._started[event.target])
        self._leave(event.target)
        self._outcomes[event.target] = event.outcome
        if is_failure(event):
            self._failed.add(event.target)
            self._blocked.update(self.needing(event.target))
        elif event.outcome == BLOCKED:
            self._blocked.add(event.target)

    def _leave(self, target: str) -> None:
        self._started.pop(target, None)
        self._again.pop(target, None)
        self._steps = {digest: step for digest, step in self._steps.items() if step.target != target}

    @property
    def images(self) -> int:
        """How many images are to be made."""
        return sum(planned.kind == "image" for planned in self._work.values())

    @property
    def total(self) -> int:
        """How many targets are to be made."""
        return len(self._work)

    @property
    def done(self) -> int:
        """How many of them exist now."""
        return sum(self._outcomes.get(name) in (MADE, REUSED) for name in self._work)

    @property
    def failed(self) -> int:
        """How many targets failed."""
        return len(self._failed)

    @property
    def blocked(self) -> int:
        """How many targets cannot be made because of those."""
        return len(self._blocked)

    @property
    def longest_title(self) -> int:
        """The columns that the titles of what is to be made need."""
        return max((len(self.title(name)) for name in self._work), default=0)

    def is_work(self, target: str) -> bool:
        """Whether a target is to be made."""
        return target in self._work

    def kind(self, target: str) -> str:
        """Return `node` or `image`, nothing for what was not planned to be made."""
        return self._work[target].kind if target in self._work else ""

    def title(self, target: str) -> str:
        """Return what a target is called on a screen: its title, and what tells it apart from others of that title."""
        if not self._shown:
            self._shown = {name: title for title, names in self._called.items() for name in names}
            for title, names in self._called.items():
                parts = told_apart(names) if len(names) > 1 else {}
                self._shown |= {name: f"{title} ({part})" for name, part in parts.items() if part}
        return self._shown.get(target) or self._titles.get(target, target)

    def needing(self, target: str) -> tuple[str, ...]:
        """Return what cannot be made without a target, in build order."""
        found = {target}
        for name, planned in self._work.items():
            if not found.isdisjoint(planned.needs):
                found.add(name)
        return tuple(name for name in self._work if name in found and name != target)

    def stopped_after(self, ended: TargetEnded) -> float | None:
        """Return the seconds for which a target was at work when the run was stopped; None if that is not its end."""
        if ended.outcome == FAILED and ended.failure is not None and ended.failure.kind is FailureKind.INTERRUPTED:
            return ended.seconds
        if ended.outcome != NOT_REACHED:
            return None
        return ended.seconds if ended.started is not None else self._stopped.get(ended.target)

    def running(self, now: float) -> tuple[Running, ...]:
        """Return what is at work in the order in which it began, then what waits to be tried again."""
        steps: dict[str, StepBegan] = {}
        for step in self._steps.values():
            known = steps.get(step.target)
            # Of several at once a RUN says most, and of those the one that began last.
            if known is None or (step.kind == StepKind.RUN) >= (known.kind == StepKind.RUN):
                steps[step.target] = step
        waiting = {name: event for name, event in self._again.items() if now < event.at + event.wait}
        # A step shows that its target is at work, though nobody said so.
        at_work = [name for name in dict.fromkeys((*self._started, *steps)) if name not in waiting]
        return (
            *(self._at_work(name, steps.get(name)) for name in at_work),
            *(self._waiting(event) for event in waiting.values()),
        )

    def _at_work(self, name: str, step: StepBegan | None) -> Running:
        if step is None:
            return Running(target=name, title=self.title(name), step="", since=self._started[name])
        return Running(target=name, title=self.title(name), step=step_words(step.name, step.kind), since=step.at)

    def _waiting(self, event: Retried) -> Running:
        again = event.at + event.wait
        return Running(
            target=event.target, title=self.title(event.target), step=clean(event.why), since=event.at, again=again
        )

    def left(self, now: float) -> Left | None:
        """Return how long the run still takes: the longest remaining path, or all the work shared by the jobs.

        `now` is in seconds since 1970. None if nothing of what is left was ever recorded.
        """
        whole, known, work = True, False, 0.0
        ends: dict[str, float] = {}
        for name, planned in self._work.items():
            if name in self._outcomes or name in self._blocked:
                continue
            seconds = planned.estimate
            known = known or seconds is not None
            if seconds is None:
                whole = whole and planned.kind == "image"
                seconds = _IMAGE_SECONDS if planned.kind == "image" else 0.0
            if name in self._started:
                seconds -= now - self._started[name]
            own = max(0.0, seconds)
            work += own
            ends[name] = own + max((ends[need] for need in planned.needs if need in ends), default=0.0)
        if not ends or not known:
            return None
        path = max(ends.values())
        return Left(seconds=max(path, work / self._jobs) if self._jobs else path, whole=whole)


def is_failure(ended: TargetEnded) -> bool:
    """Whether a target failed by itself, and did not only end because the run was stopped."""
    return ended.outcome == FAILED and (ended.failure is None or ended.failure.kind is not FailureKind.INTERRUPTED)


def foremost(running: Iterable[Running], rows: int) -> tuple[Running, ...]:
    """Return at most `rows` of what runs, in its order: those in a step or waiting before those between steps."""
    every = tuple(running)
    first = sorted(range(len(every)), key=lambda index: (not every[index].step, index))[:rows]
    return tuple(every[index] for index in sorted(first))
