"""How much room a builder's disk has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from buildsys.buildkit.disk import Disk, disk_of
from tests.support.builder import DOCKER


def test_tasks_that_leave_less_than_the_floor_are_too_many(tmp_path: Path) -> None:
    disk = Disk(folder=tmp_path, floor=0)
    assert disk.shortage([]) == ""
    assert "tasks may take" in disk.shortage([disk.free, 10**9])


def test_disk_of_another_machine_is_not_seen_and_is_never_too_small() -> None:
    found = disk_of(replace(DOCKER, root="/", host="elsewhere.example.com"), floor=10**18)
    assert found.folder is None
    assert found.shortage([10**18]) == ""
