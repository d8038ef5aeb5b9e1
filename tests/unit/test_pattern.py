"""The pattern of a parameter: what `re` says of whole texts, in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.pattern import LONGEST_VALUE, Pattern, Unsupported, fits

PIECES = st.sampled_from(
    ["a", "b", "1", ".", r"\d", r"\w", r"\S", "[^a]", "[a-c1]", r"[^\d]", "^", "$", r"\A", r"\Z", ""]
)
PATTERNS = st.recursive(
    PIECES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?", "??"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    ),
    max_leaves=8,
)


@given(PATTERNS, st.text("ab1c", max_size=8))
def test_pattern_matches_what_re_matches(pattern: str, text: str) -> None:
    assert Pattern(pattern).matches(text) == (re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)*b",
        "(.*)*x",
        r"(\w+\s?)*$",
        r"\w*" * 40 + "!",
        "(x+x+)+y",
        "(a?){64}a{64}",
        "(a|b)*a(a|b){400}",
    ],
)
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    assert not Pattern(pattern).matches("ab" * 4_000 + "?")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not a regular expression"),
        ("[z-a]", "bad character range"),
        ("[[:alpha:]]", "nested set"),
        ("(" * 5_000 + ")" * 5_000, "too many levels"),
        ("a{99999999}", "more than 1000 parts"),
        ("(a{1000}){1000}", "more than 1000 parts"),
        ("a{99999999999999999999}", "not a regular expression"),
        ("(){4294967295}", "not a regular expression"),
        (r"(.)\1", "back-references"),
        ("(?=a)a", "look-ahead"),
        ("(?<!a)b", "look-ahead"),
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        (r"\ba", "borders of words"),
        ("a++", "such groups"),
        ("(?>a)", "such groups"),
    ],
)
def test_pattern_that_cannot_be_followed_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(Unsupported, match=re.escape(words)):
        Pattern(pattern)


def test_value_that_is_too_long_fits_nothing() -> None:
    assert fits("a*", "a" * LONGEST_VALUE)
    assert not fits("a*", "a" * (LONGEST_VALUE + 1))
