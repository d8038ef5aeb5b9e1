"""How the command line ends for what no module foresaw."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from buildsys.cli import app, boundary
from buildsys.errors import Bug, Unavailable, unforeseen
from tests.support.command_line import small_project


class Ended(io.StringIO):
    """A stream whose reader has gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


def ended(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, directory: Path, **environ: str
) -> tuple[int | str | None, str]:
    """Return exit code and stderr of a command that raises an error."""

    def command(**_: object) -> None:
        raise error

    stderr = io.StringIO()
    monkeypatch.setattr(app, "app", command)
    monkeypatch.setattr(boundary, "collect_rarely", lambda: None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "argv", ["buildsys", "-C", str(directory), "list"])
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        boundary.run()
    return caught.value.code, stderr.getvalue()


def test_bug_is_one_line_and_its_traceback_is_in_a_file_of_the_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = small_project(tmp_path / "project")
    code, text = ended(monkeypatch, KeyError("layers"), project)
    assert code == 70
    assert text == (
        "error: this is a bug of buildsys: KeyError: 'layers'\n"
        "hint: report it with the traceback in `.buildsys/bug.txt`\n"
    )
    kept = (project / ".buildsys/bug.txt").read_text(encoding="utf-8")
    assert "Traceback" in kept
    assert kept.endswith("KeyError: 'layers'\n")


def test_traceback_is_in_a_temporary_file_where_there_is_no_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, text = ended(monkeypatch, ValueError("x"), tmp_path / "none")
    (file,) = tmp_path.glob("buildsys-bug-*.txt")
    assert (code, str(file) in text, "Traceback" in text) == (70, True, False)
    assert "ValueError: x" in file.read_text(encoding="utf-8")


def test_traceback_is_printed_where_no_disk_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    code, text = ended(monkeypatch, ValueError("x"), tmp_path / "none")
    assert (code, "Traceback" in text, "traceback above" in text) == (70, True, True)


def test_traceback_is_printed_on_demand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    code, text = ended(monkeypatch, ValueError("x"), project, BUILDSYS_DEBUG="1")
    assert (code, "Traceback" in text, "traceback above" in text) == (70, True, True)
    assert not (project / ".buildsys").exists()


def test_state_that_leads_outside_takes_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    (tmp_path / "outside").mkdir()
    (project / ".buildsys").symlink_to(tmp_path / "outside")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended(monkeypatch, ValueError("x"), project)
    assert list((tmp_path / "outside").iterdir()) == []
    assert len(list(tmp_path.glob("buildsys-bug-*.txt"))) == 1


def test_credentials_are_neither_in_the_message_nor_in_the_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = small_project(tmp_path / "project")
    proxy = "http://me:hunter2-secret@proxy.example.com:3128"
    _, text = ended(monkeypatch, ValueError(f"no way through {proxy}"), project, HTTP_PROXY=proxy)
    assert "hunter2" not in text + (project / ".buildsys/bug.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), 5, "`/a/b` cannot be used: Permission denied"),
        (OSError(24, "Too many open files"), 5, "the system refused a request: Too many open files"),
        (OSError("only words"), 5, "the system refused a request: only words"),
        (TimeoutError(), 5, "the system refused a request: TimeoutError"),
        (OSError(2, "No such file or directory", b"/a/\xff"), 5, "cannot be used: No such file or directory"),
        (MemoryError(), 5, "the memory of this machine is exhausted"),
        (Unavailable("as it is"), 5, "error: as it is"),
        (RecursionError("maximum recursion depth exceeded"), 70, "RecursionError: maximum recursion depth exceeded"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), 70, "UnicodeDecodeError: 'utf-8' codec"),
        (AssertionError(), 70, "this is a bug of buildsys: AssertionError:"),
        (ValueError("two\n::error::lines"), 70, "ValueError: two ::error::lines"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_error_ends_as_a_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, code: int, words: str
) -> None:
    found, text = ended(monkeypatch, error, small_project(tmp_path / "project"))
    assert found == code
    assert words in text
    assert "Traceback" not in text


def test_error_that_buildsys_raises_on_purpose_stays_what_it_is() -> None:
    error = Unavailable("x")
    assert unforeseen(error) is error
    assert isinstance(unforeseen(ZeroDivisionError()), Bug)


def test_text_that_an_encoding_does_not_have_is_replaced() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    watched = boundary.Watched(stream)
    assert watched.write("a…\udcff\n") == 4
    watched.flush()
    assert stream.buffer.getvalue() == b"a??\n"


def test_stream_records_that_its_disk_is_full() -> None:
    watched = boundary.Watched(Ended(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        watched.write("x")
    assert watched.lost
