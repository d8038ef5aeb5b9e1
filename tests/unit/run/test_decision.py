"""What a run decides to do, asked of graphs of a few lines: build, reuse or leave, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput
from buildsys.oci.http import ServerError, Unreachable
from buildsys.oci.reference import Manifest, Reference
from buildsys.run.decision import decide_local, index_tags, public_tags, selection_of, without_cache
from buildsys.run.local import decision_for
from buildsys.run.session import RunOptions
from tests.support import trees
from tests.support.world import World

GRAPH = """
a:
b: a
c:
one = a b
two = c
"""
ABSENT = {"system": "leave", "tools": "leave", "a": "leave", "b": "leave", "c": "leave", "one": "leave", "two": "leave"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def test_nothing_exists_so_everything_needed_is_built_and_the_rest_is_skipped(world: World) -> None:
    found = world.decide("b")
    assert world.actions(found) == {**ABSENT, "tools": "build", "a": "build", "b": "build"}
    assert [world.layers[name] for name in found.built] == ["tools", "a", "b"]


def test_what_exists_is_reused_and_what_only_it_needs_is_left(world: World) -> None:
    world.publish("a")
    found = world.decide("b")
    # A toolchain is needed by `b` itself.
    assert world.actions(found) == {**ABSENT, "tools": "reuse", "a": "reuse", "b": "build"}
    assert [world.layers[name] for name in found.reused] == ["tools", "a"]
    world.publish("b")
    found = world.decide("b")
    assert world.actions(found) == {**ABSENT, "b": "reuse"}
    assert [world.layers[name] for name in found.reused] == ["b"]


def test_image_that_exists_asks_for_none_of_its_nodes(world: World) -> None:
    world.publish()
    world.registry.asked.clear()
    world.decide("one")
    assert [Reference.parse(each).name for each in world.registry.asked] == ["r.example.com/ml/one"]


def test_nodes_to_build_are_in_build_order_without_images(world: World) -> None:
    found = world.decide("one", "two")
    order = [world.layers[name] for name in found.nodes_to_build]
    assert sorted(order) == ["a", "b", "c", "system", "tools"]
    assert order.index("tools") < order.index("a") < order.index("b")
    assert [world.layers[name] for name in found.built][-2:] == ["one", "two"]


def test_edit_changes_the_keys_of_what_it_reaches_and_of_nothing_else(world: World) -> None:
    world.publish()
    world.edit("a")
    assert world.actions(world.decide("one", "two")) == {
        **ABSENT,
        "system": "reuse",
        "tools": "reuse",
        "a": "build",
        "b": "build",
        "one": "build",
        "two": "reuse",
    }


def test_undone_edit_finds_what_was_published_before_it(world: World) -> None:
    world.publish("a")
    before = (world.root / "layers/a/Dockerfile").read_text(encoding="utf-8")
    world.edit("a")
    world.publish("a")
    (world.root / "layers/a/Dockerfile").write_text(before, encoding="utf-8")
    assert world.actions(world.decide("a"))["a"] == "reuse"


def test_lost_blob_is_found_only_where_blobs_are_verified(world: World) -> None:
    world.publish("a")
    world.registry.lose(str(world.location("a")))
    assert world.decide("a").damaged == {}
    found = world.decide("a", verify=True)
    assert world.actions(found) == {**ABSENT, "tools": "reuse", "a": "build"}
    assert [len(missing) for missing in found.damaged.values()] == [1]
    assert "a" not in found.existing


def test_lost_blob_of_a_node_that_is_only_needed_is_found_too(world: World) -> None:
    world.publish("a")
    world.registry.lose(str(world.location("a")))
    assert world.actions(world.decide("b", verify=True))["a"] == "build"
    assert world.actions(world.decide("b"))["a"] == "reuse"


def test_nodes_of_a_damaged_image_are_looked_up_and_reused(world: World) -> None:
    """Before, they were taken for missing, and all of them were built."""
    world.publish("two")
    image = world.location("two")
    for repository, digest in [*world.registry.blobs]:
        if repository == image.name:
            del world.registry.blobs[repository, digest]
    found = world.decide("two", verify=True)
    assert world.actions(found) == {**ABSENT, "system": "reuse", "tools": "reuse", "c": "reuse", "two": "build"}


def test_content_without_its_key_is_foreign_and_rebuilt(world: World) -> None:
    world.registry.push(world.location("a"), "forged", {})
    found = world.decide("a")
    assert world.actions(found)["a"] == "build"
    assert found.foreign == {"a": f"`{world.location('a')}` does not name the key it was built for"}
    assert found.actions["a"].reason == found.foreign["a"]


def test_reason_names_what_changed_since_the_name_was_published(world: World) -> None:
    assert world.decide("a").actions["a"].reason == "nothing was published under its name yet"
    world.publish("a")
    world.edit("a")
    assert world.decide("a").actions["a"].reason == "layers/a/Dockerfile changed"


def test_registry_that_fails_is_an_error_and_not_an_empty_registry(world: World) -> None:
    answer, key_of_a = world.registry.manifest, world.location("a")

    def manifest(reference: Reference) -> Manifest | None:
        if reference == key_of_a:
            raise ServerError("500", host="r.example.com", status=500)
        return answer(reference)

    world.registry.manifest = manifest  # type: ignore[method-assign]
    with pytest.raises(ServerError):
        world.decide("a")
    with pytest.raises(ServerError):
        world.decide("b")


def test_tags_are_those_of_the_images_asked_for_below_the_prefix_of_the_store(world: World) -> None:
    assert world.decide("one", "a").tags == {"one": ("r.example.com/ml/one:latest",)}
    world.environ["BUILDSYS_TAG"] = "2026"
    assert world.decide("one").tags == {"one": ("r.example.com/ml/one:2026",)}


@pytest.mark.parametrize("tag", ["", "a b", "key-1", "incoming-one"])
def test_tag_that_no_image_can_have_or_that_runs_move_is_refused(world: World, tag: str) -> None:
    world.environ["BUILDSYS_TAG"] = tag
    with pytest.raises(InvalidInput, match="BUILDSYS_TAG"):
        world.decide("one")
    with pytest.raises(InvalidInput, match="BUILDSYS_TAG"):
        public_tags(world.plan, ["one"], world.environ)


def test_images_of_a_stack_for_two_platforms_share_its_tag() -> None:
    plan = trees.planned(trees.on_two_platforms())
    images = [image.name for image in plan.indexes["one"]]
    both = index_tags(plan, images, {"BUILDSYS_REGISTRY": "r.example.com/ml"})
    assert both == dict.fromkeys(images, ("r.example.com/ml/one:latest",))
    one = index_tags(plan, images[:1], {"BUILDSYS_REGISTRY": "r.example.com/ml"})
    assert one == {images[0]: ("r.example.com/ml/one:latest",)}


def local(world: World, *names: str, images: Mapping[str, tuple[str, ...]], **options: object) -> dict[str, str]:
    """Return what a run into the engine's own store would do."""
    selection = selection_of(world.workspace, world.plan, tuple(map(world.target, names)))
    environ = {"BUILDSYS_REGISTRY": "buildsys", **world.environ}
    found, _ = decision_for(world.workspace, selection, images, RunOptions(**options), environ)  # type: ignore[arg-type]
    return world.actions(found)


def key(world: World, name: str) -> str:
    return world.selection.keys.of(world.target(name)).key


def test_image_of_the_engines_own_store_is_reused_under_its_key_and_all_its_tags(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    images = {key(world, "two"): ("buildsys/two:latest",)}
    assert local(world, "two", images=images) == {**ABSENT, "two": "reuse"}
    assert local(world, "two", images={key(world, "two"): ("buildsys/two:old",)})["two"] == "build"
    assert local(world, "two", images={key(world, "one"): ("buildsys/two:latest",)})["two"] == "build"


def test_no_cache_builds_the_selection_and_everything_it_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    images = {key(world, "two"): ("buildsys/two:latest",)}
    found = local(world, "two", images=images, no_cache=True)
    assert found == {**ABSENT, "system": "build", "tools": "build", "c": "build", "two": "build"}


def test_override_uses_nothing_that_exists(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    images = {key(world, "two"): ("buildsys/two:latest",)}
    assert local(world, "two", images=images, overrides=("two.args.A=1",))["two"] == "build"


def test_registry_that_does_not_answer_only_means_that_nothing_is_taken_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unreachable("connection refused", host="r.example.com")

    monkeypatch.setattr("buildsys.run.local.open_store", fail)
    selection = selection_of(world.workspace, world.plan, ("a",))
    found, problem = decision_for(world.workspace, selection, {}, RunOptions(), {})
    assert problem == "its nodes are not reused: connection refused"
    assert world.actions(found)["a"] == "build"


def test_published_nodes_are_reused_beside_loaded_images(world: World) -> None:
    selection = selection_of(world.workspace, world.plan, ("one", "two"))
    found = decide_local(selection, {"two": "buildsys/two:latest"}, {"a": "r/nodes@sha256:1"}, {})
    assert world.actions(found) == {
        **ABSENT,
        "system": "build",
        "tools": "build",
        "a": "reuse",
        "b": "build",
        "one": "build",
        "two": "reuse",
    }
    assert {action.reason for action in found.actions.values() if action.word == "build"} == {
        "it is not in the engine's store"
    }


def test_without_cache_nothing_exists_any_more(world: World) -> None:
    world.publish("b")
    found = without_cache(world.decide("b"))
    assert found.existing == {}
    assert world.actions(found) == {**ABSENT, "tools": "build", "a": "build", "b": "build"}
    assert {found.actions[name].reason for name in found.built} == {"--no-cache"}


def test_tags_of_a_stack_replace_that_of_the_run(world: World) -> None:
    world.declare("one", "repository: lang, tags: ['1.2', latest]")
    world.environ["BUILDSYS_TAG"] = "2026"
    assert world.decide("one").tags == {"one": ("r.example.com/ml/lang:1.2", "r.example.com/ml/lang:latest")}
    assert public_tags(world.plan, ["one", "two"], {}) == {
        "one": ("r.example.com/ml/lang:1.2", "r.example.com/ml/lang:latest"),
        "two": ("r.example.com/ml/two:latest",),
    }


def test_image_of_the_engines_own_store_is_reused_if_it_has_all_tags(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    world.declare("two", "repository: lang, tags: ['1.2', latest]")
    names = ("buildsys/lang:1.2", "buildsys/lang:latest")
    assert local(world, "two", images={key(world, "two"): names}) == {**ABSENT, "two": "reuse"}
    assert local(world, "two", images={key(world, "two"): names[:1]})["two"] == "build"
