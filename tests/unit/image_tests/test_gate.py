"""Tests before tags move: an image that fails its tests counts as a failed build."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from buildsys.buildkit.failure import FailureKind
from buildsys.errors import ExitCode
from buildsys.events.events import ImageTested, TagsMoved, TargetEnded
from buildsys.events.model import run_model
from buildsys.image_tests import gate
from buildsys.run.executor import exit_code
from buildsys.run.publish import Published, publish
from tests.support.builder import FAILING_RUN
from tests.support.fake_tests import FakeTestEngine
from tests.support.world import PREFIX, TwoPlatforms, World

ONE, TWO = f"{PREFIX}/one:latest", f"{PREFIX}/two:latest"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, "a:\nb:\none = a\ntwo = b")
    world.declare("one", "tests: [{run: first}, {run: second}]")
    world.declare("two", "tests: [{run: third}]")
    return world


def bake(world: World, engine: FakeTestEngine, *, partial_tags: bool = False) -> Published:
    session = world.session(partial_tags=partial_tags)
    targets = tuple(each.name for each in world.plan.stacks)
    check = partial(gate.tested, session, world.store, lambda: engine)
    return publish(session, world.store, world.plan, targets, check=check)


def results(world: World) -> list[tuple[str, str, int, int]]:
    events = [each for each in world.events if isinstance(each, ImageTested)]
    return [(each.target, each.state, each.passed, each.remembered) for each in events]


def test_tags_move_after_the_images_were_tested_by_digest(world: World) -> None:
    engine = FakeTestEngine()
    seen: list[bool] = []
    engine.during = lambda _: seen.append("one:latest" in world.registry.written)
    found = bake(world, engine)
    assert (found.complete, set(found.moved)) == (True, {ONE, TWO})
    assert seen == [False, False, False]
    manifest = world.registry.manifest(world.location("one"))
    assert manifest is not None
    assert f"{PREFIX}/one@{manifest.descriptor.digest}" in engine.fetched
    assert results(world) == [("one", "passed", 2, 0), ("two", "passed", 1, 0)]


def test_failed_test_leaves_every_tag_where_it_was(world: World) -> None:
    found = bake(world, FakeTestEngine(problems={"second": "ended with 1"}))
    assert (found.complete, found.moved, found.missing) == (False, (), {"one": "one"})
    assert not any(name.endswith(":latest") for name in world.registry.written)
    assert [failure.kind for failure in found.failures] == [FailureKind.TEST]
    assert exit_code(found.complete, found.failures, None) == ExitCode.FAILED
    model = run_model(world.events)
    (failed,) = model.ended_as("failed")
    assert failed.name == "one"
    assert failed.ended is not None
    assert failed.ended.alone == "buildsys test one"
    assert [each.name for each in model.missing] == ["one"]
    assert "stack one: second: ended with 1" in found.failures[0].message
    assert [each.missing for each in world.events if isinstance(each, TagsMoved)] == [("one",)]


def test_partial_tags_move_for_the_images_that_pass(world: World) -> None:
    found = bake(world, FakeTestEngine(problems={"second": "ended with 1"}), partial_tags=True)
    assert found.moved == (TWO,)


def test_next_run_tests_only_what_did_not_pass(world: World) -> None:
    engine = FakeTestEngine(problems={"second": "ended with 1"})
    bake(world, engine)
    engine.problems, engine.ran = {}, []
    found = bake(world, engine)
    assert engine.ran == [("one", "second")]
    assert set(found.moved) == {ONE, TWO}
    assert results(world) == [("one", "passed", 2, 1), ("two", "passed", 1, 1)]


def test_image_for_one_platform_that_fails_keeps_the_tags_of_all(tmp_path: Path) -> None:
    world = TwoPlatforms(tmp_path, "a:\none = a")
    world.declare("one", "tests: [{run: first}]")
    engine = FakeTestEngine(problems={"first": "ended with 1"}, platform="linux/arm64")
    targets = tuple(each.name for each in world.plan.stacks)
    assert len(targets) == 2
    session = world.session(partial_tags=True)
    check = partial(gate.tested, session, world.store, lambda: engine)
    found = publish(session, world.store, world.plan, targets, check=check)
    assert (found.moved, set(found.missing)) == ((), {*targets})
    assert [failure.target for failure in found.failures] == ["one-arm64"]


def test_skipped_test_keeps_no_tag_and_is_counted(world: World) -> None:
    world.declare("one", "labels: {a: b}")
    text = (world.root / "stacks.yaml").read_text(encoding="utf-8")
    text = text.replace("{run: second}", "{run: second, gpu: true}")
    (world.root / "stacks.yaml").write_text(text, encoding="utf-8")
    found = bake(world, FakeTestEngine())
    assert set(found.moved) == {ONE, TWO}
    assert results(world) == [("one", "skipped", 1, 0), ("two", "passed", 1, 0)]


def test_engine_that_runs_no_test_is_unavailable_and_no_tag_moves(world: World) -> None:
    found = bake(world, FakeTestEngine(broken="no engine answers"))
    assert found.moved == ()
    assert exit_code(found.complete, found.failures, None) == ExitCode.UNAVAILABLE
    assert {each.message for each in found.failures} == {"its tests cannot run: no engine answers"}


def test_stop_during_the_tests_moves_no_tag_and_fails_no_image(world: World) -> None:
    engine = FakeTestEngine()
    engine.during = lambda _: world.stop.request()
    found = bake(world, engine)
    assert (found.moved, found.failures) == ((), ())
    assert not [each for each in world.events if isinstance(each, TargetEnded) and each.outcome == "failed"]


def test_images_that_were_not_built_are_not_tested(world: World) -> None:
    world.fails(a=FAILING_RUN)
    engine = FakeTestEngine()
    found = bake(world, engine)
    assert engine.ran == [("two", "third")]
    assert set(found.missing) == {"one"}
