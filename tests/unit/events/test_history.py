"""The history of runs: seconds of targets that were really built, and targets that were not finished."""

from __future__ import annotations

import pytest

from buildsys.events.events import TargetEnded
from buildsys.events.history import History, after, read_history, text_of
from buildsys.events.model import run_model


def ended(target: str, outcome: str, seconds: float = 1.0, steps: int = 2, cached: int = 0) -> TargetEnded:
    return TargetEnded(at=0.0, target=target, outcome=outcome, seconds=seconds, steps=steps, cached=cached)


def test_seconds_of_built_targets_are_kept_and_those_from_a_cache_are_not() -> None:
    before = History(seconds={"old": 7.0, "b": 9.0})
    found = after(
        before, run_model([ended("a", "made", 2.345), ended("b", "made", 0.1, cached=2), ended("c", "failed", 5.0)])
    )
    assert found.seconds == {"old": 7.0, "b": 9.0, "a": 2.35}


def test_undone_are_the_targets_that_the_last_run_left() -> None:
    events = [ended("a", "failed"), ended("b", "blocked"), ended("c", "not reached"), ended("d", "reused")]
    found = after(History(undone=("x",)), run_model(events))
    assert found.undone == ("a", "b", "c")
    # A target that a second attempt of the same run built is done.
    assert after(History(), run_model([*events, ended("a", "made")])).undone == ("b", "c")


def test_text_is_read_again() -> None:
    found = History(seconds={"b": 1.5, "a": 2.0}, undone=("z", "y"))
    assert read_history(text_of(found)) == found


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"seconds": [], "undone": []}', '{"seconds": {"a": "x"}}']
)
def test_unreadable_history_is_empty(text: str | None) -> None:
    assert read_history(text) == History()


def test_seconds_that_no_run_can_have_taken_are_left_out() -> None:
    text = '{"seconds": {"a": NaN, "b": Infinity, "c": -1.0, "d": 2}, "undone": ["e"]}'
    assert read_history(text) == History(seconds={"d": 2.0}, undone=("e",))


def test_targets_that_a_run_at_the_same_time_left_are_kept_unless_built() -> None:
    other = History(undone=("a", "b"), ended=150.0)
    run = run_model([ended("b", "made"), ended("c", "failed")])
    assert after(other, run, began=100.0, ended=200.0) == History(seconds={"b": 1.0}, undone=("a", "c"), ended=200.0)
    assert after(other, run, began=160.0, ended=200.0).undone == ("c",)
