"""YAML is read as it is written, with locations, and never loses a key in silence."""

from __future__ import annotations

import pytest
import yaml

from buildsys.errors import InvalidInput
from buildsys.records.source import read

DEEP = "the value has more than 30 levels"


def diagnostics(text: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        read(text, "stacks.yaml")
    return [(str(each.location), each.message) for each in caught.value.diagnostics()]


def test_scalars_stay_as_they_are_written() -> None:
    found = read('a: [3.10, 18.04, on, no, 0o17, 1e3, "x", null, ~]', "f").data
    assert found == {"a": ["3.10", "18.04", "on", "no", "0o17", "1e3", "x", None, None]}


def test_equal_keys_are_an_error_at_the_second_one() -> None:
    assert diagnostics("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        ("stacks.yaml:4:3", "`c` is defined twice, first on line 3"),
        ("stacks.yaml:5:1", "`a` is defined twice, first on line 1"),
    ]


def test_places_of_values_and_keys_are_known() -> None:
    source = read("a:\n  - {b: 1, c: xyz}\n", "f")
    assert str(source.location(("a", 0, "c"))) == "f:2:15"
    assert source.location(("a", 0, "c")).length == 3
    assert str(source.key_location(("a", 0, "c"))) == "f:2:12"
    assert str(source.location(("a", 0, "nothing", "below"))) == "f:2:5"


def test_syntax_error_has_its_place_and_a_conflict_marker_a_hint() -> None:
    text = "version: 1\n<<<<<<< HEAD\nparents: {}\n=======\n"
    with pytest.raises(InvalidInput) as caught:
        read(text, "buildsys.lock")
    diagnostic = caught.value.diagnostics()[0]
    assert diagnostic.location is not None
    assert diagnostic.location.line in (2, 3)
    assert "conflict" in (diagnostic.hint or "")


def test_second_document_and_self_containing_alias_are_errors() -> None:
    assert diagnostics("a: 1\n---\nb: 2\n")[0][1] == "the file has a second document, expected one"
    assert diagnostics("a: &x [*x]\n")[0][1] == "the alias contains itself"


def test_character_that_yaml_forbids_is_an_error_with_its_line() -> None:
    assert diagnostics("a: 1\nb: \x01\n")[0][0].startswith("stacks.yaml:2")


def test_value_of_an_alias_has_the_locations_of_its_anchor() -> None:
    source = read("a: &x {b: [1, &y 2]}\nc: *x\nd: *y\n*y : e\n", "f")
    assert source.data == {"a": {"b": ["1", "2"]}, "c": {"b": ["1", "2"]}, "d": "2", "2": "e"}
    assert source.location(("c", "b", 1)) == source.location(("a", "b", 1))
    assert str(source.key_location(("c", "b"))) == "f:1:8"
    assert str(source.key_location(("c",))) == "f:2:1"


def test_anchor_that_is_given_again_counts_from_there() -> None:
    assert read("[&a 1, &b [*a], &a 2, *b, *a, &a [&a 3, *a]]", "f").data == ["1", ["1"], "2", ["1"], "2", ["3", "3"]]


@pytest.mark.parametrize("name", ["a\\x", "\ud7ff", "\U0001f600", "\xa0", "\u200e"])
def test_any_printable_character_is_kept(name: str) -> None:
    assert read(f"'{name}': '{name}'", "f").data == {name: name}


def test_error_in_an_aliased_value_is_said_once() -> None:
    assert len(diagnostics("a: &x {b: 1, b: 2}\nc: *x\nd: *x\n")) == 1


def test_depth_and_number_of_values_are_bounded_at_their_place() -> None:
    assert diagnostics("a:\n  " + "[" * 40 + "]" * 40) == [("stacks.yaml:2:33", DEEP)]
    bomb = "a: &a [" + "x," * 999 + "]\nb: &b [" + "*a," * 10 + "]\nc:\n  - *b\n  - *b\n"
    assert diagnostics(bomb) == [("stacks.yaml:4:5", "the aliases of the file repeat more than 20000 values")]
    assert diagnostics("[" + "x,\n" * 300_000 + "]") == [
        ("stacks.yaml:250000:1", "the file has more than 250000 values")
    ]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n", "  # comment\n"])
@pytest.mark.parametrize(
    "text",
    [
        "a: [b",
        "a: {b",
        "a: 'b",
        'a: "b',
        "a:\n  - b\n c",
        "? a: b:",
        "a: b: c",
        "a: |x",
        "a: @",
        "%x",
        "a: &",
        "- a\nb",
    ],
)
def test_place_of_a_syntax_error_is_in_the_file_and_has_a_hint(text: str, end: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text + end, "f")
    (found,) = caught.value.diagnostics()
    lines = (text + end).split("\n")
    assert found.location is not None
    assert lines[found.location.line - 1].strip()
    assert found.location.column <= len(lines[found.location.line - 1]) + 1
    assert found.hint
    assert "expected key" not in found.message


def test_both_parsers_of_yaml_give_the_same_place_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a: [b", "a: b: c", "a: 'b", "a: @", "a:\n\tb: c", "a: [b}", "a: {b]"]
    fast = [diagnostics(text) for text in texts]
    monkeypatch.setattr("buildsys.records.source._Loader", yaml.SafeLoader)
    assert [diagnostics(text) for text in texts] == fast
