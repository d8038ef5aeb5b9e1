"""Promotion copies images, nodes and their documents by digest, so that nothing is rebuilt where they arrive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.buildkit.interrupt import Stop
from buildsys.errors import InvalidInput
from buildsys.fleet.history import Archive
from buildsys.fleet.promote import Beside, Gate, Promoted, Refused, Request, Results, not_held, promote
from buildsys.fleet.rollback import roll_back
from buildsys.image_tests.declared import declared_tests
from buildsys.image_tests.images import present_images
from buildsys.image_tests.records import RegistryRecords
from buildsys.image_tests.suite import ImageTester
from buildsys.names import KEY_LABEL
from buildsys.oci.client import missing_parts
from buildsys.oci.http import ServerError
from buildsys.oci.reference import Manifest, Reference
from buildsys.run.decision import decide_published
from buildsys.run.store import Store
from tests.support.fake_tests import FakeTestEngine
from tests.support.world import PREFIX, World
from tests.unit.fleet.test_history import bake

GRAPH = """
a:
b: a
c:
one = a b
two = c b
"""
NEAR, FAR = "r.example.com/prod", "other.example.com/prod"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, GRAPH)
    bake(world, 10)
    return world


def send(
    world: World,
    prefix: str,
    *names: str,
    others: tuple[str, ...] = (),
    gates: tuple[Gate, ...] = (),
    beside: Beside = lambda _stack, _image: (),
) -> Promoted:
    """Promote targets, all images if nothing is named."""
    for found in (world.registry.written, world.registry.sent, world.registry.mounted):
        found.clear()
    targets = tuple(map(world.target, names)) or (() if others else tuple(each.name for each in world.plan.stacks))
    request = Request(plan=world.plan, keys=world.selection.keys, targets=targets, others=others)
    target = Store(registry=world.registry, prefix=prefix)
    return promote(world.store, target, request, {}, clock=lambda: 20.0, gates=gates, beside=beside)


def references(world: World, prefix: str) -> dict[str, bytes]:
    """Return what has a tag below a prefix."""
    return {
        f"{name.removeprefix(f'{prefix}/')}:{target}": raw
        for (name, target), raw in world.registry.manifests_by_name.items()
        if name.startswith(f"{prefix}/") and ":" not in target
    }


def durable(found: dict[str, bytes]) -> dict[str, bytes]:
    passing = ("incoming-", "history-")
    return {name: raw for name, raw in found.items() if not name.partition(":")[2].startswith(passing)}


def incomplete(world: World, prefix: str) -> list[str]:
    """Return what has a tag below a prefix and lacks a part."""
    places = [Reference.parse(f"{prefix}/{name}") for name in references(world, prefix)]
    return [str(place) for place in places if missing_parts(world.registry, place)]


@pytest.mark.parametrize("prefix", [NEAR, FAR])
def test_registry_gets_everything_that_the_first_has_under_the_same_digests(world: World, prefix: str) -> None:
    done = send(world, prefix)
    assert (done.lacking, done.images, sorted(done.tags)) == (
        {},
        ("one", "two"),
        [f"{prefix}/one:latest", f"{prefix}/two:latest"],
    )
    first = durable(references(world, PREFIX))
    # What a name was last is of images too where they were built.
    kept = {name: raw for name, raw in first.items() if not (":last-" in name and not name.startswith("nodes"))}
    assert durable(references(world, prefix)) == kept
    assert len([name for name in kept if name.startswith("nodes:inventory-")]) == 5
    assert incomplete(world, prefix) == []


def test_no_byte_is_sent_within_a_host_and_each_blob_once_between_hosts(world: World) -> None:
    done = send(world, NEAR)
    assert (world.registry.sent, done.sent, done.size) == ([], 0, 0)
    assert done.mounted == len(world.registry.mounted) > 0
    send(world, FAR)
    digests = [each.partition("@")[2] for each in world.registry.sent]
    assert len(digests) == len({*digests}) > 0
    assert {each.partition("@")[2] for each in world.registry.mounted} <= {*digests}


def test_what_is_promoted_is_not_rebuilt_where_it_arrives(world: World) -> None:
    send(world, FAR)
    there = Store(registry=world.registry, prefix=FAR)
    images = tuple(each.name for each in world.plan.stacks)
    decision = decide_published(world.workspace, there, world.plan, (*images, *map(world.target, "abc")), {})
    assert decision.built == ()


def test_second_promotion_writes_nothing(world: World) -> None:
    send(world, FAR)
    done = send(world, FAR)
    assert (world.registry.sent, world.registry.mounted, done.copied, done.tags) == ([], [], 0, ())
    assert {each.partition(":")[2].partition("-")[0] for each in world.registry.written} <= {"last"}


def test_tags_move_last_and_the_history_there_says_from_where(world: World) -> None:
    send(world, FAR, "one")
    lasting = [each for each in world.registry.written if not each.startswith(("nodes:last-", "nodes:history-"))]
    assert lasting.index("one:latest") == len(lasting) - 1
    found = Archive(registry=world.registry, prefix=FAR).find("one")
    assert found is not None
    assert [(each.by, each.reason, each.tags) for each in found.entries] == [("promote", f"from {PREFIX}", ("latest",))]


def test_promotion_that_breaks_anywhere_leaves_whole_images_and_the_next_one_finishes(world: World) -> None:
    put = world.registry.put_manifest
    left = 0

    def break_at(reference: Reference, raw: bytes, media_type: str) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise ServerError("503", host=reference.host, status=503)
        return put(reference, raw, media_type)

    moments = 0
    while True:
        prefix = f"other.example.com/p{moments}"
        left = moments
        world.registry.put_manifest = break_at  # type: ignore[method-assign,assignment]
        try:
            done = send(world, prefix)
        except ServerError:
            done = None
        finally:
            world.registry.put_manifest = put  # type: ignore[method-assign]
        assert incomplete(world, prefix) == []
        if done is None or done.lacking or done.notes:
            assert send(world, prefix).lacking == {}
            assert incomplete(world, prefix) == []
            assert {"one:latest", "two:latest"} <= references(world, prefix).keys()
            moments += 1
            continue
        break
    assert moments > 20


def test_node_alone_is_promoted_with_what_is_below_it(world: World) -> None:
    done = send(world, FAR, "b")
    assert (done.images, done.nodes, done.tags) == ((), 3, ())
    assert {name for name in references(world, FAR) if not name.startswith("nodes:")} == set()


def test_image_that_is_not_published_is_refused_and_nothing_is_copied(world: World) -> None:
    world.edit("c")
    with pytest.raises(InvalidInput, match=f"`{PREFIX}` does not have `two` under the present key"):
        send(world, FAR)
    assert references(world, FAR) == {}


def test_gate_refuses_all_before_anything_is_copied(world: World) -> None:
    seen = []

    def gate(stack: str, image: Reference) -> str:
        seen.append((stack, image.digest is not None))
        return "its tests failed" if stack == "two" else ""

    with pytest.raises(Refused, match="`two` is not promoted: its tests failed"):
        send(world, FAR, gates=(gate,))
    assert (seen, references(world, FAR)) == ([("one", True), ("two", True)], {})


def test_image_that_was_rolled_back_is_not_promoted(world: World) -> None:
    archive = Archive(registry=world.registry, prefix=PREFIX)
    world.edit("c")
    bake(world, 11)
    assert send(world, NEAR, "two", gates=(not_held(world.store),)).lacking == {}
    roll_back(archive, "two", None, clock=lambda: 12.0)
    with pytest.raises(Refused, match="`two` is not promoted: its tags were rolled back from it to sha256:"):
        send(world, FAR, "two", gates=(not_held(world.store),))
    assert send(world, FAR, "one", gates=(not_held(world.store),)).lacking == {}


@pytest.fixture
def tested(tmp_path: Path) -> World:
    world = World(tmp_path, GRAPH)
    world.declare("two", "tests: [{run: first}, {run: second, gpu: true}]")
    bake(world, 10)
    return world


def run_tests(world: World, engine: FakeTestEngine) -> None:
    """Test all images as `buildsys test` does."""
    tester = ImageTester(
        workspace=world.workspace,
        records=RegistryRecords(registry=world.registry),
        find_engine=lambda: engine,
        stop=Stop(),
        clock=lambda: 20.0,
        note=print,
    )
    targets = tuple(each.name for each in world.plan.stacks)
    images = present_images(world.store, replace(world.selection, targets=targets))
    assert [*tester.run(images, declared_tests(world.plan, targets))]


def allowed(world: World, *names: str) -> Promoted:
    results = Results(workspace=world.workspace, source=world.store, plan=world.plan)
    return send(world, FAR, *names, gates=(results.not_green,), beside=results.results)


def test_image_with_tests_is_not_promoted_before_they_have_run(tested: World) -> None:
    with pytest.raises(Refused, match=r"`two` is not promoted: its tests have not run in .*, see `buildsys test two`"):
        allowed(tested)
    assert references(tested, FAR) == {}
    assert allowed(tested, "one").lacking == {}


def test_results_of_tests_are_promoted_with_their_image(tested: World) -> None:
    run_tests(tested, FakeTestEngine(has_gpu=True))
    done = allowed(tested)
    assert [name for name in references(tested, FAR) if name.startswith("two:tests-")]
    assert done.documents == 6
    image = Reference.parse(f"{FAR}/two:latest")
    index = tested.registry.manifest(image)
    assert index is not None
    there = Results(workspace=tested.workspace, source=Store(registry=tested.registry, prefix=FAR), plan=tested.plan)
    assert there.not_green("two", image.with_digest(index.descriptor.digest)) == ""


def test_image_whose_tests_failed_is_not_promoted_until_they_pass(tested: World) -> None:
    run_tests(tested, FakeTestEngine(has_gpu=True, problems={"second": "ended with 1"}))
    with pytest.raises(Refused, match=r"`two` is not promoted: the test `second` of .* failed in .*: ended with 1"):
        allowed(tested)
    assert references(tested, FAR) == {}
    assert allowed(tested, "one").lacking == {}
    run_tests(tested, FakeTestEngine(has_gpu=True))
    assert allowed(tested).lacking == {}


def test_image_with_a_skipped_test_is_promoted_when_it_passed_on_another_machine(tested: World) -> None:
    run_tests(tested, FakeTestEngine())
    with pytest.raises(Refused, match=r"`two` is not promoted: the test `second` of .* skipped in .*: no GPU"):
        allowed(tested)
    run_tests(tested, FakeTestEngine(has_gpu=True))
    assert allowed(tested).lacking == {}


def test_results_of_earlier_tests_say_nothing_of_an_image(tested: World) -> None:
    run_tests(tested, FakeTestEngine(has_gpu=True))
    file = tested.root / "stacks.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("run: first", "run: other"), encoding="utf-8")
    tested.declare("one", "tests: [{run: third}]")
    with pytest.raises(Refused, match=r"`one` is not promoted: its tests have not run.*\n`two` is not promoted: its"):
        allowed(tested)


def test_image_of_no_stack_is_promoted_by_its_tag_with_its_key(world: World) -> None:
    index = world.registry.manifest(Reference.parse(f"{PREFIX}/one:latest"))
    assert index is not None
    for place, raw in list(world.registry.manifests_by_name.items()):
        if place[0] == f"{PREFIX}/one":
            world.registry.manifests_by_name[f"{PREFIX}/one-custom", place[1]] = raw
    for place in list(world.registry.blobs):
        world.registry.blobs[place[0].replace("/one", "/one-custom"), place[1]] = world.registry.blobs[place]
    send(world, FAR, others=("one-custom:latest",))
    there: Manifest | None = world.registry.manifest(Reference.parse(f"{FAR}/one-custom:latest"))
    assert there is not None
    key = dict(index.annotations)[KEY_LABEL]
    assert references(world, FAR).keys() >= {"one-custom:latest", f"one-custom:key-{key}"}
    assert incomplete(world, FAR) == []
    with pytest.raises(InvalidInput, match="one-custom:bob` does not exist"):
        send(world, FAR, others=("one-custom:bob",))
