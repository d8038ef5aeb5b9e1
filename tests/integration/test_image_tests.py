"""Tests that layers declare, run on a real engine: beside the image's own command, over HTTP, and where no GPU is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from buildsys.buildkit.docker import Docker, answer_of
from buildsys.recipes import template
from tests.support.commands import Command, Run

pytestmark = [pytest.mark.engine, pytest.mark.parents]

# A web server of one page in the Perl that Debian's base image has; the first answers come while it is not ready.
SERVER = r"""
use IO::Socket::INET; $SIG{TERM} = sub { exit 0 }; my $n = 0; open F, ">/tmp/started"; close F;
my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die;
while (my $c = $s->accept) { my $r = <$c>; $n++;
my $w = $n < 3 ? "503 wait" : $r =~ m{ /ready } ? "200 OK" : "404 no";
print $c "HTTP/1.0 $w\r\n\r\npage $n\n"; close $c }
"""


@pytest.fixture
def served(project: Path, buildsys: Command) -> Path:
    """A project with one image that starts a web server, in the engine's store."""
    shutil.rmtree(project / "environments")
    shutil.rmtree(project / "layers")
    layer: dict[str, object] = {
        "description": "a page",
        "kind": "system",
        "licence": "MIT",
        "provides": ["os"],
        "parent": {"name": "debian-12", "images": ["docker.io/library/debian:12-slim"]},
        "command": ["perl", "-e", template.literally(SERVER.replace("\n", " ").strip())],
    }
    write(project, layer)
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
    return buildsys("test", "served", cwd=project)


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
    assert [line.split()[0] for line in lines if line[:1] not in (" ", "")] == ["ok", "ok", "ok", "skip", "4"]
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


def containers(docker: Docker) -> set[str]:
    """Return those of the image, beside what other tests run on the same engine."""
    shown = answer_of([*docker.command, "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Image}}"]).stdout
    return {line for line in shown.splitlines() if "served" in line}
