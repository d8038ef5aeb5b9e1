"""A run into the engine's own store, on a graph of a few lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput
from buildsys.events.events import RunBegan, TargetEnded
from tests.support.builder import FAILING_RUN
from tests.support.world import World

GRAPH = """
a:
b: a
one = b
two = a
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    return World(tmp_path, GRAPH, environ={"BUILDSYS_REGISTRY": "buildsys"})


def key(world: World, name: str) -> str:
    return world.selection.keys.of(world.target(name)).key


def test_all_is_baked_in_the_order_of_its_needs_and_nothing_is_pushed(world: World) -> None:
    outcome = world.bake()
    assert outcome.complete
    order = " ".join(world.baked).split()
    assert sorted(order) == ["a", "b", "one", "system", "tools", "two"]
    assert order.index("tools") < order.index("a") < order.index("b") < order.index("one")
    assert not any("push=true" in text for text in world.builder.texts)


def test_images_have_the_sizes_and_digests_of_the_engines_own_store(world: World) -> None:
    world.bake("two")
    end = next(event for event in world.events if isinstance(event, TargetEnded) and event.target == "two")
    assert (end.reference, end.size, end.tags) == ("sha256:tag-of/two:1", 7, ("tag-of/two:1",))


def test_image_that_the_store_has_is_not_baked(world: World) -> None:
    outcome = world.bake("two", images={key(world, "two"): ("buildsys/two:latest",)})
    assert (world.baked, outcome.complete) == ([], True)


def test_store_of_another_driver_is_not_believed(world: World) -> None:
    world.builder.docker = replace(world.builder.docker, driver="docker-container")
    world.bake("two", images={key(world, "two"): ("buildsys/two:latest",)})
    assert "two" in world.baked


def test_image_carries_its_key_unless_values_are_overridden(world: World) -> None:
    world.bake("two")
    assert key(world, "two") in world.builder.texts[-1]
    world.bake("two", overrides=("two.args.A=1",))
    assert key(world, "two") not in world.builder.texts[-1]


def test_failure_blocks_what_needs_it(world: World) -> None:
    world.fails(b=FAILING_RUN)
    outcome = world.bake()
    assert world.outcomes["one"] == "blocked"
    assert world.outcomes["two"] == "made"
    assert not outcome.complete


def test_definition_that_reads_outside_of_the_project_is_refused_before_a_bake(world: World) -> None:
    world.builder.print = lambda call: {"target": {"one": {"context": "/etc"}}}  # type: ignore[method-assign]
    with pytest.raises(InvalidInput, match="lies outside"):
        world.bake()
    assert world.baked == []
    assert [each for each in (world.root / ".buildsys" / "runs" / "1").iterdir() if each.name.startswith("work")] == []


def test_run_begins_before_anything_is_decided(world: World) -> None:
    world.bake("two")
    assert isinstance(world.events[0], RunBegan)
