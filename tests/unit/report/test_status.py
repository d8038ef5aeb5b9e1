"""How far a run is, from its events so far."""

from __future__ import annotations

import pytest

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import Event, Retried, RunBegan
from buildsys.report.status import Running, RunStatus, foremost
from buildsys.run.scheduler import Left
from tests.support.run_events import (
    BEGIN,
    FIRST_HALF,
    HEADER_MISSING,
    PLAN,
    RETRY,
    SECOND_HALF,
    ended_step,
    failed,
    made,
    node,
    start,
    step,
)


def state_of(*events: Event) -> RunStatus:
    state = RunStatus()
    for event in events:
        state.take(event)
    return state


def steps(state: RunStatus) -> list[tuple[str, str]]:
    return [(each.target, each.step) for each in state.running(BEGIN + 23)]


def test_heading_and_progress_count_what_is_to_be_built() -> None:
    state = state_of(*PLAN)
    assert (state.heading(), state.progress(BEGIN)[0]) == ("baking 3 images and 4 nodes", "0/7")
    assert state_of(step(1, "custom")).progress(BEGIN) == []


def test_progress_after_a_failure_and_a_retry() -> None:
    state = state_of(*FIRST_HALF, *SECOND_HALF)
    assert state.progress(BEGIN + 23) == ["5/7", "1 failed, 1 blocked", "1 retry"]
    assert state.running(BEGIN + 23) == ()


def test_target_shows_a_run_before_other_steps_and_of_runs_the_last() -> None:
    copy = step(2, "a", "COPY x y", digest="2", kind=StepKind.FILE)
    first, second = step(1, "a", "RUN one", digest="1"), step(3, "a", "RUN two", digest="3")
    state = state_of(node("a", "a"), start(0, "a"), copy)
    assert steps(state) == [("a", "COPY x y")]
    state.take(first)
    assert steps(state) == [("a", "one")]
    for event in (step(3, "a", "COPY z /", digest="4", kind=StepKind.FILE), second):
        assert steps(state) == [("a", "one")]
        state.take(event)
    assert steps(state) == [("a", "two")]
    state.take(ended_step(second, 1))
    assert state.running(BEGIN + 23) == (Running(target="a", title="a", step="one", since=BEGIN + 1),)


def test_step_that_two_targets_share_is_shown_with_the_one_that_reported_it() -> None:
    began = step(1, "a", "RUN make")
    state = state_of(node("a", "a"), node("b", "b"), start(0, "a"), start(0, "b"), began)
    assert steps(state) == [("a", "make"), ("b", "")]
    state.take(ended_step(began, 2))
    assert steps(state) == [("a", ""), ("b", "")]


def test_steps_of_a_target_end_with_it_without_their_own_event() -> None:
    state = state_of(node("git", "git"), start(0, "git"), step(1, "git"), start(26, "git", 2))
    assert steps(state) == [("git", "make -j2 && make install")]
    state.take(RETRY)
    assert [each.step for each in state.running(BEGIN + 30)] == [""]


def test_what_waits_for_a_retry_comes_last_until_its_time_has_come() -> None:
    state = state_of(node("git", "git"), node("b", "b"), start(0, "git"), RETRY, start(23, "b"))
    assert [(each.target, each.again) for each in state.running(BEGIN + 25)] == [("b", None), ("git", BEGIN + 26)]
    assert [(each.target, each.since, each.again) for each in state.running(BEGIN + 26)] == [
        ("git", BEGIN + 26, None),
        ("b", BEGIN + 23, None),
    ]


@pytest.mark.parametrize("event", [start(24, "git", 2), step(24, "git")])
def test_what_is_at_work_again_waits_no_more(event: Event) -> None:
    state = state_of(node("git", "git"), start(0, "git"), RETRY, event)
    assert [(each.since, each.again) for each in state.running(BEGIN + 24)] == [(BEGIN + 24, None)]


def test_retried_call_to_a_registry_is_no_target_at_work() -> None:
    state = state_of(node("a", "a"), Retried(at=BEGIN, target="registry", attempt=2, of=5, wait=4, why="503"))
    assert [each.title for each in state.running(BEGIN + 3)] == ["registry"]
    assert state.running(BEGIN + 4) == ()
    assert state.progress(BEGIN + 4) == ["0/1", "1 retry"]


def test_step_of_a_target_neither_planned_nor_started_is_shown() -> None:
    state = state_of(step(1, "custom"))
    assert steps(state) == [("custom", "make -j2 && make install")]
    assert state.progress(BEGIN) == []


def test_targets_of_one_title_are_distinguished_by_their_names() -> None:
    plan = (
        node("git-on-os-22-cpu", "git on os 22"),
        node("git-on-os-22-gpu-cuda-12", "git on os 22"),
        node("new-x", "x"),
        node("old-x", "x", action="leave"),
    )
    names = [*(each.name for each in plan[:3]), "none"]
    assert [state_of(*plan).title(name) for name in names] == [
        "git on os 22 (cpu)",
        "git on os 22 (gpu-cuda-12)",
        "x",
        "none",
    ]


def test_time_left_is_the_longest_path_or_the_work_by_jobs() -> None:
    plan = (node("a", "a", seconds=100), node("b", "b", "a", seconds=50), node("c", "c", seconds=120))
    assert state_of(*plan).left(BEGIN) == Left(seconds=150, whole=True)
    one = RunBegan(at=BEGIN, command="", jobs=1)
    assert state_of(one, *plan).left(BEGIN) == Left(seconds=270, whole=True)
    two = RunBegan(at=BEGIN, command="", jobs=2)
    assert state_of(two, *plan).left(BEGIN) == Left(seconds=150, whole=True)


def test_time_left_shrinks_while_a_target_runs_and_never_below_nothing() -> None:
    state = state_of(node("a", "a", seconds=100), node("b", "b", "a", seconds=50), start(10, "a"))
    assert state.left(BEGIN + 40) == Left(seconds=120, whole=True)
    assert state.left(BEGIN + 400) == Left(seconds=50, whole=True)
    state.take(made(400, "a", 390))
    state.take(start(400, "b"))
    assert state.left(BEGIN + 500) == Left(seconds=0, whole=True)
    state.take(made(500, "b", 100))
    assert state.left(BEGIN + 500) is None


def test_time_left_of_what_waits_begins_with_its_retry() -> None:
    assert state_of(node("git", "git", seconds=60), start(0, "git"), RETRY).left(BEGIN + 24) == Left(
        seconds=62, whole=True
    )


def test_time_left_counts_nothing_that_is_blocked() -> None:
    plan = (node("a", "a", seconds=10), node("b", "b", "a", seconds=500), node("c", "c", seconds=40))
    assert state_of(*plan, failed(1, "a", 1, HEADER_MISSING)).left(BEGIN + 1) == Left(seconds=40, whole=True)


def test_time_left_is_a_lower_bound_with_an_unknown_node_and_none_if_all_are_unknown() -> None:
    assert state_of(node("a", "a", seconds=60), node("b", "b")).left(BEGIN) == Left(seconds=60, whole=False)
    assert state_of(node("a", "a"), node("b", "b")).left(BEGIN) is None


def test_foremost_are_those_in_a_step_in_their_order() -> None:
    running = [
        Running(target=name, title=name, step=text, since=0)
        for name, text in zip("abcd", ("", "x", "", "y"), strict=True)
    ]
    assert [each.target for each in foremost(running, 3)] == ["a", "b", "d"]
    assert [each.target for each in foremost(running, 9)] == ["a", "b", "c", "d"]
