"""Which files a `.dockerignore` keeps from a build: the rules of moby/patternmatcher, not those of git."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from buildsys.dockerfile import ignore
from buildsys.dockerfile.glob import Glob, Token
from buildsys.dockerfile.ignore import ignored, rule_problems


@pytest.mark.parametrize(
    ("rules", "path", "left_out"),
    [
        # A name means one path, below the root of the context, and everything in it.
        ("a", "a", True),
        ("a", "b/a", False),
        ("a", "a/b/c", True),
        ("a", "ab", False),
        ("a/b", "a/b/c", True),
        ("a/b", "a/c", False),
        ("A", "a", False),
        # How it is written does not matter.
        ("/a", "a", True),
        ("a/", "a/b", True),
        ("a/", "a", True),
        ("./a//b/../c", "a/c", True),
        ("  a  ", "a", True),
        ("\ufeffa", "a", True),
        ("a\r\nb\r\n", "b", True),
        # One star and a question mark stay in one folder.
        ("*", "a/b", True),
        ("*", ".hidden", True),
        ("*.c", "x.c", True),
        ("*.c", "a/x.c", False),
        ("*/x.c", "a/x.c", True),
        ("*/x.c", "x.c", False),
        ("*/x.c", "a/b/x.c", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a?c", "ac", False),
        # Two stars match any number of folders.
        ("**", "a/b", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "ax", False),
        ("**/x", "a/x/y", True),
        ("**/*.c", "a/b/x.c", True),
        ("**/*.c", "x.c", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b/a", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "az", False),
        ("**x", "a/bx", True),
        ("**x", "bx", True),
        ("**x*", "bx", False),
        ("**x*", "b/x1", True),
        ("a**z", "a/b/z", True),
        ("a**z", "ab/z", True),
        ("a**z", "abz", False),
        ("a**", "ab/c", True),
        # Sets of characters, and signs that mean themselves.
        ("[ab]", "b", True),
        ("[ab]", "c", False),
        ("[^ab]", "c", True),
        ("[a-c]x", "bx", True),
        ("[]", "[]", False),
        (r"\[", "[", True),
        (r"[\]a]", "]", True),
        (r"[a\-c]", "-", True),
        (r"[a\-c]", "b", False),
        ("[é-ü]", "é", True),
        ("[!a]", "!", True),
        ("[^/]", "/", False),
        ("]", "]", True),
        ("^x", "^x", True),
        ("***/b.c", "b.c", False),
        ("***/b.c", "x/b.c", True),
        ("**/**/a", "x/y/a", True),
        ("*a*b*", "xaybz", True),
        ("*a*b*", "xbya", False),
        ("a*/**/c", "ab/x/c", True),
        ("a*b**/c", "abbc", True),
        ("a*b**/c", "abxb/c", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.c", "abc", False),
        ("a+(b)|{c}$", "a+(b)|{c}$", True),
        # Comments and empty lines; a sign in the middle is part of a name.
        ("# a\n\n  \na", "a", True),
        ("#a", "#a", False),
        (" #a", "#a", True),
        ("a#b", "a#b", True),
        (".", "a", False),
        ("!", "a", False),
        ("", "a", False),
        # The last rule that matches decides, and a file comes back out of a folder that is left out.
        ("*\n!a", "a", False),
        ("*\n!a", "b", True),
        ("*\n!a", "a/b", False),
        ("!a\n*", "a", True),
        ("*\n!a/b", "a/b", False),
        ("*\n!a/b", "a/c", True),
        ("*\n! /a/", "a/b", False),
        ("a\n!a/b\na/b/c", "a/b/c", True),
        ("a\n!a/b\na/b/c", "a/b/d", False),
        ("**/*.md\n!**/README.md", "a/README.md", False),
        ("**/*.md\n!**/README.md", "a/other.md", True),
        # `!a` did not match the folder, which nothing had left out: so it takes nothing back in it.
        ("*/x\n!a", "a/x", True),
        ("*/x\n!a/x", "a/x", False),
    ],
)
def test_rules_are_those_of_buildkit(rules: str, path: str, left_out: bool) -> None:
    assert ignored(rules)(path) is left_out


def test_name_may_hold_any_character_but_a_line_end() -> None:
    assert ignored("a\u2028b")("a\u2028b")
    assert ignored("a*")("a\x0bb")


@pytest.mark.parametrize(
    "rule",
    [
        "[",
        "[]",
        "[a-",
        "[-a]",
        "[a-]",
        "[]a]",
        "[^]a]",
        "[+--]",
        "[z-a]",
        "a\\",
        "!",
        "\\é",
        "a\x01",
        "[[:alpha:]]",
        "[[]",
        "[*]",
        "[?a]",
        "\\d",
        "\\a",
        "[\\a-\\z]",
        "^*",
        "a^*",
        "x" * 65536,
    ],
)
def test_rule_that_buildkit_refuses_or_reads_in_another_way_is_a_diagnostic_at_its_line(rule: str) -> None:
    found = list(rule_problems(f"# comment\na\n {rule}\n", "f"))
    assert [str(each.location) for each in found] == ["f:3:2"]
    assert found[0].hint


def test_what_is_a_rule_of_buildkit_is_no_diagnostic() -> None:
    rules = [
        "[^a]",
        "[!a]",
        "!!a",
        "**",
        "***",
        "/",
        "//",
        "..",
        "!..",
        "\\*",
        "[\\]a]",
        "a|b",
        "{a,b}",
        "[:]",
        "[:alpha:]",
        "]",
    ]
    assert list(rule_problems("\n".join([*rules, "[/]", "[$-a]", "**/**/a", "*" * 2_000, "(a+)+$"]), "f")) == []


def test_many_stars_are_compared_in_linear_time() -> None:
    assert not ignored("*a" * 60 + "b")("a" * 4_000)
    assert ignored("**/*a" * 60)("a/" * 100 + "a")


def test_more_rules_than_a_context_can_be_compared_with_are_a_diagnostic() -> None:
    assert list(rule_problems("a\n" * 5_000, "f")) == []
    found = list(rule_problems("a\n" * 1_000_000, "f"))
    assert [(each.message, str(each.location)) for each in found] == [("the file has more than 5000 rules", "f:5001:1")]


def test_equal_rules_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Sequence[Token]] = []

    class Counted(Glob):
        def __init__(self, tokens: Sequence[Token]) -> None:
            compiled.append(tokens)
            super().__init__(tokens)

    monkeypatch.setattr(ignore, "Glob", Counted)
    rule = "?" * 299 + "[ab]"
    assert list(rule_problems(f"{rule}\n" * 2_000, "a/.dockerignore")) == []
    assert len(compiled) == 1
