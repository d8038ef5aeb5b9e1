"""What further registries get of a run that published, on a graph of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildsys.commands import copies
from buildsys.events.events import ImagesCopied
from buildsys.oci.reference import Reference
from buildsys.report.outcomes import copies_lines
from buildsys.run.publish import publish
from tests.support.builder import FAILING_RUN
from tests.support.world import World

GRAPH = """
a:
b: a
c:
one = a b
two = c
"""
SECOND, THIRD = "second.example.com/ml", "third.example.com/team/ml"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def run(world: World, *prefixes: str, during: Any = None, **options: Any) -> bool:
    """Publish all images and copy them; return whether nothing is missing at the further registries."""
    session, plan = world.session(**options), world.plan
    for found in (world.registry.written, world.registry.sent, world.registry.mounted):
        found.clear()
    targets = tuple(stack.name for stack in plan.stacks)
    registries = copies.look(world.store, prefixes, plan, targets, world.environ)
    published = publish(session, world.store, plan, targets)
    if during:
        during()
    return copies.copy(session, published, registries)


def events(world: World) -> list[ImagesCopied]:
    return [each for each in world.events if isinstance(each, ImagesCopied)]


def digest(world: World, reference: str) -> str | None:
    found = world.registry.head(Reference.parse(reference))
    return found.digest if found else None


def test_each_registry_has_the_same_images_under_their_keys_and_public_tags(world: World) -> None:
    assert run(world, SECOND, THIRD)
    for stack in ("one", "two"):
        first = digest(world, f"r.example.com/ml/{stack}:latest")
        assert first is not None
        key = world.index(stack).tag
        for prefix in (SECOND, THIRD):
            assert digest(world, f"{prefix}/{stack}:latest") == digest(world, f"{prefix}/{stack}:{key}") == first
    assert [(each.copied, each.lacking, len(each.tags)) for each in events(world)] == [(("one", "two"), (), 2)] * 2


def test_every_image_of_an_index_has_its_tag_and_no_node_is_copied(world: World) -> None:
    run(world, SECOND)
    names = {target for repository, target in world.registry.manifests_by_name if repository == f"{SECOND}/one"}
    assert {each.partition("-")[0] for each in names if ":" not in each} == {"key", "latest", "platform"}
    assert not [each for each, _ in world.registry.manifests_by_name if each == f"{SECOND}/nodes"]


def test_tags_move_last(world: World) -> None:
    run(world, SECOND)
    assert world.registry.written[-2:] == ["one:latest", "two:latest"]
    assert world.registry.written.count("one:latest") == 2


def test_second_run_copies_nothing(world: World) -> None:
    run(world, SECOND)
    assert run(world, SECOND)
    assert (world.registry.written, world.registry.sent, world.registry.mounted) == ([], [], [])
    assert [list(copies_lines(each)) for each in events(world)] == [[]]


def test_registry_that_is_down_lacks_the_images_and_the_next_run_copies_them(world: World) -> None:
    world.registry.down.add("second.example.com")
    assert not run(world, SECOND, THIRD)
    down, other = events(world)
    assert (down.lacking, down.copied, down.tags) == (("one", "two"), (), ())
    assert list(copies_lines(down)) == [
        "second.example.com/ml lacks 2 images (one, two): registry `second.example.com` cannot be reached: "
        "connection refused. The next run copies what is missing"
    ]
    assert (other.lacking, other.copied, len(other.tags)) == ((), ("one", "two"), 2)
    assert digest(world, "r.example.com/ml/one:latest") is not None
    world.registry.down.clear()
    assert run(world, SECOND, THIRD)
    assert [each.copied for each in events(world)] == [("one", "two"), ()]


def test_failed_image_is_not_copied_and_no_tag_moves(world: World) -> None:
    world.fails(a=FAILING_RUN)
    run(world, SECOND)
    (event,) = events(world)
    assert (event.copied, event.lacking, event.tags) == (("two",), (), ())
    assert digest(world, f"{SECOND}/two:latest") is None


def test_partial_tags_move_for_the_images_that_exist(world: World) -> None:
    world.fails(a=FAILING_RUN)
    run(world, SECOND, partial_tags=True)
    assert events(world)[0].tags == (f"{SECOND}/two:latest",)


def test_tag_that_a_different_run_moved_meanwhile_stays(world: World) -> None:
    def move() -> None:
        world.registry.push(Reference.parse(f"{SECOND}/one:latest"), "of another run", {})

    assert not run(world, SECOND, during=move)
    (event,) = events(world)
    assert (event.untagged, event.tags, event.lacking) == (("one",), (f"{SECOND}/two:latest",), ())
    assert "was moved to" in event.why
    assert "has old tags of one" in "".join(copies_lines(event))
    # The next run has seen it.
    assert run(world, SECOND)
    assert digest(world, f"{SECOND}/one:latest") == digest(world, "r.example.com/ml/one:latest")


def test_lost_blob_is_sent_again_if_blobs_are_verified(world: World) -> None:
    run(world, SECOND)
    lost = next(place for place in world.registry.blobs if place[0] == f"{SECOND}/two")
    del world.registry.blobs[lost]
    assert run(world, SECOND)
    assert world.registry.sent == []
    assert run(world, SECOND, verify=True)
    assert [each.partition("@")[2] for each in world.registry.sent + world.registry.mounted] == [lost[1]]
