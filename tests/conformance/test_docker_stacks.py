"""examples/docker-stacks plans, and its images have what the images of jupyter/docker-stacks have.

`upstream.yaml` there says what each of those adds to its parent, `differences.yaml` the allowed differences, each
with its reason. A difference that is not listed fails, and so does a listed one that does not exist.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from buildsys.bake.targets import BAKE_FILE, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.plan.keys import folders_of, keys_of
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.recipes.recipe import Healthcheck, Kind
from buildsys.resolve.node import ImageTarget, Node

EXAMPLE = Path(__file__).parents[2] / "examples" / "docker-stacks"
UPSTREAM: Mapping[str, Any] = yaml.load((EXAMPLE / "upstream.yaml").read_text(), Loader=yaml.BaseLoader)
LISTED = yaml.load((EXAMPLE / "differences.yaml").read_text(), Loader=yaml.BaseLoader)
HEALTHCHECK = Healthcheck(
    command=("/etc/jupyter/docker_healthcheck.py",), interval=3000, timeout=5000, start_period=5000, retries=3
)
# An image on Debian is compared with the upstream image of that name.
SUFFIX = "-debian"
ON_DEBIAN = [
    f"{name}{SUFFIX}"
    for name in (
        "docker-stacks-foundation",
        "base-notebook",
        "minimal-notebook",
        "scipy-notebook",
        "tensorflow-notebook",
    )
]


class Difference(NamedTuple):
    """One thing that is not as it was; empty where there is nothing on that side."""

    fact: str
    original: str
    ours: str


@pytest.fixture(scope="module")
def tree() -> Mapping[str, str]:
    return Workspace(root=EXAMPLE).tree()


@pytest.fixture(scope="module")
def plan(tree: Mapping[str, str]) -> Plan:
    return make_plan(tree)


def original(image: str) -> dict[str, dict[str, str]]:
    """Return what an image of upstream has with all its parents: fact to name to value."""
    chain = [UPSTREAM[image]]
    while parent := chain[0].get("parent"):
        chain.insert(0, UPSTREAM[parent])
    found: dict[str, dict[str, str]] = {"apt": {}, "python": {}, "ports": {}, "environment": {}}
    for each in chain:
        for fact in ("apt", "python", "ports"):
            found[fact].update(dict.fromkeys(each.get(fact, ()), ""))
        found["environment"].update(each.get("environment", {}))
    return found


def reached(plan: Plan, stack: ImageTarget) -> Iterator[Node]:
    """Yield the nodes of a stack, toolchains left out."""
    nodes = {node.name: node for node in plan.nodes}
    waiting, seen = list(stack.below), set()
    while waiting:
        name = waiting.pop()
        if name not in seen and nodes[name].recipe.kind is not Kind.TOOLCHAIN:
            seen.add(name)
            waiting.extend(nodes[name].below)
            yield nodes[name]


def ours(plan: Plan, stack: ImageTarget) -> dict[str, dict[str, str]]:
    """Return the same facts about a stack of this project."""
    apt: dict[str, str] = {}
    python: dict[str, str] = {}
    for node in reached(plan, stack):
        apt.update(dict.fromkeys(node.packages, ""))
        for name, folder in node.folders:
            for file in ("packages.txt", "requirements.in") if name == "packages" else ():
                path = EXAMPLE / folder / file
                lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
                names = [re.match(r"[\w.-]+", line) for line in lines if not line.startswith(("#", "-"))]
                python.update(dict.fromkeys((found[0] for found in names if found), ""))
        python.update((each.name, "") for each in node.downloads if node.recipe.layer == "pytorch")
    environment = {each.name: each.value for each in stack.environment if each.value is not None}
    return {"apt": apt, "python": python, "ports": dict.fromkeys(stack.config.ports, ""), "environment": environment}


def differences(theirs: Mapping[str, Mapping[str, str]], mine: Mapping[str, Mapping[str, str]]) -> Iterator[Difference]:
    for fact in theirs:
        for name in sorted({*theirs[fact], *mine[fact]}):
            before, after = theirs[fact].get(name), mine[fact].get(name)
            if before != after:
                output = [None if value is None else f"{name}={value}" if value else name for value in (before, after)]
                yield Difference(fact, output[0] or "", output[1] or "")


def listed(image: str) -> set[Difference]:
    """Return the differences that an image may have."""
    found = set()
    for entry in LISTED:
        if any(fnmatch.fnmatchcase(image, pattern) for pattern in entry["images"]):
            for fact, pairs in entry["differences"].items():
                for pair in pairs:
                    before, _, after = (part.strip() for part in pair.partition("->"))
                    found.add(Difference(fact, before, after))
    return found


def stacks(plan: Plan) -> dict[str, ImageTarget]:
    return {each.stack: each for each in plan.stacks}


def test_the_bake_file_is_what_the_plan_says(plan: Plan) -> None:
    assert (EXAMPLE / BAKE_FILE).read_text(encoding="utf-8") == plan_definition(plan).to_hcl()


def test_every_image_of_upstream_exists_and_no_other(plan: Plan) -> None:
    assert set(stacks(plan)) == {*UPSTREAM, *ON_DEBIAN}


@pytest.mark.parametrize("image", [*UPSTREAM, *ON_DEBIAN])
def test_an_image_differs_from_its_original_as_listed(image: str, plan: Plan) -> None:
    found = set(differences(original(image.removesuffix(SUFFIX)), ours(plan, stacks(plan)[image])))
    assert found - listed(image) == set(), "not listed"
    assert listed(image) - found == set(), "listed, but does not exist"


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: str(entry["reason"])[:40])
def test_a_listed_difference_has_a_reason_and_an_image(entry: Mapping[str, Any], plan: Plan) -> None:
    assert entry["reason"].strip()
    for pattern in entry["images"]:
        assert fnmatch.filter(stacks(plan), pattern)


def test_images_start_as_jovyan_in_the_home_and_only_cuda_is_for_gpus(plan: Plan) -> None:
    for name, each in stacks(plan).items():
        assert (each.config.user, each.config.workdir) == ("1000", "/home/jovyan")
        assert ("gpu" in each.groups) == ("cuda" in name)


def test_images_start_by_tini_and_all_but_the_foundation_start_a_server_that_is_looked_after(plan: Plan) -> None:
    for name, each in stacks(plan).items():
        foundation = name.removesuffix(SUFFIX) == "docker-stacks-foundation"
        assert each.config.entrypoint == ("tini", "-g", "--", "start.sh")
        assert each.config.command == (None if foundation else ("start-notebook.py",))
        assert each.config.healthcheck == (None if foundation else HEALTHCHECK)


def test_another_user_id_is_that_of_the_image_too(tree: Mapping[str, str]) -> None:
    line = "      - foundation-os: {flavour: debian}\n"
    assert line in tree["stacks.yaml"]
    text = tree["stacks.yaml"].replace(line, line + "      - notebook-user: {uid: 1234}\n")
    changed = make_plan({**tree, "stacks.yaml": text})
    users = {each.family: each.config.user for each in changed.stacks}
    assert users == {"docker-stacks": "1000", "debian": "1234"}


@pytest.mark.parametrize("image", [name for name, facts in UPSTREAM.items() if "parent" in facts])
def test_an_image_shares_the_artifacts_of_its_parent(image: str, plan: Plan) -> None:
    artifacts = {name: dict(each.artifacts) for name, each in stacks(plan).items()}
    not_shared = {
        layer for layer, node in artifacts[UPSTREAM[image]["parent"]].items() if artifacts[image].get(layer) != node
    }
    # Spark needs another pandas, which cannot be installed over the existing one.
    assert not_shared == ({"scipy"} if image == "pyspark-notebook" else set())


def test_fresh_packages_of_the_system_rebuild_no_environment(plan: Plan, tree: Mapping[str, str]) -> None:
    moved_tree = {**tree, "buildsys.lock": re.sub(r"(foundation-os): \S+", r"\1: 2026-11-30", tree["buildsys.lock"])}
    moved = make_plan(moved_tree)
    contents = Workspace(root=EXAMPLE).contents(folders_of(plan))
    before, after = keys_of(plan, contents), keys_of(moved, contents)
    changed = {node.recipe.layer for node in plan.nodes if before.of(node.name).key != after.of(node.name).key}
    artifacts = {node.recipe.layer for node in plan.nodes if node.recipe.kind is not Kind.SYSTEM}
    assert "foundation-os" in changed
    assert changed & artifacts == set()


def test_files_are_one_node_for_all_images_and_a_changed_one_builds_no_system(plan: Plan) -> None:
    counts = Counter(node.recipe.layer for node in plan.nodes)
    scripts = {"start-scripts", "server-scripts", "spark-settings", "tensorboard-settings"}
    assert {layer: counts[layer] for layer in scripts} == dict.fromkeys(scripts, 1)
    assert Counter(node.recipe.kind for node in plan.nodes) == {Kind.SYSTEM: 14, Kind.ARTIFACT: 25, Kind.TOOLCHAIN: 2}
    contents = Workspace(root=EXAMPLE).contents(folders_of(plan))
    folder = "layers/start-scripts"
    changed = {**contents, folder: {**contents[folder], "start.sh": replace(contents[folder]["start.sh"], content="x")}}
    before, after = keys_of(plan, contents), keys_of(plan, changed)
    rebuilt = [node.name for node in plan.nodes if before.of(node.name).key != after.of(node.name).key]
    assert rebuilt == ["start-scripts"]
    assert all(before.of(each.name).key != after.of(each.name).key for each in plan.stacks)


def test_every_wheel_of_the_debian_family_has_a_hash(plan: Plan) -> None:
    folders = {
        folder
        for stack in plan.stacks
        if stack.family == "debian"
        for node in reached(plan, stack)
        for name, folder in node.folders
        if name == "packages"
    }
    assert len(folders) == 4
    for folder in folders:
        pinned = re.split(r"\n(?=\S)", (EXAMPLE / folder / "requirements.txt").read_text(encoding="utf-8").strip())
        assert pinned
        for each in pinned:
            assert re.match(r"[\w.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", each), each
