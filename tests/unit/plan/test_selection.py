"""Which targets the words of a command line mean."""

from __future__ import annotations

from datetime import date

import pytest

from buildsys.commands.plan import chosen_targets
from buildsys.errors import InvalidInput
from buildsys.plan.plan import Plan
from buildsys.plan.selection import select, stack_named
from tests.support.trees import planned, tree

STACKS = """\
stacks:
  debian12: {layers: [system, fast], groups: [quick]}
  debian12-x3.1: {layers: [system: {release: 2}]}
  old-1.0: {layers: [system], deprecated: old}
"""


@pytest.fixture
def plan() -> Plan:
    return planned(tree(STACKS))


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        ([], ("debian12", "debian12-x3_1")),
        (["debian12-x3.1"], ("debian12-x3_1",)),
        (["debian12-x3_1"], ("debian12-x3_1",)),
        (["quick", "debian12"], ("debian12",)),
        (["old-1.0", "quick"], ("debian12", "old-1_0")),
        (["debian12*"], ("debian12", "debian12-x3_1")),
        (["*"], ("debian12", "debian12-x3_1", "old-1_0")),
        (["debian12-x[0-3].?"], ("debian12-x3_1",)),
        (["fast-1_0-tools-1"], ("fast-1_0-tools-1",)),
    ],
)
def test_words_mean_stacks_groups_nodes_and_patterns(plan: Plan, words: list[str], targets: tuple[str, ...]) -> None:
    assert select(plan, words) == targets


def test_every_unknown_word_is_reported_with_the_nearest_match(plan: Plan) -> None:
    with pytest.raises(InvalidInput) as caught:
        select(plan, ["debain12", "debian12", "nothing*", "quikc"])
    assert [(each.message, each.hint) for each in caught.value.diagnostics()] == [
        ("no stack matches `nothing*`", "run `buildsys list` to list all of them"),
        ("no stack, group or node is named `debain12`", "did you mean `debian12`?"),
        ("no stack, group or node is named `quikc`", "did you mean `quick`?"),
    ]


def test_group_without_stacks_is_reported_as_one(plan: Plan) -> None:
    """Before, no group was named `gpu`, and the hint was to write `gpu`."""
    with pytest.raises(InvalidInput, match="the group `gpu` has no stacks"):
        select(plan, ["gpu"])


def test_pattern_is_of_names_in_their_case(plan: Plan) -> None:
    with pytest.raises(InvalidInput):
        select(plan, ["DEBIAN*"])


def test_one_stack_is_named_as_written_or_as_bake_writes_it(plan: Plan) -> None:
    assert stack_named(plan, "old-1.0") == stack_named(plan, "old-1_0") == "old-1_0"
    with pytest.raises(InvalidInput, match="no stack is named `quikc`"):
        stack_named(plan, "quikc")


def test_group_in_place_of_a_stack_is_an_error_with_one_of_its_stacks(plan: Plan) -> None:
    with pytest.raises(InvalidInput, match="`quick` is a group, expected a stack") as caught:
        stack_named(plan, "quick")
    hint = caught.value.diagnostics()[0].hint or ""
    assert stack_named(plan, hint.split("`")[1])


@pytest.mark.parametrize("word", ["debian12,old-1.0", "debian12, old-1.0", "debian12 old-1.0"])
def test_several_names_in_one_word_are_an_error_that_separates_them(plan: Plan, word: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        select(plan, [word])
    assert caught.value.diagnostics()[0].hint == "give each name on its own: `debian12`, `old-1.0`"


def test_all_leaves_deprecated_stacks_out(plan: Plan) -> None:
    assert chosen_targets(plan, [], everything=True, today=date(2026, 11, 30)) == (("debian12", "debian12-x3_1"), ())
