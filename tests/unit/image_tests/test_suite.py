"""Tests of images: what passed is not run twice, what runs stays within memory, and a stop ends it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from buildsys.buildkit.interrupt import Stop
from buildsys.errors import Unavailable
from buildsys.events.events import TestState
from buildsys.image_tests import records
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun, declared_tests
from buildsys.image_tests.images import TestedImage, present_images
from buildsys.image_tests.records import RegistryRecords
from buildsys.image_tests.suite import ImageResult, ImageTester, Room
from buildsys.oci.http import RegistryProblem, ServerError
from buildsys.oci.reference import Reference
from tests.support.fake_tests import FakeTestEngine
from tests.support.world import World

IMAGE = TestedImage(target="one", stack="one", platform="linux/amd64", reference="r.example.com/one", digest="sha256:1")
TESTS = "tests: [{run: first}, {run: second}]"


@dataclass
class Bench:
    """A world with images that are published, and an engine that tests them; `notes` are what was reported."""

    world: World
    engine: FakeTestEngine = field(default_factory=FakeTestEngine)
    stop: Stop = field(default_factory=Stop)
    notes: list[str] = field(default_factory=list)
    found: int = 0

    def run(self, *, rerun: bool = False, jobs: int | None = None) -> list[ImageResult]:
        self.engine.ran.clear()
        plan = self.world.plan
        targets = tuple(each.name for each in plan.stacks)
        selection = replace(self.world.selection, targets=targets)
        images = present_images(self.world.store, selection)
        tester = ImageTester(
            workspace=self.world.workspace,
            records=RegistryRecords(registry=self.world.registry),
            find_engine=self.find,
            stop=self.stop,
            clock=lambda: 5.0,
            note=self.notes.append,
            rerun=rerun,
            jobs=jobs,
        )
        return list(tester.run(images, declared_tests(plan, targets)))

    def find(self) -> FakeTestEngine:
        self.found += 1
        return self.engine

    @property
    def titles(self) -> list[str]:
        return sorted(title for _, title in self.engine.ran)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, "a:\nb:\none = a\ntwo = b")


def published(world: World, **tests: str) -> Bench:
    for stack, fields in tests.items():
        world.declare(stack, fields)
    assert world.publish().complete
    return Bench(world)


def states(results: Sequence[ImageResult]) -> list[str]:
    return [str(each.state) for each in results]


def remembered(results: Sequence[ImageResult]) -> list[bool]:
    return [each.remembered for result in results for each in result.results]


def test_what_passed_is_remembered_and_needs_no_engine(world: World) -> None:
    bench = published(world, one=TESTS, two="tests: [{run: third}]")
    assert states(bench.run()) == ["passed", "passed"]
    assert bench.titles == ["first", "second", "third"]
    again = bench.run()
    assert (states(again), remembered(again)) == (["passed", "passed"], [True, True, True])
    assert (bench.titles, bench.found) == ([], 1)


def test_the_record_is_beside_the_image_and_its_subject_is_the_manifest(world: World) -> None:
    bench = published(world, one=TESTS)
    result = bench.run()[0]
    image = world.location("one")
    tag = records.tests_tag(result.image.digest, result.tests, gpu=False)
    record = world.registry.manifest(image.with_tag(tag))
    held = world.registry.manifest(image)
    assert record is not None
    assert held is not None
    assert (result.image.digest, held.descriptor.digest.encode() in record.raw) == (held.descriptor.digest, True)
    assert Reference.parse(result.image.reference) == image.with_digest(held.descriptor.digest)


def test_rerun_runs_what_passed_before(world: World) -> None:
    bench = published(world, one=TESTS)
    bench.run()
    assert remembered(bench.run(rerun=True)) == [False, False]
    assert bench.titles == ["first", "second"]


def test_failed_test_runs_once_more_and_the_others_of_its_image_do_not(world: World) -> None:
    bench = published(world, one=TESTS)
    bench.engine.problems = {"second": "ended with 1"}
    assert states(bench.run()) == ["failed", "untested"]
    bench.engine.problems = {}
    assert remembered(bench.run()) == [True, False]
    assert bench.titles == ["second"]
    assert remembered(bench.run()) == [True, True]


def test_image_without_tests_is_not_green(world: World) -> None:
    assert states(published(world).run()) == ["untested", "untested"]


def test_another_image_or_another_test_is_not_remembered(world: World) -> None:
    bench = published(world, one=TESTS)
    bench.run()
    stacks = world.root / "stacks.yaml"
    stacks.write_text(stacks.read_text(encoding="utf-8").replace("run: first", "run: changed"), encoding="utf-8")
    world._selection = None
    bench.run()
    assert bench.titles == ["changed", "second"]
    world.edit("a")
    world.publish()
    bench.run()
    assert bench.titles == ["changed", "second"]


def script_of(world: World, text: str) -> Path:
    """Let the layer `a` have a test that is a file."""
    layer = world.root / "layers/a/layer.yaml"
    layer.write_text(layer.read_text(encoding="utf-8") + "tests: [{run: /tests/check}]\n", encoding="utf-8")
    check = world.root / "layers/a/tests/check"
    check.parent.mkdir()
    check.write_text(text, encoding="utf-8")
    return check


def test_files_of_tests_are_a_part_of_what_is_remembered(world: World) -> None:
    check = script_of(world, "exit 0")
    bench = published(world)
    bench.run()
    bench.run()
    assert bench.titles == []
    check.write_text("exit 1", encoding="utf-8")
    bench.run()
    assert bench.titles == ["/tests/check"]


def test_result_of_tests_that_were_edited_meanwhile_is_not_remembered(world: World) -> None:
    check = script_of(world, "exit 1")
    bench = published(world)
    bench.engine.during = lambda _: check.write_text("exit 0", encoding="utf-8")
    bench.run()
    check.write_text("exit 1", encoding="utf-8")
    bench.engine.during = lambda _: None
    bench.run()
    assert bench.titles == ["/tests/check"]


def test_gpu_test_is_skipped_without_a_gpu_and_the_image_is_not_green(world: World) -> None:
    bench = published(world, one="tests: [{run: plain}, {run: cuda, gpu: true}]")
    result = bench.run()[0]
    assert (result.state, result.gpu, bench.titles) == (TestState.SKIPPED, False, ["plain"])
    assert [each.problem for each in result.results] == ["", "no GPU: no device"]
    assert states(bench.run()) == ["skipped", "untested"]
    assert bench.titles == []


def test_gpu_test_runs_where_a_gpu_is_and_is_green_everywhere_afterwards(world: World) -> None:
    bench = published(world, one="tests: [{run: plain}, {run: cuda, gpu: true}]")
    bench.run()
    bench.engine.has_gpu = True
    # Where a GPU is, what passed without it may fail.
    assert states(bench.run()) == ["passed", "untested"]
    assert bench.titles == ["cuda", "plain"]
    bench.engine.has_gpu, bench.found = False, 0
    assert states(bench.run()) == ["passed", "untested"]
    assert (bench.titles, bench.found) == ([], 0)


def test_registry_that_takes_no_record_is_reported_and_the_tests_count(world: World) -> None:
    bench = published(world, one=TESTS)
    refusal = RegistryProblem("denied", host="r.example.com", status=403)
    tag = next(iter(tag_of(result) for result in bench.run(rerun=True) if result.results))
    world.registry.problems[tag] = [refusal]
    assert states(bench.run(rerun=True)) == ["passed", "untested"]
    assert bench.notes == ["the results of `one` are not remembered: denied"]


def tag_of(result: ImageResult) -> str:
    return records.tests_tag(result.image.digest, result.tests, gpu=result.gpu)


def test_registry_that_does_not_answer_ends_the_tests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = published(world, one=TESTS)
    manifest = world.registry.manifest

    def failing(reference: Reference) -> object:
        if (reference.tag or "").startswith("tests-"):
            raise ServerError("500", host=reference.host, status=500)
        return manifest(reference)

    monkeypatch.setattr(world.registry, "manifest", failing)
    with pytest.raises(ServerError):
        bench.run()


def test_engine_that_fails_ends_the_tests_of_all_images(world: World) -> None:
    bench = published(world, one=TESTS, two=TESTS)
    bench.engine.broken = "no space left"
    with pytest.raises(Unavailable, match="no space left"):
        bench.run()
    assert (bench.engine.ran, bench.engine.stopped) == ([], 1)


def test_stop_ends_the_tests_and_remembers_images_that_are_complete(world: World) -> None:
    bench = published(world, one=TESTS, two="tests: [{run: third}, {run: fourth}]")

    def during(test: TestRun) -> None:
        if test.title == "third":
            bench.stop.request()

    bench.engine.during = during
    results = bench.run(jobs=1)
    assert [each.image.target for each in results] in ([], ["one"])
    assert bench.engine.stopped == 1
    assert "fourth" not in bench.titles
    bench.stop, bench.engine.during = Stop(), lambda _: None
    assert states(bench.run()) == ["passed", "passed"]


def test_tests_of_all_images_run_at_once_up_to_their_number(world: World) -> None:
    bench = published(world, one=TESTS, two="tests: [{run: third}, {run: fourth}]")
    barrier = threading.Barrier(4)
    bench.engine.during = lambda _: barrier.wait(10)
    assert states(bench.run(jobs=4)) == ["passed", "passed"]
    assert bench.engine.most == 4
    bench.engine.during, bench.engine.most = lambda _: None, 0
    bench.run(jobs=1, rerun=True)
    assert bench.engine.most == 1


def crowd(tests: Sequence[TestRun], memory: int) -> FakeTestEngine:
    """Run tests in as many threads, each for a moment, and return the engine that counted them."""
    engine, room = FakeTestEngine(), Room(memory)
    engine.during = lambda _: threading.Event().wait(0.01)

    def run(test: TestRun) -> TestResult:
        return room.run(test, lambda: engine.run(IMAGE, test))

    threads = [threading.Thread(target=run, args=(test,)) for test in tests]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert len(engine.ran) == len(tests)
    return engine


def a_test(memory: int = 0, *, gpu: bool = False) -> TestRun:
    return TestRun(
        target="one", stack="one", layer="a", folder="", run="true", expect=None, gpu=gpu, memory=memory << 30
    )


def test_tests_wait_until_their_memory_is_free() -> None:
    assert crowd([a_test(2)] * 6, memory=5 << 30).most <= 2


def test_test_that_declares_nothing_counts_with_half_a_gigabyte() -> None:
    assert crowd([a_test()] * 6, memory=1 << 30).most <= 2


def test_test_that_needs_more_memory_than_exists_runs_alone() -> None:
    assert crowd([a_test(64)] * 4, memory=1 << 30).most == 1


def test_one_test_with_a_gpu_runs_at_a_time() -> None:
    assert crowd([a_test(gpu=True), a_test()] * 4, memory=0).most_gpu == 1
