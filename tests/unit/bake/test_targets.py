"""The definition of one run: what is built and nothing else, on what exists by its digest."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from buildsys.bake.hcl import evaluate
from buildsys.bake.targets import (
    Publication,
    base_images_definition,
    defaults,
    flat_definition,
    linked_nodes,
    plan_definition,
    run_definition,
)
from buildsys.plan.actions import BUILD, decide
from tests.support import trees
from tests.support.bake_text import blocks
from tests.support.keyed import keyed
from tests.support.trees import FAST, tree

COMM = FAST.replace("/opt/fast", "/opt/comm") + "after: [fast]\n"
TAKES_FAST = (
    "FROM toolchain AS build\nCOPY --from=fast / /\nARG VERSION\nARG FLAGS\n"
    "RUN --mount=type=bind,from=mirrors,target=/run/mirrors make\nFROM scratch\nCOPY --from=build /artifact /\n"
)
FILES = {
    **tree("stacks:\n  one: {layers: [system, fast, comm]}\n  two: {layers: [system, comm]}\n", comm=COMM),
    "layers/comm/Dockerfile": TAKES_FAST,
}
PLAN, KEYS = keyed(FILES)
TOOLS, FAST_NODE, WITH, ALONE = "tools-1", "fast-1_0-tools-1", "comm-1_0-tools-1-with-fast-1_0", "comm-1_0-tools-1"
DIGEST = f"sha256:{'ab' * 32}"


def rendered(existing: Collection[str], inputs: str = "{}") -> str:
    """Return the file of a bake of everything that is missing, where these nodes exist."""
    references = dict.fromkeys(existing, f"r.example.com/nodes@{DIGEST}")
    actions = decide(PLAN, KEYS, references, {}, ["one", "two"])
    wanted = [node.name for node in PLAN.nodes if actions[node.name].word == BUILD]
    published = {
        name: Publication(
            name=f"r.example.com/nodes:incoming-{name}",
            annotations={"dev.buildsys.inputs": inputs, "dev.buildsys.key": KEYS.nodes[name].key},
        )
        for name in wanted
    }
    return run_definition(PLAN, wanted, references, publications=published).to_hcl()


def targets(existing: Collection[str]) -> dict[str, str]:
    return blocks(rendered(existing), "target")


def test_targets_are_the_nodes_that_are_built_and_the_mirrors() -> None:
    assert list(targets([])) == ["mirrors", "system-1", TOOLS, ALONE, FAST_NODE, WITH]
    assert list(targets([TOOLS, "system-1", FAST_NODE])) == ["mirrors", ALONE, WITH]
    # What only something that exists needs is neither built nor named.
    assert list(targets([FAST_NODE, WITH, ALONE])) == ["mirrors", "system-1"]


def test_nodes_that_exist_are_taken_by_their_digest_and_others_by_a_link() -> None:
    body = targets([FAST_NODE])[WITH]
    assert f'fast      = "docker-image://r.example.com/nodes@{DIGEST}"' in body
    assert f'toolchain = "target:{TOOLS}"' in body
    assert 'mirrors   = "target:mirrors"' in body
    body = targets([TOOLS])[WITH]
    assert f'fast      = "target:{FAST_NODE}"' in body
    assert f'toolchain = "docker-image://r.example.com/nodes@{DIGEST}"' in body


def test_every_link_has_its_target_in_the_file_whatever_exists() -> None:
    names = [node.name for node in PLAN.nodes]
    for number in range(2 ** len(names)):
        existing = [name for index, name in enumerate(names) if number >> index & 1]
        text = rendered(existing)
        found = blocks(text, "target")
        linked = {part.split('"')[0] for part in text.split('"target:')[1:]}
        assert linked <= found.keys()
        assert "None" not in text


def test_parent_stays_a_variable_and_an_absent_artifact_stays_empty() -> None:
    found = targets([])
    assert 'base = "docker-image://${BUILDSYS_PARENT_LINUX_1}"' in found["system-1"]
    assert 'fast      = "docker-image://scratch"' in found[ALONE]


def test_node_is_pushed_to_its_staging_tag_with_its_key_and_inputs_and_without_provenance() -> None:
    body = targets([])[TOOLS]
    key = KEYS.nodes[TOOLS].key
    assert re.search(rf'tags += \["r\.example\.com/nodes:incoming-{TOOLS}"\]', body)
    assert '"manifest:dev.buildsys.inputs={}"' in body
    assert f'"manifest:dev.buildsys.key={key}"' in body
    assert '["type=image,push=true,store=false,oci-mediatypes=true,rewrite-timestamp=true"]' in body
    assert '["type=provenance,disabled=true"]' in body


def test_inputs_that_look_like_hcl_are_written_as_text() -> None:
    body = blocks(rendered([], inputs='{"variable A":"${HOME} %{ if x } \\"q\\" $$"}'), "target")[TOOLS]
    assert r'"manifest:dev.buildsys.inputs={\"variable A\":\"$${HOME} %%{ if x } \\\"q\\\" $$\"}"' in body


def test_file_is_the_same_every_time() -> None:
    assert rendered([TOOLS]) == rendered([TOOLS])


def test_bake_of_one_target_brings_what_it_links_to_and_no_more() -> None:
    assert linked_nodes(PLAN, [WITH], {}) == (TOOLS, FAST_NODE)
    assert linked_nodes(PLAN, [WITH], {FAST_NODE: "r"}) == (TOOLS,)
    assert linked_nodes(PLAN, ["two"], {}) == ("system-1", TOOLS, ALONE)
    found = blocks(run_definition(PLAN, [WITH], {}).to_hcl(), "target")
    assert list(found) == ["mirrors", TOOLS, FAST_NODE, WITH]
    assert all('["type=cacheonly"]' in body for body in found.values())


def test_stack_that_is_not_published_has_its_names_and_labels() -> None:
    body = blocks(
        run_definition(PLAN, ["two"], {ALONE: "r@sha256:1", "system-1": "s"}, labels={"two": {"k": "v"}}).to_hcl(),
        "target",
    )["two"]
    assert 'tags = ["${BUILDSYS_REGISTRY}/two:${BUILDSYS_TAG}"]' in " ".join(body.split())
    assert re.search(r'k += "v"', body)
    assert '"docker-image://r@sha256:1"' in body


def test_flat_file_links_nowhere() -> None:
    text = flat_definition(PLAN, [node.name for node in PLAN.nodes], {}).to_hcl()
    assert text.count('"target:') == text.count('"target:mirrors"')


def test_each_base_image_is_used_by_one_target_and_a_link_by_none() -> None:
    found = base_images_definition(PLAN, [node.name for node in PLAN.nodes], {TOOLS: f"r@{DIGEST}"})
    images = {evaluate(each.contexts["base"], defaults(PLAN)) for each in found.targets}
    parents = {f"docker-image://{parent.reference}" for parent in PLAN.parents}
    assert images == {*parents, f"docker-image://r@{DIGEST}"}
    assert len(found.targets) == len(images)
    assert len({each.name for each in found.targets}) == len(images)


def test_bake_file_of_a_plan_is_the_run_file_of_all_its_targets_with_what_people_read() -> None:
    whole, run = plan_definition(PLAN), run_definition(PLAN, list(PLAN.targets), {})
    silent = [replace(each, comment="", description=None) for each in whole.targets[1:]]
    assert [whole.targets[0], *silent] == [*run.targets]
    assert (whole.variables, whole.functions) == (run.variables, run.functions)


def test_image_of_one_of_several_platforms_has_all_tags_with_its_architecture() -> None:
    files = trees.on_two_platforms()
    files["stacks.yaml"] = files["stacks.yaml"].replace("{layers", "{repository: lang, tags: ['1.2', latest], layers")
    text = plan_definition(trees.planned(files)).to_hcl()
    assert 'tags = ["${BUILDSYS_REGISTRY}/lang:1.2-arm64", "${BUILDSYS_REGISTRY}/lang:latest-arm64"]' in text
    assert "BUILDSYS_TAG" not in text


def test_tag_of_the_run_is_a_variable_where_a_stack_has_no_tags_of_its_own() -> None:
    stacks = "stacks:\n  a: {layers: [system], tags: [x]}\n  b: {layers: [system], repository: team/b}\n"
    text = plan_definition(trees.planned(tree(stacks))).to_hcl()
    assert "the tag of images whose stack has no `tags`" in text
    assert 'tags = ["${BUILDSYS_REGISTRY}/team/b:${BUILDSYS_TAG}"]' in text
