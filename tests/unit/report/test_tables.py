"""A plan as tables: the exact lines."""

from __future__ import annotations

import io

import pytest

from buildsys.bake.targets import defaults
from buildsys.errors import InvalidInput
from buildsys.plan.actions import Action, ActionKind
from buildsys.plan.selection import listed
from buildsys.report.console import Screen
from buildsys.report.documents import stack_document
from buildsys.report.tables import show_actions, show_list, show_plan, show_stack
from buildsys.run.scheduler import Left
from tests.support.trees import FAST, planned, tree

STACKS = (
    "families:\n  f:\n    description: a family\n    name: 'f{r}'\n    layers: [system: {release: '{r}'}, fast]\n"
    "    matrix: [{r: 1, groups: [quick]}, {r: 2, deprecated: old}]\nstacks:\n  one: {layers: [system]}\n"
)


def test_plan_is_one_line_per_target_in_build_order_and_a_count() -> None:
    stream = io.StringIO()
    show_plan(planned(tree(STACKS)), state="Done.", screen=Screen(stream, {}))
    assert stream.getvalue() == (
        "  node   system 1             system-1\n"
        "  node   system 2             system-2\n"
        "  node   tools 1              tools-1\n"
        "  node   tools 2              tools-2\n"
        "  node   fast 1.0 on tools 1  fast-1_0-tools-1\n"
        "  node   fast 1.0 on tools 2  fast-1_0-tools-2\n"
        "  image  f1                   system-1 + fast\n"
        "  image  f2                   system-2 + fast · deprecated\n"
        "  image  one                  system-1\n"
        "6 nodes, 3 images (1 deprecated). Done.\n"
    )


def test_list_is_by_family_with_groups_and_reasons() -> None:
    stream = io.StringIO()
    plan = planned(tree(STACKS))
    show_list(plan, [*plan.indexes], Screen(stream, {}))
    assert stream.getvalue() == (
        "f  a family\n"
        "  f1  cpu quick\n"
        "  f2  cpu        deprecated: old\n"
        "single stacks\n"
        "  one  cpu\n"
        "groups: cpu (2), default (2), f (1), quick (1)\n"
    )


def test_list_of_some_stacks_has_their_groups_alone() -> None:
    plan, stream = planned(tree(STACKS)), io.StringIO()
    assert listed(plan, ["f*"], ["fast"]) == ("f1", "f2")
    show_list(plan, listed(plan, ["quick"]), Screen(stream, {}))
    assert stream.getvalue() == "f  a family\n  f1  cpu quick\ngroups: cpu (1), default (1), f (1), quick (1)\n"


def test_node_lists_the_stacks_that_use_it() -> None:
    plan = planned(tree(STACKS))
    assert listed(plan, ["fast-1_0-tools-1"]) == ("f1",)
    assert listed(plan, (), ["fast", "system"]) == ("f1", "f2")
    with pytest.raises(InvalidInput, match="no stack has a layer `fsat`"):
        listed(plan, (), ["fsat"])


def test_actions_with_one_reason_are_one_line_and_what_is_reused_is_counted() -> None:
    plan = planned(tree(STACKS))
    nodes = {
        node.name: Action(target=node.name, word=ActionKind.BUILD, reason="the epoch moved") for node in plan.nodes
    }
    nodes["tools-1"] = Action(target="tools-1", word=ActionKind.REUSE, reason="nodes@1")
    images = {each.name: Action(target=each.name, word=ActionKind.BUILD, reason="reassembled") for each in plan.stacks}
    stream = io.StringIO()
    show_actions(plan, nodes | images, Screen(stream, {}), left=Left(seconds=200, whole=True))
    assert stream.getvalue() == (
        "  build  system 1, system 2 and 3 more  the epoch moved\n"
        "  image  f1, f2, one                    reassembled\n"
        "  reuse  tools 1\n"
        "5 nodes to build (about 3 min), 1 reused, 0 not needed; 3 of 3 images to build\n"
    )
    stream = io.StringIO()
    show_actions(plan, nodes | images, Screen(stream, {}), folds=False)
    assert len(stream.getvalue().splitlines()) == len(plan.targets) + 1


def test_stack_has_layers_values_places_and_environment() -> None:
    stream = io.StringIO()
    show_stack(planned(tree(STACKS)), "f2", Screen(stream, {}))
    assert stream.getvalue() == (
        "f2  a family\n"
        "deprecated: old\n"
        "parent    example.com/linux:2\n"
        "          not pinned: `buildsys.lock` has no entry for it\n"
        "groups    cpu f\n"
        "platforms linux/amd64\n"
        "declared  stacks.yaml:6:39\n"
        "layers\n"
        "  system  system, named by the stack\n"
        "    a system\n"
        "      release  2  from stack\n"
        "      node      system-2\n"
        "      packages  base-files zip\n"
        "  fast  artifact, named by the stack\n"
        "    an artifact\n"
        "      version  1.0  from default\n"
        '      flags    ""   from default\n'
        "      node    fast-1_0-tools-2\n"
        "      prefix  /opt/fast\n"
        "environment\n"
        "  LANG  C.UTF-8              from system\n"
        "  PATH  /opt/fast/bin:$PATH  from fast\n"
    )


def test_stack_has_everything_that_a_layer_brings() -> None:
    own = (
        "description: d\nkind: system\nlicence: free\nparameters:\n  tool: {description: t, default: curl}\n"
        "packages: [{names: ['{tool}']}, {names: [zip], when: {tool: wget}}]\n"
        "tests: [{run: '{tool} --version'}, {run: zip, when: {tool: wget}}]\n"
    )
    fast = FAST + 'downloads: {tar: {url: "https://example.com/{version}.tar", sha256: "%s"}}\n' % ("a" * 64)
    fast += "secrets: [{id: token, description: a token}]\n"
    files = tree("stacks:\n  one: {layers: [system, own, fast]}\n", own=own, fast=fast)
    files["layers/fast/Dockerfile"] = files["layers/fast/Dockerfile"].replace(
        "FROM toolchain AS build\n",
        "FROM toolchain AS build\nARG TAR_URL\nARG TAR_SHA256\nRUN --mount=type=secret,id=token,required=true true\n",
    )
    plan, stream = planned(files), io.StringIO()
    show_stack(plan, "one", Screen(stream, {}))
    (image,) = plan.stacks
    said = stream.getvalue()
    assert (
        "  own  system, named by the stack\n    d\n      tool  curl  from default\n"
        f"      node      {image.base}\n      packages  curl\n      test      curl --version\n"
    ) in said
    assert "      secrets   token\n      download  https://example.com/1.0.tar\n" in said
    layers = {each["name"]: each for each in stack_document(plan, image, defaults(plan))["layers"]}
    assert layers["own"]["packages"] == ["curl"]
    assert layers["own"]["tests"] == ["curl --version"]
    assert layers["fast"]["secrets"] == ["token"]


def test_stack_has_each_setting_with_its_layer() -> None:
    said = 'command: [run, "a b"]\nports: [80]\nhealthcheck: {command: [ok], interval: 5m}\nlabels: {a: "1"}\n'
    other = f"description: d\nkind: system\nlicence: free\nentrypoint: [tini]\nuser: me\nworkdir: /srv\n{said}"
    files = tree("stacks:\n  one: {layers: [system, other, fast]}\n", other=other, fast=FAST + "command: [fast]\n")
    stream = io.StringIO()
    show_stack(planned(files), "one", Screen(stream, {}))
    assert stream.getvalue().partition("settings\n")[2] == (
        '  entrypoint   ["tini"]                    from other\n'
        '  command      ["fast"]                    from fast\n'
        "  user         me                          from other\n"
        "  workdir      /srv                        from other\n"
        '  healthcheck  --interval=300s CMD ["ok"]  from other\n'
        "  port         80                          from other\n"
        "  label        a=1                         from other\n"
    )


TAGGED = (
    "stacks:\n  a: {layers: [system], repository: lang, tags: ['1.2', '1', latest]}\n"
    "  b: {layers: [system], repository: team/b}\n  c: {layers: [system]}\n"
)


def test_list_and_show_name_what_a_stack_is_published_as() -> None:
    plan, stream = planned(tree(TAGGED)), io.StringIO()
    show_list(plan, list(plan.indexes), Screen(stream, {}))
    assert stream.getvalue().splitlines()[1:4] == ["  a  cpu  lang:1.2 +2", "  b  cpu  team/b", "  c  cpu"]
    stream = io.StringIO()
    for name in ("a", "b", "c"):
        show_stack(plan, name, Screen(stream, {}))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("published")]
    assert lines == ["published lang: 1.2 1 latest", "published team/b: BUILDSYS_TAG"]
