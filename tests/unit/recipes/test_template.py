"""What `{name}` in a text becomes, and which texts are refused."""

from __future__ import annotations

import pytest

from buildsys.recipes import template


def test_values_filters_and_doubled_braces_are_put_in() -> None:
    values = {"version": "11.0.3", "name": "x"}
    text = "{name}-{version}-{version|series}-{version|major}-{version|nodots}-{version|dashes}-{{name}}"
    assert template.fill(text, values) == "x-11.0.3-11.0-11-1103-11-0-3-{name}"


@pytest.mark.parametrize(
    ("platform", "arch", "machine"),
    [("linux/amd64", "amd64", "x86_64"), ("linux/arm64", "arm64", "aarch64"), ("linux/arm/v7", "arm", "armv7l")],
)
def test_platform_has_the_names_of_its_processor(platform: str, arch: str, machine: str) -> None:
    assert template.fill("{platform|arch} {platform|machine}", {"platform": platform}) == f"{arch} {machine}"


def test_value_with_braces_is_not_read_again() -> None:
    assert template.fill("{a}{b}", {"a": "{b}", "b": "{{"}) == "{b}{{"


@pytest.mark.parametrize("text", ["", "{", "}}", "{a}", "{{a}}", "${HOME} %{x}", "}{", "{{{a}"])
def test_literal_text_comes_back_as_it_was(text: str) -> None:
    written = template.literally(text)
    assert template.problem(written) is None
    assert template.names(written) == frozenset()
    assert template.fill(written, {}) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a{b", "the `{` has no counterpart"),
        ("a}", "the `}` has no counterpart"),
        ("{}", "the `{` has no counterpart"),
        ("{a b}", "the `{` has no counterpart"),
        ("{a|upper}", "`upper` is not a filter"),
        ("{platform|machine}{platform|arch}{platform}", None),
        ("{a|machine}", "`machine` is a filter of `platform` alone"),
        ("{a-b}_{c|major} {{d}}", None),
    ],
)
def test_single_braces_and_unknown_filters_are_problems(text: str, problem: str | None) -> None:
    found = template.problem(text)
    assert (found.message if found else None) == problem


def test_names_are_those_in_single_braces_alone() -> None:
    assert template.names("{a}-{b|major}-{{c}}-{a}") == {"a", "b"}


def test_part_in_brackets_is_kept_only_if_all_its_names_have_values() -> None:
    text = "x{a}[-b{b}][-c{c}d{d}]"
    assert template.without_absent_parts(text, frozenset("ab")) == "x{a}-b{b}"
    assert template.without_absent_parts(text, frozenset("acd")) == "x{a}-c{c}d{d}"
    assert template.without_absent_parts(text, frozenset("ac")) == "x{a}"


def test_name_without_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="b"):
        template.fill("{a}{b}", {"a": "1"})
