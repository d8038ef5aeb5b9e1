"""What a run checks before its first build: whether the builder has room for each task."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput
from tests.support.world import World

GRAPH = """
a:
b: a
one = b
"""
GB = 10**9


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("buildsys.run.local.named_prefix", lambda *_: None)
    world = World(tmp_path, GRAPH)
    world.builder.docker = replace(world.builder.docker, memory=4 * GB)
    return world


def weigh(world: World, layer: str, weight: str) -> int:
    """Give a layer a weight, and return the line of its value."""
    file = world.root / "layers" / layer / "layer.yaml"
    text = file.read_text(encoding="utf-8") + f"weight:\n  {weight}\n"
    file.write_text(text, encoding="utf-8")
    return text.count("\n")


def test_node_that_needs_more_memory_than_the_builder_has_is_refused_at_its_weight(world: World) -> None:
    line = weigh(world, "b", "memory: 5 GB")
    with pytest.raises(InvalidInput) as caught:
        world.bake()
    (found,) = caught.value.diagnostics()
    assert str(found.location) == f"layers/b/layer.yaml:{line}:11"
    assert "is 5.0 GB, and the builder has 4.0 GB" in found.message
    assert world.baked == []


def test_node_that_needs_more_than_the_disk_is_refused_at_its_weight(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = weigh(world, "a", "disk: 14 GB")
    monkeypatch.setattr("platform.node", lambda: "here")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(20 * GB, 5 * GB, 15 * GB))
    world.builder.docker = replace(world.builder.docker, host="here", root=str(world.root))
    with pytest.raises(InvalidInput) as caught:
        world.bake(min_free=2 * GB)
    (found,) = caught.value.diagnostics()
    assert str(found.location) == f"layers/a/layer.yaml:{line}:9"
    assert world.bake(min_free=GB).complete


def test_nodes_of_one_layer_that_never_fit_are_one_error(world: World) -> None:
    file = world.root / "layers" / "a" / "layer.yaml"
    file.write_text(file.read_text(encoding="utf-8") + VERSION, encoding="utf-8")
    stacks = (world.root / "stacks.yaml").read_text(encoding="utf-8")
    (world.root / "stacks.yaml").write_text(f"{stacks}  two:\n    layers: [system, a: {{version: 2}}]\n", "utf-8")
    dockerfile = world.root / "layers" / "a" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text(encoding="utf-8").replace("RUN ", "ARG VERSION\nRUN ", 1), "utf-8")
    weigh(world, "a", "memory: 5 GB")
    with pytest.raises(InvalidInput) as caught:
        world.bake()
    assert len(caught.value.diagnostics()) == 1


VERSION = "parameters:\n  version: {description: release, default: 1, label: true}\n"
