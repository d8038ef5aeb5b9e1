"""YAML is read as it is written, with locations, and never loses a key in silence."""

from __future__ import annotations

import pytest

from buildsys.config.source import read
from buildsys.errors import InvalidInput


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
