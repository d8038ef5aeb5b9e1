"""Layers of all stacks become units of work: one for every stack that shares it, two where the result could differ."""

from __future__ import annotations

import pytest

from buildsys.errors import InvalidInput
from tests.support.trees import FAST, diagnostics, planned, stack, tree

COMM = FAST.replace("/opt/fast", "/opt/comm") + "after: [fast]\n"
TAKES_FAST = "FROM toolchain AS build\nCOPY --from=fast / /\nARG VERSION\nARG FLAGS\nRUN make\nFROM scratch\n"
COPY = "COPY --from=build /artifact /\n"


def names(files: dict[str, str]) -> list[str]:
    return [node.name for node in planned(files).nodes]


def with_comm(text: str) -> dict[str, str]:
    return {**tree(text, comm=COMM), "layers/comm/Dockerfile": TAKES_FAST + COPY}


def test_two_stacks_share_every_node_that_is_the_same() -> None:
    text = (
        "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system: {release: 2}, fast]}\n"
        "  c: {layers: [fast, system]}\n"
    )
    assert names(tree(text)) == ["system-1", "system-2", "tools-1", "tools-2", "fast-1_0-tools-1", "fast-1_0-tools-2"]


def test_needs_come_before_what_needs_them() -> None:
    made = planned(with_comm("stacks:\n  a: {layers: [comm, fast, system]}\n"))
    assert [node.name for node in made.nodes] == [
        "system-1",
        "tools-1",
        "fast-1_0-tools-1",
        "comm-1_0-tools-1-with-fast-1_0",
    ]
    assert made.nodes[-1].below == ("tools-1", "fast-1_0-tools-1")
    assert stack(made, "a").below == ("system-1", "fast-1_0-tools-1", "comm-1_0-tools-1-with-fast-1_0")


def test_artifact_differs_by_what_it_was_built_with() -> None:
    text = "stacks:\n  a: {layers: [system, comm]}\n  b: {layers: [system, comm, fast: 2.0]}\n"
    made = planned(with_comm(text))
    comm = {node.name: node.needs for node in made.nodes if node.recipe.layer == "comm"}
    assert comm == {
        "comm-1_0-tools-1": (("fast", None),),
        "comm-1_0-tools-1-with-fast-2_0": (("fast", "fast-2_0-tools-1"),),
    }


def test_layer_beside_it_that_the_dockerfile_does_not_name_changes_nothing() -> None:
    text = "stacks:\n  a: {layers: [system, comm]}\n  b: {layers: [system, comm, fast]}\n"
    comm = [name for name in names(tree(text, comm=COMM)) if name.startswith("comm")]
    assert comm == ["comm-1_0-tools-1"]


def test_parameter_that_no_name_shows_is_in_the_hash() -> None:
    text = (
        "stacks:\n  a: {layers: [system, fast: {flags: [-x, -y]}]}\n"
        "  b: {layers: [system, fast: {flags: [-x]}]}\n  c: {layers: [system, fast]}\n"
    )
    fast = [node for node in planned(tree(text)).nodes if node.recipe.layer == "fast"]
    assert len({node.name for node in fast}) == 3
    assert fast[0].name == "fast-1_0-tools-1"
    assert {dict(node.arguments)["FLAGS"] for node in fast} == {"-x -y", "-x", ""}


def test_parameter_for_the_environment_alone_makes_no_second_node() -> None:
    fast = FAST.replace("flags:", "mode: {description: m, default: slow}\n  flags:").replace(
        "prepend:", "set: {MODE: '{mode}'}, prepend:"
    )
    text = "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system, fast: {mode: quick}]}\n"
    made = planned(tree(text, fast=fast))
    assert [node.name for node in made.nodes if node.recipe.layer == "fast"] == ["fast-1_0-tools-1"]
    assert [{v.name: v.shown for v in each.environment}["MODE"] for each in made.stacks] == ["slow", "quick"]


def test_fixed_toolchain_gives_one_node_to_all_systems() -> None:
    fast = FAST + "toolchain: {layer: tools, parameters: {release: 9}}\n"
    text = "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system: {release: 2}, fast]}\n"
    made = planned(tree(text, fast=fast))
    assert [(node.name, node.base) for node in made.nodes if node.recipe.kind == "artifact"] == [
        ("fast-1_0", "tools-9")
    ]


def test_value_of_the_system_that_no_name_shows_distinguishes_two_nodes() -> None:
    # With a fixed toolchain the name says nothing of the system, whichever layer replaces it.
    fixed = "toolchain: {layer: tools, parameters: {release: 9}}\n"
    taking = COMM.replace("flags:", "release: {description: r, from: os.release}\n  flags:") + fixed
    text = "stacks:\n  a: {layers: [system, fast, comm]}\n  b: {layers: [system: {release: 2}, fast, comm]}\n"
    files = tree(text, fast=FAST + fixed, comm=taking)
    files["layers/comm/Dockerfile"] = TAKES_FAST.replace("ARG FLAGS", "ARG FLAGS\nARG RELEASE") + COPY
    comm = [node for node in planned(files).nodes if node.recipe.layer == "comm"]
    assert len({node.name for node in comm}) == 2
    assert {dict(node.arguments)["RELEASE"] for node in comm} == {"1", "2"}


def test_value_taken_from_the_system_and_the_same_value_set_are_one_node() -> None:
    taking = FAST.replace("flags:", "release: {description: r, from: os.release}\n  flags:")
    text = "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system, fast: {release: 1}]}\n"
    files = tree(text, fast=taking)
    files["layers/fast/Dockerfile"] = files["layers/fast/Dockerfile"].replace("ARG FLAGS", "ARG FLAGS\nARG RELEASE")
    assert [name for name in names(files) if name.startswith("fast")] == ["fast-1_0-tools-1"]


def test_packages_are_sorted_unique_and_installed_by_the_system() -> None:
    more = (
        "description: d\nkind: system\nlicence: free\nrequires: [os]\n"
        "packages: [{names: [zlib, acl]}, {names: [acl, b]}]\n"
    )
    made = planned(tree("stacks:\n  one: {layers: [system, more]}\n", more=more))
    node = next(each for each in made.nodes if each.recipe.layer == "more")
    assert (node.name, node.base) == ("more-on-system-1", "system-1")
    assert (node.folder, node.dockerfile) == ("layers/system", "layers/system/Dockerfile")
    assert node.arguments == (("PACKAGES", "acl b zlib"),)


def test_title_says_layer_labels_and_place() -> None:
    titles = [
        node.title for node in planned(tree("stacks:\n  one: {layers: [system: {release: 2}, fast: 2.0]}\n")).nodes
    ]
    assert titles == ["system 2", "tools 2", "fast 2.0 on tools 2"]


def test_value_of_the_system_is_hashed_where_one_toolchain_serves_several_releases() -> None:
    system = tree()["layers/system/layer.yaml"].replace('release: "{release}"', "release: 1")
    taking = FAST.replace("flags:", "release: {description: r, from: os.release}\n  flags:")
    text = "stacks:\n  a: {layers: [system, fast]}\n  b: {layers: [system: {release: 2}, fast]}\n"
    files = tree(text, fast=taking, system=system)
    files["layers/fast/Dockerfile"] = files["layers/fast/Dockerfile"].replace("ARG FLAGS", "ARG FLAGS\nARG RELEASE")
    assert len([name for name in names(files) if name.startswith("fast")]) == 2


def test_stack_without_a_parent_image_is_reported() -> None:
    system = tree()["layers/system/layer.yaml"]
    lines = [line for line in system.splitlines() if not line.startswith("parent:")]
    assert diagnostics(tree(system="\n".join(lines) + "\n"))[0] == (
        "stacks.yaml:2:3",
        "no layer of `one` declares a parent image",
        "add a layer that provides `os`, and has a `parent`",
    )


def test_download_that_no_variant_fits_is_reported_with_the_values() -> None:
    fast = (
        FAST + 'downloads: {source: {when: {version: 1.0}, url: "https://example.com/x", sha256: unknown, reason: r}}\n'
    )
    files = tree("stacks:\n  one: {layers: [system, fast: 2.0]}\n", fast=fast)
    files["layers/fast/Dockerfile"] = (
        "FROM scratch AS source\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + files["layers/fast/Dockerfile"]
    )
    assert [message for _, message, _ in diagnostics(files)] == [
        "layer `fast` has no download `source` for `version: 2.0`"
    ]


def test_hash_of_a_node_is_not_taken_for_that_of_the_one_beside_it() -> None:
    plain = COMM.replace("label: true", "label: false")
    text = "stacks:\n  a: {layers: [system, fast, comm: 2]}\n  b: {layers: [system, fast: 2, comm]}\n"
    files = with_comm(text)
    files["layers/comm/layer.yaml"] = plain
    files["layers/fast/layer.yaml"] = (
        FAST.replace("label: true", "label: false") + "toolchain: {layer: tools, parameters: {release: 1}}\n"
    )
    comm = [name for name in names(files) if name.startswith("comm")]
    assert len(comm) == 2
    assert all(name.startswith("comm-tools-1-with-fast-") for name in comm)


def test_installer_of_another_stack_does_not_change_a_name() -> None:
    pack = (
        "description: packages\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [git]}]\n"
        "parameters: {extra: {description: something, default: a}}\nenvironment: {set: {NOTE: '{extra}'}}\n"
    )
    other = "stacks:\n  two: {layers: [system, pack: {extra: b}]}\n"
    both = "stacks:\n  one: {layers: [zystem, pack: {extra: b}]}\n  two: {layers: [system, pack: {extra: b}]}\n"
    system = tree()["layers/system/layer.yaml"].replace("linux-", "zinux-")
    files = {"layers/zystem/Dockerfile": "FROM base\nARG PACKAGES\nARG EXTRA=x\nRUN install $PACKAGES $EXTRA\n"}
    alone = planned(tree(other, pack=pack, zystem=system) | files)
    beside = planned(tree(both, pack=pack, zystem=system) | files)
    assert stack(alone, "two").base == stack(beside, "two").base


def test_conflicts_of_variables_are_reported_with_the_errors_of_other_stacks() -> None:
    late = FAST.replace("prepend: {PATH: /opt/fast/bin}", "set: {LANG: de}")
    stacks = "stacks:\n  one: {layers: [system, fast]}\n  two: {layers: [system, system]}\n"
    with pytest.raises(InvalidInput) as error:
        planned(tree(stacks, fast=late))
    messages = [each.message for each in error.value.diagnostics()]
    assert "stack `two` lists layer `system` twice" in messages
    assert any("set `LANG` to `C.UTF-8` and `de`" in message for message in messages)
