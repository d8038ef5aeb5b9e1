"""What a run records of the sizes of its targets: blobs with the layer that each is from, files by folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.events.events import TargetEnded
from buildsys.inventory.model import Entry, Inventory, inventory_of
from buildsys.oci.reference import Descriptor
from buildsys.run.compose import BlobOrigins
from buildsys.run.executor import TargetOutcome, with_contents
from tests.support.world import World

GRAPH = """
a:
b: a
c:
one = a b
two = c
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def ended(world: World) -> dict[str, TargetEnded]:
    return {world.layers[each.target]: each for each in world.events if isinstance(each, TargetEnded)}


def origins(end: TargetEnded) -> list[str]:
    return [each.layer for each in end.layers]


def test_blobs_of_what_is_built_are_recorded_with_their_layers_system_nodes_too(world: World) -> None:
    world.publish()
    found = ended(world)
    assert {name: origins(end) for name, end in found.items() if name != "tools"} == {
        "system": ["system"],
        "a": ["a"],
        "b": ["b"],
        "c": ["c"],
        "one": ["system", "a", "b"],
        "two": ["system", "c"],
    }
    assert all(end.size == sum(each.size for each in end.layers) > 0 for end in found.values())


def test_blobs_of_what_is_reused_are_recorded_and_those_of_an_image_take_one_request(world: World) -> None:
    world.publish("two")
    world.registry.asked.clear()
    world.publish("one", "two")
    found = ended(world)
    assert found["two"].outcome == "reused"
    assert origins(found["system"]) == ["system"]
    # What a reused image was built from is not looked up, so only the blobs that others have too are known by layer.
    assert origins(found["two"]) == ["system", ""]
    assert found["two"].size
    assert sum(f"/two:{world.location('two').target}" in each for each in world.registry.asked) == 1


def test_run_that_builds_nothing_asks_for_no_sizes(world: World) -> None:
    world.publish()
    world.registry.asked.clear()
    world.publish()
    assert not [each for each in world.registry.asked if f":{world.location('one').target}" in each]


def test_blobs_of_a_node_are_of_no_known_layer_where_those_of_its_base_are_not_known(world: World) -> None:
    blobs = (Descriptor(media_type="tar", digest="sha256:1", size=1),)
    (image,) = (each for each in world.plan.stacks if each.stack == "one")
    found = BlobOrigins(plan=world.plan)
    assert [each.layer for each in found.add(image.name, blobs)] == [""]
    assert [each.layer for each in found.add(world.target("a"), blobs)] == ["a"]
    assert [each.layer for each in found.add(image.name, blobs)] == ["a"]


def listed(**sizes: int) -> Inventory:
    paths = {path.replace("__", "/"): size for path, size in sizes.items()}
    return inventory_of((Entry(path=p, type="f", mode=0o644, user=0, group=0, size=s) for p, s in paths.items()), ())


def test_files_of_a_node_are_counted_by_folder_without_those_of_its_base(world: World) -> None:
    world.publish()
    found = ended(world)
    assert (found["a"].unpacked, [(each.path, each.size) for each in found["a"].folders]) == (7, [("opt/a", 7)])
    assert (found["system"].unpacked, found["system"].folders) == (0, ())
    assert found["one"].unpacked is None


def test_files_of_a_node_on_a_base_without_inventory_are_not_counted(tmp_path: Path) -> None:
    world = World(tmp_path, "a:\none = a\n")
    system = world.target("system")
    (tmp_path / "layers/upper").mkdir()
    (tmp_path / "layers/upper/layer.yaml").write_text(
        "description: Above\nkind: system\nlicence: free\nrequires: [system]\n", encoding="utf-8"
    )
    (tmp_path / "layers/upper/Dockerfile").write_text("FROM base\nRUN true\n", encoding="utf-8")
    text = (tmp_path / "stacks.yaml").read_text(encoding="utf-8")
    (tmp_path / "stacks.yaml").write_text(text.replace("[system, ", "[system, upper, "), encoding="utf-8")
    world._selection = None
    upper = world.target("upper")
    known = {upper: listed(etc__own=5, usr__lib__big=90, usr__lib__old=7)}
    outcomes = {upper: TargetOutcome()}
    assert with_contents(outcomes, world.plan, known.get)[upper].unpacked is None
    known[system] = listed(usr__lib__old=7, usr__lib__big=1)
    found = with_contents(outcomes, world.plan, known.get)[upper]
    assert (found.unpacked, [(each.path, each.size) for each in found.folders]) == (95, [("usr/lib", 90), ("etc", 5)])
