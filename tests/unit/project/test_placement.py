"""New files and folders of a project: all of them are written, or none, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from buildsys.errors import Unavailable
from buildsys.project.placement import NewFile, place

ONE = {"a/b": NewFile(data=b"1"), "run": NewFile(data=b"2", executable=True), "to": NewFile(data=b"run", is_link=True)}


def seen(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_everything_is_written_with_its_mode(tmp_path: Path) -> None:
    root = tmp_path / "new" / "project"
    place(root, {"layers/one": ONE}, {"file": NewFile(data=b"3")})
    assert seen(root) == {"file": "3", "layers/one/a/b": "1", "layers/one/run": "2", "layers/one/to": "run"}
    assert [(root / name).stat().st_mode & 0o777 for name in ("file", "layers/one/run")] == [0o644, 0o755]


def test_what_exists_is_replaced_only_where_it_is_named(tmp_path: Path) -> None:
    place(tmp_path, {"layers/one": ONE}, {"file": NewFile(data=b"3")})
    two = {"c": NewFile(data=b"4")}
    with pytest.raises(Unavailable, match="file` cannot be written: it exists"):
        place(tmp_path, {"layers/one": two, "layers/two": two}, {"file": NewFile(data=b"5")}, replaced=["layers/one"])
    assert seen(tmp_path) == {"file": "3", "layers/one/a/b": "1", "layers/one/run": "2", "layers/one/to": "run"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "layers"]
    place(tmp_path, {"layers/one": two}, {"file": NewFile(data=b"5")}, replaced=["layers/one", "file"])
    assert seen(tmp_path) == {"file": "5", "layers/one/c": "4"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "layers"]


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "full"), Unavailable)]
)
def test_command_that_ends_early_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException, raised: type[BaseException]
) -> None:
    root = tmp_path / "project"
    place(root, {"layers/one": ONE}, {"file": NewFile(data=b"3")})
    before = seen(root)
    calls, rename = [0], Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == at:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    two = {"c": NewFile(data=b"4")}
    written = False
    try:
        place(
            root, {"layers/one": two, "other/two": two}, {"file": NewFile(data=b"5")}, replaced=["layers/one", "file"]
        )
        written = True
    except raised:
        assert calls[0] >= at
    monkeypatch.undo()
    after = {"file": "5", "layers/one/c": "4", "other/two/c": "4"}
    assert seen(root) == (after if written else before)
    assert written == (at == 0)
    assert sorted(path.name for path in root.iterdir()) == ["file", "layers", *(["other"] if written else [])]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "layers" / "one").mkdir(parents=True)
    place(tmp_path, {"layers/one": ONE}, {})
    assert "layers/one/a/b" in seen(tmp_path)


def test_new_folder_that_cannot_be_filled_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> NoReturn:
        raise OSError(28, os.strerror(28), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Unavailable, match="No space left"):
        place(tmp_path / "a" / "b", {}, {"file": NewFile(data=b"1")})
    assert list(tmp_path.iterdir()) == []
