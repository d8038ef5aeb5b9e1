"""examples/python has the images of the official Python image on Debian: each with the same list of tags.

`official_python.json` is what docker-library/official-images listed on Debian.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from buildsys.bake.targets import BAKE_FILE, index_names, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.recipes.recipe import Kind
from buildsys.resolve.node import ImageTarget

EXAMPLE = Path(__file__).parents[2] / "examples" / "python"
OFFICIAL: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "official_python.json").read_text(encoding="utf-8")
)["images"]
NAMES = {"linux/amd64": "amd64", "linux/arm64": "arm64v8"}
MOST_LINES = 27


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Workspace(root=EXAMPLE).tree())


def fleet(plan: Plan, platform: str) -> list[ImageTarget]:
    """Return the images of the fleet; those from Debian's source packages are not in its repository."""
    return [image for image in plan.stacks if image.repository == "python" and image.platform == platform]


def lines() -> int:
    return len((EXAMPLE / "stacks.yaml").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("platform", NAMES)
def test_each_image_has_the_tags_of_the_official_one(plan: Plan, platform: str) -> None:
    ours = [{*image.tags} for image in fleet(plan, platform)]
    official = [{*each["tags"], *each["shared_tags"]} for each in OFFICIAL if NAMES[platform] in each["architectures"]]
    assert sorted(map(sorted, ours)) == sorted(map(sorted, official))


def test_no_tag_is_that_of_two_images(plan: Plan) -> None:
    indexes = [parts[0] for parts in plan.indexes.values() if parts[0].repository == "python"]
    names = [name for each in indexes for name in index_names(each)]
    assert len(names) == len({*map(str, names)}) == sum(len(each.tags) for each in indexes)


def test_plain_bake_writes_the_same_tags_with_the_architecture(plan: Plan) -> None:
    text = plan_definition(plan).to_hcl()
    assert all(f'/python:{tag}-arm64"' in text for tag in ("3.14.7-slim-bookworm", "3-slim", "slim", "latest"))


def test_the_bake_file_is_what_the_plan_says(plan: Plan) -> None:
    assert (EXAMPLE / BAKE_FILE).read_text(encoding="utf-8") == plan_definition(plan).to_hcl()


def test_fleet_is_declared_in_a_few_lines() -> None:
    assert lines() <= MOST_LINES


def test_python_is_compiled_once_for_full_and_slim_images(plan: Plan) -> None:
    for platform in NAMES:
        compiled = {image.artifacts[-1][1] for image in fleet(plan, platform)}
        assert (len(fleet(plan, platform)), len(compiled)) == (24, 12)


def test_every_release_has_a_checksum(plan: Plan) -> None:
    found = {each.url: each.sha256 for node in plan.nodes for each in node.downloads}
    assert len(found) == 6
    assert all(found.values())


def test_figures_of_the_readme_are_those_of_the_plan(plan: Plan) -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    written = {name: int(figure) for name, figure in re.findall(r"^\| ([^|\d]+) \| (\d+) \|", text, re.MULTILINE)}
    kinds = Counter(node.recipe.kind for node in plan.nodes)
    assert written == {
        "images of the fleet": len(fleet(plan, "linux/amd64")),
        "tags": sum(len(image.tags) for image in fleet(plan, "linux/amd64")),
        "images from Debian's source packages": len(plan.indexes) - len(fleet(plan, "linux/amd64")),
        "nodes on two platforms": len(plan.nodes),
        "of these, compilations of Python": kinds[Kind.ARTIFACT],
        "lines of `stacks.yaml`": lines(),
    }
