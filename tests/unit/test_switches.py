"""One variable means one thing in every module that reads it."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest

import buildsys
from buildsys.cli import options
from buildsys.report.console import Screen
from buildsys.report.live import Live, listener
from buildsys.report.plain import Lines
from buildsys.switches import in_ci, wants_colour, writes_caches
from tests.support.terminal import Terminal

# Each is read in one place, whose functions say what it means.
SWITCHES = {"CI", "NO_COLOR", "TERM", "BUILDSYS_CACHE_WRITE"}


@pytest.mark.parametrize(
    ("value", "is_ci"),
    [("true", True), ("1", True), ("woodpecker", True), ("", False), ("0", False), ("false", False), ("False", False)],
)
def test_ci_is_the_same_to_the_screen_and_to_keep_going(
    value: str, is_ci: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", value)
    assert in_ci({"CI": value}) is is_ci
    assert options.keeps_going(None) is is_ci
    environ = {"CI": value, "TERM": "xterm"}
    shown = listener(Terminal(80), quiet=False, verbose=False, environ=environ, clock=lambda: 0.0)
    assert isinstance(shown, Lines if is_ci else Live)


def test_without_the_variable_this_is_no_ci() -> None:
    assert not in_ci({})


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
    ],
)
def test_colours_are_the_same_to_every_screen(environ: dict[str, str], colour: bool) -> None:
    class Colours(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert wants_colour(environ) is colour
    assert (Screen(Colours(), environ).styled("x", "good") != "x") is colour


def test_caches_are_written_as_the_bake_file_has_it() -> None:
    assert writes_caches({"BUILDSYS_CACHE": "x"})
    assert writes_caches({"BUILDSYS_CACHE": "x", "BUILDSYS_CACHE_WRITE": "false"})
    assert not writes_caches({"BUILDSYS_CACHE": "x", "BUILDSYS_CACHE_WRITE": "0"})
    assert not writes_caches({})


def test_no_other_module_reads_a_switch() -> None:
    found = set()
    for path in Path(buildsys.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asked = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
            if isinstance(node, ast.Call) and asked and node.args and isinstance(node.args[0], ast.Constant):
                found |= {(path.name, node.args[0].value)} if node.args[0].value in SWITCHES else set()
    assert found == {("switches.py", name) for name in SWITCHES}
