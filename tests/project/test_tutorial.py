"""The tutorial works as it is written: its commands are run with the wheel in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import Page

TUTORIAL = Page("tutorial.md")
MOST_COMMANDS = 40


def test_tutorial_is_short() -> None:
    assert {"", "install", "engine", "registry", "later"} == {each.needs for each in TUTORIAL.commands}
    assert 20 < len(TUTORIAL.commands) <= MOST_COMMANDS


def test_commands_before_the_first_bake_work_without_an_engine_or_a_network(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    # Where no engine can be asked, the plan is that of the files.
    shell = {"PYTHONPATH": "", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    TUTORIAL.run(folder, path=installed.parent, shell=shell)
