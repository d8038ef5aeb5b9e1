"""What a person reads: the exact lines."""

from __future__ import annotations

import io

import pytest

from buildsys.errors import Diagnostic, Differs, InvalidInput, Location
from buildsys.report.console import Screen, columns, show_error


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(error: InvalidInput | Differs, files: dict[str, str] | None = None) -> str:
    stream = io.StringIO()
    show_error(error, files or {}, Screen(stream, {}))
    return stream.getvalue()


def diagnostic(message: str, line: int, column: int, length: int = 1) -> Diagnostic:
    return Diagnostic(message=message, location=Location(file="f", line=line, column=column, length=length))


def test_error_has_its_line_its_marks_and_its_hint() -> None:
    error = InvalidInput([Diagnostic(message="m", location=Location(file="f", line=10, column=4, length=3), hint="h")])
    files = {"f": "\n" * 9 + "a: xyz # c\n"}
    assert shown(error, files) == "error: m\n  --> f:10:4\n   |\n10 | a: xyz # c\n   |    ^^^\nhint: h\n"


def test_carets_end_with_the_line_and_are_aligned_below_a_tab() -> None:
    assert shown(InvalidInput([diagnostic("m", 1, 2, 99)]), {"f": "\tab"}) == (
        "error: m\n  --> f:1:2\n  |\n1 |  ab\n  |  ^^\n"
    )


@pytest.mark.parametrize(("line", "text"), [(9, "a\n"), (1, "\n"), (1, "")])
def test_place_without_a_line_to_show_is_written_alone(line: int, text: str) -> None:
    assert shown(InvalidInput([diagnostic("m", line, 1)]), {"f": text}) == f"error: m\n  --> f:{line}:1\n"


def test_several_errors_are_counted_at_the_end() -> None:
    assert shown(InvalidInput([diagnostic("b", 2, 1), diagnostic("a", 1, 1)])) == (
        "error: a\n  --> f:1:1\nerror: b\n  --> f:2:1\n2 errors\n"
    )


def test_difference_comes_before_the_error() -> None:
    assert shown(Differs("m", difference="-a\n+b\n", hint="h")) == "-a\n+b\nerror: m\nhint: h\n"


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({"TERM": "xterm"}, True), ({}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(environ: dict[str, str], coloured: bool) -> None:
    assert Screen(Terminal(), environ).styled("x", "error") == ("\x1b[1;31mx\x1b[0m" if coloured else "x")
    assert Screen(io.StringIO(), environ).styled("x", "error") == "x"


def test_character_that_a_screen_cannot_write_does_not_stop_it() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Screen(stream, {}).line("a → b")
    assert raw.getvalue() == b"a ? b\n"


def test_columns_begin_at_the_same_place_and_end_without_spaces() -> None:
    assert columns([("a", "bb"), ("ccc", "d", "e"), ("f",)]) == ["  a    bb", "  ccc  d   e", "  f"]
    assert columns([]) == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("::error::x", "\\::error::x"),
        (" \t\u00a0::add-mask::x", " \t\u00a0\\::add-mask::x"),
        ("a\n::error::x", "a\n\\::error::x"),
        ("##[error]x", "#\\#[error]x"),
        ("a ##vso[task.x]b", "a #\\#vso[task.x]b"),
        ("###[x]", "##\\#[x]"),
        ("##teamcity[x]", "#\\#teamcity[x]"),
        ("a::b ## c [d] #[e]", "a::b ## c [d] #[e]"),
    ],
)
def test_no_line_is_a_command_to_the_runner_of_a_job(text: str, written: str) -> None:
    stream = io.StringIO()
    Screen(stream, {}).line(text)
    assert stream.getvalue() == f"{written}\n"
