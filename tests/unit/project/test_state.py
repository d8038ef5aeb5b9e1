"""The state folder: what is filled holds exactly what it was given, and names do not leave it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput, Unavailable
from buildsys.project.state import State, append_to


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_filled_folder_holds_what_it_was_given_last(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.fill(".buildsys/a", {"one": b"1", "deep/er/two": b"2"}) == tmp_path / ".buildsys" / "a"
    state.fill(".buildsys/a", {"one": b"3", "deep/three": b"4"})
    assert files(tmp_path / ".buildsys" / "a") == ["deep", "deep/three", "one"]
    assert (tmp_path / ".buildsys" / "a" / "one").read_bytes() == b"3"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/.", "a\n", "a\x00b"])
def test_name_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be the name of a file"):
        State(tmp_path).fill(".buildsys/a", {"good": b"", name: b""})
    assert files(tmp_path) == []


def test_file_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    state = State(tmp_path)
    folder = state.fill(".buildsys/a", {"one": b"1", "two": b"2"})
    for name in ("one", "two"):
        os.utime(folder / name, (1, 1))
    state.fill(".buildsys/a", {"one": b"1", "two": b"3"})
    assert [(folder / name).stat().st_mtime == 1 for name in ("one", "two")] == [True, False]


def test_symlinks_at_every_depth_are_found_before_a_run(tmp_path: Path) -> None:
    for name in (".buildsys/logs/a.log", ".buildsys/run/deep/er/x", ".buildsys/report.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to("/nowhere")
    with pytest.raises(InvalidInput) as caught:
        State(tmp_path).check()
    assert [each.location.file for each in caught.value.diagnostics() if each.location] == [
        ".buildsys/logs/a.log",
        ".buildsys/report.html",
        ".buildsys/run/deep/er/x",
    ]


def test_looking_creates_nothing(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.check()
    assert state.read(".buildsys/deep/er/file") is None
    assert files(tmp_path) == []


def test_disk_that_takes_nothing_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(Unavailable, match="`x` cannot be written: No space left on device"):
        State(tmp_path).folder(".buildsys/logs")


def test_log_is_added_to_and_never_through_a_symlink(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        with append_to(tmp_path / "log") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"ab"
    (tmp_path / "link").symlink_to("log")
    with pytest.raises(OSError, match="link"):
        append_to(tmp_path / "link")


def test_copy_that_is_right_already_is_not_touched(tmp_path: Path) -> None:
    source, state = tmp_path / "given", State(tmp_path)
    for name in ("same", "deep/same", "other", "deep/gone", "becomes/folder", "file"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "link").symlink_to("same")
    state.copy(source, ".buildsys/a")
    copy = tmp_path / ".buildsys/a"
    before = {name: (copy / name).lstat().st_ino for name in ("same", "deep", "deep/same", "link")}
    (source / "other").write_text("OTHER")
    (source / "deep/gone").unlink()
    (source / "becomes/folder").unlink()
    (source / "becomes").rmdir()
    (source / "becomes").write_text("a file")
    (source / "file").unlink()
    (source / "file").mkdir()
    state.copy(source, ".buildsys/a")
    assert files(copy) == files(source)
    assert (copy / "other").read_text() == "OTHER"
    assert (copy / "becomes").read_text() == "a file"
    assert {name: (copy / name).lstat().st_ino for name in before} == before


def test_copy_replaces_what_has_its_name_and_writes_through_no_link(tmp_path: Path) -> None:
    source, outside = tmp_path / "given", tmp_path / "outside"
    for folder in (source / "deep", outside / "deep"):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.parent.name)
    top = State(tmp_path).folder(".buildsys/a")
    (top / "deep").symlink_to(outside / "deep")
    (top / "more").symlink_to(outside)
    State(tmp_path).copy(source, ".buildsys/a")
    assert files(top) == ["deep", "deep/file"]
    assert (top / "deep/file").read_text() == "given"
    assert (outside / "deep/file").read_text() == "outside"
