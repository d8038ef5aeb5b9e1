"""`repository` and `tags` give a fleet the names of the official Python image: each image has the same list of tags.

`official_python/images.json` is what docker-library/official-images listed on Debian, `stacks.yaml` the fleet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buildsys.bake.targets import index_names, plan_definition
from buildsys.plan.plan import Plan
from tests.support import trees

HERE = Path(__file__).parent / "official_python"
OFFICIAL: list[dict[str, Any]] = json.loads((HERE / "images.json").read_text(encoding="utf-8"))["images"]
NAMES = {"linux/amd64": "amd64", "linux/arm64": "arm64v8"}
MOST_LINES = 27


@pytest.fixture(scope="module")
def plan() -> Plan:
    return trees.planned(
        {**trees.on_two_platforms(), "stacks.yaml": (HERE / "stacks.yaml").read_text(encoding="utf-8")}
    )


@pytest.mark.parametrize("platform", NAMES)
def test_each_image_has_the_tags_of_the_official_one(plan: Plan, platform: str) -> None:
    ours = [{*image.tags} for image in plan.stacks if image.platform == platform]
    official = [{*each["tags"], *each["shared_tags"]} for each in OFFICIAL if NAMES[platform] in each["architectures"]]
    assert sorted(map(sorted, ours)) == sorted(map(sorted, official))


def test_no_tag_is_that_of_two_images(plan: Plan) -> None:
    names = [name for parts in plan.indexes.values() for name in index_names(parts[0])]
    assert len(names) == len({*map(str, names)}) == sum(len(parts[0].tags) for parts in plan.indexes.values())


def test_plain_bake_writes_the_same_tags_with_the_architecture(plan: Plan) -> None:
    text = plan_definition(plan).to_hcl()
    assert all(f'/python:{tag}-arm64"' in text for tag in ("3.14.7-slim-bookworm", "3-slim", "slim", "latest"))


def test_fleet_is_declared_in_a_few_lines() -> None:
    assert len((HERE / "stacks.yaml").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
