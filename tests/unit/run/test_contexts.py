"""Copies of contexts: what they hold, with which modes, and what they are called by."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from buildsys.config.model import File
from buildsys.errors import InvalidInput
from buildsys.project.contexts import files_of
from buildsys.project.files import Home
from buildsys.project.state import State
from buildsys.project.workspace import Workspace
from buildsys.run.contexts import copy_context, copy_mirrors

TIME = 1_700_000_000


def put(root: Path, **texts: str) -> tuple[Home, dict[str, File]]:
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    home = Home(root=root)
    return home, files_of(home, "", [])


def test_copy_holds_the_files_it_is_given_and_no_other(tmp_path: Path) -> None:
    home, files = put(tmp_path / "a", one="1", sub__two="2", left__out="3")
    del files["left/out"]
    copy = copy_context(home, "", files, tmp_path / "copies", timestamp=TIME)
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*")) == ["one", "sub", "sub/two"]


def test_modes_are_those_of_git_whatever_the_umask(tmp_path: Path) -> None:
    home, _ = put(tmp_path / "a", sub__program="1", plain="2")
    (tmp_path / "a" / "sub" / "program").chmod(0o4700)
    (tmp_path / "a" / "plain").chmod(0o606)
    before = os.umask(0o077)
    try:
        copy = copy_context(home, "", files_of(home, "", []), tmp_path / "copies", timestamp=TIME)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in [copy, *copy.rglob("*")]}
    assert modes == {copy.name: 0o755, "sub": 0o755, "program": 0o755, "plain": 0o644}


def test_times_are_those_of_images_whatever_the_checkout(tmp_path: Path) -> None:
    home, files = put(tmp_path / "a", old="1", sub__new="2")
    os.utime(tmp_path / "a/old", (1, 1))
    (tmp_path / "a/link").symlink_to("old")
    copy = copy_context(home, "", files_of(home, "", []), tmp_path / "copies", timestamp=TIME)
    found = {path.name: path.lstat().st_mtime for path in [copy, *copy.rglob("*")]}
    assert found == dict.fromkeys([copy.name, "old", "sub", "new", "link"], TIME)
    assert len(files) == 2


def test_name_is_the_same_for_the_same_files_and_another_for_others(tmp_path: Path) -> None:
    one, files = put(tmp_path / "a", conf="one")
    same, alike = put(tmp_path / "b", conf="one")
    other, unlike = put(tmp_path / "c", conf="two")
    copies = [
        copy_context(home, "", given, tmp_path / f"copies{number}", timestamp=TIME)
        for number, (home, given) in enumerate([(one, files), (same, alike), (other, unlike)])
    ]
    assert copies[0].name == copies[1].name != copies[2].name


def test_name_depends_on_the_other_folders_that_the_build_reads(tmp_path: Path) -> None:
    home, files = put(tmp_path / "a", conf="one")
    names = {
        copy_context(home, "", files, tmp_path / "copies", timestamp=TIME, beside=[Path(each)]).name
        for each in ("x", "y")
    }
    assert len(names) == 2


def test_file_that_differs_from_the_key_is_an_error_with_its_name(tmp_path: Path) -> None:
    home, files = put(tmp_path / "a", sub__conf="one")
    (tmp_path / "a" / "sub" / "conf").write_text("two", encoding="utf-8")
    with pytest.raises(InvalidInput, match="`sub/conf` changed while the run began"):
        copy_context(home, "", files, tmp_path / "copies", timestamp=TIME)


def test_symlinks_stay_symlinks(tmp_path: Path) -> None:
    home, _ = put(tmp_path / "a", conf="one")
    (tmp_path / "a" / "link").symlink_to("conf")
    copy = copy_context(home, "", files_of(home, "", []), tmp_path / "copies", timestamp=TIME)
    assert (copy / "link").readlink() == Path("conf")


def test_files_are_hashed_and_copied_without_being_held(tmp_path: Path) -> None:
    home, _ = put(tmp_path / "a", small="1")
    with (tmp_path / "a" / "large").open("wb") as large:
        large.truncate(64 << 20)
    tracemalloc.start()
    try:
        files = files_of(home, "", [])
        copy = copy_context(home, "", files, tmp_path / "copies", timestamp=TIME)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (copy / "large").stat().st_size == 64 << 20
    assert peak < 8 << 20


def test_mirrors_of_a_run_are_a_copy_that_the_next_command_does_not_change(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path)
    state = State(tmp_path)
    variables = {"BUILDSYS_MIRRORS": ".buildsys/mirrors", "OTHER": "kept"}
    state.fill(".buildsys/mirrors", {"use": b"one", "apt/a": b"a"})
    found = copy_mirrors(workspace, variables, tmp_path / ".buildsys" / "work")
    copy = tmp_path / found["BUILDSYS_MIRRORS"]
    assert found["OTHER"] == "kept"
    state.fill(".buildsys/mirrors", {"use": b"two"})
    assert [(copy / name).read_bytes() for name in ("use", "apt/a")] == [b"one", b"a"]
    again = copy_mirrors(workspace, variables, tmp_path / ".buildsys" / "other")
    assert (tmp_path / again["BUILDSYS_MIRRORS"] / "use").read_bytes() == b"two"
    assert Path(again["BUILDSYS_MIRRORS"]).name != copy.name


def test_run_without_mirrors_has_no_copy(tmp_path: Path) -> None:
    variables = {"BUILDSYS_MIRRORS": ""}
    assert copy_mirrors(Workspace(root=tmp_path), variables, tmp_path / "top") == variables
    assert list(tmp_path.iterdir()) == []
