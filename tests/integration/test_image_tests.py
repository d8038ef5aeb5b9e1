"""Tests that layers declare, run on a real engine: beside the image's own command, over HTTP, where no GPU is, and on
what was pushed, before tags move.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from buildsys.buildkit.docker import Docker, NoAnswer, answer_of
from buildsys.buildkit.images import run_container
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from buildsys.recipes import template
from tests.integration.conftest import ENGINE
from tests.support.commands import BUILDSYS, Command, Run, run, start_own_engine, stop_own_engine

pytestmark = [pytest.mark.engine, pytest.mark.parents]

# A web server of one page in the Perl that Debian's base image has; the first answers come while it is not ready.
SERVER = r"""
use IO::Socket::INET; $SIG{TERM} = sub { exit 0 }; my $n = 0; open F, ">/tmp/started"; close F;
my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die;
while (my $c = $s->accept) { my $r = <$c>; $n++;
my $w = $n < 3 ? "503 wait" : $r =~ m{ /ready } ? "200 OK" : "404 no";
print $c "HTTP/1.0 $w\r\n\r\npage $n\n"; close $c }
"""
# What the containers of these images are known by, beside those of other tests on the same engine.
LABEL = ("test.images", secrets.token_hex(4))
LAYER: Mapping[str, object] = {
    "description": "a page",
    "kind": "system",
    "licence": "MIT",
    "provides": ["os"],
    "parent": {"name": "debian-12", "images": ["docker.io/library/debian:12-slim"]},
    "labels": dict([LABEL]),
}


@pytest.fixture
def served(project: Path, buildsys: Command) -> Path:
    """A project with one image that starts a web server, in the engine's store."""
    shutil.rmtree(project / "environments")
    shutil.rmtree(project / "layers")
    write(project, {**LAYER, "command": ["perl", "-e", template.literally(SERVER.replace("\n", " ").strip())]})
    (project / "stacks.yaml").write_text("stacks:\n  served: {description: a page, layers: [web]}\n", encoding="utf-8")
    done = buildsys("bake", "served", cwd=project)
    assert done.code == 0, done.stdout + done.stderr
    return project


def write(project: Path, layer: Mapping[str, object]) -> None:
    file = project / "layers/web/layer.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(layer), encoding="utf-8")


def outcome_of(project: Path, buildsys: Command, *tests: dict[str, object]) -> Run:
    layer = yaml.safe_load((project / "layers/web/layer.yaml").read_text(encoding="utf-8"))
    write(project, {**layer, "tests": list(tests)})
    return buildsys("test", "served", "--local", cwd=project)


def test_tests_run_beside_the_images_own_command_until_they_pass(
    served: Path, buildsys: Command, docker: Docker
) -> None:
    before = containers(docker)
    done = outcome_of(
        served,
        buildsys,
        {"http": "8080/ready", "expect": "page 3", "within": "20s"},
        {"run": "test -e /tmp/started", "running": True},
        {"run": "test ! -e /tmp/started"},
        {"run": "nvidia-smi", "gpu": True},
    )
    assert done.code == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line[2:3] not in (" ", "")] == [
        *("served", "ok", "ok", "ok", "skip", "4"),
    ]
    assert "no GPU: " in done.stdout
    assert lines[-1] == "4 tests of 1 image: 3 passed, 1 skipped"
    assert containers(docker) == before


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"http": "8080/missing", "within": "5s"}, ["answered with status 404"]),
        ({"http": "9090/", "within": "2s"}, ["does not answer"]),
        ({"run": "kill 1; sleep 1; false", "running": True, "within": "30s"}, ["the image's own command ended with 0"]),
        ({"run": "false", "running": True, "within": "1s"}, ["ended with 1"]),
    ],
    ids=["status", "closed port", "command that ends", "command that fails"],
)
def test_what_never_passes_fails_with_the_reason_and_leaves_no_container(
    served: Path, buildsys: Command, docker: Docker, test: dict[str, object], words: list[str]
) -> None:
    before = containers(docker)
    done = outcome_of(served, buildsys, test)
    assert done.code == 1, done.stdout + done.stderr
    assert all(word in done.stdout for word in words), done.stdout
    assert "1 test of 1 image: 1 failed" in done.stdout
    assert containers(docker) == before


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """A project with the stack `served` and a registry of its own; `call` runs a command in it."""

    project: Path
    prefix: str
    buildsys: Command

    def call(self, *words: str, **environment: str) -> Run:
        return self.buildsys(*words, cwd=self.project, environment={"BUILDSYS_REGISTRY": self.prefix, **environment})

    def declare(self, word: str, *tests: dict[str, object]) -> None:
        """Let the image have a word in its environment, and tests."""
        layer = yaml.safe_load((self.project / "layers/web/layer.yaml").read_text(encoding="utf-8"))
        write(self.project, {**layer, "environment": {"set": {"WORD": word}}, "tests": list(tests)})

    @property
    def tag(self) -> str | None:
        """The digest of the index that the public tag names."""
        with Registry() as client:
            found = client.head(Reference.parse(f"{self.prefix}/served:latest"))
        return found.digest if found else None

    def local(self, docker: Docker) -> str:
        """Return the identity of the engine's own image of the public name, empty if it has none."""
        words = [*docker.command, "image", "inspect", "--format", "{{.Id}}", f"{self.prefix}/served:latest"]
        return answer_of(words).stdout.strip()


@pytest.fixture
def fleet(project: Path, buildsys: Command, registry: str) -> Fleet:
    """A project whose image is built nowhere."""
    shutil.rmtree(project / "environments")
    shutil.rmtree(project / "layers")
    write(project, LAYER)
    (project / "stacks.yaml").write_text("stacks:\n  served: {description: a page, layers: [web]}\n", encoding="utf-8")
    return Fleet(project=project, prefix=f"{registry}/{secrets.token_hex(4)}", buildsys=buildsys)


def says(word: str) -> dict[str, object]:
    return {"run": f'test "$WORD" = {word}'}


@pytest.mark.registry
def test_what_was_pushed_is_tested_and_a_local_image_of_its_name_stays(fleet: Fleet, docker: Docker) -> None:
    fleet.declare("stale", says("pushed"))
    assert fleet.call("bake", "served").code == 0
    stale = fleet.local(docker)
    assert stale
    fleet.declare("pushed", says("pushed"))
    refused = fleet.call("test", "served")
    assert refused.code == 5
    assert "hint: run `buildsys bake served --push` first" in refused.stderr
    assert "is of other sources" in fleet.call("test", "served", "--local").stderr
    pushed = fleet.call("bake", "served", "--push")
    assert pushed.code == 0, pushed.stdout + pushed.stderr
    done = fleet.call("test", "served", "--json")
    assert done.code == 0, done.stdout + done.stderr
    (image,) = json.loads(done.stdout)["images"]
    with Registry() as client:
        index = client.manifest(Reference.parse(f"{fleet.prefix}/served:latest"))
    assert index is not None
    assert [child.digest for child in index.manifests] == [image["digest"]]
    assert image["reference"] == f"{fleet.prefix}/served@{image['digest']}"
    assert (image["state"], fleet.local(docker)) == ("passed", stale)
    # What is remembered needs no engine.
    again = fleet.call("test", "served", DOCKER_HOST="unix:///nonexistent.sock")
    assert again.code == 0, again.stderr
    assert image["digest"] in again.stdout
    assert again.stdout.endswith("1 test of 1 image, all passed (1 remembered)\n")


@pytest.fixture
def fresh_engine(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of an engine that has nothing, beside the one that builds."""
    found = start_own_engine(f"{ENGINE}-fresh", tmp_path / "no.lock.local")
    if isinstance(found, str):
        pytest.skip(f"no private engine: {found}")
    yield {name: found.environment[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG", "PATH")}
    stop_own_engine(f"{ENGINE}-fresh")


@pytest.mark.registry
def test_what_was_pushed_is_pulled_by_digest_and_tested_on_a_fresh_engine(
    fleet: Fleet, fresh_engine: dict[str, str]
) -> None:
    fleet.declare("pushed", says("pushed"))
    pushed = fleet.call("bake", "served", "--push")
    assert pushed.code == 0, pushed.stdout + pushed.stderr
    done = fleet.call("test", "served", "--json", **fresh_engine)
    assert done.code == 0, done.stdout + done.stderr
    (image,) = json.loads(done.stdout)["images"]
    with Registry() as client:
        index = client.manifest(Reference.parse(f"{fleet.prefix}/served:latest"))
    assert index is not None
    assert [child.digest for child in index.manifests] == [image["digest"]]
    assert [(each["state"], each["remembered"]) for each in image["tests"]] == [("passed", False)]
    words = ["docker", "image", "ls", "--all", "--digests", "--format", "{{.Repository}}@{{.Digest}} {{.Tag}}"]
    held = run(*words, environment=fresh_engine)
    assert held.stdout.split("\n") == [f"{image['reference']} <none>", ""], held.stderr


@pytest.mark.registry
def test_failing_test_leaves_every_tag_where_it_was_until_it_passes(fleet: Fleet, docker: Docker) -> None:
    before = containers(docker)
    fleet.declare("first", says("first"))
    done = fleet.call("bake", "served", "--push", "--test")
    assert done.code == 0, done.stdout + done.stderr
    assert "1 test passed" in done.stdout
    first = fleet.tag
    fleet.declare("second", says("second"), {"run": "echo seen; exit 3"})
    failed = fleet.call("bake", "served", "--push", "--test")
    assert failed.code == 1
    for words in ("web: echo seen; exit 3: ended with 3", "rerun   buildsys test served", "nothing was tagged: 1 of 1"):
        assert words in failed.stdout, failed.stdout
    assert first == fleet.tag
    alone = fleet.call("test", "served")
    assert (alone.code, alone.stdout.splitlines()[-1]) == (1, "2 tests of 1 image: 1 passed (1 remembered), 1 failed")
    assert "        | seen" in alone.stdout
    fleet.declare("second", says("second"), {"run": "echo seen"})
    assert fleet.call("bake", "--failed", "--push", "--test").code == 0
    assert first != fleet.tag
    assert containers(docker) == before


@pytest.mark.registry
def test_promotion_waits_for_tests_and_takes_their_results_along(fleet: Fleet) -> None:
    there = f"{fleet.prefix}-prod"
    fleet.declare("word", says("word"))
    assert fleet.call("bake", "served", "--push").code == 0
    refused = fleet.call("promote", "served", "--to", there)
    assert refused.code == 1
    assert "`served` is not promoted: its tests have not run in" in refused.stderr
    assert fleet.call("test", "served").code == 0
    done = fleet.call("promote", "served", "--to", there)
    assert done.code == 0, done.stdout + done.stderr
    again = fleet.call("test", "served", BUILDSYS_REGISTRY=there, DOCKER_HOST="unix:///nonexistent.sock")
    assert again.code == 0, again.stderr
    assert f"{there}/served@sha256:" in again.stdout
    assert again.stdout.endswith("1 test of 1 image, all passed (1 remembered)\n")


def test_container_of_a_command_that_takes_too_long_is_removed(docker: Docker, debian: str) -> None:
    before = containers(docker)
    with pytest.raises(NoAnswer):
        run_container(docker, debian, ["sleep", "100"], seconds=3)
    assert containers(docker) == before


def test_interrupted_tests_leave_no_container_and_end_with_the_signal(
    fleet: Fleet, docker: Docker, tmp_path: Path
) -> None:
    fleet.declare("word", {"run": "echo began; sleep 200"}, {"run": "sleep 200", "running": True})
    environment = {**os.environ, "BUILDSYS_REGISTRY": fleet.prefix}
    done = fleet.call("bake", "served")
    assert done.code == 0, done.stdout + done.stderr
    before = containers(docker)
    process = subprocess.Popen(
        [BUILDSYS, "test", "served", "--local"],
        cwd=fleet.project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while containers(docker) == before and time.monotonic() < until:
        time.sleep(0.2)
    assert containers(docker) != before
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert containers(docker) == before


def containers(docker: Docker) -> set[str]:
    words = [*docker.command, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={'='.join(LABEL)}"]
    return {*answer_of(words).stdout.split()}
