"""Commands on pages of docs/ that need no engine print what the page shows, and each command is on such a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import DOCS, Page, all_pages, masked
from tests.support.pipelines import own_command

# Its commands are run with the wheel, see tests/project.
PAGES = [page for page in all_pages("") if page.name != "tutorial.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_without_an_engine_print_what_the_page_shows(page: Page, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    page.run(work, path=own_command(tmp_path / "bin"), shell={"DOCKER_HOST": "unix:///nowhere/docker.sock"})


def test_every_command_is_on_a_page_with_output_that_a_test_compares() -> None:
    commands = re.findall(r"^buildsys (\S+) \[OPTIONS\]", (DOCS / "cli.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {page.name: page for needs in ("", "engine") for page in all_pages(needs)}.values()
    shown = "\n".join(each.text for page in pages for each in page.commands if each.shown is not None)
    assert len(commands) > 20
    assert [each for each in commands if not re.search(rf"\bbuildsys {each}\b", shown)] == []


def test_output_is_compared_but_for_what_differs_from_run_to_run() -> None:
    first = "a  2026-11-23T00:00:00Z  4ce5deca  1.2 MB  6 min 52 s  0:48  .buildsys/runs/3/"
    other = "a  2026-11-24.2  329ca22a   12 kB  1 h  12:01  .buildsys/runs/14/"
    assert masked(first) == masked(other) == "a  TIME  DIGEST  AMOUNT  AMOUNT  AMOUNT  .buildsys/runs/NUMBER/"
    assert masked("openmpi 5.0.8 facade, 3 nodes on debian 12") == "openmpi 5.0.8 facade, 3 nodes on debian 12"
