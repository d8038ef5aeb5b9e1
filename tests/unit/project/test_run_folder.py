"""A run's folder is its own as long as it lasts; what is left of others is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.errors import InvalidInput
from buildsys.project import run_folder
from buildsys.project.run_folder import EVENTS, KEPT_RUNS, RUNS, RunFolder, open_run
from buildsys.project.state import State


def write_events(run: RunFolder, text: str) -> None:
    with run.state.begin(run.file(EVENTS)) as file:
        file.write(text)
    run.show(EVENTS)


def one_run(state: State, text: str = "") -> int:
    with open_run(state) as run:
        write_events(run, text)
        return run.number


def left_behind(state: State, number: int, size: int = 1) -> Path:
    """Make the folder of a run whose process was killed."""
    folder = state.folder(f"{RUNS}/{number}/work-x/contexts").parents[1]
    (folder / "work-x/contexts/link").symlink_to("/nowhere")
    for name in ("lock", "events.jsonl"):
        (folder / name).write_bytes(b"x" * size)
    return folder


def test_last_run_has_the_usual_names_and_keeps_those_of_the_run_before(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert [one_run(state, "first"), one_run(state, "second")] == [1, 2]
    assert (tmp_path / ".buildsys/events.jsonl").read_text() == "second"
    assert (tmp_path / ".buildsys/events-before.jsonl").read_text() == "first"
    assert (tmp_path / f"{RUNS}/1/events.jsonl").read_text() == "first"
    assert not any(path.is_symlink() for path in (tmp_path / ".buildsys").rglob("*"))


def test_files_of_an_older_version_are_the_run_before(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.write(".buildsys/events.jsonl", b"old")
    with open_run(state) as run:
        assert state.read(run.file("events-before.jsonl")) == b"old"
        write_events(run, "new")
    # What was the old file is not written to.
    assert state.read(".buildsys/events-before.jsonl") == b"old"


def test_run_that_ends_last_does_not_take_the_place_of_one_that_began_later(tmp_path: Path) -> None:
    state = State(tmp_path)
    with open_run(state) as one:
        write_events(one, "one")
        with open_run(state) as two:
            write_events(two, "two")
            one.show(EVENTS)
            assert state.read(".buildsys/events.jsonl") == b"two"
            assert state.read(two.file("events-before.jsonl")) == b"one"
        one.show(EVENTS)
    assert state.read(".buildsys/events.jsonl") == b"two"


def test_folder_of_an_active_run_is_not_touched(tmp_path: Path) -> None:
    state = State(tmp_path)
    with open_run(state) as one:
        work = one.work()
        (work / "copy").write_text("x")
        for _ in range(KEPT_RUNS + 2):
            one_run(state)
        assert (work / "copy").read_text() == "x"
    assert not work.exists()


def test_copies_of_a_run_that_was_killed_are_removed_and_its_events_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path)
    folder = left_behind(state, 7)
    without_lock = left_behind(state, 3)
    (without_lock / "lock").unlink()
    assert one_run(state) == 8
    assert sorted(each.name for each in folder.iterdir()) == ["events.jsonl", "lock"]
    assert not (without_lock / "work-x").exists()


def test_so_many_runs_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path)
    for _ in range(KEPT_RUNS + 5):
        one_run(state)
    found = sorted(int(each.name) for each in (tmp_path / RUNS).iterdir())
    assert found == list(range(6, KEPT_RUNS + 6))


def test_so_many_bytes_are_kept_but_the_last_run_whatever_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "KEPT_BYTES", 1000)
    state = State(tmp_path)
    for number in (1, 2, 3):
        left_behind(state, number, size=400)
    one_run(state)
    assert sorted(each.name for each in (tmp_path / RUNS).iterdir()) == ["3", "4"]


@pytest.mark.parametrize("name", [".buildsys/runs", ".buildsys/runs/9", ".buildsys/runs/9/lock", ".buildsys/lock"])
def test_symlinks_lead_nowhere(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (outside / "work-x").mkdir(parents=True)
    (outside / "file").write_text("x")
    state = State(tmp_path)
    link = tmp_path / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if not name.endswith("lock") else outside / "file")
    if name in (".buildsys/runs", ".buildsys/lock"):
        with pytest.raises(InvalidInput, match=f"`{name}` is a symlink"):
            one_run(state)
    else:
        assert one_run(state) == 10
    assert (outside / "file").read_text() == "x"
    assert (outside / "work-x").is_dir()


def test_files_other_than_runs_are_not_changed(tmp_path: Path) -> None:
    state = State(tmp_path)
    for name in ("notes", "1x", "0" * 12):
        (state.folder(f"{RUNS}/{name}") / "work-x").mkdir()
    one_run(state)
    assert all((tmp_path / RUNS / name / "work-x").is_dir() for name in ("notes", "1x", "0" * 12))


def test_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    state = State(tmp_path)
    one_run(state, "first")
    one_run(state, "second")
    assert state.read(".buildsys/events.jsonl") == b"second"
    assert state.read(".buildsys/events-before.jsonl") == b"first"
