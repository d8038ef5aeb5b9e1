"""The project on disk: which files are read, and that a write is whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from buildsys.errors import Differs, InvalidInput, Unavailable
from buildsys.project.files import TEXT_LIMIT
from buildsys.project.workspace import Workspace, find_workspace, write_whole


def put(root: Path, *names: str) -> Workspace:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n", encoding="utf-8")
    return Workspace(root=root)


def test_tree_has_the_files_of_the_root_and_of_layers_alone(tmp_path: Path) -> None:
    names = ["stacks.yaml", "buildsys.lock", "layers/a/layer.yaml", "layers/a/b.Dockerfile", "layers/a/tests/x.c"]
    found = put(tmp_path, *names, "README.md", "other/layer.yaml", ".git/config").tree()
    assert dict(found) == {name: f"{name}\n" for name in names}


def test_file_that_is_not_text_matters_only_where_it_is_read(tmp_path: Path) -> None:
    workspace = put(tmp_path, "stacks.yaml", "layers/a/layer.yaml")
    (tmp_path / "layers" / "a" / "picture.png").write_bytes(b"\x89PNG\xff")
    assert sorted(workspace.tree()) == ["layers/a/layer.yaml", "stacks.yaml"]
    (tmp_path / "layers" / "a" / "layer.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "stacks.yaml").write_bytes(b"\xfe")
    with pytest.raises(InvalidInput) as caught:
        workspace.tree()
    assert [(str(each.location), each.message) for each in caught.value.diagnostics()] == [
        ("layers/a/layer.yaml:1:1", "the file is not UTF-8"),
        ("stacks.yaml:1:1", "the file is not UTF-8"),
    ]


def test_write_says_whether_it_changed_anything_and_leaves_an_equal_file_alone(tmp_path: Path) -> None:
    workspace = put(tmp_path, "stacks.yaml")
    os.utime(tmp_path / "stacks.yaml", (1, 1))
    assert not workspace.write("stacks.yaml", "stacks.yaml\n")
    assert (tmp_path / "stacks.yaml").stat().st_mtime == 1
    assert workspace.write("new/folder/file", "x")
    assert (tmp_path / "new" / "folder" / "file").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, Unavailable)])
def test_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], raised: type[BaseException]
) -> None:
    def stop(_: int) -> NoReturn:
        raise error

    put(tmp_path, "file")
    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(raised):
        write_whole(tmp_path / "file", b"half of the n")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("file", "file\n")]


def test_written_file_keeps_its_mode_and_a_new_one_can_be_read_by_all(tmp_path: Path) -> None:
    put(tmp_path, "old").root.joinpath("old").chmod(0o600)
    write_whole(tmp_path / "old", b"x")
    write_whole(tmp_path / "new", b"x")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("old", "new")] == [0o600, 0o644]


def test_check_shows_what_would_change(tmp_path: Path) -> None:
    workspace = put(tmp_path, "a")
    workspace.check("a", "a\n", remedy="it")
    with pytest.raises(Differs, match="`a` is not up to date") as caught:
        workspace.check("a", "b\n", remedy="it")
    assert caught.value.difference == ("--- a (as it is)\n+++ a (as it would be written)\n@@ -1 +1 @@\n-a\n+b\n")
    assert caught.value.hint == "run `it` and commit the result"
    with pytest.raises(Differs, match="`b` does not exist"):
        workspace.check("b", "b\n", remedy="it")


def test_check_and_write_take_every_kind_of_line_end_for_the_same(tmp_path: Path) -> None:
    workspace = put(tmp_path, "a")
    (tmp_path / "a").write_bytes(b"one\r\ntwo\rthree\n")
    workspace.check("a", "one\ntwo\nthree\n", remedy="it")
    assert not workspace.write("a", "one\ntwo\nthree\n")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\n", b"x" * (TEXT_LIMIT + 1)])
def test_unreadable_generated_file_is_rewritten(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    workspace = Workspace(root=tmp_path)
    with pytest.raises(Differs, match="`a` is not up to date"):
        workspace.check("a", "b\n", remedy="it")
    assert workspace.write("a", "b\n")
    assert (tmp_path / "a").read_bytes() == b"b\n"


def test_generated_file_behind_a_symlink_of_the_project_is_written_there(tmp_path: Path) -> None:
    workspace = put(tmp_path, "generated/file")
    (tmp_path / "a").symlink_to("generated/file")
    assert workspace.write("a", "b\n")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "generated" / "file").read_text(encoding="utf-8") == "b\n"


def test_large_text_without_reader_is_left_out_and_one_that_is_read_refused(tmp_path: Path) -> None:
    workspace = put(tmp_path, "stacks.yaml", "layers/a/layer.yaml", "layers/a/data.txt")
    for name in ("layers/a/data.txt", "layers/a/layer.yaml"):
        assert workspace.tree()
        (tmp_path / name).write_bytes(b"x" * (TEXT_LIMIT + 1))
    with pytest.raises(InvalidInput, match=r"`layers/a/layer\.yaml` is larger than 4 MiB"):
        workspace.tree()


def test_all_errors_of_reading_are_reported_at_once(tmp_path: Path) -> None:
    workspace = put(tmp_path, "stacks.yaml", "layers/a/layer.yaml")
    (tmp_path / "layers" / "a" / "one").symlink_to("/etc")
    (tmp_path / "layers" / "a" / "two").symlink_to("two")
    os.mkfifo(tmp_path / "layers" / "a" / "three")
    with pytest.raises(InvalidInput) as caught:
        workspace.tree()
    assert [(str(each.location), each.message) for each in caught.value.diagnostics()] == [
        ("layers/a/one:1:1", "the symlink `layers/a/one` points outside the project, to `/etc`"),
        ("layers/a/three:1:1", "`layers/a/three` is a named pipe, expected a file"),
        ("layers/a/two:1:1", "the symlink `layers/a/two` points to itself"),
    ]


def test_nearest_project_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "stacks.yaml", "inner/stacks.yaml", "inner/layers/a/x")
    monkeypatch.chdir(tmp_path / "inner" / "layers" / "a")
    assert find_workspace().root == tmp_path / "inner"
    assert find_workspace(tmp_path).root == tmp_path


def test_folder_that_is_named_must_be_the_project_itself(tmp_path: Path) -> None:
    put(tmp_path, "stacks.yaml", "layers/a/x")
    with pytest.raises(InvalidInput, match=r"has no `stacks\.yaml`"):
        find_workspace(tmp_path / "layers")
    with pytest.raises(InvalidInput, match="is a file, expected a folder"):
        find_workspace(tmp_path / "stacks.yaml")
