"""A registry that collects what no tag names still has every image complete: all children of indexes have tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import buildsys, on_real_parents, run, small_project, write
from tests.support.own_registry import OwnRegistry

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

STACKS = """\
stacks:
  composed: {layers: [dist, conf]}
  assembled: {layers: [dist, conf, home]}
  removed: {layers: [dist]}
"""
BOTH = """\
stacks:
  both: {layers: [base-os, words], platforms: [linux/amd64, linux/arm64]}
"""
PLATFORMS = "platforms: [linux/amd64, linux/arm64]\n"
HOME = "description: a folder to work in\nkind: system\nlicence: none\nworkdir: /work\n"


def bake(project: Path, registry: OwnRegistry, *words: str | Path) -> None:
    done = buildsys(project, *words, BUILDSYS_REGISTRY=registry.prefix, seconds=600)
    assert done.code == 0, done.output


def two_platforms(folder: Path, registry: OwnRegistry) -> Path:
    """Write a project for two platforms on a base image that is pushed for both; nothing in it has to run."""
    write(folder, "two/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH} /arch\n")
    for name in ("amd64", "arm64"):
        write(folder, f"two/{name}", name)
    words = (
        "--platform",
        "linux/amd64,linux/arm64",
        "--provenance=false",
        "--push",
        "--tag",
        f"{registry.prefix}/two:1",
    )
    done = run(folder, "docker", "buildx", "build", *words, folder / "two")
    assert done.code == 0, done.stderr
    with Registry() as client:
        found = client.head(Reference.parse(f"{registry.prefix}/two:1"))
    assert found is not None
    system = f"description: a system\nkind: system\nlicence: none\nprovides: [os]\n{PLATFORMS}"
    parent = 'parent: {name: two, images: ["docker.io/library/two:1"]}\n'
    tools = f"description: tools\nkind: toolchain\nlicence: none\n{PLATFORMS}{parent}"
    words_layer = "description: words\nkind: artifact\nlicence: none\nprefix: /opt/words\ntoolchain: {layer: tools}\n"
    files = {
        "stacks.yaml": BOTH,
        "buildsys.lock": "version: 1\n",
        "buildsys.lock.local": "version: 1\nparents:\n"
        f"  two: {{reference: {registry.prefix}/two, digest: '{found.digest}'}}\n",
        "mirrors/use": ":\n",
        "layers/base-os/layer.yaml": system + parent,
        "layers/base-os/Dockerfile": "FROM base\nCOPY file /file\n",
        "layers/base-os/file": "a file\n",
        "layers/tools/layer.yaml": tools,
        "layers/tools/Dockerfile": "FROM base\nCOPY file /tools\n",
        "layers/tools/file": "tools\n",
        "layers/words/layer.yaml": words_layer + PLATFORMS,
        "layers/words/Dockerfile": "FROM toolchain AS build\nCOPY file /out/opt/words/file\n"
        "FROM scratch\nCOPY --from=build /out /\n",
        "layers/words/file": "words\n",
    }
    for name, text in files.items():
        write(folder, f"project/{name}", text)
        if name.endswith("Dockerfile"):
            write(folder, f"project/{name.rpartition('/')[0]}/.dockerignore", "*\n!file\n")
    return folder / "project"


def whole(registry: OwnRegistry, repositories: list[str]) -> dict[str, set[str]]:
    """Return the tags of repositories, after a look at every blob of each."""
    with Registry() as client:
        found: dict[str, set[str]] = {}
        for name in repositories:
            repository = Reference.parse(f"{registry.prefix}/{name}:x")
            found[name] = {*client.tags(repository)}
            lost = {tag: client.verify(repository.with_tag(tag)) for tag in found[name]}
            assert not any(lost.values()), {tag: parts for tag, parts in lost.items() if parts}
    return found


def test_every_image_is_complete_after_the_registry_deleted_what_has_no_tag(
    tmp_path: Path, own_registry: OwnRegistry
) -> None:
    project = small_project(tmp_path / "project", {"stacks.yaml": STACKS, "layers/home/layer.yaml": HOME})
    on_real_parents(project)
    bake(project, own_registry, "bake", "--all", "--push")
    # Rebuilds: what was published before keeps its keys, and its public tags move.
    write(project, "layers/conf/conf", "two\n")
    write(project, "stacks.yaml", STACKS.replace("  removed: {layers: [dist]}\n", ""))
    bake(project, own_registry, "bake", "--all", "--push")
    own = write(tmp_path, "own/Dockerfile", "FROM base\nCOPY said /said\n")
    write(tmp_path, "own/said", "hello\n")
    bake(project, own_registry, "environment", own, "--dockerfile", "--on", "composed", "--tag", "mine")
    bake(two_platforms(tmp_path / "both", own_registry), own_registry, "bake", "--all", "--push")
    repositories = ["nodes", "composed", "assembled", "removed", "composed-custom", "both"]
    before = whole(own_registry, repositories)
    own_registry.stop()
    own_registry.collect()
    own_registry.start()
    assert whole(own_registry, repositories) == before
    for name in ("composed", "assembled", "removed", "composed-custom:mine"):
        image = f"{own_registry.prefix}/{name}"
        done = run(tmp_path, "docker", "run", "--rm", "--pull", "always", image, "true", seconds=300)
        assert done.code == 0, done.stderr


def test_registry_of_this_test_deletes_children_of_an_index_that_have_no_tag(
    tmp_path: Path, own_registry: OwnRegistry
) -> None:
    bake(two_platforms(tmp_path / "both", own_registry), own_registry, "bake", "--all", "--push")
    # What buildx pushed as one index has no tags for its children.
    assert whole(own_registry, ["two"])
    own_registry.stop()
    own_registry.collect()
    own_registry.start()
    with Registry() as client:
        assert client.verify(Reference.parse(f"{own_registry.prefix}/two:1"))
