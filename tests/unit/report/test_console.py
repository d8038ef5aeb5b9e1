"""What a person reads: the exact lines."""

from __future__ import annotations

import io

import pytest

from buildsys.errors import Diagnostic, Differs, InvalidInput, Location
from buildsys.report.console import Screen, columns, show_error, show_list, show_plan, show_stack
from tests.unit.trees import planned, tree

STACKS = (
    "families:\n  f:\n    description: a family\n    name: 'f{r}'\n    layers: [system: {release: '{r}'}, fast]\n"
    "    matrix: [{r: 1, groups: [quick]}, {r: 2, deprecated: old}]\nstacks:\n  one: {layers: [system]}\n"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(error: InvalidInput | Differs, files: dict[str, str] | None = None) -> str:
    stream = io.StringIO()
    show_error(error, files or {}, Screen(stream))
    return stream.getvalue()


def diagnostic(message: str, line: int, column: int, length: int = 1) -> Diagnostic:
    return Diagnostic(message=message, location=Location(file="f", line=line, column=column, length=length))


def test_mistake_has_its_line_its_marks_and_its_hint() -> None:
    error = InvalidInput([Diagnostic(message="m", location=Location(file="f", line=10, column=4, length=3), hint="h")])
    files = {"f": "\n" * 9 + "a: xyz # c\n"}
    assert shown(error, files) == "error: m\n  --> f:10:4\n   |\n10 | a: xyz # c\n   |    ^^^\nhint: h\n"


def test_marks_end_with_the_line_and_stand_right_below_a_tab() -> None:
    assert shown(InvalidInput([diagnostic("m", 1, 2, 99)]), {"f": "\tab"}) == (
        "error: m\n  --> f:1:2\n  |\n1 |  ab\n  |  ^^\n"
    )


@pytest.mark.parametrize(("line", "text"), [(9, "a\n"), (1, "\n"), (1, "")])
def test_place_without_a_line_to_show_is_told_alone(line: int, text: str) -> None:
    assert shown(InvalidInput([diagnostic("m", line, 1)]), {"f": text}) == f"error: m\n  --> f:{line}:1\n"


def test_several_mistakes_are_counted_at_the_end() -> None:
    assert shown(InvalidInput([diagnostic("b", 2, 1), diagnostic("a", 1, 1)])) == (
        "error: a\n  --> f:1:1\nerror: b\n  --> f:2:1\n2 errors\n"
    )


def test_difference_stands_before_the_error() -> None:
    assert shown(Differs("m", difference="-a\n+b\n", hint="h")) == "-a\n+b\nerror: m\nhint: h\n"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Screen(Terminal()).styled("x", "error") == "\x1b[1;31mx\x1b[0m"
    assert Screen(io.StringIO()).styled("x", "error") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(Terminal()).styled("x", "error") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert Screen(Terminal()).styled("x", "error") == "x"


def test_character_that_a_screen_cannot_write_does_not_stop_it() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Screen(stream).line("a → b")
    assert raw.getvalue() == b"a ? b\n"


def test_columns_begin_at_the_same_place_and_end_without_spaces() -> None:
    assert columns([("a", "bb"), ("ccc", "d", "e"), ("f",)]) == ["  a    bb", "  ccc  d   e", "  f"]
    assert columns([]) == []


def test_plan_is_one_line_per_target_in_build_order_and_a_count() -> None:
    stream = io.StringIO()
    show_plan(planned(tree(STACKS)), state="Done.", screen=Screen(stream))
    assert stream.getvalue() == (
        "  node   system 1             system-1\n"
        "  node   system 2             system-2\n"
        "  node   tools 1              tools-1\n"
        "  node   tools 2              tools-2\n"
        "  node   fast 1.0 on tools 1  fast-1_0-tools-1\n"
        "  node   fast 1.0 on tools 2  fast-1_0-tools-2\n"
        "  image  f1                   system-1 + fast\n"
        "  image  f2                   system-2 + fast · deprecated\n"
        "  image  one                  system-1\n"
        "6 nodes, 3 images (1 deprecated). Done.\n"
    )


def test_list_is_by_family_with_groups_and_reasons() -> None:
    stream = io.StringIO()
    show_list(planned(tree(STACKS)), Screen(stream))
    assert stream.getvalue() == (
        "f  a family\n"
        "  f1  cpu quick\n"
        "  f2  cpu        deprecated: old\n"
        "single stacks\n"
        "  one  cpu\n"
        "groups: cpu (2), default (2), f (1), gpu (0), quick (1)\n"
    )


def test_stack_tells_layers_values_places_and_environment() -> None:
    stream = io.StringIO()
    show_stack(planned(tree(STACKS)), "f2", Screen(stream))
    assert stream.getvalue() == (
        "f2  a family\n"
        "deprecated: old\n"
        "parent    example.com/linux:2\n"
        "          not pinned: `buildsys.lock` has no entry for it\n"
        "groups    cpu f\n"
        "platforms linux/amd64\n"
        "declared  stacks.yaml:6:39\n"
        "layers\n"
        "  system  system, named by the stack\n"
        "    a system\n"
        "      release  2  from stack\n"
        "  fast  artifact, named by the stack\n"
        "    an artifact\n"
        "      version  1.0  from default\n"
        '      flags    ""   from default\n'
        "      node fast-1_0-tools-2\n"
        "environment\n"
        "  LANG  C.UTF-8              from system\n"
        "  PATH  /opt/fast/bin:$PATH  from fast\n"
    )
