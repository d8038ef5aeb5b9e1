"""What `--help` says of each command: examples that its own command line takes, in the names of this project."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from buildsys.cli import bake
from buildsys.cli.app import app
from buildsys.commands.plan import make_plan
from buildsys.plan.selection import select
from buildsys.project.workspace import Workspace

ROOT = Path(__file__).parents[3]
GROUP: Any = typer.main.get_command(app)
_EXAMPLE = re.compile(r"^Example: `(.*)`$", re.MULTILINE)
# What refuses options that do not go together, beside the command itself.
CHECKS = {"bake": bake._check_bake, "warm": bake._check_warm}


EXAMPLES = [
    (name, example) for name, command in GROUP.commands.items() for example in _EXAMPLE.findall(command.help or "")
]


def parsed(example: str) -> Any:
    """Return the context of an example: what its command takes from it."""
    found = re.fullmatch(r'eval "\$\((.*)\)"', example)
    program, *words = shlex.split(found[1] if found else example)
    assert program == "buildsys"
    top = GROUP.make_context("buildsys", words[:1] if not words[0].startswith("-") else words, resilient_parsing=True)
    name, command, _ = GROUP.resolve_command(top, words)
    return command.make_context(name, words[1:], parent=top)


@pytest.mark.parametrize("name", GROUP.commands)
def test_help_of_each_command_has_an_example_of_it(name: str) -> None:
    found = [example for command, example in EXAMPLES if command == name]
    assert found
    assert all(re.match(rf'(?:eval "\$\()?buildsys {name}\b', example) for example in found)
    context = GROUP.commands[name].context_class(GROUP.commands[name], info_name=f"buildsys {name}")
    shown = " ".join(GROUP.commands[name].get_help(context).split())
    for example in found:
        assert f"Example: `{example}`" in shown


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_each_example_is_a_command_line_that_its_command_takes(name: str, example: str) -> None:
    context = parsed(example)
    assert context.command.name == name
    if name in CHECKS:
        CHECKS[name](context)


def test_wrong_command_line_is_not_taken_for_an_example() -> None:
    for wrong in ("buildsys bake --every", "buildsys show", "buildsys schema layers", "buildsys graph --format svg"):
        with pytest.raises(Exception, match=r"every|stack|layers|svg"):
            parsed(wrong)
    with pytest.raises(Exception, match="exclude each other"):
        bake._check_bake(parsed("buildsys bake --all gpu"))


def test_names_in_examples_are_those_of_this_project() -> None:
    plan = make_plan(Workspace(root=ROOT).tree())
    for name, example in EXAMPLES:
        if name in ("lock", "new", "schema"):
            continue
        values = parsed(example).params
        single = [values.get(key) for key in ("stack", "on", "name")]
        for word in (*(values.get("names") or ()), *(each for each in single if isinstance(each, str))):
            assert select(plan, (word,)), example
