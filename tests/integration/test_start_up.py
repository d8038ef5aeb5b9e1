"""Commands load only the libraries that they need: what a person waits for at every start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = {"jinja2", "networkx", "pydantic", "python_on_whales", "rich", "tenacity", "typer", "urllib3", "yaml"}
# Typer loads pydantic for each command that has an option which is more than a switch.
TYPER = {"typer", "pydantic"}


def libraries_of(words: list[str], folder: Path) -> set[str]:
    """Return which of the heavy libraries a command has loaded at its end."""
    script = (
        "import sys\nfrom buildsys.__main__ import main\n"
        f"sys.argv = ['buildsys', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', *sys.modules, file=sys.stderr)\n"
    )
    environment = {**os.environ, "PATH": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stderr.splitlines() if line.startswith("loaded "))
    return LIBRARIES & {*line.split()}


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--version"], set()),
        (["--help"], {"typer"}),
        (["doctor"], {*TYPER, "tenacity", "urllib3", "yaml"}),
    ],
)
def test_what_needs_no_project_loads_no_more_than_it_says(words: list[str], allowed: set[str], tmp_path: Path) -> None:
    assert libraries_of(words, tmp_path) == allowed


def test_a_page_is_drawn_without_planning(tmp_path: Path) -> None:
    (tmp_path / "stacks.yaml").write_text("schema_version: 1\nregistry: registry.example.com/ml\nstacks: {}\n")
    assert libraries_of(["report"], tmp_path) == {*TYPER, "jinja2", "yaml"}
