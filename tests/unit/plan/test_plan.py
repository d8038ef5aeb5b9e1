"""Nodes, stacks and lock become targets, groups, variables and warnings."""

from __future__ import annotations

from datetime import date

import pytest

from buildsys.errors import InvalidInput
from buildsys.plan.plan import Plan, epoch_of, folded, stale
from buildsys.report.documents import plan_document
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
            "layers/tools/layer.yaml:4:16",
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
        ("stacks.yaml:2:3", "the stack `system-1` has the name of the node `system 1`", "rename the stack")
    ]


def test_layers_that_set_one_variable_differently_are_reported() -> None:
    other = GPU.replace("prepend: {PATH: /opt/gpu/bin}", "set: {LANG: de}")
    assert [each[:2] for each in diagnostics(tree("stacks:\n  one: {layers: [system, gpu]}\n", gpu=other))] == [
        ("stacks.yaml:2:3", "`one`: the layers `system` and `gpu` set `LANG` to `C.UTF-8` and `de`")
    ]


def test_last_user_and_workdir_count_and_ports_are_joined() -> None:
    first, last = "user: a\nworkdir: /a\nports: [80, 22]\n", "user: b\nports: [22, 443]\norder: 5\n"
    files = tree("stacks:\n  one: {layers: [system, fast, gpu]}\n", fast=FAST + first, gpu=GPU + last)
    found = stack(planned(files)).config
    assert (found.user, found.workdir, found.ports) == ("b", "/a", ("80", "22", "443"))


def test_flavour_with_an_epoch_of_its_own_has_that_and_others_have_that_of_the_layer() -> None:
    system = (
        tree()["layers/system/layer.yaml"] + "freshness: week\nflavours: {slim: , full: {packages: [names: [x]]}}\n"
    )
    files = tree("stacks:\n  a: {layers: [system]}\n  b: {layers: [system], flavour: full}\n", system=system)
    files["layers/system/Dockerfile"] += "ARG EPOCH\n"

    def epochs(lock: str) -> dict[str, str | None]:
        plan = planned({**files, "buildsys.lock": LOCK + f"epochs: {{{lock}}}\n"})
        return {node.recipe.flavour: epoch_of(plan, node) for node in plan.nodes}

    assert epochs("system: 2026-11-02") == {"slim": "2026-11-02", "full": "2026-11-02"}
    assert epochs("system: 2026-11-02, system/full: 2026-11-23") == {"slim": "2026-11-02", "full": "2026-11-23"}
    assert epochs("system/slim: 2026-11-09, system/full: 2026-11-23") == {"slim": "2026-11-09", "full": "2026-11-23"}
    found = planned({**files, "buildsys.lock": LOCK + "epochs: {system: 2026-11-23, system/full: 2026-11-02}\n"})
    assert stale(found, date(2026, 11, 25)) == (("system/full", "2026-11-02"),)


def test_epoch_comes_from_the_lock_and_reaches_those_that_its_dockerfile_installs() -> None:
    files = tree(system=tree()["layers/system/layer.yaml"] + "freshness: week\n")
    files["layers/system/Dockerfile"] += "ARG EPOCH\n"
    assert [each[:2] for each in diagnostics(files)] == [
        ("layers/system/layer.yaml:11:1", "`buildsys.lock` has no epoch for the layer `system`")
    ]
    files["buildsys.lock"] = LOCK + "epochs: {system: 2026-11-23, other: 2026-01-01}\n"
    assert dict(planned(files).epochs) == {"system": "2026-11-23"}
    files["buildsys.lock"] = LOCK + "epochs: {system: 2026-11-23.2}\n"
    assert dict(planned(files).epochs) == {"system": "2026-11-23.2"}


def test_timestamp_comes_from_the_lock_and_is_a_fixed_day_without_one() -> None:
    assert planned(tree()).timestamp == 315619200
    files = {**tree(), "buildsys.lock": LOCK + "timestamp: 2026-11-23T00:00:00Z\n"}
    assert planned(files).timestamp == 1795392000


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
    with pytest.raises(InvalidInput, match=r"`buildsys\.lock` has format 9, this buildsys reads up to 1"):
        planned({**files, "buildsys.lock": "version: 9\n"})


def test_labels_have_the_values_of_their_layer() -> None:
    files = tree("stacks:\n  one: {layers: [system, fast]}\n")
    files["layers/fast/layer.yaml"] += "labels: {org.example.fast: 'v{version}'}\n"
    assert planned(files).stacks[0].config.labels["org.example.fast"] == "v1.0"


UNKNOWN = """\
  one: {layers: [system]}
  two: {layers: [system: {release: 2}]}
"""


def _unpinned(lock: str) -> Plan:
    return planned(
        {**tree(f"stacks:\n{UNKNOWN}"), "buildsys.lock": f"version: 1\nepochs: {{system: 2026-11-23}}\n{lock}"}
    )


def _entry(name: str, more: str = "") -> str:
    return f"  {name}: {{reference: example.com/x, digest: unknown, reason: no source has it{more}}}\n"


def test_parents_that_the_lock_does_not_have_are_one_warning_with_a_command() -> None:
    (warning,) = folded(_unpinned(""))
    assert warning.message == "`buildsys.lock` has no entry for 2 parents: `linux-1`, `linux-2`"
    assert warning.hint == "run `buildsys lock`, which looks for what is unknown"
    assert str(warning.location) == "layers/system/layer.yaml:5:16"


def test_parents_of_unknown_digest_are_one_warning_at_the_first_of_them() -> None:
    made = _unpinned("parents:\n" + _entry("linux-1") + _entry("linux-2"))
    (warning,) = folded(made)
    assert warning.message.startswith("the digests of 2 parents are unknown: `linux-1`, `linux-2`; ")
    assert "`accepted: true`" in (warning.hint or "")
    assert str(warning.location) == "buildsys.lock:4:47"
    assert len(made.warnings) == 2


def test_one_parent_of_unknown_digest_is_warned_of_with_its_reason() -> None:
    made = _unpinned("parents:\n" + _entry("linux-1") + _entry("linux-2", ", accepted: true"))
    assert [each.message for each in folded(made)] == [
        "the digest of the parent `linux-1` is unknown: no source has it"
    ]


def test_accepted_parent_is_not_warned_of_and_stays_in_the_document() -> None:
    made = _unpinned("parents:\n" + "".join(_entry(name, ", accepted: true") for name in ("linux-1", "linux-2")))
    assert folded(made) == made.warnings == ()
    document = plan_document(made)
    assert document["warnings"] == []
    assert document["accepted"] == [
        f"the digest of the parent `{name}` is unknown: no source has it" for name in ("linux-1", "linux-2")
    ]


def test_accepting_an_unknown_digest_changes_no_reference() -> None:
    entries = [_entry(name) for name in ("linux-1", "linux-2")]
    accepted = [each.replace("}", ", accepted: true}") for each in entries]
    before, after = (_unpinned("parents:\n" + "".join(lines)) for lines in (entries, accepted))
    assert [each.reference for each in before.parents] == [each.reference for each in after.parents]


def test_download_of_unknown_checksum_can_be_accepted_in_the_lock() -> None:
    fast = FAST + 'downloads: {source: {url: "https://example.com/x.git#1", sha256: unknown, reason: a commit}}\n'
    files = tree("stacks:\n  one: {layers: [system, fast]}\n", fast=fast)
    files["layers/fast/Dockerfile"] = (
        "FROM scratch AS s\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + files["layers/fast/Dockerfile"]
    )
    said = [each for each in folded(planned(files)) if "checksum" in each.message]
    assert [each.message for each in said] == ["the checksum of `https://example.com/x.git#1` is unknown: a commit"]
    entry = 'downloads: {"https://example.com/x.git#1": {sha256: unknown, accepted: true}}\n'
    made = planned({**files, "buildsys.lock": files["buildsys.lock"] + entry})
    assert [each for each in folded(made) if "checksum" in each.message] == []
    assert [each.name for each in made.unpinned if each.accepted] == ["https://example.com/x.git#1"]
