"""A stack chooses a flavour once, and every layer that has it follows."""

from __future__ import annotations

from tests.support.keyed import keyed
from tests.support.trees import FAST, diagnostics, planned, stack, tree

MORE = """\
description: an artifact in two ways
kind: artifact
licence: MIT
requires: [os]
default_flavour: source
parameters:
  version: {description: release, default: 1.0, label: true}
  flags: {description: flags of configure, type: words, default: []}
flavours:
  source: {prefix: /opt/more}
  wheels: {prefix: /opt/more-wheels}
"""


def project(stacks: str, **layers: str) -> dict[str, str]:
    return tree(stacks, **({"more": MORE, "other": MORE.replace("/more", "/other")} | layers))


def flavours(files: dict[str, str], name: str = "one") -> dict[str, str]:
    layers = stack(planned(files), name).layers
    return {each.name: each.parameters["flavour"] for each in layers if "flavour" in each.parameters}


def test_all_layers_with_the_flavour_follow_and_one_that_names_its_own_does_not() -> None:
    text = "stacks:\n  one: {flavour: wheels, layers: [system, fast, more, other: {flavour: source}]}\n"
    assert flavours(project(text)) == {"more": "wheels", "other": "source"}


def test_layer_that_is_only_required_follows() -> None:
    late = FAST.replace("/opt/fast", "/opt/late").replace("[os]", "[os, more]")
    text = "stacks:\n  one: {flavour: wheels, layers: [system, late]}\n"
    assert flavours(project(text, late=late)) == {"more": "wheels"}


def test_layer_without_the_flavour_keeps_its_default() -> None:
    other = MORE.replace("/more", "/other").replace("  wheels:", "  packed:")
    text = "stacks:\n  one: {flavour: wheels, layers: [system, more, other]}\n"
    assert flavours(project(text, other=other)) == {"more": "wheels", "other": "source"}


def test_row_chooses_before_its_family_and_a_family_by_its_variables() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f-{way}-{n}'\n    flavour: '{way}'\n"
        "    layers: [system, more]\n    matrix: [{way: [source, wheels], n: [1, 2]}]\n"
        "    stacks: {f-source-2: {flavour: wheels}}\n"
    )
    found = {name: flavours(project(text), name)["more"] for name in ("f-source-1", "f-wheels-1", "f-source-2")}
    assert found == {"f-source-1": "source", "f-wheels-1": "wheels", "f-source-2": "wheels"}


def test_choice_is_inherited_and_replaced() -> None:
    text = (
        "stacks:\n  one: {flavour: wheels, layers: [system, more]}\n"
        "  two: {extends: one}\n  three: {extends: one, flavour: source}\n"
    )
    assert [flavours(project(text), name)["more"] for name in ("two", "three")] == ["wheels", "source"]


def test_choice_gives_the_keys_of_a_flavour_at_each_layer() -> None:
    chosen = "stacks:\n  one: {flavour: wheels, layers: [system, more: 2.0, other]}\n"
    written = "stacks:\n  one: {layers: [system, more: {flavour: wheels, version: 2.0}, other: {flavour: wheels}]}\n"
    assert keyed(project(chosen))[1] == keyed(project(written))[1]


def test_origin_of_a_chosen_flavour_is_the_stack() -> None:
    text = "stacks:\n  one: {flavour: wheels, layers: [system, more, other: {flavour: wheels}]}\n"
    found = {each.name: each.origins.get("flavour") for each in stack(planned(project(text))).layers}
    assert found == {"system": None, "more": "the stack's flavour", "other": None}


def test_flavour_that_no_layer_of_any_row_has_is_reported_once() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'f{n}'\n    flavour: wheel\n"
        "    layers: [system, {more: , when: {n: 2}}]\n    matrix: [{n: [1, 2]}]\n"
    )
    assert diagnostics(project(text)) == [
        (
            "stacks.yaml:5:14",
            "no layer that follows this choice has the flavour `wheel`",
            "did you mean `wheels`?",
        )
    ]
    assert not diagnostics(project(text.replace("wheel\n", "wheels\n")))


def test_toolchain_has_the_flavour_that_the_layer_names() -> None:
    tools = tree()["layers/tools/layer.yaml"] + "flavours: {plain: , big: {packages: [names: [gcc]]}}\n"
    files = project("stacks:\n  one: {layers: [system, fast, more]}\n", tools=tools)
    path = "layers/more/layer.yaml"
    files[path] = (
        files[path]
        .replace("  wheels:", "  wheels: {prefix: /opt/more-wheels}\n  # ")
        .replace("source: {", "source: {toolchain: {layer: tools, parameters: {flavour: big}}, ")
    )
    plan = planned(files)
    bases = {node.recipe.layer: node.base for node in plan.nodes if node.recipe.layer in ("fast", "more")}
    assert bases == {"fast": "tools-plain-1", "more": "tools-big-1"}
    wrong = {**files, path: files[path].replace("flavour: big", "flavour: large")}
    assert [message for _, message, _ in diagnostics(wrong)] == ["`large` is not a flavour of `tools`"]
