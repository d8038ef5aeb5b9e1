"""Objects of git: what their bytes are, and that no more of them is kept than is asked for."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, cast

import pytest

from buildsys.errors import Unavailable
from buildsys.project.git import Objects

MEBI = 1 << 20


def answer(name: str, data: bytes) -> bytes:
    return f"{name} blob {len(data)}\n".encode() + data + b"\n"


@pytest.fixture
def questions(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "questions").open("w+b", buffering=0) as file:
        yield file


def objects(questions: IO[bytes], answers: bytes) -> Objects:
    """Return what reads these answers of a `git cat-file --batch`, whose questions go to a file."""
    process = SimpleNamespace(stdin=questions, stdout=io.BytesIO(answers))
    return Objects(cast("subprocess.Popen[bytes]", process), io.BytesIO(b"fatal: the disk failed\n"))


def test_digest_of_an_object_keeps_none_of_its_bytes(questions: IO[bytes]) -> None:
    data = bytes(15 * MEBI)
    found = objects(questions, answer("1" * 40, data))
    tracemalloc.start()
    try:
        digest = found.digest("1" * 40)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest == hashlib.sha256(data).hexdigest()
    assert peak < 4 * MEBI


def test_object_is_asked_for_once_for_its_digest(questions: IO[bytes]) -> None:
    found = objects(questions, answer("1", b"one\n") + answer("2", b"two\n"))
    assert found.data("1") == b"one\n"
    assert found.digest("1") == hashlib.sha256(b"one\n").hexdigest()
    assert found.digest("2") == found.digest("2") == hashlib.sha256(b"two\n").hexdigest()
    questions.seek(0)
    assert questions.read() == b"1\n2\n"


def test_object_larger_than_a_text_has_a_digest_and_no_data(questions: IO[bytes]) -> None:
    data = bytes(16 * MEBI + 1)
    found = objects(questions, answer("1", data) + answer("2", b"two\n"))
    assert found.data("1") is None
    assert found.digest("1") == hashlib.sha256(data).hexdigest()
    assert found.data("2") == b"two\n"


@pytest.mark.parametrize("ask", [Objects.data, Objects.digest])
@pytest.mark.parametrize(
    ("answers", "why"), [(b"1 missing\n", "missing"), (b"", "disk failed"), (b"1 blob 9\nhalf", "disk failed")]
)
def test_object_that_git_does_not_give_whole_is_an_error(
    questions: IO[bytes], ask: object, answers: bytes, why: str
) -> None:
    assert callable(ask)
    with pytest.raises(Unavailable, match=why):
        ask(objects(questions, answers), "1")
