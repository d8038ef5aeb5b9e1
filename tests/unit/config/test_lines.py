"""A list of layers becomes lines; a named set is a part of the lists that use it."""

from __future__ import annotations

from buildsys.config.catalog import load
from tests.support.keyed import keyed
from tests.support.trees import diagnostics, tree

SETS = """\
sets:
  quick:
    - fast: "{v}"
  all:
    - system: {release: "{r}"}
    - set: quick
      when: v
"""
FAMILY = """\
families:
  f:
    description: d
    name: "f{r}[-v{v}]"
    layers: [set: all]
    matrix: [{r: [1, 2]}, {r: 2, v: 1.0}]
"""


def uses(text: str) -> dict[str, dict[str, dict[str, str]]]:
    catalog = load(tree(text))
    return {stack.name: {use.layer: dict(use.parameters) for use in stack.layers} for stack in catalog.stacks}


def test_set_means_its_layers_with_the_variables_of_the_row() -> None:
    assert uses(SETS + FAMILY) == {
        "f1": {"system": {"release": "1"}},
        "f2": {"system": {"release": "2"}},
        "f2-v1.0": {"system": {"release": "2"}, "fast": {"version": "1.0"}},
    }


def test_stack_with_a_set_has_the_keys_of_one_that_lists_its_layers() -> None:
    written = "stacks:\n  one: {layers: [system, fast: 2.0]}\n"
    named = "sets: {s: [fast: 2.0]}\nstacks:\n  one: {layers: [system, set: s]}\n"
    assert keyed(tree(written))[1] == keyed(tree(named))[1]


def test_condition_of_a_set_holds_for_all_its_layers_beside_their_own() -> None:
    text = (
        "sets:\n  s:\n    - fast:\n      when: {w: [a, b]}\n    - comm\n"
        "families:\n  f:\n    description: d\n    name: 'f{w}'\n"
        "    layers:\n      - system\n      - set: s\n        when: {w: [b, c]}\n    matrix: [{w: [a, b, c]}]\n"
    )
    files = tree(text, comm="description: d\nkind: system\nlicence: free\n")
    found = {stack.name: [use.layer for use in stack.layers] for stack in load(files).stacks}
    assert found == {"fa": ["system"], "fb": ["system", "fast", "comm"], "fc": ["system", "comm"]}


def test_error_in_a_set_is_located_where_the_set_is_written_and_reported_once() -> None:
    text = "sets:\n  s: [fst]\nstacks:\n  a: {layers: [system, set: s]}\n  b: {layers: [system, set: s]}\n"
    found = diagnostics(tree(text))
    assert {location for location, _, _ in found} == {"stacks.yaml:2:7"}


def test_set_that_uses_itself_is_reported_with_its_loop() -> None:
    text = "sets: {a: [set: b], b: [set: a]}\nstacks:\n  one: {layers: [system, set: a]}\n"
    assert ("stacks.yaml:1:30", "sets use each other: a → b → a", "remove `set: a` here") in diagnostics(tree(text))


def test_sets_that_grow_without_bound_are_refused() -> None:
    sets = ["  s0: [fast, fast]"]
    sets += [f"  s{n}: [set: s{n - 1}, set: s{n - 1}, set: s{n - 1}, set: s{n - 1}]" for n in range(1, 40)]
    text = "sets:\n" + "\n".join(sets) + "\nstacks:\n  one: {layers: [system, set: s39]}\n"
    assert "with this the list has more than 1000 layers" in {message for _, message, _ in diagnostics(tree(text))}


def test_single_stack_has_no_variables_for_a_set() -> None:
    text = 'sets: {s: [fast: "{v}"]}\n' + FAMILY + "stacks:\n  one: {layers: [system, set: s]}\n"
    text = text.replace("[set: all]", "[system: {release: '{r}'}, {set: s, when: v}]")
    assert diagnostics(tree(text)) == [
        (
            "stacks.yaml:9:3",
            "`version` of `fast` uses `v`, which `one` does not have",
            "list `fast` itself in place of the set: a single stack has no variables",
        )
    ]


def test_condition_of_a_set_does_not_hold_in_a_single_stack() -> None:
    text = SETS + FAMILY + "stacks:\n  one: {layers: [system, set: more]}\n"
    text = text.replace("sets:\n", "sets:\n  more:\n    - fast\n    - extra:\n      when: v\n")
    files = tree(text, extra="description: d\nkind: system\nlicence: free\n")
    one = next(stack for stack in load(files).stacks if stack.name == "one")
    assert [use.layer for use in one.layers] == ["system", "fast"]


def test_set_that_no_stack_uses_is_a_warning() -> None:
    text = "sets: {used: [fast], a: [set: b], b: [fast]}\nstacks:\n  one: {layers: [system, set: used]}\n"
    warnings = load(tree(text)).warnings
    assert [each.message for each in warnings] == ["no stack uses the set `a`", "no stack uses the set `b`"]
