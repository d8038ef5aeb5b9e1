"""A run that publishes, on a graph of a few lines: what is built, blocked and tagged, and what the next run does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import Retried, TagsMoved
from buildsys.oci.http import DigestMismatch, RegistryProblem, ServerError, UnexpectedAnswer, UnreadableManifest
from buildsys.oci.reference import Manifest, Reference
from buildsys.resolve.node import ImageTarget
from buildsys.run.index import TagMoved, annotations_of
from buildsys.run.store import Store, incoming_tag
from tests.support.builder import BROKEN_CONNECTION, FAILING_RUN
from tests.support.world import PREFIX, TwoPlatforms, World

GRAPH = """
a:
b: a
c:
one = a b
two = c
"""
LOST_PUSH = Failure(kind=FailureKind.PUSH, message="failed to push: 500 internal server error")
REFUSED_PUSH = Failure(kind=FailureKind.PUSH, message="failed to push: 403 denied")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def test_each_target_is_built_once_after_everything_it_needs(world: World) -> None:
    result = world.publish()
    assert sorted(world.baked) == ["a", "b", "c", "system", "tools"]
    assert world.baked.index("tools") < world.baked.index("a") < world.baked.index("b")
    assert set(world.outcomes.values()) == {"made"}
    assert world.outcomes.keys() == {"a", "b", "c", "system", "tools", "one", "two"}
    assert result.complete


def test_what_exists_is_not_built_and_needs_no_builder(world: World) -> None:
    world.publish()

    def no_builder() -> None:
        raise AssertionError("a builder was looked for")

    world.find_builder = no_builder  # type: ignore[method-assign,assignment]
    result = world.publish()
    assert (world.outcomes, result.complete, result.moved) == ({}, True, ())


def test_images_of_nodes_that_exist_are_composed_without_a_builder(world: World) -> None:
    world.publish("a", "b", "c", "system")
    world.find_builder = None  # type: ignore[method-assign,assignment]
    assert world.publish().complete
    assert world.outcomes == {"one": "made", "two": "made"}


def test_edit_rebuilds_what_it_reaches_and_says_why(world: World) -> None:
    world.publish()
    world.edit("a")
    assert world.publish().complete
    assert world.baked == ["a", "b"]
    assert world.outcomes == {"a": "made", "b": "made", "one": "made"}
    assert world.reasons == {
        "a": "layers/a/Dockerfile changed",
        "b": "a is built",
        "one": "a is built",
    }


def test_pushed_image_is_staged_then_gets_its_key_and_public_tags_come_last(world: World) -> None:
    world.publish("one")
    key = world.location("b").target
    written = world.registry.written
    node = [written.index(f"nodes:{tag}") for tag in ("incoming-b-with-a", key, "last-b-with-a")]
    assert node == sorted(node)
    image, index = world.location("one").target, world.index("one").target
    assert written[-4:] == [f"one:{image}", f"one:{index}", "one:last-one", "one:latest"]
    assert written.count("one:latest") == 1


def test_public_tags_wait_for_every_image_that_was_asked_for(world: World) -> None:
    world.publish()
    assert world.registry.written[-2:] == ["one:latest", "two:latest"]
    assert world.registry.written.index(f"two:{world.index('two').target}") < len(world.registry.written) - 2


def test_failing_run_blocks_what_needs_it_and_nothing_else(world: World) -> None:
    world.fails(a=FAILING_RUN)
    result = world.publish()
    assert world.outcomes == {
        "tools": "made",
        "a": "failed",
        "b": "blocked",
        "one": "blocked",
        "c": "made",
        "system": "made",
        "two": "made",
    }
    assert not result.complete
    assert [failure.kind for failure in result.failures] == [FailureKind.COMMAND]


def test_failing_run_is_not_retried_and_the_registry_is_not_suspected(world: World) -> None:
    world.fails(c=FAILING_RUN)
    world.publish("two")
    assert world.baked.count("c") == 1
    assert not any(isinstance(event, Retried) for event in world.events)
    assert world.stop.waits == []


def test_no_public_tag_moves_while_something_asked_for_is_missing(world: World) -> None:
    world.fails(a=FAILING_RUN)
    result = world.publish()
    assert result.moved == ()
    assert not {"one:latest", "two:latest"} & {*world.registry.written}
    assert result.missing == {"one": "a"}
    assert [event.missing for event in world.events if isinstance(event, TagsMoved)] == [("one",)]


def test_partial_tags_move_for_the_images_that_exist(world: World) -> None:
    world.fails(a=FAILING_RUN)
    result = world.publish(partial_tags=True)
    assert result.moved == ("r.example.com/ml/two:latest",)


def test_run_without_tags_moves_none(world: World) -> None:
    result = world.publish(tag=False)
    assert result.complete
    assert not [name for name in world.registry.written if name.endswith(":latest")]


def test_next_run_builds_only_what_the_failed_one_left(world: World) -> None:
    world.fails(b=FAILING_RUN)
    world.publish()
    result = world.publish()
    assert world.baked == ["b"]
    assert world.outcomes == {"b": "made", "one": "made"}
    assert len(result.moved) == 2


def test_first_failure_ends_a_run_that_does_not_keep_going(world: World) -> None:
    world.fails(tools=FAILING_RUN)
    world.publish(keep_going=False)
    assert world.baked == ["tools"]
    assert world.outcomes == {
        "tools": "failed",
        **dict.fromkeys(["a", "b", "c", "one", "two"], "blocked"),
        "system": "not reached",
    }


def stopping(world: World, failure: Failure | None, signals: int = 1) -> Callable[[], Failure | None]:
    def ending() -> Failure | None:
        for _ in range(signals):
            world.stop.request()
        return failure

    return ending


@pytest.mark.parametrize("signals", [1, 2])
def test_stop_starts_nothing_more_keeps_what_is_finished_and_moves_no_tag(world: World, signals: int) -> None:
    world.publish("two")
    world.fails(a=stopping(world, Failure(kind=FailureKind.INTERRUPTED, message="interrupted"), signals))
    result = world.publish()
    assert world.baked == ["a"]
    assert world.outcomes == dict.fromkeys(["a", "b", "one"], "not reached")
    assert (result.moved, result.failures, result.missing) == ((), (), {"one": "a"})
    assert world.notes == ["running bakes are interrupted; a second signal kills them"]


def test_stop_moves_no_tag_though_nothing_is_missing(world: World) -> None:
    world.publish("two", tag=False)
    world.fails(a=stopping(world, None))
    result = world.publish("a", "two")
    assert (result.missing, result.moved) == ({}, ())
    assert "two:latest" not in world.registry.written


def test_pushes_before_a_stop_are_published_and_the_next_run_resumes_there(world: World) -> None:
    world.fails(a=stopping(world, None))
    world.publish("one")
    assert world.outcomes["a"] == "made"
    assert world.exists("a")
    assert world.outcomes["b"] == "not reached"
    world.stop = type(world.stop)()
    result = world.publish("one")
    assert "a" not in world.baked
    assert result.complete


def test_what_fails_by_itself_while_the_run_stops_is_a_failure_and_other_trouble_is_none(world: World) -> None:
    world.fails(tools=stopping(world, FAILING_RUN))
    assert [failure.kind for failure in world.publish("a").failures] == [FailureKind.COMMAND]
    world.stop = type(world.stop)()
    world.fails(tools=stopping(world, REFUSED_PUSH))
    assert world.publish("a").failures == ()


def test_stop_before_anything_ran_builds_nothing(world: World) -> None:
    world.stop.request()
    result = world.publish()
    assert (world.baked, result.moved, result.complete) == ([], (), False)


def test_damaged_node_is_rebuilt_where_blobs_are_verified(world: World) -> None:
    world.publish()
    before = world.location("c")
    world.registry.lose(str(before))
    assert world.publish("c").complete
    assert world.baked == []
    result = world.publish("c", verify=True)
    assert world.baked == ["c"]
    assert world.notes[0].startswith("rebuilding `c`: r.example.com/ml/nodes@sha256:")
    assert world.notes[0].endswith("is missing from the registry")
    assert result.complete


def test_damaged_image_is_composed_from_the_nodes_that_exist(world: World) -> None:
    world.publish()
    image = world.location("two")
    manifest = world.registry.manifest(image)
    assert manifest is not None
    for layer in manifest.layers:
        del world.registry.blobs[image.name, layer.digest]
    result = world.publish("two", verify=True)
    assert world.baked == []
    assert world.outcomes == {"two": "made"}
    assert result.complete
    assert world.store.verify({"two": str(image)}) == {}


def test_index_names_the_image_that_took_the_place_of_a_damaged_one(world: World) -> None:
    world.publish("two")
    world.registry.lose(str(world.location("two")))

    def push(target: str) -> tuple[str, str] | None:
        """Publish other bytes than before, as a build does that is not reproducible."""
        if target not in world.plan.targets:
            return None
        place = world.location(world.layers[target]).with_tag(incoming_tag(target))
        return str(place), world.registry.push(
            place, f"other {target}", annotations_of(world.selection.keys.of(target))
        )

    world.builder.push = push
    result = world.publish("two", verify=True)
    assert world.baked == ["system", "c"]
    assert result.complete
    index = world.registry.manifest(world.index("two"))
    image = world.registry.manifest(world.location("two"))
    assert index is not None
    assert image is not None
    assert [each.digest for each in index.manifests] == [image.descriptor.digest]
    assert world.store.verify({"two": str(world.index("two"))}) == {}


def test_node_that_the_registry_lost_during_the_run_is_rebuilt_and_the_image_composed(world: World) -> None:
    world.publish("c")

    def lose() -> None:
        world.registry.lose(str(world.location("c")))

    world.fails(system=lose)
    result = world.publish("two")
    assert world.baked == ["system", "c"]
    assert world.exists("two")
    assert (result.complete, result.failures) == (True, ())
    assert result.moved == ("r.example.com/ml/two:latest",)
    assert any("is missing from the registry" in note for note in world.notes)


def test_nodes_that_were_lost_with_their_image_are_rebuilt_before_it_is_composed(world: World) -> None:
    """Before, they were taken for whole because their manifests exist, and the image could not be composed."""
    world.publish("two")
    world.registry.lose(str(world.location("two")))
    world.fails(a=world.failing("a", REFUSED_PUSH))
    result = world.publish("one", "two")
    assert [name for name in world.baked if name in ("c", "system")] == ["system", "c"]
    assert world.outcomes["two"] == "made"
    assert (result.complete, result.moved) == (True, ("r.example.com/ml/one:latest",))


def test_registry_that_loses_things_again_and_again_fails_the_run(world: World) -> None:
    world.publish("c")
    world.registry.mounts = True

    def lose() -> None:
        world.registry.lose(str(world.location("c")))

    world.fails(system=lose)
    put = world.builder.push

    def push(target: str) -> tuple[str, str] | None:
        pushed = put(target)
        if target == world.target("c") and pushed:
            world.registry.lose(f"{pushed[0].rpartition(':')[0]}@{pushed[1]}")
        return pushed

    world.builder.push = push
    result = world.publish("two")
    assert world.baked == ["system", "c"]
    assert result.moved == ()
    assert not result.complete


def test_image_that_existed_and_was_lost_is_tagged_only_if_it_was_rebuilt(world: World) -> None:
    """Before, the reference that the run began with was tagged, although its blobs are missing."""
    world.publish("two", tag=False)
    image = world.location("two")
    system = world.location("system")

    def lose_all() -> Failure:
        world.registry.lose(str(image))
        world.registry.lose(str(system))
        return world.failing("a", REFUSED_PUSH)

    world.fails(a=[lose_all, FAILING_RUN], system=[FAILING_RUN])
    result = world.publish("one", "two", partial_tags=True)
    assert "two:latest" not in world.registry.written
    assert result.moved == ()


def test_image_is_assembled_where_the_registry_mounts_no_blobs(world: World) -> None:
    world.registry.mounts = False
    result = world.publish("two")
    assert world.baked[-1] == "two"
    assert world.outcomes["two"] == "made"
    assert result.complete
    assert world.builder.calls[-1].targets == ("two",)


@pytest.mark.parametrize("config", [b"{", b"[]", b"{}", b'{"rootfs": {"diff_ids": []}}', b"[" * 100_000])
def test_image_of_a_node_whose_config_lists_no_layers_is_assembled_and_ends_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch, config: bytes
) -> None:
    """Before, such a config ended the whole run with a traceback, or gave an image without its layers."""
    world.publish("a", "b", "c", "system")
    nodes = {digest for repository, digest in world.registry.blobs if repository.endswith("/nodes")}
    blob = world.registry.blob
    monkeypatch.setattr(
        world.registry, "blob", lambda place, digest: config if digest in nodes else blob(place, digest)
    )
    result = world.publish()
    assert world.baked[-1] == "one two"
    assert {world.outcomes["one"], world.outcomes["two"]} == {"made"}
    assert result.complete


def test_what_another_key_left_under_a_key_is_rebuilt_with_the_reason(world: World) -> None:
    world.publish("c")
    place = world.location("c")
    world.registry.push(place, "forged", {})
    world.publish("c")
    assert world.baked == ["c"]
    assert world.notes == [f"rebuilding c: `{place}` does not name the key it was built for"]


def test_pushed_image_without_its_key_is_not_published(world: World) -> None:
    def push(target: str) -> tuple[str, str]:
        place = world.location(world.layers[target]).with_tag("incoming-x")
        return str(world.location(world.layers[target]).with_tag(f"incoming-{target}")), world.registry.push(
            place, "forged", {}
        )

    world.builder.push = push
    result = world.publish("tools")
    assert not world.exists("tools")
    assert world.baked == ["tools"]
    assert [failure.kind for failure in result.failures] == [FailureKind.CONTENT]


def test_transient_failure_is_retried_and_the_run_completes(world: World) -> None:
    world.fails(c=[world.failing("c", BROKEN_CONNECTION), world.failing("c", LOST_PUSH)])
    assert world.publish().complete
    assert world.baked.count("c") == 3
    assert [event.target for event in world.events if isinstance(event, Retried)] == ["c", "c"]


def test_engine_that_stays_away_ends_the_run(world: World) -> None:
    world.fails(tools=[BROKEN_CONNECTION] * 3)
    result = world.publish(retries=2)
    assert world.baked == ["tools"] * 3
    assert world.outcomes["system"] == "not reached"
    assert not result.complete


def test_registry_that_refuses_the_tag_of_a_key_for_a_moment_is_asked_again(world: World) -> None:
    problem = ServerError("registry `r.example.com` failed (500)", host="r.example.com", status=500, transient=True)
    world.registry.problems[world.location("c").target] = [problem]
    assert world.publish("c").complete
    assert world.baked == ["tools", "c", "c"]


def test_advisory_tag_that_cannot_be_moved_fails_nothing(world: World) -> None:
    world.registry.problems["last-c"] = [UnexpectedAnswer("403 denied", host="r.example.com", status=403)]
    assert world.publish("c").complete


def test_public_tag_that_cannot_be_moved_is_raised_after_the_others_moved(world: World) -> None:
    world.registry.problems["latest"] = [UnexpectedAnswer("403 denied", host="r.example.com", status=403)]
    with pytest.raises(UnexpectedAnswer):
        world.publish()
    assert len([name for name in world.registry.written if name.endswith(":latest")]) == 1
    moved = next(event for event in world.events if isinstance(event, TagsMoved))
    assert (len(moved.tags), len(moved.failed)) == (1, 1)


def test_builder_without_room_starts_nothing_more_and_says_why(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "here")
    world.builder.docker = replace(world.builder.docker, root=str(tmp_path), host="here")
    result = world.publish(min_free=1 << 60)
    assert (world.baked, result.complete) == ([], False)
    assert len(world.notes) == 1
    assert "nothing more is started" in world.notes[0]
    assert set(world.outcomes.values()) == {"not reached"}


def test_nodes_that_exist_are_taken_by_digest_and_the_rest_by_what_was_pushed(world: World) -> None:
    world.publish("a")
    reference = world.decide("a").existing["a"]
    world.publish("b")
    text = world.builder.texts[-1]
    assert f'"docker-image://{reference}"' in text
    assert "target:a" not in text


def test_linked_run_links_to_nodes_that_exist_and_bakes_only_what_is_missing(world: World) -> None:
    world.publish("a")
    world.publish("b", linked=True)
    assert world.baked == ["b"]
    assert '"target:a"' in world.builder.texts[-1]


def test_linked_run_fills_the_missing_caches(world: World) -> None:
    world.publish("a")
    world.environ["BUILDSYS_CACHE"] = "r.example.com/cache"
    world.publish("tools", "a", linked=True)
    assert sorted(world.baked) == ["a", "tools"]
    assert [note for note in world.notes if "rewriting it" in note]


def test_folder_of_a_run_is_removed_however_it_ends(world: World) -> None:
    world.fails(tools=FAILING_RUN)
    world.publish("a")

    def broken() -> None:
        raise SystemExit

    world.fails(tools=broken)
    with pytest.raises(SystemExit):
        world.publish("a")
    assert [each.name for each in (world.root / ".buildsys" / "runs" / "1").iterdir()] == ["logs"]


BUG = "this is a bug of buildsys: KeyError: 'strange'"


def strange(*_: object) -> None:
    raise KeyError("strange")


def test_bug_in_a_bake_blocks_what_needs_its_target_and_its_traceback_is_kept(world: World) -> None:
    world.fails(c=strange)
    result = world.publish()
    assert (world.outcomes["c"], world.outcomes["two"], world.outcomes["one"]) == ("failed", "blocked", "made")
    assert result.failures[0].message == f"{BUG}\nreport it with the traceback in `.buildsys/runs/1/bug.txt`"
    text = (world.root / ".buildsys/runs/1/bug.txt").read_text(encoding="utf-8")
    assert "in strange" in text
    assert text.endswith("KeyError: 'strange'\n")


def test_bug_in_a_composition_fails_its_image_and_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Store.publish

    def broken(store: Store, stack: ImageTarget, *rest: Any) -> Any:
        return strange() if stack.stack == "one" else publish(store, stack, *rest)

    world.publish("a", "b", "c", "system")
    monkeypatch.setattr(Store, "publish", broken)
    # The image that cannot be composed is assembled.
    result = world.publish()
    assert world.baked == ["one"]
    assert result.complete


def test_bug_where_a_push_is_accepted_fails_its_target_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = Store.accept
    place = world.location("c").name, world.location("c").target

    def broken(store: Store, pushed: Reference, location: Reference, *rest: Any) -> Any:
        return strange() if (location.name, location.target) == place else accept(store, pushed, location, *rest)

    monkeypatch.setattr(Store, "accept", broken)
    result = world.publish(retries=0)
    assert (world.outcomes["c"], world.outcomes["one"]) == ("failed", "made")
    assert BUG in result.failures[0].message


def test_bug_in_an_advisory_tag_is_noted_and_fails_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "remember", strange)
    assert world.publish().complete
    assert any(BUG in note for note in world.notes)


def test_node_whose_image_cannot_be_read_fails_with_what_needs_it_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, manifest = annotations_of(world.selection.keys.of(world.target("c"))), world.registry.manifest

    def hostile(reference: Reference) -> Manifest | None:
        found = manifest(reference)
        if found is not None and dict(found.annotations) == annotations:
            raise UnreadableManifest(f"`{reference}` is not an image that can be read: no JSON", host=reference.host)
        return found

    monkeypatch.setattr(world.registry, "manifest", hostile)
    result = world.publish(retries=0)
    assert (world.outcomes["c"], world.outcomes["two"]) == ("failed", "blocked")
    assert {world.outcomes[name] for name in ("a", "b", "one")} == {"made"}
    assert "is not an image that can be read" in result.failures[0].message
    assert world.exists("one")
    assert not world.exists("two")


@pytest.mark.parametrize("kind", [UnreadableManifest, DigestMismatch])
def test_index_that_cannot_be_read_is_written_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type[RegistryProblem]
) -> None:
    world.publish()
    place = world.index("one")
    manifest, damaged = world.registry.manifest, b"damaged"
    world.registry.manifests_by_name[place.name, place.target] = damaged

    def hostile(reference: Reference) -> Manifest | None:
        if world.registry.manifests_by_name.get((reference.name, reference.target)) == damaged:
            raise kind(f"`{reference}` is damaged", host=reference.host)
        return manifest(reference)

    monkeypatch.setattr(world.registry, "manifest", hostile)
    result = world.publish()
    assert result.complete
    assert world.baked == []
    assert manifest(place) == manifest(place.with_digest(result.indexes["one"].rpartition("@")[2]))


def test_images_of_one_node_whose_config_is_no_json_are_assembled_and_the_others_composed(world: World) -> None:
    world.publish("a", "b", "c", "system")
    node = world.registry.manifest(world.location("c"))
    assert node is not None
    assert node.config is not None
    for place in world.registry.blobs:
        if place[1] == node.config.digest:
            world.registry.blobs[place] = b"<html>"
    result = world.publish()
    assert world.baked == ["two"]
    assert world.outcomes == {"one": "made", "two": "made"}
    assert result.complete


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"os": "linux", "architecture": "arm64"}, "it is for `linux/arm64`, expected `linux/amd64`"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "it has 1 layers, and its config 0 `diff_ids`"),
    ],
)
def test_result_whose_config_is_that_of_another_image_gets_no_key(
    world: World, config: dict[str, object], why: str
) -> None:
    world.registry.config = config
    result = world.publish("tools")
    assert not world.exists("tools")
    assert world.baked == ["tools"]
    assert [failure.kind for failure in result.failures] == [FailureKind.CONTENT]
    assert why in result.failures[0].message


# A stack of two platforms.


@pytest.fixture
def two(tmp_path: Path) -> TwoPlatforms:
    return TwoPlatforms(tmp_path, "a:\none = a\n")


def test_platform_that_failed_is_added_to_the_one_that_exists_and_the_tag_moves(two: TwoPlatforms) -> None:
    two.fails(**{"a-arm64": FAILING_RUN})
    first = two.publish("one-amd64", "one-arm64")
    assert not first.complete
    assert not two.exists("one")
    assert "one:latest" not in two.registry.written
    second = two.publish("one-arm64")
    assert second.complete
    assert two.exists("one")
    assert second.moved == (f"{PREFIX}/one:latest",)
    assert {name for name in two.outcomes if two.outcomes[name] == "made"} == {"a-arm64", "one-arm64"}


def test_one_platform_alone_moves_no_tag(two: TwoPlatforms) -> None:
    found = two.publish("one-amd64")
    assert (found.complete, found.moved, two.exists("one")) == (True, (), False)


@pytest.mark.parametrize(("asked", "rebuilt"), [("one-amd64", False), ("one-arm64", True)])
def test_damage_of_one_platform_rebuilds_that_image_alone(two: TwoPlatforms, asked: str, rebuilt: bool) -> None:
    """The registry has lost the image for arm64; before, the one for amd64 was rebuilt and the index stayed broken."""
    two.publish("one-amd64", "one-arm64")
    two.registry.lose(str(two.location("one-arm64")))
    found = two.decide(asked, verify=True)
    assert {"one-amd64", "one-arm64"} & {*found.damaged} == {"one-arm64"}
    assert (asked in found.built) is rebuilt
    assert two.publish(asked, verify=True).complete
    assert bool(two.store.verify({"one": str(two.index("one"))})) is not rebuilt


def test_index_that_cannot_be_written_fails_its_image_and_the_next_run_writes_it(world: World) -> None:
    problem = ServerError("registry `r.example.com` failed (500)", host="r.example.com", status=500)
    world.registry.problems[world.index("one").target] = [problem]
    first = world.publish("one")
    assert not first.complete
    image = world.registry.manifest(world.location("one"))
    second = world.publish("one")
    assert second.complete
    assert world.exists("one")
    assert world.registry.manifest(world.location("one")) == image


@pytest.fixture
def tagged(world: World) -> World:
    """The graph with both images in one repository, one of them under three tags."""
    world.declare("one", "repository: team/lang, tags: ['1.2', '1', latest]")
    world.declare("two", "repository: team/lang, tags: [two]")
    return world


def test_stacks_that_share_a_repository_are_apart_under_their_keys_and_names(tagged: World) -> None:
    result = tagged.publish()
    written = tagged.registry.written
    assert sorted(written[-4:]) == ["lang:1", "lang:1.2", "lang:latest", "lang:two"]
    assert {"lang:last-one", "lang:last-two"} <= {*written}
    assert sorted(result.moved) == [f"{PREFIX}/team/{tag}" for tag in sorted(written[-4:])]
    assert (result.reference("one") or "").startswith(f"{PREFIX}/team/lang@sha256:")
    assert {tagged.registry.head(Reference.parse(f"{PREFIX}/team/lang:{tag}")) for tag in ("1.2", "1")} == {
        tagged.registry.head(tagged.index("one"))
    }


def test_all_tags_of_an_image_wait_for_everything_that_was_asked_for(tagged: World) -> None:
    tagged.fails(a=FAILING_RUN)
    assert tagged.publish().moved == ()


def test_new_tag_moves_without_a_build(tagged: World) -> None:
    tagged.publish()
    tagged.declare("two", "groups: [x]")
    text = (tagged.root / "stacks.yaml").read_text(encoding="utf-8")
    (tagged.root / "stacks.yaml").write_text(text.replace("tags: [two]", "tags: [two, extra]"), encoding="utf-8")
    result = tagged.publish()
    assert (tagged.outcomes, result.moved) == ({}, (f"{PREFIX}/team/lang:extra",))


def test_each_tag_of_an_image_stays_where_another_run_moved_it(tagged: World) -> None:
    tagged.publish("two")
    push = tagged.builder.push

    def other_run(target: str) -> tuple[str, str] | None:
        tagged.registry.tag(tagged.index("two"), "1")
        return push(target)

    tagged.builder.push = other_run
    with pytest.raises(TagMoved, match="lang:1` was moved"):
        tagged.publish("one")
    tags = {tag: tagged.registry.head(Reference.parse(f"{PREFIX}/team/lang:{tag}")) for tag in ("1", "1.2", "latest")}
    one, two = (tagged.registry.head(tagged.index(name)) for name in ("one", "two"))
    assert tags == {"1": two, "1.2": one, "latest": one}


def test_index_names_the_first_tag_as_its_version(tagged: World) -> None:
    tagged.environ["BUILDSYS_TAG"] = "v9"
    tagged.publish()
    index = tagged.registry.manifest(tagged.index("one"))
    assert index
    assert dict(index.annotations)["org.opencontainers.image.version"] == "1.2"


def test_tag_of_the_run_that_does_not_apply_is_reported(tagged: World) -> None:
    tagged.environ["BUILDSYS_TAG"] = "pr-7"
    tagged.publish("one")
    assert tagged.notes == ["`BUILDSYS_TAG` is set, and is no tag of stacks with `tags`, which move: `one`"]
    tagged.publish("one", tag=False)
    assert tagged.notes == []
