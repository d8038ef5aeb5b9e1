"""The small project of the black-box tests is right, so what a test breaks in it is what is refused."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import buildsys


def test_the_small_project_is_planned(project: Path) -> None:
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
    assert "3 nodes, 1 image" in done.stdout
