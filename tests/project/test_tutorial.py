"""The tutorial works as it is written: its commands are run with the wheel in an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

from tests.project.conftest import Run, clean
from tests.support.tutorial import Page

TUTORIAL = Page("tutorial.md")
MOST_LINES = 40


def test_tutorial_is_short() -> None:
    assert {"sh", "sh install", "sh engine", "sh registry", "sh later"} == TUTORIAL.kinds
    assert 20 < len(TUTORIAL.lines) <= MOST_LINES


def test_commands_before_the_first_bake_work_without_an_engine_or_a_network(
    installed: Path, run: Run, tmp_path: Path
) -> None:
    environ = {**clean(), "PATH": f"{installed.parent}{os.pathsep}{os.environ['PATH']}"}
    # Where no engine can be asked, the plan is that of the files.
    environ |= {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    folder = tmp_path / "work"
    folder.mkdir()
    done = run("sh", "-c", TUTORIAL.script("sh"), cwd=folder, env=environ)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for text in TUTORIAL.shown:
        assert text in done.stdout
    plans = done.stdout.split("$ buildsys plan\n")[1:]
    counts = ["3 nodes, 1 image.", "6 nodes, 2 images.", "7 nodes, 3 images."]
    assert [count in plan for count, plan in zip(counts, plans, strict=True)] == [True, True, True]
    done = run("buildsys", "plan", "--check", cwd=folder / "images", env=environ)
    assert (done.returncode, done.stderr) == (0, "")
