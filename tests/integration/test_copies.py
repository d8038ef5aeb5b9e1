"""Several registries: images are built for the first and copied to the others, each missing blob once."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import Run, buildsys, on_real_parents, small_project, write
from tests.support.commands import registry_program
from tests.support.own_registry import OwnRegistry

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

STACKS = """\
registry: [{first}, {second}]
stacks:
  one: {{layers: [dist, conf, large], repository: app, tags: ["1.0", "1"]}}
  two: {{layers: [dist, conf]}}
"""
# More than one chunk of an upload, and nothing that gzip makes small; no other run has left it in the engine's cache.
LARGE = f"""\
FROM toolchain AS build
RUN echo {time.time_ns()}
RUN mkdir -p /out/opt/large && head -c 9000000 /dev/urandom >/out/opt/large/file
FROM scratch
COPY --from=build /out /
"""
LAYER = "description: a large file\nkind: artifact\nlicence: none\nprefix: /opt/large\ntoolchain: {layer: tool}\n"
WRITES = ("POST", "PATCH", "PUT")


@pytest.fixture
def registries(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[OwnRegistry, OwnRegistry]]:
    program = registry_program()
    if program is None:
        reason = "no docker-registry is installed"
        if request.config.getoption("--require-engine"):
            pytest.fail(reason)
        pytest.skip(reason)
    found = OwnRegistry(tmp_path / "first", program), OwnRegistry(tmp_path / "second", program)
    for each in found:
        each.start()
    yield found
    for each in found:
        each.stop()


def bake(project: Path, *words: str) -> tuple[Run, dict[str, object]]:
    """Push everything, and return how that ended with the last event."""
    options = ("--all", "--push", "--progress", "plain")
    done = buildsys(project, "bake", *options, *words, seconds=600, BUILDSYS_REGISTRY="")
    events = (project / ".buildsys/events.jsonl").read_text(encoding="utf-8").splitlines()
    return done, json.loads(events[-1])


def tags(registry: OwnRegistry, repository: str) -> dict[str, str]:
    """Return the digest of each tag of a repository, after a look at each blob."""
    found = {}
    with Registry() as client:
        place = Reference.parse(f"{registry.prefix}/{repository}:x")
        for tag in client.tags(place):
            assert client.verify(place.with_tag(tag)) == ()
            held = client.head(place.with_tag(tag))
            assert held is not None
            found[tag] = held.digest
    return found


def without_advice(found: dict[str, str]) -> dict[str, str]:
    return {tag: digest for tag, digest in found.items() if not tag.startswith(("last-", "incoming-"))}


def test_further_registry_has_the_same_digests_and_a_second_run_writes_nothing(
    tmp_path: Path, registries: tuple[OwnRegistry, OwnRegistry]
) -> None:
    first, second = registries
    stacks = STACKS.format(first=first.prefix, second=second.prefix)
    files = {"stacks.yaml": stacks, "layers/large/layer.yaml": LAYER, "layers/large/Dockerfile": LARGE}
    project = on_real_parents(small_project(tmp_path / "project", files))

    # The registry is down: what is published to the first stays, and the run fails by its name.
    second.stop()
    done, end = bake(project)
    assert done.code == 1, done.output
    assert f"{second.prefix} lacks 2 images (one, two)" in done.stdout
    assert "connection refused" in done.stdout
    assert end["runs"] != 0
    assert {"1.0", "1"} <= tags(first, "app").keys()

    # The next run builds nothing and copies what is missing.
    second.start()
    first.requests()
    done, end = bake(project)
    assert done.code == 0, done.output
    assert end["runs"] == 0
    assert f"copied 2 images to {second.prefix}" in done.stdout
    for repository in ("app", "two"):
        held = without_advice(tags(first, repository))
        assert tags(second, repository) == held
        assert len([tag for tag in held if tag.startswith("platform-")]) == 1
    with Registry() as client:
        assert client.tags(Reference.parse(f"{second.prefix}/nodes:x")) == ()
    wrote = second.requests()
    uploads = [path for method, path in wrote if method == "PUT" and "/blobs/uploads/" in path]
    digests = [path.rpartition("digest=")[2] for path in uploads]
    assert len(digests) == len({*digests}), "a blob was sent twice"
    mounts = [path for method, path in wrote if method == "POST" and "mount=" in path]
    assert mounts, "the blobs that both images have are mounted in the second"
    assert not {path.partition("mount=")[2].partition("&")[0] for path in mounts} - {*digests}
    assert [path for method, path in wrote if method == "PATCH"], "the large blob is sent in chunks"
    assert not [path for method, path in first.requests() if method in WRITES and "/blobs/" in path]

    # What exists is neither written nor read again.
    second.requests()
    done, end = bake(project)
    assert (done.code, end["runs"]) == (0, 0), done.output
    assert {method for method, _ in second.requests()} == {"HEAD"}

    # By an independent client: the bytes of all blobs of the image.
    url = f"http://{second.prefix.replace('/', '/v2/', 1)}/app"
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"

    def manifest(name: str) -> dict[str, list[dict[str, str]]]:
        asked = urllib.request.Request(f"{url}/manifests/{name}", headers={"Accept": accept})
        return json.load(urllib.request.urlopen(asked, timeout=60))  # type: ignore[no-any-return]

    (image,) = manifest("1.0")["manifests"]
    for blob in manifest(image["digest"])["layers"]:
        content = urllib.request.urlopen(f"{url}/blobs/{blob['digest']}", timeout=60).read()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == blob["digest"]

    # A new image shares the blobs of those that exist: they are mounted, and none of them is sent.
    write(project, "stacks.yaml", stacks + "  three: {layers: [dist, conf, large], labels: {a: b}}\n")
    second.requests()
    done, _ = bake(project)
    assert done.code == 0, done.output
    wrote = second.requests()
    assert len([path for method, path in wrote if method == "PUT" and "/blobs/uploads/" in path]) == 1, "its config"
    assert [path for method, path in wrote if method == "PATCH"] == []


def test_registry_that_a_variable_names_is_alone_unless_further_ones_are_named_too(
    tmp_path: Path, registries: tuple[OwnRegistry, OwnRegistry]
) -> None:
    first, second = registries
    stacks = STACKS.format(first="nowhere.example.com/x", second=second.prefix).replace(", large]", "]")
    project = on_real_parents(small_project(tmp_path / "project", {"stacks.yaml": stacks}))
    words = ("bake", "two", "--push", "--progress", "plain")
    done = buildsys(project, *words, seconds=600, BUILDSYS_REGISTRY=first.prefix)
    assert done.code == 0, done.output
    assert second.requests() == []
    other = f"{first.prefix}/other"
    done = buildsys(project, *words, seconds=600, BUILDSYS_REGISTRY=first.prefix, BUILDSYS_COPY_TO=other)
    assert done.code == 0, done.output
    assert f"copied 1 image to {other}: 0 blobs sent" in done.stdout
    own = without_advice(tags(first, "two"))
    assert tags(first, "other/two") == own
