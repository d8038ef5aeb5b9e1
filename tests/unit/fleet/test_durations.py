"""How long nodes took is kept in the registry, and a machine without a history estimates with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.events.events import Outcome, TargetEnded, TargetPlanned
from buildsys.events.history import History
from buildsys.events.model import RunModel
from buildsys.fleet.durations import RECORD, BuildRecord, find_record, keep, location, with_recorded
from buildsys.oci.artifacts import put_artifact
from buildsys.oci.http import ServerError
from buildsys.oci.reference import Reference
from tests.support.world import PREFIX, World

GRAPH = """
a:
b: a
one = a b
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def model(world: World, seconds: float, *, cached: int = 0) -> RunModel:
    """Return the model of a run that has built everything in as many seconds, with steps from a cache."""
    world.publish()
    found = RunModel()
    for event in world.events:
        if isinstance(event, TargetEnded) and event.outcome == Outcome.MADE:
            found.take(replace(event, at=100.0, seconds=seconds, steps=2, cached=cached))
        elif isinstance(event, TargetPlanned):
            found.take(event)
    return found


def record(world: World, name: str) -> BuildRecord | None:
    return find_record(world.registry, location(PREFIX, world.selection.keys.of(world.target(name)).key))


def test_each_built_node_has_a_record_beside_it_and_images_have_none(world: World) -> None:
    keep(world.store, model(world, 12.345), pytest.fail)
    assert record(world, "a") == record(world, "tools") == BuildRecord(ended=100, seconds=12.35)
    records = [target for _, target in world.registry.manifests_by_name if target.startswith("record-")]
    assert len(records) == 4


def test_new_key_of_a_node_is_estimated_by_the_latest_result_of_its_name(world: World) -> None:
    keep(world.store, model(world, 60), pytest.fail)
    world.edit("a")
    names = tuple(map(world.target, ("a", "b", "one")))
    found = with_recorded(History(seconds={world.target("b"): 5.0}, undone=("x",)), world.store, world.plan, names)
    assert dict(found.seconds) == {world.target("a"): 60.0, world.target("b"): 5.0}
    assert found.undone == ("x",)


def test_time_from_a_cache_is_no_estimate_and_the_day_is_kept(world: World) -> None:
    keep(world.store, model(world, 1, cached=2), pytest.fail)
    assert record(world, "a") == BuildRecord(ended=100, seconds=None)
    assert with_recorded(History(), world.store, world.plan, [world.target("a")]).seconds == {}


def test_registry_that_does_not_take_records_is_noted(world: World) -> None:
    run, notes = model(world, 1), list[str]()
    key = world.selection.keys.of(world.target("a")).key
    world.registry.problems[f"record-{key}"] = [ServerError("answered 503", host="r.example.com", status=503)]
    keep(world.store, run, notes.append)
    assert notes == ["how long 1 of 4 nodes took is not stored: answered 503"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"version": 2, "ended": 1, "seconds": 1},
        {"version": 1, "ended": "x", "seconds": 1},
        {"version": 1, "ended": -1, "seconds": 1},
        {"version": 1, "ended": 1},
    ],
)
def test_record_of_another_format_counts_as_missing(world: World, value: object) -> None:
    place = Reference.parse(f"{PREFIX}/nodes:record-x")
    put_artifact(world.registry, place, RECORD, json.dumps(value).encode())
    assert find_record(world.registry, place) is None
