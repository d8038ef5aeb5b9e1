"""BuildKit's caches under `BUILDSYS_CACHE`: one that fails costs time, never the bake, and is always reported."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Record
from tests.faults.rules import Answer, Rule
from tests.faults.workload import Ended
from tests.faults.world import ALL, World

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents, pytest.mark.long]

GROUP = "A cache that fails"
GONE = Answer(status=404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"on purpose"}]}')
BROKEN = Answer(status=500, body=b'{"errors":[{"code":"UNKNOWN","message":"on purpose"}]}')


def with_cache(world: World, *rules: Rule) -> Ended:
    """Fill the caches by a bake to another prefix, empty the engine, and bake with them under the rules."""
    cache = {"BUILDSYS_CACHE": f"{world.proxy.address}/cache/c"}
    world.project.extra = {**cache, "BUILDSYS_REGISTRY": f"{world.proxy.address}/elsewhere"}
    filled = world.project.bake()
    assert filled.code == 0, filled.output
    assert sorted(filled.runs) == sorted(ALL), filled.output
    world.engine.reset()
    world.project.extra = cache
    world.proxy.meet(*rules)
    return world.project.bake()


def test_cache_saves_every_run(world: World, record: Record) -> None:
    """Without a fault, or nothing below would show one."""
    story = world.suffer(during=with_cache)
    record(GROUP, "none: all caches exist, the engine is empty", story)
    assert story.first.code == 0, story.first.output
    assert story.first.runs == (), story.first.output


def test_missing_cache_reference_is_reported(world: World, record: Record) -> None:
    gone = Rule(method="GET|HEAD", path="/cache/c/manifests/alpha-tools", fault=GONE, times=None)
    story = world.suffer(during=lambda world: with_cache(world, gone))
    record(GROUP, "one cache reference is missing", story)
    assert story.met
    assert story.first.code == 0, story.first.output
    assert "alpha-tools" in story.first.runs, story.first.output
    assert "cache" in story.first.stdout, story.first.output


def test_cache_with_missing_blobs_costs_only_time(world: World, record: Record) -> None:
    gone = Rule(method="GET|HEAD", path="/cache/c/blobs/", fault=GONE, times=None)
    story = world.suffer(during=lambda world: with_cache(world, gone))
    record(GROUP, "all blobs of the caches are missing, their manifests exist", story)
    assert story.met
    assert story.first.code == 0, story.first.output
    assert "cache" in story.first.stdout, story.first.output


def test_cache_that_cannot_be_written_is_reported(world: World, record: Record) -> None:
    broken = Rule(method="PUT|POST", path="/cache/c/", fault=BROKEN, times=None)

    def written(world: World) -> Ended:
        world.project.extra = {"BUILDSYS_CACHE": f"{world.proxy.address}/cache/c"}
        world.proxy.meet(broken)
        return world.project.bake()

    story = world.suffer(during=written)
    record(GROUP, "no cache can be written: 500", story)
    assert story.met
    assert story.first.code == 0, story.first.output
    assert "cache" in story.first.stdout, story.first.output
