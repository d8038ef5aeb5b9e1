"""A disk that is full: the engine's own, and that of the project's folder of logs. Both are tmpfs of a size."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Record
from tests.faults.engines import second_engine, small
from tests.faults.workload import Ended
from tests.faults.world import World

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents, pytest.mark.long]

GROUP = "A disk that is full"
STORE = "600m"
FILLS = "head -c 500000000 /dev/zero >/fills && rm /fills && mkdir"


def test_full_disk_of_the_engine_fails_one_node_alone(world: World, record: Record) -> None:
    def filled(world: World) -> Ended:
        world.project.edit("beta", "mkdir", FILLS)
        with second_engine(STORE) as environment:
            world.project.extra = environment
            return world.project.bake("--keep-going", "--min-free", "0")

    story = world.suffer(during=filled)
    record(GROUP, f"the engine's store, filled by a RUN (tmpfs of {STORE}); then another engine", story)
    assert story.first.code == 1, story.first.output
    assert "No space left on device" in story.first.stdout, story.first.output
    # What does not need the node is published.
    assert story.after.nodes == {"system", "extra-on-system", "tools", "alpha-tools", "gamma-tools"}
    assert story.after.stacks == {"two", "four"}


def test_disk_with_too_little_room_is_not_filled(world: World, record: Record) -> None:
    def filled(world: World) -> Ended:
        with second_engine(STORE) as environment:
            world.project.extra = environment
            return world.project.bake()

    story = world.suffer(during=filled)
    record(
        GROUP, f"less free space in the engine's store than `--min-free` (tmpfs of {STORE}); then another engine", story
    )
    assert story.first.code == 1, story.first.output
    assert story.first.runs == (), story.first.output
    assert "free" in story.first.stdout, story.first.output


def test_full_disk_of_the_project_leaves_nothing_wrong(world: World, record: Record) -> None:
    def filled(world: World) -> Ended:
        with small(world.project.folder / ".buildsys", "16k"):
            return world.project.bake()

    story = world.suffer(during=filled)
    record(GROUP, "the project's `.buildsys` (tmpfs of 16 kB)", story)
    assert story.first.code in (0, 1, 5), story.first.output
    assert "Traceback" not in story.first.stderr, story.first.output
