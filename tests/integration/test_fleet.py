"""A fleet in use: a fix today, what tags named, back to an earlier image, and promotion, with real registries."""

from __future__ import annotations

import io
import json
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildsys.buildkit.progress import StepKind
from buildsys.fleet.history import Archive
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import (
    ARTIFACT_DOCKERFILE,
    Run,
    buildsys,
    on_real_parents,
    run,
    small_project,
    write,
)
from tests.support.commands import registry_program
from tests.support.own_registry import OwnRegistry
from tests.support.pages import Page

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

STACKS = """\
stacks:
  debian12: {layers: [debian-os, conf]}
  debian13: {layers: [{debian-os: {release: 13}}, conf]}
"""
SYSTEM = """\
description: the system
kind: system
licence: various
provides: [os]
freshness: week
parent: {name: "debian-{release}", images: ["docker.io/library/debian:{release}-slim"]}
toolchain: {layer: tool, parameters: {release: "{release}"}}
parameters:
  release: {description: Debian release, default: 12, values: [12, 13], label: true}
"""
TOOL = """\
description: what artifacts are built on
kind: toolchain
licence: various
parent: {name: "debian-{release}", images: ["docker.io/library/debian:{release}-slim"]}
parameters:
  release: {description: Debian release, default: 12, values: [12, 13], label: true}
"""
# The stand-in for a repository of packages is the folder of files that builds see; what it has is in no key.
INSTALL = """\
FROM base
ARG EPOCH
ARG PACKAGES
RUN --mount=type=bind,from=mirrors,target=/run/mirrors cat /run/mirrors/files/package >/etc/package
"""
# Ends without a word behind a write of the given number, while other threads write; otherwise says how many there were.
KILLED = """\
import atexit, itertools, os, signal, sys
from buildsys.oci.client import Registry
last, numbers = int(sys.argv.pop(1)), itertools.count(1)
def counted(write):
    def call(*words, **named):
        written = write(*words, **named)
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return written
    return call
for name in ("put_manifest", "send_blob", "mount_blob"):
    setattr(Registry, name, counted(getattr(Registry, name)))
atexit.register(lambda: print("writes:", next(numbers) - 1))
from buildsys.__main__ import main
sys.exit(main())
"""
MOMENTS = 20
PAGE = Page("fleet.md")


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


class Fleet:
    """A project with images on two releases of a system whose packages age, and a stand-in repository of packages."""

    def __init__(self, folder: Path, registry: str) -> None:
        # No other run of this test has left these steps in the cache of the engine.
        once = f"RUN echo {folder.name} {time.time_ns()}\n"
        system = {"layer.yaml": SYSTEM, "Dockerfile": INSTALL.replace("RUN", f"{once}RUN", 1), ".dockerignore": "*\n"}
        files = {f"layers/debian-os/{name}": text for name, text in system.items()}
        files |= {"stacks.yaml": STACKS, "layers/tool/layer.yaml": TOOL, "layers/tool/Dockerfile": f"FROM base\n{once}"}
        files["layers/conf/Dockerfile"] = ARTIFACT_DOCKERFILE.replace("AS build\n", f"AS build\n{once}")
        self.root = on_real_parents(small_project(folder / "project", files))
        write(self.root, "buildsys.lock", 'version: 1\nepochs: {debian-os: "2026-11-02"}\n')
        self.packages = folder / "packages"
        self.registry = registry
        self.release("1.0")

    def release(self, version: str) -> None:
        """Let the repository have this version of the package."""
        write(self.packages, "package", f"{version}\n")

    def run(self, *words: str, **given: str) -> Run:
        environ = {"BUILDSYS_FILES": str(self.packages), "BUILDSYS_REGISTRY": self.registry, **given}
        return buildsys(self.root, *words, seconds=600, shell=environ)

    def bake(self, **given: str) -> list[str]:
        """Push all images, and return the targets whose RUN steps were executed, each step once by its digest."""
        done = self.run("bake", "--all", "--push", "--progress", "plain", **given)
        assert done.code == 0, done.output
        lines = (self.root / ".buildsys/events.jsonl").read_text(encoding="utf-8").splitlines()
        steps = {
            each["digest"]: each["target"]
            for each in map(json.loads, lines)
            if each["event"] == "step" and each["kind"] == StepKind.RUN and not each.get("cached")
        }
        assert json.loads(lines[-1])["runs"] == len(steps)
        return sorted(steps.values())

    def named(self, reference: str) -> str | None:
        with Registry() as client:
            found = client.head(Reference.parse(reference))
        return found.digest if found else None

    def package(self, stack: str) -> str:
        """Return the version of the package in the image that a tag names, after a look at each blob."""
        with Registry() as client:
            place = Reference.parse(f"{self.registry}/{stack}:latest")
            assert client.verify(place) == ()
            index = client.manifest(place)
            assert index is not None
            image = client.manifest(place.with_digest(index.manifests[0].digest))
            assert image is not None
            for layer in reversed(image.layers):
                with tarfile.open(fileobj=io.BytesIO(client.blob(place, layer.digest))) as archive:
                    if "etc/package" in archive.getnames() and (file := archive.extractfile("etc/package")):
                        return file.read().decode().strip()
        raise AssertionError("no layer has the package")


def commands(section: str) -> list[list[str]]:
    """Return the commands of buildsys in a section of the page."""
    return [line.split()[1:] for line in PAGE.of(section) if line.startswith("buildsys ")]


def test_fix_today_reaches_the_images_of_one_release_and_is_taken_back_by_the_page(
    tmp_path: Path, registries: tuple[OwnRegistry, OwnRegistry]
) -> None:
    first, second = registries
    fleet = Fleet(tmp_path, first.prefix)
    assert fleet.bake() == [
        *("conf-tool-12", "conf-tool-13", "debian-os-12", "debian-os-12"),
        *("debian-os-13", "debian-os-13", "tool-12", "tool-13"),
    ]
    assert fleet.bake() == []
    other = fleet.named(f"{first.prefix}/debian13:latest")
    before = fleet.named(f"{first.prefix}/debian12:latest")

    # A fix, and a second one on the same day: one command each, and only the node of that release is rebuilt.
    (fresh, bake) = commands("Fix a package today")
    assert (fresh[0], bake[0]) == ("fresh", "bake")
    for version in ("1.1", "1.2"):
        fleet.release(version)
        assert fleet.bake() == []
        done = fleet.run(*fresh)
        assert done.code == 0, done.output
        assert "1 node to rebuild" in done.stdout
        assert "1 of 2 images changes" in done.stdout
        assert fleet.bake() == ["debian-os-12", "debian-os-12"]
        assert fleet.package("debian12") == version
    assert fleet.package("debian13") == "1.0"
    assert fleet.named(f"{first.prefix}/debian13:latest") == other

    # Without a project, from the registry alone.
    (history,) = commands("What tags named")
    done = buildsys(tmp_path, *history, BUILDSYS_REGISTRY=first.prefix)
    assert done.code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["3", "2", "1"]
    assert "debian-os 12: packages are refreshed: " in done.stdout
    back, release, again = commands("Take a bad image back")
    first.requests()
    done = buildsys(tmp_path, *back, BUILDSYS_REGISTRY=first.prefix)
    assert done.code == 0, done.output
    read = [path for method, path in first.requests() if method == "GET" and "/blobs/" in path]
    assert [path for path in read if "/nodes/" not in path] == []
    assert len({*read}) <= 2, "the history before and after"
    assert fleet.package("debian12") == "1.1"
    done = buildsys(tmp_path, *back, "--to", "1", BUILDSYS_REGISTRY=first.prefix)
    assert (done.code, fleet.named(f"{first.prefix}/debian12:latest")) == (0, before), done.output
    done = fleet.run("bake", "--all", "--push")
    assert done.code == 0
    assert "the tags of `debian12` are held at" in done.output
    assert fleet.named(f"{first.prefix}/debian12:latest") == before
    assert buildsys(tmp_path, *release, BUILDSYS_REGISTRY=first.prefix).code == 0
    assert fleet.run(*again).code == 0
    assert fleet.package("debian12") == "1.2"

    # Promotion, by its command on the page: within the host nothing is sent, between hosts each blob once.
    (promote,) = commands("Promote images")
    for prefix, sent in ((first.prefix.replace("/x", "/prod"), False), (second.prefix, True)):
        first.requests()
        second.requests()
        words = [prefix if word == "registry.example.com/prod" else word for word in promote]
        done = fleet.run(*words)
        assert done.code == 0, done.output
        wrote = [*first.requests(), *second.requests()]
        uploads = [path for method, path in wrote if method == "PUT" and "/blobs/uploads/" in path]
        digests = [path.rpartition("digest=")[2] for path in uploads]
        assert len(digests) == len({*digests})
        small = 3
        assert (len(digests) > small) == sent, "the history alone is written within a host"
        assert fleet.named(f"{prefix}/debian12:latest") == fleet.named(f"{first.prefix}/debian12:latest")
        done = fleet.run("bake", "debian12", "--push", "--progress", "plain", BUILDSYS_REGISTRY=prefix)
        assert done.code == 0, done.output
        last = (fleet.root / ".buildsys/events.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        assert json.loads(last)["runs"] == 0


def test_image_over_its_budget_gets_no_tag_and_is_not_rebuilt_for_a_larger_one(
    tmp_path: Path, registries: tuple[OwnRegistry, OwnRegistry]
) -> None:
    first, _ = registries
    fleet = Fleet(tmp_path, first.prefix)
    over = STACKS.replace("[debian-os, conf]}", "[debian-os, conf], budget: {size: 1 MB}}")
    write(fleet.root, "stacks.yaml", over)
    done = fleet.run("bake", "--all", "--push")
    assert done.code == 1, done.output
    assert "debian-os" in done.stderr.partition("budget")[2], "the largest contributor"
    assert (fleet.named(f"{first.prefix}/debian12:latest"), fleet.named(f"{first.prefix}/debian13:latest")) == (
        None,
        None,
    )
    assert fleet.run("bake", "--all", "--push", "--tags-on", "partial").code == 1
    assert fleet.named(f"{first.prefix}/debian12:latest") is None
    assert fleet.named(f"{first.prefix}/debian13:latest")
    write(fleet.root, "stacks.yaml", over.replace("1 MB", "1 GB"))
    assert fleet.bake() == []
    assert fleet.named(f"{first.prefix}/debian12:latest")


@pytest.mark.long
def test_promotion_that_is_killed_leaves_whole_images_and_the_next_one_finishes(
    tmp_path: Path, registries: tuple[OwnRegistry, OwnRegistry]
) -> None:
    first, second = registries
    fleet = Fleet(tmp_path, first.prefix)
    fleet.bake()
    shell = {"BUILDSYS_FILES": str(fleet.packages), "BUILDSYS_REGISTRY": first.prefix}
    words = ("-c", KILLED, "0", "promote", "--all", "--to", f"{second.prefix}/whole")
    done = run(fleet.root, sys.executable, *words, shell=shell)
    assert done.code == 0, done.output
    writes = int(done.stdout.rpartition("writes: ")[2])
    assert writes > 2 * MOMENTS
    for moment in range(MOMENTS):
        prefix = f"{second.prefix}/p{moment}"
        words = ("-c", KILLED, str(1 + moment * writes // MOMENTS), "promote", "--all", "--to", prefix)
        done = run(fleet.root, sys.executable, *words, shell=shell)
        assert done.code == -signal.SIGKILL, done.output
        check(prefix)
        done = fleet.run("promote", "--all", "--to", prefix)
        assert done.code == 0, done.output
        check(prefix)
        for stack in ("debian12", "debian13"):
            named = fleet.named(f"{prefix}/{stack}:latest")
            assert named == fleet.named(f"{first.prefix}/{stack}:latest") is not None
            with Registry() as client:
                history = Archive(registry=client, prefix=prefix).find(stack)
            assert history is not None
            assert [(each.tags, each.digest) for each in history.entries] == [(("latest",), named)]


def check(prefix: str) -> None:
    """Assert that everything with a tag below a prefix is complete, when the registry has ended what it was given."""
    until = time.monotonic() + 10
    while lacking(prefix) and time.monotonic() < until:
        time.sleep(0.2)
    assert lacking(prefix) == []


def lacking(prefix: str) -> list[str]:
    places = [Reference.parse(f"{prefix}/{repository}:x") for repository in ("nodes", "debian12", "debian13")]
    with Registry() as client:
        return [lost for each in places for tag in client.tags(each) for lost in client.verify(each.with_tag(tag))]
