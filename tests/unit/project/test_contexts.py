"""What builds may read of a folder: how much, with which names, and what is kept of symlinks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildsys.errors import Diagnostic
from buildsys.project import contexts
from buildsys.project.contexts import CONTEXT_LIMIT, files_of
from buildsys.project.files import Home


def sparse(path: Path, size: int) -> None:
    """Write a file of a size that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def wrong_with(root: Path, folder: str) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    files_of(Home(root=root), folder, found)
    return found


def test_folder_that_is_too_large_is_refused_with_its_largest_parts(tmp_path: Path) -> None:
    folder = tmp_path / "layers" / "big"
    for name, size in (("data/one", 1_200_000_000), ("data/two", 600_000_000), ("more", 300_000_000), ("x", 1)):
        sparse(folder / name, size)
    (found,) = wrong_with(tmp_path, "layers/big")
    parts = "`data` 1.8 GB, `more` 0.3 GB, `x` 0.0 GB"
    assert found.message == f"`layers/big` has 2.1 GB that builds read, expected at most 2.0 GB: {parts}"
    assert found.location is not None
    assert found.location.file == "layers/big"
    assert found.hint is not None
    assert "`layers/big/.dockerignore`" in found.hint


@pytest.mark.parametrize("name", ["tests/data", "README.md", "excluded/data"])
def test_what_is_in_no_build_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(contexts, "CONTEXT_LIMIT", 100)
    sparse(tmp_path / "layers" / "big" / "small", 80)
    sparse(tmp_path / "layers" / "big" / name, 80)
    (tmp_path / "layers" / "big" / ".dockerignore").write_text("excluded\n", encoding="utf-8")
    assert not wrong_with(tmp_path, "layers/big")


def test_tests_of_a_folder_that_is_given_count(tmp_path: Path) -> None:
    sparse(tmp_path / "given" / "tests" / "data", CONTEXT_LIMIT + 1)
    assert len(wrong_with(tmp_path, "given")) == 1


def test_target_of_a_symlink_is_kept_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "conf").write_text("x", encoding="utf-8")
    (tmp_path / "given" / "link").symlink_to(".//conf")
    assert files_of(Home(root=tmp_path), "given", [])["link"].content == "link:.//conf"


def test_name_that_is_not_utf_8_is_refused_and_an_excluded_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x", encoding="utf-8")
    (found,) = wrong_with(tmp_path, "given")
    assert found.message == "the name `given/\\udcff` is not UTF-8, and BuildKit transfers no other"
    (folder / ".dockerignore").write_text("*\n", encoding="utf-8")
    assert not wrong_with(tmp_path, "given")
