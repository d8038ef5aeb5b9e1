"""What counts as a difference from another revision, and what is only another wording."""

from __future__ import annotations

from typing import Any

import pytest

from compare_with import Answer, Question, compare, differences, golden_differences, known

DOCUMENT: dict[str, Any] = {
    "schema_version": 1,
    "nodes": [{"name": "a", "key": "0" * 64, "reason": "its base changed"}],
    "warnings": ["one", "two"],
    "note": None,
}


def changed(**fields: object) -> dict[str, Any]:
    return {**DOCUMENT, **fields}


@pytest.mark.parametrize(
    "new",
    [
        changed(nodes=[{"name": "a", "key": "0" * 64, "reason": "base changed"}]),
        changed(warnings=["three", "four"]),
        DOCUMENT,
    ],
)
def test_other_wording_is_no_difference(new: dict[str, Any]) -> None:
    assert list(differences(DOCUMENT, new)) == []


@pytest.mark.parametrize(
    ("new", "where"),
    [
        (changed(schema_version=2), ".schema_version: 1 is now 2"),
        (changed(schema_version="1"), '.schema_version: 1 is now "1"'),
        (changed(schema_version=True), ".schema_version: 1 is now true"),
        (changed(nodes=[]), ".nodes: 1 entries are now 0"),
        (changed(nodes=[{"name": "b", "key": "0" * 64, "reason": ""}]), '.nodes[0].name: "a" is now "b"'),
        (changed(nodes=[{"name": "a", "key": "0" * 64, "reason": ""}]), ".nodes[0].reason: "),
        (changed(nodes=[{"name": "a", "key": "0" * 64}]), ".nodes[0]: the fields name, key, reason are now name, key"),
        (changed(warnings=["one"]), ".warnings: 2 entries are now 1"),
        (changed(warnings=["one", None]), '.warnings[1]: "two" is now null'),
        (changed(note="a note"), '.note: null is now "a note"'),
        (dict(reversed(DOCUMENT.items())), ".: the fields "),
    ],
)
def test_everything_else_is_a_difference_with_its_place(new: dict[str, Any], where: str) -> None:
    assert any(each.startswith(where) for each in differences(DOCUMENT, new))


def answer(
    *, code: int = 0, output: str = "{}", errors: str = "", files: dict[str, bytes | None] | None = None
) -> Answer:
    return Answer(code=code, output=output, errors=errors, files=files or {})


def test_exit_codes_count_and_texts_of_errors_do_not() -> None:
    question = Question(words=("plan",))
    assert list(compare(question, answer(code=4, errors="error: a"), answer(code=4, errors="error: b"))) == []
    assert list(compare(question, answer(code=4), answer(code=5))) == ['exit code 4 is now 5: "" / ""']


def test_traceback_is_a_difference_though_the_exit_code_is_equal() -> None:
    errors = "Traceback (most recent call last):\nKeyError: 'x'"
    assert list(compare(Question(words=("plan",)), answer(code=1), answer(code=1, errors=errors))) == [
        "a traceback: KeyError: 'x'"
    ]


def test_files_that_were_written_are_compared_by_their_bytes() -> None:
    question = Question(words=("plan",), writes=("a",))
    old = answer(files={"a": b"one\ntwo\n"})
    assert list(compare(question, old, answer(files={"a": b"one\ntwo"}))) != []
    assert list(compare(question, old, answer(files={"a": b"one\n2\n"}))) == ['a differs at line 2: "two" is now "2"']
    assert list(compare(question, old, answer(files={"a": None}))) == ["a differs: it does not exist now"]


def test_drawings_are_compared_as_they_are_and_documents_by_their_values() -> None:
    old, new = answer(output='{"a": 1}'), answer(output='{"a":1}')
    assert list(compare(Question(words=("graph",), kind="json"), old, new)) == []
    assert list(compare(Question(words=("graph",), kind="text"), old, new)) != []
    assert list(compare(Question(words=("graph",)), old, new)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "equal"),
    [
        ("error.txt", "error: a base of 0123abcd", "error: base 0123abcd", True),
        ("error.txt", "error: a base of 0123abcd", "error: base 4567abcd", False),
        ("docker-bake.hcl", "# one\n", "# two\n", False),
        ("case/project/stacks.yaml", "# one\n", "# two\n", False),
        ("error.txt", "error", None, False),
        ("error.txt", None, "error", True),
    ],
)
def test_golden_file_may_differ_in_wording_alone(name: str, old: str | None, new: str | None, equal: bool) -> None:
    assert (list(golden_differences(name, old, new)) == []) is equal


def test_difference_is_intended_only_if_the_commit_that_introduced_it_is_not_in_the_revision() -> None:
    question = Question(words=("variables",), kind="text")
    difference = 'the output differs at line 1: "" is now "unset BUILDSYS_PARENT_LINUX_1"'
    assert known(question, difference, frozenset({"a4a1c80"})) is not None
    assert known(question, difference, frozenset()) is None
    assert known(Question(words=("list",)), difference, frozenset({"a4a1c80"})) is None
    assert known(question, 'the output differs at line 1: "" is now "export A=b"', frozenset({"a4a1c80"})) is None
