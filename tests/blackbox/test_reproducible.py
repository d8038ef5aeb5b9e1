"""What is built twice, with nothing of the first build at hand, is published with the same bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.command_line import buildsys, run, write
from tests.support.published_bytes import Published, Scan, read_published

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

TIMESTAMP, SECONDS = "2026-11-23T00:00:00Z", 1795392000
# An account has the day of its last change; other files have an owner, modes, and a time before the timestamp.
SYSTEM = """\
FROM base
ARG PACKAGES
ARG SOURCE_DATE_EPOCH
RUN useradd --create-home someone && rm -f /etc/*- && rm -rf /var/log/* && \\
    mkdir -m 0700 /srv/data && echo one >/srv/data/file && chown 1000:1000 /srv/data/file && \\
    echo two >/srv/data/old && touch --date 2001-02-03 /srv/data/old
"""
# WORKDIR creates its folder, so an engine assembles the image.
OTHER = """\
description: a file in an image that an engine assembles
kind: artifact
licence: MIT
prefix: /opt/other
requires: [os]
workdir: /work
"""
OTHER_DOCKERFILE = """\
FROM toolchain AS build
RUN mkdir -p /artifact/opt/other && echo three >/artifact/opt/other/file
FROM scratch
COPY --from=build /artifact /
"""
NOTE = "this builder cannot rewrite the times of files that it loads"


@pytest.fixture
def project(real_project: Path) -> Path:
    write(real_project, "buildsys.lock", f"version: 1\ntimestamp: {TIMESTAMP}\n")
    write(real_project, "layers/dist/Dockerfile", SYSTEM)
    write(real_project, "layers/other/layer.yaml", OTHER)
    write(real_project, "layers/other/Dockerfile", OTHER_DOCKERFILE)
    write(real_project, "layers/other/.dockerignore", "*\n")
    write(
        real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist, conf]}\n  work: {layers: [dist, conf, other]}\n"
    )
    return real_project


def published(project: Path, registry: str) -> Published:
    """Publish all images from nothing, and return what the registry has of them."""
    done = buildsys(project, "bake", "--push", "--all", "--no-cache", seconds=300, BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    host, _, prefix = registry.partition("/")
    return read_published(host, Scan(needles={}, seconds=(0, 0), latest=SECONDS), f"{prefix}/")


def images(found: Published) -> dict[str, str]:
    """Return the digests of nodes and images; an index has the time of its run."""
    return {name: each["digest"] for name, each in found.manifests.items() if "config" in each}


def test_two_cold_builds_publish_the_same_bytes(project: Path, registry: str) -> None:
    first = published(project, f"{registry}-one")
    # Times in image layers have whole seconds.
    time.sleep(2)
    second = published(project, f"{registry}-two")
    assert len(first.manifests) > 5
    assert images(first) == images(second)


def test_no_published_file_is_later_than_the_timestamp_and_earlier_ones_keep_their_time(
    project: Path, registry: str
) -> None:
    found = published(project, registry)
    assert found.findings == []
    files = {path: text for layer in found.layers.values() for path, text in layer.items()}
    assert f'"0o644", 1000, 1000, {SECONDS}, ""' in files["srv/data/file"]
    assert f'"0o700", 0, 0, {SECONDS}, ""' in files["srv/data"]
    assert '"0o644", 0, 0, 981158400, ""' in files["srv/data/old"]


def test_image_that_is_assembled_has_the_blobs_of_its_nodes_and_of_the_base_image(project: Path, registry: str) -> None:
    found = published(project, registry)
    layers = {
        name: [each["digest"] for each in value["layers"]]
        for name, value in found.manifests.items()
        if "config" in value
    }
    nodes = {name: each for name, each in layers.items() if name.startswith("nodes:") and "inventory" not in name}
    base = next(each for each in nodes.values() if len(each) > 1)[0]
    assert all(each[0] == base for each in nodes.values() if len(each) > 1)
    image = next(each for name, each in layers.items() if name.startswith("work:platform-"))
    artifacts = {each[0] for each in nodes.values() if len(each) == 1}
    assert len(artifacts) == 2
    assert artifacts | {base} < {*image}


def test_time_of_an_image_is_the_timestamp(project: Path, registry: str) -> None:
    found = published(project, registry)
    times = {name: each["config"]["created"] for name, each in found.manifests.items() if "config" in each}
    assert set(times.values()) == {TIMESTAMP}


def test_local_image_has_the_timestamp_and_one_note_says_that_its_files_do_not(project: Path) -> None:
    prefix = f"reproducible-{project.name}"
    done = buildsys(project, "bake", "--all", seconds=300, BUILDSYS_REGISTRY=prefix)
    try:
        assert done.code == 0, done.output
        # While it runs, and in the summary.
        assert (done.stderr.count(NOTE), done.stdout.count(NOTE)) == (1, 1)
        for name in ("img", "work"):
            image = f"{prefix}/{name}:latest"
            created = run(project, "docker", "image", "inspect", "--format", "{{.Created}}", image)
            assert created.stdout.strip() == TIMESTAMP
    finally:
        run(project, "docker", "image", "rm", "--force", f"{prefix}/img:latest", f"{prefix}/work:latest")
    # The second run builds nothing, so there is nothing to note.
    again = buildsys(project, "bake", "img", "--dry-run", BUILDSYS_REGISTRY=prefix)
    assert NOTE not in again.output
