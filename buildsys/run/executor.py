"""The loop of a run: what is ready is started, what ends makes more ready or blocks, until nothing is left."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.errors import BuildsysError, ExitCode
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    Event,
    ImageLayer,
    Noted,
    TargetEnded,
    TargetStarted,
)
from buildsys.run.scheduler import Schedule

_TICK_SECONDS = 1.0
_OWN_FAULT = frozenset({FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID})
Emit = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetOutcome:
    """What became of one target that was started; its `reference` is empty where nothing was published.

    `runs` are the digests of the RUN steps that its bake executed.
    """

    reference: str = ""
    started: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    cached: int = 0
    attempts: int = 1
    size: int | None = None
    layers: tuple[ImageLayer, ...] = ()
    tags: tuple[str, ...] = ()
    failure: Failure | None = None
    runs: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class DebugInfo:
    """How a person looks into a target: the folder of its Dockerfile, its log, the command that makes it alone."""

    folder: str = ""
    log: str = ""
    alone: str = ""


@dataclass(slots=True)
class RunOutcome:
    """How the loop ended; `halted` says why nothing more was started, if anything was left."""

    made: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    not_reached: tuple[str, ...] = ()
    runs: set[str] = field(default_factory=set)
    halted: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything was made."""
        return not (self.failures or self.blocked or self.not_reached)


def exit_code(complete: bool, failures: Iterable[Failure], signal: int | None) -> int:
    """Return how a run's process ends: stopped, done, failed, or, where the engine is gone, unavailable."""
    if signal is not None:
        return 128 + signal
    if complete:
        return int(ExitCode.DONE)
    kinds = {failure.kind for failure in failures}
    return int(ExitCode.UNAVAILABLE if kinds == {FailureKind.TRANSIENT} else ExitCode.FAILED)


# Makes targets in one bake, on what was made before; events may be told from any thread.
Make = Callable[[tuple[str, ...], Mapping[str, str], Emit], Mapping[str, TargetOutcome]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What the loop asks and tells: `room` returns why nothing may be started, empty if it may."""

    emit: Emit
    tick: Callable[[], None]
    room: Callable[[tuple[str, ...]], str]
    debug: Callable[[str], DebugInfo]


def run(schedule: Schedule, make: Make, hooks: Hooks, stop: Stop, *, jobs: int, keep_going: bool) -> RunOutcome:
    """Make the tasks of a schedule and return what became of each.

    A failure blocks what needs it. Without `keep_going` nothing is started after it; what runs is let finish. The
    connection to the engine, once it is given up, ends the run the same way.
    """
    ran = RunOutcome()
    inbox: queue.SimpleQueue[Event | _Finished] = queue.SimpleQueue()

    def work(targets: tuple[str, ...], made: Mapping[str, str]) -> None:
        began = time.time()
        try:
            results = make(targets, made, inbox.put)
        except BuildsysError as error:
            results = {target: _broken(error, began) for target in targets}
        except BaseException as error:  # The main thread raises it again: a thread's own end would hang the loop.
            inbox.put(_Finished(targets, {}, error))
            return
        inbox.put(_Finished(targets, results, None))

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="bake") as pool:
        told = False
        while True:
            if stop.requested and not told:
                told = True
                hooks.emit(Noted(at=time.time(), about="stop", text="what runs is ended; asked again, at once"))
            _start(schedule, ran, hooks, stop, lambda targets: pool.submit(work, targets, dict(ran.made)))
            if not schedule.live:
                break
            try:
                message = inbox.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                hooks.tick()
                continue
            if not isinstance(message, _Finished):
                hooks.emit(message)
                continue
            if message.error is not None:
                stop.request()
                raise message.error
            for target in message.targets:
                result = message.results[target]
                if stop.requested and result.failure is not None and result.failure.kind not in _OWN_FAULT:
                    # What goes wrong while all is ended is no failure of its own.
                    schedule.give_back(target)
                    continue
                _take(schedule, ran, hooks, target, result, keep_going=keep_going)
    ran.blocked.update(schedule.blocked)
    ran.not_reached = schedule.waiting
    for target in ran.not_reached:
        hooks.emit(TargetEnded(at=time.time(), target=target, outcome=NOT_REACHED))
    return ran


@dataclass(frozen=True, slots=True)
class _Finished:
    targets: tuple[str, ...]
    results: Mapping[str, TargetOutcome]
    error: BaseException | None


def _start(
    schedule: Schedule, ran: RunOutcome, hooks: Hooks, stop: Stop, submit: Callable[[tuple[str, ...]], object]
) -> None:
    while not stop.requested and not ran.halted:
        targets = schedule.take()
        if not targets:
            return
        if reason := hooks.room(targets):
            ran.halted = reason
            hooks.emit(Noted(at=time.time(), about="disk", text=reason))
            for target in targets:
                schedule.give_back(target)
            return
        for target in targets:
            hooks.emit(TargetStarted(at=time.time(), target=target))
        submit(targets)


def _take(
    schedule: Schedule, ran: RunOutcome, hooks: Hooks, target: str, result: TargetOutcome, *, keep_going: bool
) -> None:
    now = time.time()
    ran.runs |= result.runs
    failure = result.failure
    if failure is None:
        schedule.finish(target)
        ran.made[target] = result.reference
        hooks.emit(_ended(target, MADE, result, now))
        return
    if failure.kind is FailureKind.INTERRUPTED:
        schedule.give_back(target)
        return
    debug = hooks.debug(target)
    ran.failures[target] = failure
    file = f"{debug.folder}/{failure.file}" if debug.folder and failure.file else failure.file
    hooks.emit(_ended(target, FAILED, result, now, file=file, alone=debug.alone, log=debug.log))
    for each in schedule.fail(target):
        hooks.emit(TargetEnded(at=now, target=each, outcome=BLOCKED, blocked_by=target))
    if not keep_going:
        ran.halted = f"{target} failed"
    elif failure.kind is FailureKind.TRANSIENT:
        ran.halted = "the engine does not answer any more"


def _ended(
    target: str, outcome: str, result: TargetOutcome, now: float, *, file: str = "", alone: str = "", log: str = ""
) -> TargetEnded:
    return TargetEnded(
        at=now,
        target=target,
        outcome=outcome,
        started=result.started,
        seconds=result.seconds,
        reference=result.reference,
        size=result.size,
        layers=result.layers,
        steps=result.steps,
        cached=result.cached,
        attempts=result.attempts,
        failure=result.failure,
        file=file,
        alone=alone,
        log=log,
        tags=result.tags,
    )


def _broken(error: BuildsysError, began: float) -> TargetOutcome:
    failure = Failure(kind=FailureKind.UNKNOWN, message=str(error))
    return TargetOutcome(started=began, seconds=time.time() - began, failure=failure)
