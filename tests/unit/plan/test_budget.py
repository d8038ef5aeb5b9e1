"""When an image exceeds the budget of its stack, and what the message names."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.commands.plan import make_plan, usable_plan
from buildsys.config.catalog import load
from buildsys.errors import ExitCode, InvalidInput
from buildsys.plan.budget import PARENT, excess
from buildsys.project.workspace import Workspace
from buildsys.run.decision import OverBudget
from tests.support.world import PREFIX, World

GRAPH = """
a:
b:
one = a b
two = b
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def limited(world: World, budget: str) -> World:
    world.declare("one", f"budget: {budget}")
    return world


def tags(world: World) -> list[str]:
    return sorted(name for name, tag in world.registry.manifests_by_name if tag == "latest")


def test_image_within_its_budget_gets_its_tags(world: World) -> None:
    assert limited(world, "{size: 1 MB, layers: 3}").publish().moved == (f"{PREFIX}/one:latest", f"{PREFIX}/two:latest")


def test_no_tag_moves_if_an_image_is_larger_than_its_budget_and_the_largest_layers_are_named(world: World) -> None:
    limited(world, "{size: 0 MB}")
    with pytest.raises(OverBudget) as caught:
        world.publish()
    (found,) = caught.value.diagnostics()
    assert found.message.startswith("`one` has 0.0 MB, and its budget is 0.0 MB; the most is of `system` ")
    assert {"`a`", "`b`"} <= {*found.message.replace(",", " ").split()}
    assert str(found.location).startswith("stacks.yaml:3:")
    assert caught.value.exit_code is ExitCode.FAILED
    assert tags(world) == []


def test_a_higher_budget_moves_tags_and_builds_nothing(world: World) -> None:
    limited(world, "{size: 0 MB}")
    with pytest.raises(OverBudget):
        world.publish()
    file = world.root / "stacks.yaml"
    file.write_text(file.read_text().replace("size: 0 MB", "size: 1 MB"))
    world._selection = None
    assert len(world.publish().moved) == 2
    assert world.baked == []


def test_an_image_that_exists_is_compared_before_a_tag_moves_to_it(world: World) -> None:
    world.publish(tag=False)
    limited(world, "{layers: 2}")
    with pytest.raises(InvalidInput, match="adds 3 layers"):
        usable_plan(world.workspace, {})
    with pytest.raises(OverBudget, match="`one` has 3 layers, and its budget is 2"):
        world.publish()


def test_tags_of_other_images_move_if_partial_ones_are_asked_for(world: World) -> None:
    limited(world, "{size: 0 MB}")
    with pytest.raises(OverBudget):
        world.publish(partial_tags=True)
    assert tags(world) == [f"{PREFIX}/two"]


def test_layers_that_nodes_alone_have_too_many_of_are_reported_before_anything_is_built(world: World) -> None:
    limited(world, "{layers: 2}")
    with pytest.raises(InvalidInput, match="`one` adds 3 layers to its parent, and its budget is 2") as caught:
        world.publish()
    assert caught.value.exit_code is ExitCode.INVALID
    assert world.baked == []


def test_layers_of_the_parent_count(world: World) -> None:
    image = make_plan(limited(world, "{size: 3 MB, layers: 2}").workspace.tree()).stacks[0]
    blobs = [(PARENT, 10**6)] * 2 + [("a", 2 * 10**6)]
    size, layers = (each.message for each in excess(image, blobs))
    assert size == "`one` has 4.0 MB, and its budget is 3.0 MB; the most is of the parent image 2.0 MB, `a` 2.0 MB"
    assert layers == "`one` has 3 layers, and its budget is 2; the most is of the parent image 2, `a` 1"


def test_budget_of_the_most_particular_place_counts_as_a_whole(tmp_path: Path) -> None:
    world = World(tmp_path, GRAPH)
    (tmp_path / "stacks.yaml").write_text(
        "families:\n  f:\n    description: d\n    name: 'f{r}'\n    budget: {size: 2 GB, layers: 60}\n"
        "    layers: [system]\n    matrix: [{r: 1}, {r: 2, budget: {layers: 5}}, {r: 3, budget: {}}, {r: 4}]\n"
        "    stacks: {f4: {budget: {size: 1.5 GB}}}\n"
    )
    found = {each.name: each.budget for each in load(Workspace(root=world.root).tree()).stacks}
    assert {name: (each.size, each.layers) for name, each in found.items() if each} == {
        "f1": (2 * 10**9, 60),
        "f2": (None, 5),
        "f3": (None, None),
        "f4": (1_500_000_000, None),
    }


def test_budget_is_in_no_key_and_no_bake_file(world: World) -> None:
    before = world.selection.keys
    assert limited(world, "{layers: 60}").selection.keys == before
