"""The commands of docs/ci.md work as they are written, and print what the page shows."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.command_line import run
from tests.support.pipelines import own_command
from tests.support.tutorial import Page

PAGE = Page("ci.md")
IDENTITY = {
    f"GIT_{who}_{what}": text
    for who in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "test"), ("EMAIL", "test@example.com"))
}


def test_commands_without_an_engine_print_what_the_page_shows(tmp_path: Path) -> None:
    assert PAGE.kinds == {"sh", "sh engine"}
    path = os.pathsep.join([str(own_command(tmp_path / "bin")), os.environ["PATH"]])
    shell = {**IDENTITY, "PATH": path, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    (tmp_path / "work").mkdir()
    done = run(tmp_path / "work", "sh", "-c", PAGE.script("sh"), shell=shell)
    assert done.code == 0, done.output
    assert [text for text in PAGE.shown if text not in done.stdout] == []
    assert len(PAGE.shown) == 4
