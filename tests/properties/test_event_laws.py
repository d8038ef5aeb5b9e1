"""Whatever a file of events holds, reading it raises nothing, and a page or a message comes of it."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.errors import BuildsysError
from buildsys.events.events import _KINDS, Event, RunBegan, TargetEnded, line_of, read_lines
from buildsys.events.history import History, after
from buildsys.events.model import run_model
from buildsys.project.workspace import Workspace
from buildsys.report.html.page import page, write_report
from buildsys.report.status import RunStatus

# Few names, so that events are often about the same target; half a character and markup among them.
TEXTS = st.sampled_from(["", "a", "b", "c", "node", "image", "build", "made", "failed", "\ud800", "<b>", "new", "run"])
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(0, 10), st.just(1 << 70), st.just(1e300))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
NAMES = sorted({each.name for kind in _KINDS.values() for each in fields(kind)} | {"unknown", "event"})
TIMES = st.one_of(st.floats(0, 1e10), st.floats(-1e9, 1e11, exclude_min=True, exclude_max=True))
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from(["node", "image", "run", "file", "other"]),
    "action": st.sampled_from(["build", "reuse", "leave", "other"]),
    "outcome": st.sampled_from(["made", "reused", "failed", "blocked", "not reached", "other"]),
}


def values_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return values of one of the classes of events, with few names and all sizes of numbers."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{name: BY_NAME.get(name, of_hint(hint)) for name, hint in hints.items()} | own(kind))


def own(kind: type[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {"kind": st.sampled_from(FailureKind)} if kind is Failure else {}


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    choices = get_args(hint)
    if type(None) in choices:
        return st.one_of(st.none(), of_hint(next(each for each in choices if each is not type(None))))
    if get_origin(hint) is tuple:
        return st.lists(of_hint(choices[0]), max_size=3).map(tuple)
    usual = {str: TEXTS, int: st.integers(-9, 1 << 62), float: TIMES, bool: st.booleans()}
    return usual[hint] if hint in usual else st.deferred(lambda: values_of(hint))


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """Return events as objects of JSON, now and then with something else in a field, or an unknown field."""
    right = st.one_of([values_of(kind) for kind in _KINDS.values()]).map(lambda each: json.loads(line_of(each)))
    wrong = st.one_of(st.just({}), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2))
    deep = st.fixed_dictionaries({"failure": st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)})
    return st.builds(lambda one, other: {**one, **other}, right, st.one_of(wrong, deep))


# The first page of a process compiles its templates.
@settings(deadline=None)
@given(st.lists(objects(), max_size=8))
def test_any_events_are_read_counted_and_drawn(values: list[dict[str, Any]]) -> None:
    events = tuple(read_lines(map(json.dumps, values)))
    run = run_model(events)
    after(History(), run)
    status = RunStatus()
    for event in events:
        status.take(event)
    status.progress(1.0)
    status.running(1.0)
    page(run, run).encode()


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), objects().map(lambda each: json.dumps(each).encode())), max_size=5))
def test_any_file_gives_a_page_or_a_message(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events")
        file.write_bytes(b"\n".join(lines))
        # All else that is raised fails the test.
        with contextlib.suppress(BuildsysError):
            write_report(Workspace(root=Path(folder)), file, Path(folder, "page.html"))


def read(text: str) -> list[Event]:
    return list(read_lines([text]))


def test_failure_of_a_kind_of_another_version_is_kept_as_unknown() -> None:
    event = TargetEnded(at=1, target="a", outcome="failed", failure=Failure(kind=FailureKind.PUSH, message="m"))
    (found,) = read(line_of(event).replace('"push"', '"of-another-version"'))
    assert isinstance(found, TargetEnded)
    assert found.failure == Failure(kind=FailureKind.UNKNOWN, message="m")


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ('"unknown": {"deep": [1]}', {}),
        ('"jobs": "many"', {"jobs": 0}),
        ('"jobs": true', {"jobs": 0}),
        ('"jobs": 1e400', {"jobs": 0}),
        ('"jobs": ' + "9" * 5000, None),
        ('"driver": 7', {"driver": ""}),
        ('"driver": "\\ud800"', {"driver": "?"}),
        ('"at": NaN', None),
        ('"at": Infinity', None),
        ('"at": "soon"', None),
        ('"at": 1e300', None),
        ('"command": null', None),
    ],
)
def test_what_is_not_of_its_type_is_left_out_and_the_rest_is_kept(more: str, found: dict[str, object] | None) -> None:
    events = read(f'{{"event": "run", "at": 2, "command": "c", {more}}}')
    expected = RunBegan(at=2.0, command="c")
    if found is None:
        assert events == []
        return
    (event,) = events
    assert isinstance(event, RunBegan)
    assert {name: getattr(event, name) for name in found} == found
    assert (event.at, event.command) == (expected.at, expected.command)


@pytest.mark.parametrize(
    "text", ["", "7", "null", "[]", '"run"', '{"event": []}', '{"event": "other", "at": 1}', "[" * 9999]
)
def test_line_that_is_not_an_event_is_skipped(text: str) -> None:
    assert read(text) == []


@given(st.builds(RunBegan, at=st.floats(0, 1e10).filter(math.isfinite), command=st.text(st.characters(codec="utf-8"))))
def test_what_is_written_is_read_as_it_was(event: RunBegan) -> None:
    line = line_of(event)
    assert read(line) == [event]
    for cut in range(1, len(line)):
        assert read(line[:cut]) == []
