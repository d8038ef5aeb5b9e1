"""What tags named stays as long as they may have to go back to it, and what is about an image goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.buildkit.interrupt import Stop
from buildsys.commands.plan import make_plan
from buildsys.events.model import run_model
from buildsys.fleet.durations import find_record, keep, location
from buildsys.fleet.gc import Collected, Collector
from buildsys.fleet.history import HISTORY, Entry, History, Hold, UnreadableHistory
from buildsys.fleet.needs import DAY
from buildsys.fleet.rollback import roll_back
from buildsys.fleet.roots import source_roots, with_history
from buildsys.image_tests.declared import declared_tests
from buildsys.image_tests.images import images_of
from buildsys.image_tests.records import RegistryRecords
from buildsys.image_tests.suite import ImageTester
from buildsys.oci.artifacts import put_artifact
from buildsys.oci.client import missing_parts
from buildsys.oci.reference import Reference
from tests.support.fake_tests import FakeTestEngine
from tests.support.world import PREFIX, World
from tests.unit.fleet.test_history import archive, bake, named

GRAPH = """
a:
b:
one = a
two = b
"""
DAYS = 30


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, GRAPH)
    world.declare("one", "tests: [{run: first}]")
    return world


def collect(world: World, now: float) -> Collected:
    """Clean up as `gc --yes` does at a time."""
    roots, repositories = source_roots(world.workspace, (), {}, make_plan)
    return Collector(
        registry=world.registry,
        prefix=PREFIX,
        roots=lambda: with_history(roots, world.registry, PREFIX, now - DAYS * DAY),
        repositories=repositories,
        days=DAYS,
        now=now,
    ).run(delete=True)


def documents(world: World, begin: str) -> set[str]:
    """Return the tags of documents."""
    return {tag for _, tag in world.registry.manifests_by_name if tag.startswith(begin)}


def run_tests(world: World) -> None:
    """Test the image `one`, and keep the results."""
    tester = ImageTester(
        workspace=world.workspace,
        records=RegistryRecords(registry=world.registry),
        find_engine=FakeTestEngine,
        stop=Stop(),
        clock=lambda: 20.0,
        note=pytest.fail,
    )
    images = images_of(world.store, world.plan, {"one": str(world.index("one"))})
    assert [*tester.run(images, declared_tests(world.plan, images))]


def test_image_that_tags_left_lately_stays_for_a_rollback_however_old_it_is(world: World) -> None:
    bake(world, 10)
    first = named(world, "one")
    world.edit("a")
    bake(world, 100 * DAY)
    assert collect(world, 129 * DAY).deleted == ()
    roll_back(archive(world), "one", None, clock=lambda: 129 * DAY)
    assert named(world, "one") == first
    assert missing_parts(world.registry, Reference.parse(f"{PREFIX}/one:latest")) == ()


def test_image_that_tags_left_long_ago_goes_and_the_history_stays(world: World) -> None:
    bake(world, 10)
    old = world.index("one")
    world.edit("a")
    bake(world, 100 * DAY)
    assert {each.kind.value for each in collect(world, 131 * DAY).deleted} == {"index", "image", "node", "record"}
    assert world.registry.head(old) is None
    assert documents(world, "history-") == {"history-one", "history-two"}


def test_history_of_a_stack_that_the_sources_lack_keeps_what_it_names(world: World) -> None:
    bake(world, 10)
    world.edit("b")
    bake(world, 100 * DAY)
    old = archive(world).find("two")
    assert old is not None
    file = world.root / "stacks.yaml"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(each for each in lines if not each.startswith("  two:")), encoding="utf-8")
    assert collect(world, 129 * DAY).deleted == ()
    gone = {each.reference.repository for each in collect(world, 131 * DAY).deleted}
    assert gone == {"ml/nodes", "ml/two"}
    assert named(world, "two") == old.entries[-1].digest


def test_history_that_cannot_be_read_ends_a_clean_up_before_anything_is_deleted(world: World) -> None:
    bake(world, 10)
    world.edit("a")
    bake(world, 11)
    put_artifact(world.registry, archive(world).location("two"), HISTORY, b'{"version": 2}')
    with pytest.raises(UnreadableHistory, match="this buildsys reads version 1"):
        collect(world, 100 * DAY)
    assert world.registry.deleted == []


def test_named_since_has_what_tags_left_and_got_and_where_they_are_held() -> None:
    digests = [f"sha256:{number}" for number in range(5)]
    entries = [
        Entry(number=number, time=number * 10, tags=tags, key="", digest=digest)
        for number, (digest, tags) in enumerate(zip(digests, (("x", "y"), ("x",), ("x",), ("z",), ("x",)), strict=True))
    ]
    found = History(stack="one", repository="one", entries=tuple(entries))
    assert found.named_since(0) == {*digests}
    assert found.named_since(25) == {*digests[2:]}
    assert found.named_since(40) == {digests[2], digests[4]}
    assert found.named_since(41) == frozenset()
    held = History(stack="one", repository="one", entries=tuple(entries), hold=Hold(time=1, digest=digests[0]))
    assert held.named_since(41) == {digests[0]}


def test_results_of_tests_and_times_of_builds_stay_and_go_with_what_they_are_about(world: World) -> None:
    bake(world, 10)
    run_tests(world)
    keep(world.store, run_model(world.events), pytest.fail)
    own = location(PREFIX, world.selection.keys.of(world.target("a")).key)
    tests, records = documents(world, "tests-"), documents(world, "record-")
    assert (len(tests), len(records)) == (1, 4)
    assert collect(world, 100 * DAY).deleted == ()
    assert (documents(world, "tests-"), documents(world, "record-")) == (tests, records)
    assert find_record(world.registry, own)
    world.edit("a")
    bake(world, 20)
    collect(world, 100 * DAY)
    assert documents(world, "tests-") == set()
    assert documents(world, "record-") == records - {own.target}


def test_result_of_tests_stays_with_an_index_whose_image_has_no_tag(world: World) -> None:
    bake(world, 10)
    run_tests(world)
    place = world.location("one")
    image = world.registry.manifest(place)
    assert image is not None
    for name, target in list(world.registry.manifests_by_name):
        if name == place.name and ":" not in target and world.registry.manifest(place.with_tag(target)) == image:
            del world.registry.manifests_by_name[name, target]
    assert collect(world, 100 * DAY).deleted == ()
    assert len(documents(world, "tests-")) == 1
