"""Files of published nodes are never newer than images may be, and only nodes that have newer ones are packed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from tests.support.world import World

GRAPH = """
a:
b:
one = a b
"""
NEWER = b"Ed 755 0 0 0 opt\0\0Ed 755 0 0 0 opt/a\0\0N9999999999.5\0Z"
INTERRUPTED = Failure(kind=FailureKind.INTERRUPTED, message="interrupted")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project in which only the steps of `a` see the mirrors."""
    found = World(tmp_path, GRAPH)
    file = found.root / "layers/a/Dockerfile"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("RUN ", "RUN --mount=type=bind,from=mirrors,target=/run/mirrors "), encoding="utf-8")
    return found


def outputs(world: World, name: str) -> list[str]:
    """Return with which output each bake that built a layer pushed it."""
    target, found = world.target(name), []
    for call, text in zip(world.builder.calls, world.builder.texts, strict=True):
        if target in call.targets:
            (output,) = json.loads(text)["target"][target]["output"]
            found.append("rewritten" if "rewrite-timestamp=true" in output else "as built")
    return found


def prints(world: World, name: str, *lists: bytes | None) -> None:
    """Let the step print these lists of a layer, bake by bake."""
    usual, waiting = world.listing, list(lists)
    world.builder.listing = lambda node: waiting.pop(0) if world.layers[node] == name and waiting else usual(node)


def test_node_without_newer_files_is_packed_once(world: World) -> None:
    assert world.publish().complete
    assert outputs(world, "a") == ["as built"]


def test_node_whose_steps_do_not_set_times_is_rewritten_at_once(world: World) -> None:
    assert world.publish().complete
    assert outputs(world, "b") == ["rewritten"]


def test_node_with_newer_files_is_rewritten_before_it_has_its_key(world: World) -> None:
    keyed = []

    def listing(node: str) -> bytes:
        keyed.append(world.exists("a"))
        return NEWER if world.layers[node] == "a" else usual(node)

    usual = world.listing
    world.builder.listing = listing
    assert world.publish().complete
    assert outputs(world, "a") == ["as built", "rewritten"]
    assert not any(keyed[:2])
    assert world.exists("a")


@pytest.mark.parametrize("raw", [None, b"", b"Z?"])
def test_node_that_nothing_lists_is_rewritten(world: World, raw: bytes | None) -> None:
    prints(world, "a", raw)
    world.publish()
    assert outputs(world, "a")[:2] == ["as built", "rewritten"]


def test_what_is_rewritten_is_not_built_once_more(world: World) -> None:
    prints(world, "a", NEWER)
    assert world.publish(no_cache=True).complete
    calls = [call for call in world.builder.calls if world.target("a") in call.targets]
    assert [f"{world.target('a')}.no-cache=true" in call.overrides for call in calls] == [True, False]


def test_node_that_waits_for_its_times_is_not_published_by_a_run_that_is_stopped(world: World) -> None:
    def listing(node: str) -> bytes:
        if world.layers[node] != "a":
            return usual(node)
        world.stop.request()
        return NEWER

    usual = world.listing
    world.builder.listing = listing
    world.builder.endings[world.target("a")] = [None, INTERRUPTED]
    world.publish()
    assert not world.exists("a")
