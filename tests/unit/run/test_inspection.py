"""What a run does about the contents of its nodes: what is refused, what is stored, and what is done without."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.invocation import BakeCall, BakeResult
from buildsys.inventory.document import read
from buildsys.inventory.step import NO_TOOLS
from buildsys.oci.http import ServerError, Unauthorized
from buildsys.oci.reference import Reference, digest_of
from tests.support.world import World

GRAPH = """
a:
b:
one = a b
two = b
"""
BROKEN = b"Ed 755 0 0 0 etc\0\0Ef 644 0 0 1 etc/passwd\0\0Z"
HOME = b"Ed 755 0 0 0 opt\0\0Ed 700 1000 1000 0 opt/a\0\0El 777 0 0 0 opt/b\0/srv\0Z"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def prints(world: World, **lists: bytes | None) -> None:
    """Let the step print other lists of some layers."""
    usual = world.listing
    world.builder.listing = lambda node: lists[name] if (name := world.layers[node]) in lists else usual(node)


def stored(world: World, name: str) -> Any:
    """Return the inventory beside a node, None if there is none."""
    location = world.location(name)
    manifest = world.registry.manifest(location.with_tag(f"inventory-{location.tag}"))
    return read(world.registry.blob(location, manifest.layers[0].digest)) if manifest else None


def test_each_node_has_its_inventory_before_it_has_the_tag_of_its_key(world: World) -> None:
    assert world.publish().complete
    for name in ("a", "b", "system", "tools"):
        key = world.location(name).tag
        order = [each for each in world.registry.written if each.endswith(str(key))]
        assert order == [f"nodes:inventory-{key}", f"nodes:{key}"]
    assert [*stored(world, "a").entries] == ["opt", "opt/a", "opt/a/file"]


def test_subject_of_an_inventory_is_the_manifest_of_its_node(world: World) -> None:
    world.publish()
    location = world.location("a")
    node, found = (
        world.registry.manifest(location),
        world.registry.manifest(location.with_tag(f"inventory-{location.tag}")),
    )
    assert node is not None
    assert found is not None
    assert node.descriptor.digest.encode() in found.raw


def test_no_layer_is_read_from_the_registry_where_the_step_prints(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def blob_part(_repository: Reference, digest: str, _first: int, _last: int) -> bytes:
        asked.append(digest)
        return b""

    monkeypatch.setattr(world.registry, "blob_part", blob_part)
    assert world.publish().complete
    assert asked == []


def test_artifact_that_breaks_its_promise_blocks_its_images_and_nothing_else(world: World) -> None:
    prints(world, a=BROKEN)
    result = world.publish()
    assert world.outcomes == {
        "tools": "made",
        "system": "made",
        "a": "failed",
        "b": "made",
        "one": "blocked",
        "two": "made",
    }
    (failure,) = result.failures
    assert (failure.kind, failure.file, failure.line) == (FailureKind.CONTENT, "layer.yaml", 4)
    assert "`/etc`" in failure.message
    assert not world.exists("a")
    assert stored(world, "a") is None


def test_node_that_breaks_its_promise_is_baked_once(world: World) -> None:
    prints(world, a=BROKEN)
    world.publish("a")
    assert world.baked == ["tools", "a"]


def test_run_without_a_registry_refuses_the_same(world: World) -> None:
    prints(world, a=BROKEN)
    outcome = world.bake("one")
    assert [failure.kind for failure in outcome.failures.values()] == [FailureKind.CONTENT]
    assert world.outcomes["one"] == "blocked"


@pytest.mark.parametrize("push", [True, False])
def test_image_on_a_base_with_a_folder_of_others_is_refused_at_its_prefix(world: World, push: bool) -> None:
    prints(world, system=HOME.replace(b"opt/a", b"x/a").replace(b"d 755 0 0 0 opt", b"d 700 1000 1000 0 opt"))
    failures = world.publish().failures if push else tuple(world.bake().failures.values())
    assert {failure.kind for failure in failures} == {FailureKind.CONTENT}
    assert {failure.file for failure in failures} <= {"layers/a/layer.yaml", "layers/b/layer.yaml"}
    assert {world.outcomes[name] for name in ("one", "two")} == {"failed"}


def test_symlink_at_a_prefix_refuses_only_the_images_with_it(world: World) -> None:
    prints(world, system=HOME.replace(b"Ed 700 1000 1000 0 opt/a\0\0", b""))
    world.publish()
    assert {world.outcomes[name] for name in ("one", "two")} == {"failed"}
    other = World(world.root / "other", GRAPH)
    prints(other, system=HOME.replace(b"opt/b", b"opt/a").replace(b"Ed 700 1000 1000 0 opt/a\0\0", b""))
    other.publish()
    assert (other.outcomes["one"], other.outcomes["two"]) == ("failed", "made")


def test_base_that_the_registry_has_is_judged_by_its_stored_inventory(world: World) -> None:
    prints(world, system=HOME)
    world.publish("system", "tools")
    world.publish("two")
    assert world.outcomes == {"b": "made", "two": "failed"}


def test_base_without_an_inventory_is_noted_once_and_refuses_nothing(world: World) -> None:
    world.publish("system", "tools")
    location = world.location("system")
    del world.registry.manifests_by_name[location.name, f"inventory-{location.tag}"]
    assert world.publish().complete
    assert [note for note in world.notes if "inventory --fill" in note] == [world.notes[0]]


def test_inventory_of_another_manifest_counts_as_missing(world: World) -> None:
    prints(world, system=HOME)
    world.publish("system", "tools")
    location = world.location("system")
    other = world.location("tools")
    registry = world.registry.manifests_by_name
    registry[location.name, f"inventory-{location.tag}"] = registry[other.name, f"inventory-{other.tag}"]
    assert world.publish().complete
    assert any("has no inventory" in note for note in world.notes)


def no_shell(target: str) -> Failure:
    return Failure(kind=FailureKind.COMMAND, message="exec: /bin/sh: no such file", target=target)


def test_helper_without_tools_is_replaced_by_the_next_one_and_no_node_is_lost(world: World) -> None:
    helpers = []

    def listing(node: str) -> bytes:
        text = world.builder.texts[-1]
        helpers.append("LINUX" if '"helper": "docker-image://${BUILDSYS_PARENT_LINUX}"' in text else "TOOLS")
        return world.listing(node) if helpers[-1] == "LINUX" else NO_TOOLS

    world.builder.listing = listing
    assert world.publish().complete
    assert helpers[0] == "TOOLS"
    assert set(helpers[1:]) == {"LINUX"}
    assert stored(world, "tools") is not None


def image(*paths: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path in paths:
            info = tarfile.TarInfo(path)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return raw.getvalue()


def push_layers(world: World, **layers: bytes) -> None:
    """Let the engine push real layers of some nodes."""
    usual = world.push

    def push(target: str) -> tuple[str, str] | None:
        found = usual(target)
        if found and (raw := layers.get(world.layers[target])):
            reference = Reference.parse(found[0])
            manifest = world.registry.manifest(reference)
            assert manifest is not None
            layer = manifest.layers[0]
            world.registry.put_blob(reference, raw)
            text = manifest.raw.replace(layer.digest.encode(), digest_of(raw).encode())
            text = text.replace(b'"size": %d}]' % layer.size, b'"size": %d}]' % len(raw))
            return found[0], world.registry.put_manifest(reference, text, "").digest
        return found

    world.builder.push = push


def test_where_no_helper_is_of_use_the_pushed_layers_are_read_and_that_is_noted_once(world: World) -> None:
    world.builder.listing = lambda _: NO_TOOLS
    push_layers(world, **{name: image(f"opt/{name}/file") for name in ("a", "b", "system", "tools")})
    assert world.publish().complete
    assert [*stored(world, "a").entries] == ["opt", "opt/a", "opt/a/file"]
    assert len([note for note in world.notes if "no image can list" in note]) == 1


def test_pushed_layers_that_break_a_promise_are_refused_too(world: World) -> None:
    world.builder.listing = lambda _: NO_TOOLS
    push_layers(world, **{name: image(f"opt/{name}/file") for name in ("b", "system", "tools")}, a=image("etc/passwd"))
    world.publish()
    assert (world.outcomes["a"], world.outcomes["one"], world.outcomes["two"]) == ("failed", "blocked", "made")


@pytest.mark.parametrize("raw", [b"", b"Z?", b"\x1f\x8bbad", None])
def test_list_that_cannot_be_read_loses_no_node(world: World, raw: bytes | None) -> None:
    prints(world, a=raw)
    push_layers(world, a=image("opt/a/file"))
    assert world.publish().complete
    assert stored(world, "a") is not None
    assert any("cannot be listed" in note for note in world.notes)


def test_artifact_whose_layers_the_registry_does_not_give_is_not_published_unchecked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it got the tag of its key, and no later run checked it."""

    def fail(*_: object) -> bytes:
        raise ServerError("registry `r.example.com` failed (500)", host="r.example.com", status=500)

    prints(world, a=None)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.registry), "blob_part", fail)
        found = world.publish()
    assert (world.outcomes["a"], world.exists("a"), found.moved) == ("failed", False, ())
    assert [failure.kind for failure in found.failures] == [FailureKind.PUSH]
    assert "are not checked" in found.failures[0].message
    push_layers(world, a=image("opt/a/file"))
    assert world.publish().complete


def test_system_whose_layers_the_registry_does_not_give_is_published_with_a_note(world: World) -> None:
    prints(world, system=None)
    assert world.publish().complete
    assert stored(world, "system") is None
    assert any("are not checked" in note for note in world.notes)


def test_step_that_fails_is_no_failure_of_its_node(world: World) -> None:
    target = world.target("a")
    world.builder.endings[target] = [None]
    failures = [
        no_shell(f"_inventory_{target}"),
        Failure(kind=FailureKind.TRANSIENT, message="EOF", target=f"_inventory_{target}"),
    ]
    world.builder.endings[f"_inventory_{target}"] = list(failures)
    assert world.publish().complete
    assert world.outcomes["a"] == "made"
    assert stored(world, "b") is not None


def test_registry_that_takes_no_inventory_loses_no_node(world: World) -> None:
    key = world.location("a").tag
    world.registry.problems[f"inventory-{key}"] = [Unauthorized("it does not allow this", host="r", status=403)]
    assert world.publish().complete
    assert any("is not stored" in note for note in world.notes)


def test_registry_that_cannot_be_read_refuses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("system", "tools")
    usual = world.registry.manifest

    def broken(reference: Reference) -> Any:
        if str(reference.tag).startswith("inventory-"):
            raise ServerError("it failed", host="r", status=500)
        return usual(reference)

    monkeypatch.setattr(world.registry, "manifest", broken)
    assert world.publish().complete


def test_bake_with_settings_of_its_own_lists_nothing(world: World) -> None:
    world.bake("one", overrides=("*.args.A=1",))
    assert all(not call.helpers for call in world.builder.calls)


def test_file_that_differs_at_each_build_is_noted_with_what_to_do(world: World) -> None:
    prints(world, system=b"Ed 755 0 0 0 opt\0\0Ef 644 0 0 9 var/log/dpkg.log\0\0Z")
    assert world.publish().complete
    (note,) = [note for note in world.notes if "differs from build to build" in note]
    assert "`/var/log/dpkg.log` (delete it" in note


PARENT_LINK = b"Ed 755 0 0 0 opt\0\0El 777 0 0 0 opt/a\0/srv\0Z"


def on_a_parent(folder: Path, *, platforms: str = "[linux/amd64]") -> World:
    """Return a world whose images are assembled on their parent, and which lists that when it is asked to."""
    world = World(folder, "a:\nb:\none = a\ntwo = a b")
    (folder / "layers/system/Dockerfile").unlink()
    for file in (folder / "layers").glob("*/layer.yaml"):
        file.write_text(f"{file.read_text(encoding='utf-8')}platforms: {platforms}\n", encoding="utf-8")
    stacks = folder / "stacks.yaml"
    text = stacks.read_text(encoding="utf-8").replace("{description", f"{{platforms: {platforms}, description")
    stacks.write_text(text, encoding="utf-8")
    usual, bake = world.listing, world.builder.bake
    world.builder.listing = lambda node: PARENT_LINK if node.startswith("parent_") else usual(node)

    def listed(call: BakeCall, *words: Any, **named: Any) -> BakeResult:
        is_parent = call.targets[0].startswith("_inventory_parent_")
        return bake(replace(call, helpers=call.targets) if is_parent else call, *words, **named)

    world.builder.bake = listed  # type: ignore[method-assign]
    return world


def test_two_bakes_at_once_list_their_parent_once(tmp_path: Path) -> None:
    world, lists = on_a_parent(tmp_path), list[str]()
    bake, began, again = world.builder.bake, threading.Event(), threading.Event()

    def slow(call: BakeCall, *words: Any, **named: Any) -> BakeResult:
        if call.targets[0].startswith("b"):
            began.wait(5)
        if not call.targets[0].startswith("_inventory_parent_"):
            return bake(call, *words, **named)
        lists.append(call.targets[0])
        if began.is_set():
            # What the first one wrote was removed, and is not written once more yet.
            again.set()
            time.sleep(0.2)
            return bake(call, *words, **named)
        began.set()
        result = bake(call, *words, **named)
        again.wait(0.5)
        return result

    world.builder.bake = slow  # type: ignore[method-assign]
    published = world.publish(jobs=2)
    assert sorted(failure.target for failure in published.failures) == ["one", "two"]
    assert len(lists) == 1
    assert not world.notes


def test_parent_has_a_list_for_each_platform(tmp_path: Path) -> None:
    world = on_a_parent(tmp_path, platforms="[linux/amd64, linux/arm64]")

    def push(target: str) -> tuple[str, str] | None:
        world.registry.config = {"architecture": "arm64" if target.endswith("-arm64") else "amd64"}
        return world.push(target)

    world.builder.push = push
    world.publish()
    lists = [call.targets[0] for call in world.builder.calls if "_parent_" in call.targets[0]]
    assert sorted(lists) == ["_inventory_parent_linux_amd64", "_inventory_parent_linux_arm64"]


def test_parent_that_cannot_be_listed_is_said_to_be_unchecked(tmp_path: Path) -> None:
    world = on_a_parent(tmp_path)
    usual = world.builder.listing
    world.builder.listing = lambda node: None if node.startswith("parent_") else usual(node)
    world.publish()
    (note,) = world.notes
    assert note.endswith("the step wrote nothing; what is added to it is not checked")
