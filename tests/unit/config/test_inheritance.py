"""A stack that extends a different stack has what that has, and adds to it or replaces it."""

from __future__ import annotations

from buildsys.config.catalog import load
from buildsys.config.model import Stack
from tests.support.keyed import keyed
from tests.support.trees import FAST, diagnostics, planned, stack, tree

FAMILY = """\
families:
  f:
    description: d
    name: "f{r}"
    groups: [some]
    layers: [system: {release: "{r}"}, fast: 1.0]
    labels: {from: "family {r}"}
    matrix: [{r: [1, 2]}]
"""
MORE = FAST.replace("/opt/fast", "/opt/more")


def stacks(text: str, **layers: str) -> dict[str, Stack]:
    return {each.name: each for each in load(tree(text, **layers)).stacks}


def uses(found: Stack) -> dict[str, dict[str, str]]:
    return {use.layer: dict(use.parameters) for use in found.layers}


def test_stack_has_the_layers_fields_groups_and_platforms_of_the_one_that_it_extends() -> None:
    text = (
        "stacks:\n  a: {layers: [system, fast], groups: [g], platforms: [linux/arm64], user: me}\n  b: {extends: a}\n"
    )
    found = stacks(text)
    assert uses(found["b"]) == uses(found["a"])
    assert (found["b"].groups, found["b"].platforms) == (("g",), ("linux/arm64",))
    assert [own.origin for own in found["b"].own] == ["stack a"]
    assert (found["b"].description, found["b"].deprecated) == ("b", None)


def test_stack_of_a_matrix_is_extended_by_its_name() -> None:
    plan = planned(tree(FAMILY + "stacks:\n  mine: {extends: f2, command: [run]}\n"))
    mine = stack(plan, "mine")
    assert mine.layers[0].parameters["release"] == "2"
    assert (dict(mine.config.labels), mine.config.command) == ({"from": "family 2"}, ("run",))
    assert {"some"} <= {*mine.groups}
    assert mine.family is None


def test_layer_that_is_listed_again_keeps_its_place_and_gets_the_parameters_that_are_named() -> None:
    text = (
        "stacks:\n  a: {layers: [system, fast: {version: 1.0, flags: x}, more]}\n"
        "  b:\n    extends: a\n    layers: [last, fast: {flags: y}]\n"
    )
    found = stacks(text, more=MORE, last=FAST.replace("/opt/fast", "/opt/last"))
    assert [*uses(found["b"]).items()] == [
        ("system", {}),
        ("fast", {"version": "1.0", "flags": "y"}),
        ("more", {}),
        ("last", {}),
    ]


def test_own_settings_and_platforms_replace_those_of_the_base() -> None:
    text = (
        "stacks:\n  a: {layers: [system], user: one, labels: {x: a, y: a}, environment: {set: {LANG: a}}}\n"
        "  b: {extends: a, user: two, labels: {x: b}, environment: {set: {LANG: b}}, platforms: [linux/amd64]}\n"
    )
    image = stack(planned(tree(text)), "b")
    assert (image.config.user, dict(image.config.labels)) == ("two", {"x": "b", "y": "a"})
    assert {each.name: (each.value, each.layers) for each in image.environment} == {"LANG": ("b", ("stack b",))}


def test_layers_can_be_left_out() -> None:
    text = "stacks:\n  a: {layers: [system, fast, more]}\n  b: {extends: a, without: [fast], layers: [fast]}\n"
    text += "  c: {extends: a, without: [fast, more]}\n"
    found = stacks(text, more=MORE)
    assert [*uses(found["b"])] == ["system", "more", "fast"]
    assert [*uses(found["c"])] == ["system"]


def test_chain_of_extensions_in_any_order_of_names() -> None:
    text = (
        "stacks:\n  a: {extends: b, layers: [more]}\n  b: {extends: c, layers: [fast: 2.0]}\n"
        "  c: {layers: [system, fast: 1.0]}\n"
    )
    found = stacks(text, more=MORE)
    assert uses(found["a"]) == {"system": {}, "fast": {"version": "2.0"}, "more": {}}


def test_stack_that_extends_has_the_nodes_of_one_that_is_written_out() -> None:
    extends = "stacks:\n  a: {layers: [system, fast]}\n  b: {extends: a, layers: [more: 2.0], user: me}\n"
    written = "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system, fast, more: 2.0], user: me}\n"
    assert keyed(tree(extends, more=MORE))[1] == keyed(tree(written, more=MORE))[1]


def test_error_of_the_base_is_reported_once_where_it_is_written() -> None:
    text = "stacks:\n  z: {layers: [system: {release: 9}, fst]}\n  a: {extends: z}\n  b: {extends: a}\n"
    assert [(each, message) for each, message, _ in diagnostics(tree(text))] == [
        ("stacks.yaml:2:38", "the stack `z` has the layer `fst`, which does not exist")
    ]
    assert [(each, message) for each, message, _ in diagnostics(tree(text.replace("fst", "fast")))] == [
        ("stacks.yaml:2:34", "layer `system`: `9` is not a value of `release`")
    ]


def test_error_of_an_own_entry_is_reported_beside_those_of_the_base() -> None:
    text = "stacks:\n  a: {layers: [system: {release: 9}]}\n  b: {extends: a, layers: [fast: {flgs: x}]}\n"
    assert [each for each, _, _ in diagnostics(tree(text))] == ["stacks.yaml:2:34", "stacks.yaml:3:35"]


def test_stack_that_does_not_exist_is_reported_only_where_it_is_named() -> None:
    text = "stacks:\n  a: {extends: bb}\n  b: {layers: [system]}\n  c: {extends: a, without: [x]}\n"
    assert diagnostics(tree(text)) == [
        ("stacks.yaml:2:16", "the stack `a` extends `bb`, which does not exist", "did you mean `b`?")
    ]


def test_stack_of_a_family_with_an_error_may_be_extended() -> None:
    found = diagnostics(tree(FAMILY.replace('"{r}"', '"{q}"') + "stacks:\n  mine: {extends: f2}\n"))
    assert found
    assert not [message for _, message, _ in found if "extends" in message]


def test_stacks_that_extend_each_other_are_reported_with_the_loop() -> None:
    text = "stacks:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: b}\n"
    assert diagnostics(tree(text)) == [
        ("stacks.yaml:4:16", "stacks extend each other: b → c → b", "remove `extends` from `c`")
    ]


def test_long_chain_is_followed() -> None:
    text = "stacks:\n  s0: {layers: [system]}\n"
    text += "".join(f"  s{n}: {{extends: s{n - 1}}}\n" for n in range(1, 3000))
    assert uses(stacks(text)["s2999"]) == {"system": {}}
