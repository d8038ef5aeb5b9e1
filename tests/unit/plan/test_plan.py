"""Nodes, stacks and lock become targets, groups, variables and warnings."""

from __future__ import annotations

import pytest

from buildsys.errors import InvalidInput
from tests.support.trees import FAST, LOCK, diagnostics, planned, stack, tree

GPU = FAST.replace("/opt/fast", "/opt/gpu") + "accelerator: gpu\n"


def groups(text: str) -> dict[str, tuple[str, ...]]:
    return dict(planned(tree(text, gpu=GPU)).groups)


def test_every_stack_is_in_the_group_of_its_accelerator_and_in_those_it_names() -> None:
    text = "stacks:\n  a.1: {layers: [system, gpu], groups: [mine]}\n  b: {layers: [system], groups: [mine]}\n"
    assert groups(text) == {"cpu": ("b",), "default": ("a_1", "b"), "gpu": ("a_1",), "mine": ("a_1", "b")}


def test_deprecated_stack_is_in_no_group_but_those_that_name_it() -> None:
    text = "stacks:\n  a: {layers: [system], deprecated: old, groups: [mine]}\n  b: {layers: [system]}\n"
    assert groups(text) == {"cpu": ("b",), "default": ("b",), "gpu": (), "mine": ("a",)}


def test_family_is_a_group() -> None:
    text = (
        "families:\n  f:\n    description: d\n    name: 'x{r}'\n    layers: [system: {release: '{r}'}]\n"
        "    matrix: [{r: [1, 2]}]\n"
    )
    assert groups(text)["f"] == ("x1", "x2")


def test_group_that_names_what_every_stack_is_in_has_it_once() -> None:
    assert groups("stacks:\n  a: {layers: [system], groups: [default, cpu]}\n")["default"] == ("a",)


def test_parent_is_pinned_by_the_lock_and_warned_of_where_it_is_not() -> None:
    made = planned(tree())
    assert {each.name: (each.variable, each.reference) for each in made.parents} == {
        "linux-1": ("BUILDSYS_PARENT_LINUX_1", f"example.com/linux@sha256:{'1' * 64}"),
        "tools-1": ("BUILDSYS_PARENT_TOOLS_1", "example.com/tools:1"),
    }
    assert [each.message for each in made.warnings] == [
        "the digest of the parent `tools-1` is unknown: `buildsys.lock` has no entry for it"
    ]


def test_two_parents_of_one_name_must_be_one_image() -> None:
    tools = tree()["layers/tools/layer.yaml"].replace('name: "tools-{release}"', 'name: "linux-{release}"')
    assert diagnostics(tree(tools=tools)) == [
        (
            "layers/tools/layer.yaml:1:1",
            "the parent `linux-1` is `example.com/linux:1` and also `example.com/tools:1`",
            "rename one of them",
        )
    ]


def test_two_parents_that_would_be_one_variable_are_reported() -> None:
    tools = tree()["layers/tools/layer.yaml"].replace('name: "tools-{release}"', 'name: "linux.{release}"')
    assert [message for _, message, _ in diagnostics(tree(tools=tools))] == [
        "the parents `linux-1` and `linux.1` would both be `BUILDSYS_PARENT_LINUX_1`"
    ]


def test_stack_with_the_name_of_a_node_is_reported() -> None:
    assert diagnostics(tree("stacks:\n  system-1: {layers: [system]}\n")) == [
        ("stacks.yaml:2:3", "the stack `system-1` has the name of a node, `system-1`", None)
    ]


def test_layers_that_set_one_variable_differently_are_reported() -> None:
    other = GPU.replace("prepend: {PATH: /opt/gpu/bin}", "set: {LANG: de}")
    assert diagnostics(tree("stacks:\n  one: {layers: [system, gpu]}\n", gpu=other)) == [
        ("stacks.yaml:2:3", "`one`: the layers `system` and `gpu` set `LANG` to `C.UTF-8` and `de`", None)
    ]


def test_last_user_and_workdir_count_and_ports_are_joined() -> None:
    first, last = "user: a\nworkdir: /a\nports: [80, 22]\n", "user: b\nports: [22, 443]\norder: 5\n"
    files = tree("stacks:\n  one: {layers: [system, fast, gpu]}\n", fast=FAST + first, gpu=GPU + last)
    found = stack(planned(files)).config
    assert (found.user, found.workdir, found.ports) == ("b", "/a", ("80", "22", "443"))


def test_epoch_comes_from_the_lock_and_reaches_those_that_its_dockerfile_installs() -> None:
    files = tree(system=tree()["layers/system/layer.yaml"] + "freshness: week\n")
    files["layers/system/Dockerfile"] += "ARG EPOCH\n"
    assert [each[:2] for each in diagnostics(files)] == [
        ("buildsys.lock:1:1", "`buildsys.lock` has no epoch for the layer `system`")
    ]
    files["buildsys.lock"] = LOCK + "epochs: {system: 2026-11-23, other: 2026-01-01}\n"
    assert dict(planned(files).epochs) == {"system": "2026-11-23"}


def test_unknown_checksum_and_lock_of_another_version_are_reported() -> None:
    fast = FAST + 'downloads: {source: {url: "https://example.com/{version}", sha256: unknown, reason: unpublished}}\n'
    files = tree(fast=fast)
    files["layers/fast/Dockerfile"] = (
        "FROM scratch AS s\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + files["layers/fast/Dockerfile"]
    )
    made = planned(files)
    location = f"layers/fast/layer.yaml:{len(FAST.splitlines()) + 1}:68"
    told = {(str(each.location), each.message) for each in made.warnings}
    assert (location, "the checksum of `https://example.com/1.0` is unknown: unpublished") in told
    assert dict(made.origins) == {"BUILDSYS_DOWNLOADS_EXAMPLE_COM": "https://example.com"}
    with pytest.raises(InvalidInput, match="`9`: expected `1`, the version that this buildsys reads"):
        planned({**files, "buildsys.lock": "version: 9\n"})


def test_labels_have_the_values_of_their_layer() -> None:
    files = tree("stacks:\n  one: {layers: [system, fast]}\n")
    files["layers/fast/layer.yaml"] += "labels: {org.example.fast: 'v{version}'}\n"
    assert planned(files).stacks[0].config.labels["org.example.fast"] == "v1.0"
