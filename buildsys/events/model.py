"""What has become of a run so far: its events, folded once for every screen, summary and page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from buildsys.buildkit.failure import FailureKind
from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    REUSED,
    Event,
    ImagesCopied,
    ImageTested,
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
from buildsys.values import dataclass

UNFINISHED = "unfinished"
IMAGE = "image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step; times are seconds since 1970. One that is `open` never reported its end: its target or the run ended."""

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


@dataclass(kw_only=True, slots=True)
class Attempt:
    """One attempt at a target; `ended` is its start while it is `open`, `why` what failed if it was retried."""

    number: int
    started: float
    ended: float
    why: str = ""
    open: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    def close(self, at: float, why: str = "") -> None:
        """End it, unless it has ended."""
        if self.open:
            self.ended, self.why, self.open = max(self.started, at), why, False


@dataclass(kw_only=True, slots=True)
class Target:
    """What was planned for a target and what became of it; `stopped` is how long it was at work when it ended."""

    plan: TargetPlanned
    ended: TargetEnded | None = None
    attempts: list[Attempt] = field(default_factory=list)
    retries: list[Retried] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    stopped: float | None = None

    @property
    def name(self) -> str:
        """The name that bake knows it by."""
        return self.plan.name

    @property
    def title(self) -> str:
        """The name that a person knows it by."""
        return self.plan.title or self.plan.name

    @property
    def is_image(self) -> bool:
        """Whether it is an image, not a node."""
        return self.plan.kind == IMAGE

    @property
    def is_work(self) -> bool:
        """Whether it is to be built."""
        return self.plan.action == "build"

    @property
    def outcome(self) -> str:
        """That of its end; without one, `unfinished` if work on it had begun, else `not reached`."""
        if self.ended:
            return self.ended.outcome
        return UNFINISHED if self.attempts else NOT_REACHED

    @property
    def exists(self) -> bool:
        """Whether it was built or reused."""
        return self.outcome in (MADE, REUSED)

    @property
    def seconds(self) -> float:
        """From its first start to its end, with the waits between its attempts."""
        if self.attempts:
            return max(0.0, self.attempts[-1].ended - self.attempts[0].started)
        return self.ended.seconds if self.ended else 0.0

    @property
    def failed(self) -> bool:
        """Whether it failed by itself, and did not only end because the run was stopped."""
        return self.outcome == FAILED and not self._interrupted

    @property
    def stopped_after(self) -> float | None:
        """The seconds for which it was at work when the run was stopped, None if that did not end it."""
        if self.ended is None:
            return None
        if self._interrupted:
            return self.ended.seconds
        if self.outcome != NOT_REACHED:
            return None
        return self.ended.seconds if self.ended.started is not None else self.stopped

    @property
    def _interrupted(self) -> bool:
        failure = self.ended.failure if self.ended else None
        return self.outcome == FAILED and failure is not None and failure.kind is FailureKind.INTERRUPTED


class RunModel:
    """Takes the events of one run in their order; may be asked at any time, also of a run that was cut off.

    `targets` are by name, in build order; they include unplanned ones. `at_work` holds since when each target
    is worked on, `waiting` the retry that a target or a call to the registry waits for, `running` the steps that have
    begun and not ended, by digest: a step that several targets share may begin in the name of one and end in another's.
    `retries` counts all retries, `runs` the RUN steps that were executed without an error. Times are seconds since
    1970.
    """

    def __init__(self) -> None:
        self.head: RunBegan | None = None
        self.done: RunEnded | None = None
        self.targets: dict[str, Target] = {}
        self.notes: list[Noted] = []
        self.tests: list[ImageTested] = []
        self.tags: list[TagsMoved] = []
        self.copies: list[ImagesCopied] = []
        self.at_work: dict[str, float] = {}
        self.waiting: dict[str, Retried] = {}
        self.running: dict[str, StepBegan] = {}
        self.retries = 0
        self.runs = 0
        self._noted: set[tuple[str, str]] = set()
        self._first: float | None = None
        self._last = 0.0

    def take(self, event: Event) -> None:
        """Take the next event."""
        self._first = event.at if self._first is None else min(self._first, event.at)
        self._last = max(self._last, event.at)
        match event:
            case RunBegan():
                self.head = event
            case Noted():
                self._note(event)
            case ImageTested():
                self.tests.append(event)
            case TagsMoved():
                self.tags.append(event)
            case ImagesCopied():
                self.copies.append(event)
            case RunEnded():
                self.done = event
            case _:
                self._take_of_target(event)

    def _take_of_target(
        self, event: TargetPlanned | TargetStarted | StepBegan | StepEnded | Retried | TargetEnded
    ) -> None:
        match event:
            case TargetPlanned():
                self._plan(event)
            case TargetStarted():
                self._start(event)
            case StepBegan():
                self._begin_step(event)
            case StepEnded():
                self._end_step(event)
            case Retried():
                self._retry(event)
            case TargetEnded():
                self._end(event)

    def close(self) -> None:
        """Let what is still open end with the run, which has ended or was cut off."""
        for target in self.targets.values():
            self._leave(target, self.end)
            target.steps.sort(key=lambda step: (step.started, step.completed))
            for attempt in target.attempts[-1:]:
                attempt.close(self.end)

    def _plan(self, event: TargetPlanned) -> None:
        target = self.targets.setdefault(event.name, Target(plan=event))
        target.plan = event
        if target.is_work:
            # A damaged target is planned again, whatever became of it before.
            target.ended = None

    def _target(self, event: TargetStarted | StepBegan | StepEnded | TargetEnded) -> Target:
        if event.target not in self.targets:
            plan = TargetPlanned(at=event.at, name=event.target, title=event.target, kind="node", action="")
            self.targets[event.target] = Target(plan=plan)
        return self.targets[event.target]

    def _start(self, event: TargetStarted) -> None:
        target = self._target(event)
        self.waiting.pop(event.target, None)
        self.at_work[event.target] = event.at
        for attempt in target.attempts[-1:]:
            attempt.close(event.at)
        target.attempts.append(Attempt(number=event.attempt, started=event.at, ended=event.at))

    def _begin_step(self, event: StepBegan) -> None:
        self._target(event)
        self.waiting.pop(event.target, None)
        self.running[event.digest] = event

    def _end_step(self, event: StepEnded) -> None:
        self.running.pop(event.digest, None)
        self.runs += event.kind == StepKind.RUN and not event.cached and not event.error
        self._target(event).steps.append(
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

    def _retry(self, event: Retried) -> None:
        self.retries += 1
        self.waiting[event.target] = event
        # A call to the registry is retried too, and is no target.
        if target := self.targets.get(event.target):
            self._leave(target, event.at)
            self.at_work[event.target] = event.at + event.wait
            target.retries.append(event)
            for attempt in target.attempts[-1:]:
                attempt.close(event.at, event.why)

    def _end(self, event: TargetEnded) -> None:
        target = self._target(event)
        since = self.at_work.get(event.target)
        target.stopped = None if since is None else max(0.0, event.at - since)
        self.waiting.pop(event.target, None)
        self._leave(target, event.at)
        target.ended = event
        for attempt in target.attempts[-1:]:
            attempt.close(_end_of_work(target, event))
        if not target.attempts and event.started is not None and event.seconds > 0:
            started, ended = event.started, event.started + event.seconds
            target.attempts.append(Attempt(number=1, started=started, ended=ended, open=False))

    def _leave(self, target: Target, at: float) -> None:
        self.at_work.pop(target.name, None)
        for digest in [digest for digest, step in self.running.items() if step.target == target.name]:
            step = self.running.pop(digest)
            target.steps.append(
                Step(target=step.target, name=step.name, kind=step.kind, started=step.at, completed=at, open=True)
            )

    def _note(self, event: Noted) -> None:
        if (event.about, event.text) not in self._noted:
            self._noted.add((event.about, event.text))
            self.notes.append(event)

    @property
    def began(self) -> float:
        """When the run began."""
        return self.head.at if self.head else self._first or 0.0

    @property
    def end(self) -> float:
        """When the run ended; of one without an end, the time of the last event."""
        # The run knows its own length better than the clock that stamps its last line.
        return max(self.began, self.began + self.done.seconds if self.done else self._last)

    @property
    def seconds(self) -> float:
        """How long the run took, or had taken at its last event."""
        return self.end - self.began

    @property
    def work(self) -> tuple[Target, ...]:
        """The targets to be built, in build order."""
        return tuple(each for each in self.targets.values() if each.is_work)

    @property
    def blocked(self) -> frozenset[str]:
        """The targets that cannot be built because of one that failed, also before their own end is reported."""
        failed = {each.name for each in self.targets.values() if each.failed}
        reported = {each.name for each in self.targets.values() if each.outcome == BLOCKED}
        return frozenset(reported.union(self._users(failed) if failed else ()))

    def users(self, name: str) -> tuple[str, ...]:
        """Return the targets to be built that need a target, directly or not, in build order."""
        return self._users({name})

    def _users(self, names: Iterable[str]) -> tuple[str, ...]:
        found, users = set(names), []
        for target in self.work:
            if target.name not in found and not found.isdisjoint(target.plan.needs):
                found.add(target.name)
                users.append(target.name)
        return tuple(users)

    def ended_as(self, outcome: str, kind: str = "") -> tuple[Target, ...]:
        """Return the targets with such an end, in build order; of one kind, `node` or `image`, if it is given."""
        return tuple(
            each
            for each in self.targets.values()
            if each.ended and each.outcome == outcome and kind in ("", each.plan.kind)
        )

    def blocked_by(self, target: str) -> tuple[Target, ...]:
        """Return the targets whose end names a failed target as its reason, in build order."""
        return tuple(each for each in self.targets.values() if each.ended and each.ended.blocked_by == target)

    @property
    def missing(self) -> tuple[Target, ...]:
        """The targets that ended without being built, in build order."""
        outcomes = (FAILED, BLOCKED, NOT_REACHED)
        return tuple(each for each in self.targets.values() if each.ended and each.outcome in outcomes)

    @property
    def build_steps(self) -> tuple[int, int]:
        """How many RUN, COPY and similar steps the built targets have, and how many of these came from a cache."""
        ends = [each.ended for each in self.ended_as(MADE) if each.ended]
        return sum(end.steps for end in ends), sum(end.cached for end in ends)


def run_model(events: Iterable[Event]) -> RunModel:
    """Return the model of a run that is over, whether or not its events are whole."""
    model = RunModel()
    for event in events:
        model.take(event)
    model.close()
    return model


def _end_of_work(target: Target, event: TargetEnded) -> float:
    """Return when work on a target ended: its end may be reported later, with the others of the same bake."""
    if event.started is None or not event.seconds:
        return event.at
    known = [attempt.started for attempt in target.attempts] + [step.completed for step in target.steps]
    return min(max(event.started + event.seconds, *known), event.at)
