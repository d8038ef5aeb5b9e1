"""The journal of a run: what it keeps, shows and writes of its events."""

from __future__ import annotations

import errno
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from buildsys.errors import Unavailable
from buildsys.events.events import FAILED, MADE, Event, Noted, RunEnded, StepEnded, TargetEnded, read_lines
from buildsys.events.history import History
from buildsys.events.journal import Journal, history_of, open_journal
from buildsys.masks import Mask
from buildsys.project.run_folder import RunFolder
from buildsys.project.state import State
from buildsys.project.workspace import Workspace

RUN = StepEnded(at=3.0, target="a", digest="sha256:1", name="RUN make", kind="run", started=1.0, completed=3.0)


class Heard:
    """A listener that keeps what it hears, and may fail like a closed terminal."""

    def __init__(self, *, gone: bool = False) -> None:
        self.events: list[Event] = []
        self.calls = 0
        self.gone = gone

    def take(self, event: Event) -> None:
        self.calls += 1
        if self.gone:
            raise OSError(errno.EIO, "gone")
        self.events.append(event)

    def tick(self) -> None:
        self.calls += 1

    def close(self) -> None:
        self.calls += 1


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "full")


def journal_of(tmp_path: Path, listener: Heard, files: Sequence[IO[str]] = (), mask: Mask | None = None) -> Journal:
    return Journal(listener, files, RunFolder(state=State(tmp_path), number=1), mask)


def test_an_event_reaches_the_listener_the_model_and_every_file(tmp_path: Path) -> None:
    heard, files = Heard(), [io.StringIO(), io.StringIO()]
    journal = journal_of(tmp_path, heard, files)
    event = TargetEnded(at=1.0, target="a", outcome=MADE)
    journal.emit(event)
    assert heard.events == [event]
    assert journal.model.targets["a"].ended == event
    assert [list(read_lines(file.getvalue().splitlines())) for file in files] == [[event], [event]]


def test_credentials_are_masked_in_texts_and_names_stay(tmp_path: Path) -> None:
    heard, file = Heard(), io.StringIO()
    journal = journal_of(tmp_path, heard, [file], Mask(["hidden"]))
    journal.emit(Noted(at=1.0, about="cache", text="https://me:hidden@example.com"))
    journal.emit(TargetEnded(at=1.0, target="hidden-layer", outcome=MADE))
    assert isinstance(heard.events[0], Noted)
    assert "hidden" not in heard.events[0].text
    assert "me:hidden" not in file.getvalue()
    assert "hidden-layer" in journal.model.targets


def test_a_step_that_two_bakes_report_is_one_and_its_second_execution_another(tmp_path: Path) -> None:
    heard = Heard()
    journal = journal_of(tmp_path, heard)
    for event in (RUN, replace(RUN, target="b"), replace(RUN, started=4.0, completed=5.0)):
        journal.emit(event)
    assert [(each.target, each.started) for each in heard.events if isinstance(each, StepEnded)] == [
        ("a", 1.0),
        ("a", 4.0),
    ]
    assert journal.model.runs == 2


def test_a_step_that_failed_does_not_hide_the_next(tmp_path: Path) -> None:
    heard = Heard()
    journal = journal_of(tmp_path, heard)
    journal.emit(replace(RUN, error="exit code: 1"))
    journal.emit(RUN)
    assert len(heard.events) == 2


def test_a_file_and_a_listener_that_fail_are_given_up_and_the_rest_continues(tmp_path: Path) -> None:
    heard, file = Heard(gone=True), io.StringIO()
    journal = journal_of(tmp_path, heard, [Full(), file])
    for _ in range(2):
        journal.emit(Noted(at=1.0, about="disk", text="full"))
    journal.tick()
    assert heard.calls == 1
    assert len(file.getvalue().splitlines()) == 2


def test_the_end_counts_run_steps_and_retries_and_closes_the_model(tmp_path: Path) -> None:
    heard = Heard()
    journal = journal_of(tmp_path, heard)
    journal.emit(RUN)
    journal.end(1, 9.5, 2)
    (end,) = (each for each in heard.events if isinstance(each, RunEnded))
    assert (end.exit_code, end.seconds, end.runs, end.retries, end.signal) == (1, 9.5, 1, 0, 2)
    assert journal.model.done == end


def test_a_run_is_remembered_and_its_events_are_those_of_the_last(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path)
    extra = tmp_path / "extra.jsonl"
    with open_journal(workspace, Heard(), Mask(), extra) as journal:
        journal.emit(TargetEnded(at=1.0, target="a", outcome=MADE, seconds=4.0))
        journal.emit(TargetEnded(at=1.0, target="b", outcome=FAILED))
    assert extra.read_text("utf-8") == (tmp_path / ".buildsys/events.jsonl").read_text("utf-8") != ""
    history = history_of(workspace)
    assert replace(history, ended=0.0) == History(seconds={"a": 4.0}, undone=("b",))


def test_a_file_of_events_that_cannot_be_begun_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match=r"missing/events\.jsonl` cannot be written"),
        open_journal(Workspace(root=tmp_path), Heard(), Mask(), tmp_path / "missing/events.jsonl"),
    ):
        pass
