"""The loop of a run, with bakes that are functions: the one thing behind a port here is the bake itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.errors import Unavailable
from buildsys.events.events import Event, Noted, TargetEnded, TargetStarted
from buildsys.run.executor import DebugInfo, Emit, Hooks, RunOutcome, TargetOutcome, exit_code, run
from buildsys.run.scheduler import Limits, Schedule, Task

CHAIN = [
    Task(name="base", kind="n"),
    Task(name="left", kind="n", needs=("base",)),
    Task(name="right", kind="n", needs=("base",)),
    Task(name="image", kind="s", needs=("left", "right"), light=True),
    Task(name="other", kind="s", needs=("right",), light=True),
]


def failure(kind: FailureKind = FailureKind.COMMAND) -> Failure:
    return Failure(kind=kind, message="it went wrong", file="Dockerfile", line=3)


class Bakes:
    """Makes every target, but for those that are to fail."""

    def __init__(
        self, fails: Mapping[str, Failure] | None = None, wait: Callable[[str], None] = lambda _: None
    ) -> None:
        self.fails, self.wait = dict(fails or {}), wait
        self.calls: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def __call__(self, targets: tuple[str, ...], made: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        self.calls.append((targets, dict(made)))
        for target in targets:
            self.wait(target)
        return {target: TargetOutcome(reference=f"r@{target}", failure=self.fails.get(target)) for target in targets}


def ran(
    make: Callable[..., Mapping[str, TargetOutcome]],
    *,
    keep_going: bool = True,
    stop: Stop | None = None,
    room: Callable[[Task], str] = lambda _: "",
    jobs: int = 4,
) -> tuple[RunOutcome, list[Event]]:
    events: list[Event] = []
    hooks = Hooks(
        emit=events.append,
        tick=lambda: None,
        shortage=room,
        debug=lambda target: DebugInfo(folder=f"layers/{target}", log=f"{target}.log", alone=f"buildsys bake {target}"),
    )
    schedule = Schedule(CHAIN, Limits(jobs=jobs, targets=9))
    return run(schedule, make, hooks, stop or Stop(), jobs=jobs, keep_going=keep_going), events


def outcomes(events: list[Event]) -> dict[str, str]:
    return {event.target: event.outcome for event in events if isinstance(event, TargetEnded)}


def test_everything_is_built_on_what_was_built_before() -> None:
    bakes = Bakes()
    found, events = ran(bakes)
    assert set(outcomes(events).values()) == {"made"}
    assert found.references == {name: f"r@{name}" for name in ("base", "left", "right", "image", "other")}
    assert found.complete
    known = {targets: set(made) for targets, made in bakes.calls}
    assert known[("base",)] == set()
    assert all({"base"} <= made for targets, made in known.items() if targets != ("base",))
    started = [event.target for event in events if isinstance(event, TargetStarted)]
    assert sorted(started) == sorted(task.name for task in CHAIN)


def test_failure_blocks_what_needs_it_and_the_rest_is_built() -> None:
    found, events = ran(Bakes({"left": failure()}))
    assert outcomes(events) == {
        "base": "made",
        "left": "failed",
        "right": "made",
        "image": "blocked",
        "other": "made",
    }
    assert found.blocked == {"image": "left"}
    end = next(event for event in events if isinstance(event, TargetEnded) and event.target == "left")
    assert (end.file, end.alone, end.log) == ("layers/left/Dockerfile", "buildsys bake left", "left.log")
    assert not found.complete


def test_fail_fast_starts_nothing_more_and_lets_finish_what_runs() -> None:
    failed = threading.Event()

    def wait(target: str) -> None:
        if target == "right":
            failed.wait(5)
            time.sleep(0.05)
        elif target == "left":
            failed.set()

    _, events = ran(Bakes({"left": failure()}, wait), keep_going=False)
    assert outcomes(events) == {
        "base": "made",
        "left": "failed",
        "right": "made",
        "image": "blocked",
        "other": "not reached",
    }


def test_unavailable_engine_ends_the_run_even_with_keep_going() -> None:
    found, events = ran(Bakes({"base": failure(FailureKind.TRANSIENT)}))
    assert outcomes(events)["base"] == "failed"
    assert found.halted == "the engine no longer answers"


def test_stop_ends_the_run_and_what_was_interrupted_is_not_reached() -> None:
    stop = Stop()

    def wait(target: str) -> None:
        if target == "left":
            stop.request()

    found, events = ran(Bakes({"left": failure(FailureKind.INTERRUPTED)}, wait), stop=stop, jobs=1)
    assert outcomes(events)["left"] == "not reached"
    assert outcomes(events)["image"] == "not reached"
    assert found.failures == {}


def test_full_disk_stops_starting_and_reports_it() -> None:
    found, events = ran(Bakes(), room=lambda task: "the disk is full" if task.name != "base" else "")
    assert [event.text for event in events if isinstance(event, Noted)] == ["the disk is full"]
    assert set(found.references) == {"base"}
    assert set(found.not_reached) == {"left", "right", "image", "other"}


def test_task_without_room_waits_for_what_runs() -> None:
    big = [Task(name=name, kind="node", disk=10) for name in ("one", "two")]
    schedule = Schedule([*big, Task(name="small", kind="node")], Limits(jobs=4, targets=9))
    events: list[Event] = []
    hooks = Hooks(
        emit=events.append,
        tick=lambda: None,
        shortage=lambda task: (
            "full" if task.disk + sum(schedule.task(each).disk for each in schedule.live) > 15 else ""
        ),
        debug=lambda _: DebugInfo(),
    )
    found = run(schedule, Bakes(), hooks, Stop(), jobs=4, keep_going=False)
    assert set(found.references) == {"one", "two", "small"}
    assert not found.halted


def test_error_of_the_outside_fails_its_target_and_no_other() -> None:
    def make(targets: tuple[str, ...], _made: Mapping[str, str], _tell: Emit) -> Mapping[str, TargetOutcome]:
        if "left" in targets:
            raise Unavailable("the registry is unreachable")
        return {target: TargetOutcome() for target in targets}

    _, events = ran(make)
    assert outcomes(events)["left"] == "failed"
    assert outcomes(events)["other"] == "made"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("layers"), "this is a bug of buildsys: KeyError: 'layers'"),
        (RecursionError("too deep"), "this is a bug of buildsys: RecursionError: too deep"),
        (PermissionError(13, "Permission denied", "/x"), "`/x` cannot be used: Permission denied"),
        (MemoryError(), "the memory of this machine is exhausted"),
    ],
)
def test_any_error_of_a_bake_fails_its_target_and_no_other(error: Exception, message: str) -> None:
    """Before, such an error stopped the whole run in spite of --keep-going, and ended it with a traceback."""

    def make(targets: tuple[str, ...], _made: Mapping[str, str], _tell: Emit) -> Mapping[str, TargetOutcome]:
        if "left" in targets:
            raise error
        return {target: TargetOutcome() for target in targets}

    found, events = ran(make)
    assert outcomes(events) == {"base": "made", "left": "failed", "right": "made", "image": "blocked", "other": "made"}
    assert found.failures["left"].message == message


def test_exit_of_a_thread_is_raised_and_nothing_hangs() -> None:
    def make(_targets: tuple[str, ...], _made: Mapping[str, str], _tell: Emit) -> Mapping[str, TargetOutcome]:
        raise SystemExit

    with pytest.raises(SystemExit):
        ran(make)


def test_error_while_events_are_shown_stops_the_bakes_that_run() -> None:
    stop = Stop()

    def emit(event: Event) -> None:
        if isinstance(event, TargetEnded):
            raise ZeroDivisionError

    def bake(targets: tuple[str, ...], _: object, __: Emit) -> Mapping[str, TargetOutcome]:
        if targets != ("base",):
            assert stop.requested
        return {target: TargetOutcome() for target in targets}

    hooks = Hooks(emit=emit, tick=lambda: None, shortage=lambda _: "", debug=lambda _: DebugInfo())
    with pytest.raises(ZeroDivisionError):
        run(Schedule(CHAIN, Limits(jobs=4, targets=9)), bake, hooks, stop, jobs=4, keep_going=True)
    assert stop.requested


@pytest.mark.parametrize(
    ("complete", "kinds", "signal", "code"),
    [
        (True, [], None, 0),
        (False, [FailureKind.COMMAND], None, 1),
        (False, [FailureKind.TRANSIENT, FailureKind.COMMAND], None, 1),
        (False, [FailureKind.TRANSIENT], None, 5),
        (False, [], None, 1),
        (False, [FailureKind.COMMAND], 2, 130),
        (True, [], 15, 143),
    ],
)
def test_exit_code(complete: bool, kinds: list[FailureKind], signal: int | None, code: int) -> None:
    assert exit_code(complete, [failure(kind) for kind in kinds], signal) == code


def test_what_others_finish_after_an_unexpected_error_is_recorded_before_it_is_raised() -> None:
    """Before, the error was raised at once, and neither events nor history knew what the other bakes finished."""
    left_runs, right_broke = threading.Event(), threading.Event()
    stop = Stop()
    events: list[Event] = []

    def bake(targets: tuple[str, ...], _: object, __: Emit) -> Mapping[str, TargetOutcome]:
        if targets == ("right",):
            left_runs.wait(10)
            right_broke.set()
            raise SystemExit
        if targets == ("left",):
            left_runs.set()
            right_broke.wait(10)
            stop.wait(10)
        return {target: TargetOutcome(reference=f"r@{target}") for target in targets}

    hooks = Hooks(
        emit=events.append, tick=lambda: None, shortage=lambda _: "", debug=lambda _: DebugInfo(), clock=lambda: 5.0
    )
    with pytest.raises(SystemExit):
        run(Schedule(CHAIN, Limits(jobs=4, targets=9)), bake, hooks, stop, jobs=4, keep_going=True)
    assert stop.requested
    assert outcomes(events) == {"base": "made", "left": "made"}
