"""Which nodes get the inventories that they lack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildsys.commands import inventory
from buildsys.oci.http import DigestMismatch, NotFound, RegistryProblem, ServerError
from buildsys.oci.reference import Reference
from buildsys.run.store import Store
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose nodes are published, and have no inventory."""
    world = World(tmp_path, "a:\nb:\none = a b")
    world.builder.listing = lambda _: None
    world.publish()

    @contextlib.contextmanager
    def opened(*_: object) -> Iterator[Store]:
        yield world.store

    monkeypatch.setattr(inventory, "open_store", opened)
    return world


def damage(world: World, name: str, problem: RegistryProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the layer of a node be damaged in the registry."""
    found = world.registry.manifest(world.location(name))
    assert found is not None
    (layer,), blob_part = found.layers, world.registry.blob_part

    def part(repository: Reference, digest: str, first: int, last: int) -> bytes:
        if digest == layer.digest:
            raise problem
        return blob_part(repository, digest, first, last)

    monkeypatch.setattr(world.registry, "blob_part", part)


@pytest.mark.parametrize("kind", [DigestMismatch, NotFound])
def test_damaged_node_keeps_no_other_from_its_inventory(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type[RegistryProblem]
) -> None:
    damage(world, "a", kind("the layer of `a` is damaged", host="r.example.com"), monkeypatch)
    found = inventory.fill(world.workspace, {}, (), lambda _: None)
    assert {each.node for each in found} == {world.target(name) for name in ("a", "b", "system", "tools")}
    problems = {each.node: each.problem for each in found}
    assert problems[world.target("a")] == "the layer of `a` is damaged"


def test_registry_that_fails_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(world, "a", ServerError("the registry failed", host="r.example.com"), monkeypatch)
    with pytest.raises(ServerError):
        inventory.fill(world.workspace, {}, (), lambda _: None)
