"""How a run proceeds: what is ready is started, what ends makes more ready or blocks it, until nothing is left."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.errors import ExitCode, unforeseen
from buildsys.events.events import Event, FolderSize, ImageLayer, Noted, Outcome, TargetEnded, TargetStarted
from buildsys.inventory.contents import added_files, folder_sizes, largest_folders
from buildsys.inventory.model import Inventory
from buildsys.plan.plan import Plan
from buildsys.resolve.node import Node
from buildsys.run.scheduler import Schedule, Task
from buildsys.values import dataclass

_TICK_SECONDS = 1.0
# Of a node's largest that an event has.
_FOLDERS = 5
# Failures of the target itself, whatever else happens to the run.
_OWN_FAULT = frozenset({FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID, FailureKind.CONTENT})
Emit = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetOutcome:
    """How one target ended that was started; its `reference` is empty where nothing was published."""

    reference: str = ""
    started: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    cached: int = 0
    attempts: int = 1
    size: int | None = None
    layers: tuple[ImageLayer, ...] = ()
    unpacked: int | None = None
    folders: tuple[FolderSize, ...] = ()
    tags: tuple[str, ...] = ()
    failure: Failure | None = None


def with_contents(
    outcomes: Mapping[str, TargetOutcome], plan: Plan, find: Callable[[str], Inventory | None]
) -> dict[str, TargetOutcome]:
    """Return outcomes with the sizes of what nodes add to their bases; `find` returns the inventories that are known.

    The first node on a parent adds the files of the parent too.
    """
    found = dict(outcomes)
    for name, outcome in outcomes.items():
        node = plan.targets[name]
        if outcome.failure is not None or not isinstance(node, Node) or (inventory := find(name)) is None:
            continue
        # An artifact is apart from what it is built on.
        below = None if node.recipe.prefix else node.base
        base = find(below) if below else None
        if below is None or base is not None:
            sizes = folder_sizes(added_files(inventory, base))
            largest = largest_folders(sizes, _FOLDERS).items()
            folders = tuple(FolderSize(path=path, size=size) for path, size in largest)
            found[name] = replace(outcome, unpacked=sizes[""], folders=folders)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class DebugInfo:
    """How to look into a target: the folder of its Dockerfile, its log, the command that bakes it alone."""

    folder: str = ""
    log: str = ""
    alone: str = ""


_NOT_THE_REGISTRY = frozenset(
    {
        FailureKind.COMMAND,
        FailureKind.CHECKSUM,
        FailureKind.INVALID,
        FailureKind.CONTENT,
        FailureKind.INTERRUPTED,
        FailureKind.TRANSIENT,
    }
)


@dataclass(slots=True)
class RunOutcome:
    """How a run ended; `references` are those of the targets that were built.

    `halted` says why nothing more was started, if anything was left.
    """

    references: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    not_reached: tuple[str, ...] = ()
    halted: str = ""

    @property
    def complete(self) -> bool:
        """Whether every target was built."""
        return not (self.failures or self.blocked or self.not_reached)

    @property
    def may_be_damage(self) -> bool:
        """Whether a registry may have lost something: to look takes a request for each blob."""
        return any(failure.kind not in _NOT_THE_REGISTRY for failure in self.failures.values())


def exit_code(complete: bool, failures: Iterable[Failure], signal: int | None) -> int:
    """Return the exit code of a run: stopped, done, failed, or, if the engine is unreachable, unavailable."""
    if signal is not None:
        return 128 + signal
    if complete:
        return int(ExitCode.DONE)
    kinds = {failure.kind for failure in failures}
    return int(ExitCode.UNAVAILABLE if kinds == {FailureKind.TRANSIENT} else ExitCode.FAILED)


# Builds targets in one bake, given the references of what this run has built; it may emit events from any thread.
Bake = Callable[[tuple[str, ...], Mapping[str, str], Emit], Mapping[str, TargetOutcome]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What the executor asks and reports to: `shortage` returns why a task may not be started now.

    `explain` returns what a person reads of an error that a bake raised.
    """

    emit: Emit
    tick: Callable[[], None]
    shortage: Callable[[Task], str]
    debug: Callable[[str], DebugInfo]
    explain: Callable[[Exception], str] = lambda error: str(unforeseen(error))
    clock: Callable[[], float] = time.time


def run(schedule: Schedule, bake: Bake, hooks: Hooks, stop: Stop, *, jobs: int, keep_going: bool) -> RunOutcome:
    """Run the tasks of a schedule and return how each ended.

    A failure blocks what needs it. Without `keep_going` nothing is started after it, and running bakes finish. A
    connection to the engine that is given up ends the run in the same way.
    """
    executor = _Executor(schedule=schedule, bake=bake, hooks=hooks, stop=stop, keep_going=keep_going)
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="bake") as pool:
        try:
            while executor.start(pool):
                executor.wait()
        except BaseException:
            # The pool waits for the bakes that run.
            stop.request()
            raise
    if executor.error is not None:
        raise executor.error
    return executor.ended()


@dataclass(frozen=True, slots=True)
class _Finished:
    targets: tuple[str, ...]
    outcomes: Mapping[str, TargetOutcome]
    error: BaseException | None = None


@dataclass(kw_only=True, slots=True)
class _Executor:
    """One run in progress; all but `_work` happens in the main thread."""

    schedule: Schedule
    bake: Bake
    hooks: Hooks
    stop: Stop
    keep_going: bool
    outcome: RunOutcome = field(default_factory=RunOutcome)
    error: BaseException | None = None
    _inbox: queue.SimpleQueue[Event | _Finished] = field(default_factory=queue.SimpleQueue)
    _stop_noted: bool = False

    def start(self, pool: ThreadPoolExecutor) -> bool:
        """Start what is ready and may be started; return whether anything runs."""
        if self.stop.requested and not self._stop_noted:
            self._stop_noted = True
            self._note("stop", "running bakes are interrupted; a second signal kills them")
        reasons: list[str] = []

        def has_room(task: Task) -> bool:
            reasons.append(self.hooks.shortage(task))
            return not reasons[-1]

        while not self.stop.requested and not self.outcome.halted and (targets := self.schedule.take(has_room)):
            for target in targets:
                self.hooks.emit(TargetStarted(at=self.hooks.clock(), target=target))
            pool.submit(self._work, targets, dict(self.outcome.references))
        # What has no room waits for what runs; if nothing does, none will come.
        if reasons and reasons[-1] and not self.schedule.live:
            self.outcome.halted = reasons[-1]
            self._note("disk", reasons[-1])
        return bool(self.schedule.live)

    def _note(self, about: str, text: str) -> None:
        self.hooks.emit(Noted(at=self.hooks.clock(), about=about, text=text))

    def _work(self, targets: tuple[str, ...], references: Mapping[str, str]) -> None:
        began = self.hooks.clock()
        try:
            outcomes = self.bake(targets, references, self._inbox.put)
        except Exception as error:
            # One strange target blocks what needs it and nothing else.
            failure = Failure(kind=FailureKind.UNKNOWN, message=self.hooks.explain(error))
            seconds = self.hooks.clock() - began
            outcomes = dict.fromkeys(targets, TargetOutcome(started=began, seconds=seconds, failure=failure))
        except BaseException as error:  # The main thread raises it: lost here, it would leave the run waiting.
            self._inbox.put(_Finished(targets, {}, error))
            return
        self._inbox.put(_Finished(targets, outcomes))

    def wait(self) -> None:
        """Take the next message of a bake, or let the listener know that time passes."""
        try:
            message = self._inbox.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            self.hooks.tick()
            return
        if not isinstance(message, _Finished):
            self.hooks.emit(message)
            return
        if message.error is not None:
            self._break_off(message.targets, message.error)
            return
        for target in message.targets:
            self._take(target, message.outcomes[target])

    def _break_off(self, targets: tuple[str, ...], error: BaseException) -> None:
        """Stop the run for an error, which is raised when nothing runs any more: what is finished until then counts."""
        if self.error is None:
            self.error = error
            self.stop.request()
        for target in targets:
            self.schedule.give_back(target)

    def _take(self, target: str, outcome: TargetOutcome) -> None:
        failure = outcome.failure
        if failure is None:
            self.schedule.finish(target)
            self.outcome.references[target] = outcome.reference
            self.hooks.emit(self._ended(target, Outcome.MADE, outcome))
        elif failure.kind is FailureKind.INTERRUPTED or (self.stop.requested and failure.kind not in _OWN_FAULT):
            # What goes wrong while everything is being stopped is not a failure of the target.
            self.schedule.give_back(target)
        else:
            self._fail(target, outcome, failure)

    def _fail(self, target: str, outcome: TargetOutcome, failure: Failure) -> None:
        self.outcome.failures[target] = failure
        debug = self.hooks.debug(target)
        file = f"{debug.folder}/{failure.file}" if debug.folder and failure.file else failure.file
        self.hooks.emit(self._ended(target, Outcome.FAILED, outcome, file=file, alone=debug.alone, log=debug.log))
        for each in self.schedule.fail(target):
            self.hooks.emit(TargetEnded(at=self.hooks.clock(), target=each, outcome=Outcome.BLOCKED, blocked_by=target))
        if not self.keep_going:
            self.outcome.halted = f"{target} failed"
        elif failure.kind is FailureKind.TRANSIENT:
            self.outcome.halted = "the engine no longer answers"

    def _ended(
        self, target: str, word: Outcome, outcome: TargetOutcome, *, file: str = "", alone: str = "", log: str = ""
    ) -> TargetEnded:
        return TargetEnded(
            at=self.hooks.clock(),
            target=target,
            outcome=word,
            started=outcome.started,
            seconds=outcome.seconds,
            reference=outcome.reference,
            size=outcome.size,
            layers=outcome.layers,
            unpacked=outcome.unpacked,
            folders=outcome.folders,
            steps=outcome.steps,
            cached=outcome.cached,
            attempts=outcome.attempts,
            failure=outcome.failure,
            file=file,
            alone=alone,
            log=log,
            tags=outcome.tags,
        )

    def ended(self) -> RunOutcome:
        """Report what was not reached and return how the run ended."""
        self.outcome.blocked.update(self.schedule.blocked)
        self.outcome.not_reached = self.schedule.waiting
        for target in self.outcome.not_reached:
            self.hooks.emit(TargetEnded(at=self.hooks.clock(), target=target, outcome=Outcome.NOT_REACHED))
        return self.outcome
