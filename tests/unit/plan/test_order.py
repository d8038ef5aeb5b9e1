"""Where two stacks order the same layers differently, the plan reports it once, with the edit that ends it."""

from __future__ import annotations

import pytest

from tests.support.trees import planned, tree

LAYER = "description: d\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [%s]}]\n"
X, Y, Z = (LAYER % name for name in "xyz")


def remarks(stacks: str, **layers: str) -> list[tuple[str, str, str | None]]:
    plan = planned(tree(stacks, **({"x": X, "y": Y, "z": Z} | layers)))
    return [(str(each.location), each.message, each.hint) for each in plan.remarks]


def test_two_orders_are_reported_once_with_the_edit() -> None:
    stacks = "stacks:\n  a: {layers: [system, x, y]}\n  b: {layers: [system, y, x]}\n"
    assert remarks(stacks) == [
        (
            "stacks.yaml:3:27",
            "`b` builds `x` on `y`, and `a` the other way round, so they share neither",
            "move `x` before `y` in this list",
        )
    ]
    assert remarks(stacks.replace("[system, y, x]", "[system, x, y]")) == []


def test_order_that_is_written_in_fewer_lists_is_the_one_to_edit() -> None:
    stacks = "stacks:\n  a: {layers: [system, x, y]}\n  b: {layers: [system, y, x]}\n  c: {layers: [y, x, system]}\n"
    [(location, _, hint)] = remarks(stacks)
    assert (location, hint) == ("stacks.yaml:2:27", "move `y` before `x` in this list")
    more = stacks + "  d: {layers: [system, y, x, z]}\n  e: {layers: [x, y, z, system]}\n"
    [(location, _, hint)] = remarks(more)
    assert (location, hint) == ("stacks.yaml:2:27", "move `y` before `x` in this list, and in that of `e`")


def test_list_of_a_family_counts_once() -> None:
    stacks = (
        "stacks:\n  a: {layers: [system, x, y]}\n  b: {layers: [x, y, system]}\n"
        "families:\n  f:\n    description: d\n    name: 'f{n}'\n"
        "    layers: [system, y, x]\n    matrix: [{n: [1, 2, 3]}]\n"
    )
    assert [(each, hint) for each, _, hint in remarks(stacks)] == [
        ("stacks.yaml:8:25", "move `x` before `y` in this list")
    ]


def test_one_edit_that_repairs_several_pairs_is_one_warning() -> None:
    stacks = "stacks:\n  a: {layers: [system, x, y, z]}\n  b: {layers: [system, z, x, y]}\n"
    [(location, _, hint)] = remarks(stacks)
    assert (location, hint) == ("stacks.yaml:3:24", "move `z` behind `y` in this list")
    assert remarks(stacks.replace("[system, z, x, y]", "[system, x, y, z]")) == []


def test_layer_that_is_only_required_is_to_be_added() -> None:
    last = (LAYER % "last").replace("[os]", "[os, x]")
    stacks = "stacks:\n  a: {layers: [system, x, y, last]}\n  b: {layers: [system, y, last]}\n"
    assert [(each, hint) for each, _, hint in remarks(stacks, last=last)] == [
        ("stacks.yaml:3:24", "add `x` before `y` in this list")
    ]
    assert remarks(stacks.replace("[system, y, last]", "[system, x, y, last]"), last=last) == []


def test_stack_that_no_edit_changes_keeps_its_order_and_the_other_one_is_to_be_edited() -> None:
    last = (LAYER % "last") + "order: 5\n"
    stacks = "stacks:\n  a: {layers: [system, x, y]}\n  b: {layers: [system, x, y, last]}\n"
    assert remarks(stacks, last=last, x=X + "after: [last]\n") == [
        (
            "stacks.yaml:2:27",
            "`a` builds `y` on `x`, and `b` the other way round, so they share neither",
            "move `y` before `x` in this list",
        )
    ]


def test_order_that_no_list_changes_has_the_general_hint() -> None:
    last, late = ((LAYER % name) + "order: 5\n" for name in ("last", "late"))
    stacks = "stacks:\n  a: {layers: [system, x, y, late]}\n  b: {layers: [system, x, y, last]}\n"
    found = remarks(stacks, last=last, late=late, x=X + "after: [last]\n", y=Y + "after: [late]\n")
    assert [hint for _, _, hint in found] == ["list them in one order, or give one of the layers an `after`"]


@pytest.mark.parametrize("stacks", ["b: {layers: [system: {release: 2}, y, x]}", "b: {layers: [system, y, x: {v: 2}]}"])
def test_layers_that_could_not_be_shared_anyway_are_not_reported(stacks: str) -> None:
    x = X.replace("[x]", '["x-{v}"]') + "parameters: {v: {description: d, default: 1}}\n"
    assert remarks(f"stacks:\n  a: {{layers: [system, x, y]}}\n  {stacks}\n", x=x) == []
