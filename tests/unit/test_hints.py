"""What a message names exists where only the wheel is installed: commands, options, settings, variables, files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import buildsys
from buildsys.bake.targets import defaults
from buildsys.cli.app import app
from buildsys.commands.doctor import Facts, ParentFound, judge
from buildsys.project.settings import Settings
from buildsys.project.variables import VARIABLES as LISTED
from tests.support.trees import planned, tree

PACKAGE = Path(buildsys.__file__).parent
COMMANDS = typer.main.get_command(app)
# Options of Dockerfiles, of git, of bake, and of programs in builds that messages speak of.
FOREIGN_OPTIONS = {
    *("--build", "--checksum", "--chmod", "--chown", "--from", "--link", "--mount", "--retries"),
    *("--unshallow", "--cached", "--list", "--version", "--network", "--no-hsts", "--platform"),
    *("--append", "--privileged", "--install", "--rm"),
}
# Programs that a person has who has docker and git.
PROGRAMS = {"buildsys", "docker", "git", "rm", "unset"}
SETTINGS = {each.name for each in fields(Settings)}
VARIABLES = {
    *defaults(planned(tree())),
    *(name.partition("<")[0] for name in LISTED),
    *(f"BUILDSYS_{name.upper()}" for name in SETTINGS),
    *(f"BUILDSYS_{name.upper()}_" for name in SETTINGS),
}


def literals() -> Iterator[tuple[str, str]]:
    """Yield each text of the code with its location, docstrings left out; what is filled in is `{}`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        code = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {
            id(node.value)
            for node in ast.walk(code)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(code):
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(each) for each in ast.walk(node) if each is not node}
                parts = [str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values]
                yield f"{path.name}:{node.lineno}", "".join(parts)
        for node in ast.walk(code):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                yield f"{path.name}:{node.lineno}", node.value


TEXTS = tuple(literals())
PROSE = tuple((where, text) for where, text in TEXTS if " " in text.strip())


def options(command: str | None = None) -> set[str]:
    """Return the options of a command, or of all."""
    context = typer.Context(COMMANDS)
    names = COMMANDS.list_commands(context) if command is None else [command]  # type: ignore[attr-defined]
    found = {option for each in COMMANDS.params for option in each.opts}
    for name in names:
        one = COMMANDS.get_command(context, name)  # type: ignore[attr-defined]
        found |= {option for each in one.params for option in (*each.opts, *each.secondary_opts)}
    return found | {"--help"}


def lines_to_type() -> Iterator[tuple[str, list[str]]]:
    """Yield the commands in messages: texts in backticks that begin with the name of a program."""
    for where, text in TEXTS:
        quoted = re.findall(r"`([^`]+)`", text) + ([text] if text.startswith("buildsys ") else [])
        for line in quoted:
            words = line.split()
            if len(words) > 1 and re.fullmatch(r"[a-z][\w.-]*", words[0]):
                yield where, words


def test_texts_are_found() -> None:
    assert len(PROSE) > 300
    assert sum(words[0] == "buildsys" for _, words in lines_to_type()) > 15


def test_every_command_that_a_message_names_exists_with_its_options() -> None:
    known = set(COMMANDS.list_commands(typer.Context(COMMANDS)))  # type: ignore[attr-defined]
    wrong = []
    for where, words in lines_to_type():
        if words[0] != "buildsys" or words[1] == "{}" or words[1] in ("-C", "--help", "--version"):
            continue
        if words[1] not in known:
            wrong.append((where, words))
        elif missing := [word for word in words[2:] if word.startswith("-") and word not in options(words[1])]:
            wrong.append((where, missing))
    assert wrong == []


def test_messages_name_only_programs_that_the_wheel_contains() -> None:
    calls = {"make", "python", "python3", "pip", "sh", "bash", "uv", *PROGRAMS}
    wrong = [(where, words) for where, words in lines_to_type() if words[0] in calls - PROGRAMS]
    assert wrong == []


def test_a_message_names_no_file_of_a_checkout_of_buildsys() -> None:
    checkout = re.compile(r"(?<![\w./-])(?:tools|bench|tests|docs)/[\w.]|\bMakefile\b|\b\w+\.py\b")
    assert [(where, text) for where, text in PROSE if checkout.search(text)] == []


def test_every_option_that_a_message_names_is_an_option() -> None:
    known = options() | FOREIGN_OPTIONS
    wrong = [
        (where, option)
        for where, text in PROSE
        for option in re.findall(r"(?<![\w`-]|-)--[a-z][a-z-]+", text.replace("`", " "))
        if option not in known
    ]
    assert wrong == []


def test_every_setting_that_a_message_names_is_a_setting() -> None:
    wrong = []
    for where, text in PROSE:
        if re.search(r"buildsys\.settings\.yaml|\bsettings?\b", text):
            named = re.findall(r"(?:under|setting|section|key) `([a-z-]+)[.:`]", text)
            wrong += [(where, name) for name in named if name not in SETTINGS]
        if "insecure" in text and "`registries: {insecure: " not in text:
            wrong.append((where, text))
    assert wrong == []


def test_every_variable_that_a_message_names_is_read() -> None:
    wrong = [
        (where, name)
        for where, text in TEXTS
        for name in re.findall(r"\bBUILDSYS_[A-Z_]+", text)
        if name not in VARIABLES and f"{name}_" not in VARIABLES
    ]
    assert wrong == []


@pytest.mark.parametrize("problem", ["registry `x` does not have it", "registry `x` cannot be reached"])
def test_doctor_names_a_way_to_parents_that_an_installed_buildsys_has(problem: str) -> None:
    checks = {each.name: each for each in judge(Facts(parents=(ParentFound(name="debian-12", problem=problem),)))}
    fix = checks["parents"].fix or ""
    assert "`parents` in `buildsys.settings.yaml`" in fix
    assert "`buildsys.lock.local`" in fix
