"""What has become of a run, from its events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    Event,
    Noted,
    Retried,
    StepBegan,
    StepEnded,
    TargetEnded,
)
from buildsys.events.model import RunModel, run_model
from tests.support.report_runs import BEGAN, Story, eventful
from tests.support.run_events import (
    BEGIN,
    FIRST_HALF,
    HEADER_MISSING,
    INTERRUPTED,
    PLAN,
    SECOND_HALF,
    blocked,
    failed,
    image,
    made,
    node,
    start,
    step,
)


def model_of(*events: Event) -> RunModel:
    """A run that has not ended."""
    model = RunModel()
    for event in events:
        model.take(event)
    return model


def test_an_attempt_ends_with_its_retry_and_the_wait_is_no_part_of_it() -> None:
    target = run_model(eventful()).targets["debian-os-12"]
    spans = [(each.number, each.started - BEGAN, each.ended - BEGAN, each.why) for each in target.attempts]
    assert spans == [(1, 1.0, 6.0, "registry said 503"), (2, 10.0, 35.0, "")]
    assert target.seconds == 34.0


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_retry_ends_the_attempt_before_it_whichever_of_the_two_it_counts(attempt: int) -> None:
    story = Story()
    story.began()
    story.started("a", 1)
    story.retried("a", 3, attempt, 2, "503")
    story.started("a", 5, 2)
    story.ended("a", 9)
    (target,) = run_model(story.events()).targets.values()
    assert [(each.started - BEGAN, each.ended - BEGAN, each.why) for each in target.attempts] == [
        (1, 3, "503"),
        (5, 9, ""),
    ]


def test_what_had_begun_in_a_run_that_was_cut_off_is_unfinished_and_the_rest_not_reached() -> None:
    run = run_model([event for event in eventful() if event.at <= BEGAN + 40])
    outcomes = {target.name: target.outcome for target in run.targets.values()}
    assert outcomes["git-debian-12"] == outcomes["cuda-12_4"] == "unfinished"
    assert outcomes["openmpi-4_1_4"] == outcomes["gpu-mpi"] == "not reached"
    assert outcomes["debian-os-12"] == MADE
    cuda = run.targets["cuda-12_4"]
    assert cuda.steps[-1].open
    assert cuda.steps[-1].completed == run.end == cuda.attempts[-1].ended


def test_a_step_that_begins_for_one_target_and_ends_for_another_has_ended() -> None:
    story = Story()
    story.began()
    for target in ("a", "b"):
        story.started(target, 1)
    story.step("a", "[1/2] FROM base", "source", 2, 4)
    events = [replace(each, target="b") if isinstance(each, StepEnded) else each for each in story.events()]
    steps = {target.name: [step.open for step in target.steps] for target in run_model(events).targets.values()}
    assert steps == {"a": [], "b": [False]}


def test_a_target_ends_with_its_own_work_though_its_end_is_reported_with_others() -> None:
    story = Story()
    story.began()
    story.started("a", 1)
    story.step("a", "[1/2] FROM base", "source", 2, 4)
    story.ended("a", 30, seconds=10.0)
    story.started("b", 1)
    story.ended("b", 30, seconds=0.0)
    ended = {target.name: target.attempts[-1].ended - BEGAN for target in run_model(story.events()).targets.values()}
    assert ended == {"a": 11, "b": 30}


def test_only_targets_to_be_built_are_work() -> None:
    model = model_of(*PLAN)
    assert len(model.work) == 7
    assert sum(each.is_image for each in model.work) == 3
    assert not any(each.exists for each in model.work)


def test_a_failure_blocks_its_users_before_their_end_is_reported() -> None:
    plan = (node("a", "a"), node("b", "b", "a"), image("c", "b"), image("d"))
    model = model_of(*plan)
    assert (model.users("a"), model.blocked) == (("b", "c"), frozenset())
    model.take(failed(1, "a", 1, HEADER_MISSING))
    assert model.blocked == {"b", "c"}
    model.take(blocked(1, "c", "a"))
    assert model.blocked == {"b", "c"}
    assert [each.name for each in model.blocked_by("a")] == ["c"]


def test_an_interrupted_target_has_not_failed_and_blocks_nothing() -> None:
    model = model_of(*FIRST_HALF, *INTERRUPTED)
    assert not any(each.failed for each in model.targets.values())
    assert model.blocked == frozenset()


def test_a_damaged_target_is_planned_again_and_counted_once() -> None:
    model = model_of(node("a", "a"), image("i", "a"), start(0, "a"), made(5, "a", 5), made(6, "i", 1))
    assert [each.exists for each in model.work] == [True, True]
    for event in (node("a", "a"), image("i", "a")):
        model.take(event)
    assert not any(each.exists for each in model.work)
    model.take(failed(9, "a", 2, HEADER_MISSING))
    assert model.targets["a"].failed
    assert model.blocked == {"i"}
    model.take(node("a", "a"))
    assert not model.targets["a"].failed
    assert model.blocked == frozenset()


def test_the_time_of_a_target_at_work_when_the_run_was_stopped_is_known_though_its_end_has_none() -> None:
    ended = TargetEnded(at=BEGIN + 25, target="a", outcome=NOT_REACHED)
    assert model_of(node("a", "a"), start(2, "a"), ended).targets["a"].stopped_after == 23
    assert model_of(node("a", "a"), ended).targets["a"].stopped_after is None
    assert model_of(node("a", "a"), start(2, "a"), made(5, "a", 3)).targets["a"].stopped_after is None
    interrupted = Failure(kind=FailureKind.INTERRUPTED, message="m")
    stopped = TargetEnded(at=BEGIN + 25, target="a", outcome=FAILED, seconds=7.0, failure=interrupted)
    assert model_of(node("a", "a"), start(2, "a"), stopped).targets["a"].stopped_after == 7


def test_a_retried_call_to_the_registry_is_counted_and_is_no_target() -> None:
    retry = Retried(at=BEGIN, target="registry", attempt=2, of=5, wait=4, why="503")
    model = model_of(node("a", "a"), retry)
    assert (model.retries, [*model.targets], [*model.waiting]) == (1, ["a"], ["registry"])


@pytest.mark.parametrize(
    "end", [failed(9, "a", 9, HEADER_MISSING), Retried(at=BEGIN + 9, target="a", attempt=1, of=5, wait=4, why="503")]
)
def test_a_step_without_an_end_is_left_with_its_attempt(end: Event) -> None:
    model = model_of(node("a", "a"), start(0, "a"), step(1, "a"), end)
    assert model.running == {}
    (left,) = model.targets["a"].steps
    assert (left.open, left.started, left.completed) == (True, BEGIN + 1, BEGIN + 9)


def test_run_steps_are_counted_that_were_executed_to_their_end() -> None:
    story = Story()
    story.began()
    story.step("a", "[1/4] RUN good", "run", 1, 2)
    story.step("a", "[2/4] RUN cached", "run", 1, 2, cached=True)
    story.step("a", "[3/4] RUN bad", "run", 1, 2, error="exit code: 1")
    story.step("a", "[4/4] COPY x y", "file", 1, 2)
    assert run_model(story.events()).runs == 1


def test_a_note_that_is_repeated_is_kept_once() -> None:
    note = Noted(at=1.0, about="cache", text="gone")
    assert run_model([note, replace(note, at=2.0), replace(note, text="slow")]).notes == [
        note,
        replace(note, text="slow"),
    ]


def test_ends_are_counted_by_outcome_and_kind_and_the_missing_are_those_not_built() -> None:
    model = model_of(*FIRST_HALF, *SECOND_HALF)
    assert [len(model.ended_as(outcome)) for outcome in (MADE, FAILED, BLOCKED)] == [5, 1, 1]
    assert [each.name for each in model.missing] == [
        each.name for word in (FAILED, BLOCKED) for each in model.ended_as(word)
    ]
    assert {each.plan.kind for each in model.ended_as(MADE, "image")} == {"image"}


def test_a_step_that_began_is_running_until_its_end() -> None:
    began = step(1, "a")
    assert isinstance(began, StepBegan)
    assert list(model_of(node("a", "a"), began).running.values()) == [began]
