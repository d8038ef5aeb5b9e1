"""A stack of several platforms is one index under one tag; nothing in it has to run, so nothing is emulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.commands import Command, run

pytestmark = [pytest.mark.engine, pytest.mark.registry]

BOTH = ("linux/amd64", "linux/arm64")
LAYER = """\
description: a system
kind: system
licence: none
provides: [os]
platforms: [linux/amd64, linux/arm64]
parent: {name: two, images: ["docker.io/library/two:1"]}
"""
TOOLS = """\
description: tools
kind: toolchain
licence: none
platforms: [linux/amd64, linux/arm64]
parent: {name: two, images: ["docker.io/library/two:1"]}
"""
ARTIFACT = """\
description: words
kind: artifact
licence: none
platforms: [linux/amd64, linux/arm64]
prefix: /opt/words
toolchain: {layer: tools}
"""
STACKS = """\
stacks:
  both: {layers: [system, words], platforms: [linux/amd64, linux/arm64]}
"""


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def architectures(prefix: str) -> dict[str, str]:
    """Return the images of the stack in the engine's own store, with the machine that each is for."""
    listed = run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{prefix}/both")
    names = listed.stdout.split()
    shown = {name: run("docker", "image", "inspect", "--format", "{{.Architecture}}", name) for name in names}
    return {name: each.stdout.strip() for name, each in shown.items()}


def test_stack_of_two_platforms_is_one_index(tmp_path: Path, docker: Docker, registry: str, buildsys: Command) -> None:
    assert docker.containerd_store
    parent = f"{registry}-platforms/two:1"
    write(tmp_path, "two/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH} /arch\n")
    for platform in BOTH:
        write(tmp_path, f"two/{platform.partition('/')[2]}", platform)
    words = ("--platform", ",".join(BOTH), "--provenance=false", "--push", "--tag", parent)
    done = run("docker", "buildx", "build", *words, str(tmp_path / "two"))
    assert done.code == 0, done.stderr
    with Registry() as client:
        found = client.head(Reference.parse(parent))
    assert found is not None
    project = tmp_path / "project"
    write(project, "layers/system/layer.yaml", LAYER)
    write(project, "layers/system/Dockerfile", "FROM base\nCOPY file /file\n")
    write(project, "layers/system/file", "a file\n")
    write(project, "layers/system/.dockerignore", "*\n!file\n")
    write(project, "layers/tools/layer.yaml", TOOLS)
    write(project, "layers/tools/Dockerfile", "FROM base\nCOPY file /tools\n")
    write(project, "layers/tools/file", "tools\n")
    write(project, "layers/tools/.dockerignore", "*\n!file\n")
    write(project, "layers/words/layer.yaml", ARTIFACT)
    write(
        project,
        "layers/words/Dockerfile",
        "FROM toolchain AS build\nCOPY file /out/opt/words/file\nFROM scratch\nCOPY --from=build /out /\n",
    )
    write(project, "layers/words/file", "words\n")
    write(project, "layers/words/.dockerignore", "*\n!file\n")
    write(project, "stacks.yaml", STACKS)
    write(project, "mirrors/use", ":\n")
    lock = f"version: 1\nparents:\n  two: {{reference: {parent.rpartition(':')[0]}, digest: '{found.digest}'}}\n"
    write(project, "buildsys.lock", "version: 1\n")
    write(project, "buildsys.lock.local", lock)
    prefix = f"{registry}-platforms-{found.digest[7:15]}"
    environment = {"BUILDSYS_REGISTRY": prefix}
    # One of the two has no public tag in the registry, and is loaded all the same.
    done = buildsys("-C", project, "bake", "both-arm64", "--push", "--load", environment=environment)
    assert done.code == 0, done.stdout + done.stderr
    assert architectures(prefix) == {f"{prefix}/both:latest-arm64": "arm64"}
    done = buildsys("-C", project, "bake", "--all", "--push", "--load", environment=environment)
    assert done.code == 0, done.stdout + done.stderr
    assert architectures(prefix) == {f"{prefix}/both:latest-{each}": each for each in ("amd64", "arm64")}
    with Registry() as client:
        index = client.manifest(Reference.parse(f"{prefix}/both:latest"))
        assert index is not None
        platforms = {each.platform for each in index.manifests}
        assert client.verify(Reference.parse(f"{prefix}/both:latest")) == ()
    assert platforms == set(BOTH)
    again = buildsys("-C", project, "bake", "--all", "--push", environment=environment)
    assert again.code == 0, again.stdout + again.stderr
    assert "nothing to do: 2 images up to date" in again.stdout
