"""A declared stack becomes its layers in order, with values and the reasons for both."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.support.trees import FAST, diagnostics, order, planned, stack, tree

SYSTEM_LAYER = "description: d\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [x]}]\n"


def artifact(prefix: str, more: str = "") -> str:
    return FAST.replace("/opt/fast", prefix) + more


def test_required_layer_is_added_with_its_defaults_and_the_reason() -> None:
    files = tree("stacks:\n  one: {layers: [system, comm]}\n", comm=artifact("/opt/comm").replace("[os]", "[os, fast]"))
    found = {each.name: each for each in stack(planned(files)).layers}
    assert {name: each.why for name, each in found.items()} == {
        "system": "named by the stack",
        "fast": "required by `comm`",
        "comm": "named by the stack",
    }
    assert dict(found["fast"].parameters) == {"platform": "linux/amd64", "version": "1.0", "flags": ""}


def test_edges_go_before_order_and_order_before_the_list() -> None:
    files = tree(
        "stacks:\n  one: {layers: [a, b, c, system, d]}\n",
        a=artifact("/a", "after: [d]\n"),
        b=artifact("/b", "order: 1\n"),
        c=artifact("/c", "order: -1\n"),
        d=artifact("/d", "order: 2\n"),
    )
    assert order(files) == ["system", "c", "b", "d", "a"]


@pytest.mark.parametrize("names", [["fast", "comm", "late"], ["comm", "late", "fast"]])
def test_layers_that_state_no_order_have_that_of_the_list(names: list[str]) -> None:
    files = tree(
        f"stacks:\n  one: {{layers: [{', '.join(names)}, system]}}\n",
        comm=artifact("/opt/comm"),
        late=artifact("/opt/late"),
    )
    assert order(files) == ["system", *names]


def test_required_layer_comes_just_before_the_first_that_requires_it() -> None:
    files = tree(
        "stacks:\n  one: {layers: [system, a, b, c]}\n",
        a=artifact("/a"),
        b=artifact("/b", "").replace("[os]", "[os, needed]"),
        c=artifact("/c").replace("[os]", "[os, deep]"),
        needed=artifact("/needed").replace("[os]", "[os, deep]"),
        deep=artifact("/deep"),
    )
    assert order(files) == ["system", "a", "deep", "needed", "b", "c"]
    positions = {each.name: each.position for each in stack(planned(files)).layers}
    assert sorted(positions, key=lambda name: positions[name]) == ["system", "a", "deep", "needed", "b", "c"]


def test_system_layers_come_before_artifacts_whatever_their_order() -> None:
    files = tree("stacks:\n  one: {layers: [fast, late, system]}\n", late=f"{SYSTEM_LAYER}order: 99\n")
    assert order(files) == ["system", "late", "fast"]


def test_layer_that_follows_an_absent_one_does_not_bring_it() -> None:
    files = tree("stacks:\n  one: {layers: [system, comm]}\n", comm=artifact("/opt/comm", "after: [fast]\n"))
    assert order(files) == ["system", "comm"]


def test_value_is_that_of_the_stack_else_of_the_source_else_the_default() -> None:
    taking = FAST.replace(
        "{description: release, default: 1.0,", "{description: r, default: 7, from: fast.version|major,"
    )
    files = tree(
        "stacks:\n  a: {layers: [system, fast: 3.1, comm: 9]}\n"
        "  b: {layers: [system, fast: 3.1, comm]}\n  c: {layers: [system, comm]}\n",
        comm=taking.replace("/opt/fast", "/opt/comm"),
    )
    made = planned(files)
    comm = {name: next(each for each in stack(made, name).layers if each.name == "comm") for name in "abc"}
    assert {name: (each.parameters["version"], each.origins["version"]) for name, each in comm.items()} == {
        "a": ("9", "stack"),
        "b": ("3", "fast.version"),
        "c": ("7", "default"),
    }


def test_parameter_without_any_value_is_reported_with_its_possible_sources() -> None:
    taking = FAST.replace("default: 1.0,", "from: gpu.version,")
    gpu = artifact("/opt/gpu")
    assert diagnostics(tree("stacks:\n  one: {layers: [system, fast]}\n", fast=taking, gpu=gpu)) == [
        (
            "stacks.yaml:2:26",
            "layer `fast` needs a value for `version`: no layer of the stack has `gpu.version`, which it is taken from",
            "write `fast: …`",
        )
    ]


def test_parameters_that_take_from_each_other_are_reported_as_a_loop() -> None:
    first = FAST.replace("default: 1.0,", "from: comm.version,")
    second = artifact("/opt/comm").replace("default: 1.0,", "from: fast.version,")
    found = diagnostics(tree("stacks:\n  one: {layers: [system, fast, comm]}\n", fast=first, comm=second))
    loops = [message for _, message, _ in found if "each other" in message]
    assert loops == ["parameters take their values from each other: fast.version → comm.version → fast.version"]


def test_one_layer_twice_is_reported_at_the_second() -> None:
    assert diagnostics(tree("stacks:\n  one: {layers: [system, fast, fast: 2]}\n")) == [
        ("stacks.yaml:2:32", "stack `one` lists layer `fast` twice", "remove `fast`")
    ]


def test_conflict_and_two_providers_are_reported() -> None:
    other = tree()["layers/system/layer.yaml"].replace("a system", "another")
    files = tree(
        "stacks:\n  one: {layers: [system, other, fast]}\n  two: {layers: [system, fast, comm]}\n",
        other=other,
        comm=artifact("/opt/comm", "conflicts: [fast]\n"),
    )
    files["layers/other/Dockerfile"] = files["layers/system/Dockerfile"]
    assert [message for _, message, _ in diagnostics(files)] == [
        "`system` and `other` of `one` both provide `os`",
        "the layers `comm` and `fast` cannot both be in `two`",
    ]


def test_missing_system_is_reported_with_every_candidate() -> None:
    other = tree()["layers/system/layer.yaml"]
    files = tree("stacks:\n  one: {layers: [fast]}\n", other=other)
    files["layers/other/Dockerfile"] = files["layers/system/Dockerfile"]
    assert diagnostics(files) == [
        (
            "stacks.yaml:2:18",
            "layer `fast` requires `os`, which `one` does not have",
            "add one of `other`, `system`",
        )
    ]


def test_choice_that_another_layer_makes_counts_in_every_order_of_the_list() -> None:
    other = tree()["layers/system/layer.yaml"]
    for names in permutations(["fast", "comm"]):
        files = tree(
            f"stacks:\n  one: {{layers: [{', '.join(names)}]}}\n",
            other=other,
            comm=artifact("/opt/comm").replace("[os]", "[system]"),
        )
        files["layers/other/Dockerfile"] = files["layers/system/Dockerfile"]
        assert order(files) == ["system", *names]


def test_system_layer_cannot_be_based_on_an_artifact() -> None:
    files = tree("stacks:\n  one: {layers: [system, late]}\n", late=SYSTEM_LAYER.replace("[os]", "[os, fast]"))
    assert [message for _, message, _ in diagnostics(files)] == [
        "the system layer `late` cannot be built on the artifact `fast`"
    ]


def test_version_that_does_not_fit_is_reported_with_the_text_of_the_check() -> None:
    comm = artifact("/opt/comm", 'checks: [{needs: {fast.version: ">=2,<3"}, message: only the second}]\n')
    text = "stacks:\n  a: {layers: [system, comm, fast: 2.10]}\n  b: {layers: [system, comm, fast: 3.0]}\n"
    assert diagnostics(tree(text, comm=comm)) == [
        (
            "stacks.yaml:3:24",
            "layer `comm` 1.0 needs `fast` version >=2,<3, `b` has 3.0",
            "choose versions that fit: only the second",
        )
    ]


def test_platform_that_a_layer_does_not_have_is_reported() -> None:
    text = "stacks:\n  one: {layers: [system, fast], platforms: [linux/arm64]}\n"
    files = tree(text, fast=FAST + "platforms: [linux/amd64, linux/arm64]\n")
    assert [message for _, message, _ in diagnostics(files)] == [
        "`one` is for `linux/arm64`, but the layer `system` is not"
    ]


def test_flavour_that_is_misspelt_is_not_only_an_unknown_parameter() -> None:
    recipe = "    kind: artifact\n    prefix: /opt/two\n    dockerfile: Dockerfile\n"
    layer = f"description: d\nlicence: free\nrequires: [os]\nflavours:\n  one:\n{recipe}  two:\n{recipe}"
    files = tree("stacks:\n  a: {layers: [system, two: {flavor: one}]}\n", two=layer)
    files |= {
        "layers/two/Dockerfile": "FROM toolchain AS build\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
    }
    assert [hint for _, _, hint in diagnostics(files)] == ["did you mean `flavour`?"]


def test_artifacts_share_a_path_only_if_one_follows_the_other() -> None:
    stacks = "stacks:\n  one: {layers: [system, below, level]}\n"
    for prefix, shared in (("/opt/env", "/opt/env"), ("/opt/env/lib", "/opt/env/lib"), ("/srv/a", "/srv/a/env")):
        below = "/srv/a/env" if prefix == "/srv/a" else "/opt/env"
        apart = tree(stacks, below=artifact(below), level=artifact(prefix))
        [message] = [each[1] for each in diagnostics(apart)]
        assert message == f"the layers `below` and `level` of `one` both own `{shared}`"
        assert order(tree(stacks, below=artifact("/opt/env"), level=artifact(prefix, "after: [below]\n")))
    assert order(tree(stacks, below=artifact("/opt/env"), level=artifact("/opt/environment")))


def test_artifacts_share_a_path_by_any_of_their_prefixes() -> None:
    stacks = "stacks:\n  one: {layers: [system, below, level]}\n"
    below = FAST.replace("prefix: /opt/fast", "prefix: [/opt/a, /srv/b]")
    level = FAST.replace("prefix: /opt/fast", "prefix: [/opt/c, /srv/b/d]")
    [message] = [each[1] for each in diagnostics(tree(stacks, below=below, level=level))]
    assert message == "the layers `below` and `level` of `one` both own `/srv/b/d`"
    assert order(tree(stacks, below=below, level=level.replace("/b/d", "/bd")))
