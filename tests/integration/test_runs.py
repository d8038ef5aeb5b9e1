"""Runs as users see them: a failing layer among twelve images, its build alone, warming, limits."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from buildsys.buildkit.progress import Status, parse_line
from buildsys.events.events import StepEnded, TargetEnded, TargetPlanned, read_lines
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.commands import BUILDSYS, Command, OwnEngine, Run, run

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

OS = """\
description: the system
kind: system
licence: none
provides: [os]
parameters:
  variant: {description: which, values: [a, b], default: a, label: true}
parent: {name: debian-12, images: ["debian:12"]}
packages: [{names: [one], when: {variant: [a, b]}}]
"""
OS_DOCKERFILE = (
    "FROM base\nARG PACKAGES\nARG VARIANT\nRUN echo $PACKAGES $VARIANT >/etc/system && sleep 1 && echo it is built\n"
)
TOOLS = "description: tools\nkind: toolchain\nlicence: none\nparent: {name: debian-12, images: ['debian:12']}\n"
TOOLS_DOCKERFILE = "FROM base\nRUN echo tools >/etc/tools && echo it is built\n"
ARTIFACT = """\
description: {name}
kind: artifact
licence: none
prefix: /opt/{name}
toolchain: {{layer: tools}}
"""
ARTIFACT_DOCKERFILE = """\
FROM toolchain AS build
RUN mkdir -p /out/opt/{name} \\
    && echo {name} >/out/opt/{name}/file \\
    && echo it is built \\
    && {more}
FROM scratch
COPY --from=build /out /
"""
ARTIFACTS = ("red", "green", "blue", "white", "black", "grey")
BROKEN = "echo looking for rdma; echo 'configure: error: rdma/rdma_cma.h not found' >&2; exit 3"
FAMILY = """\
families:
  matrix:
    description: twelve images
    name: "{color}-{variant}"
    layers:
      - system: {variant: "{variant}"}
"""


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class Twelve:
    """Two systems times six artifacts, with an engine and a registry prefix of its own."""

    def __init__(self, folder: Path, engine: OwnEngine, buildsys: Command, name: str, broken: str = "") -> None:
        self.folder, self.engine, self._buildsys = folder, engine, buildsys
        self.prefix = f"{engine.registry}/{name}"
        self.environment = {**engine.environment, "BUILDSYS_REGISTRY": self.prefix, "CI": ""}
        write(folder, "layers/system/layer.yaml", OS)
        write(folder, "layers/system/Dockerfile", OS_DOCKERFILE)
        write(folder, "layers/tools/layer.yaml", TOOLS)
        write(folder, "layers/tools/Dockerfile", TOOLS_DOCKERFILE)
        lines = FAMILY
        for artifact in ARTIFACTS:
            more = BROKEN if artifact == broken else "true"
            write(folder, f"layers/{artifact}/layer.yaml", ARTIFACT.format(name=artifact))
            write(folder, f"layers/{artifact}/Dockerfile", ARTIFACT_DOCKERFILE.format(name=artifact, more=more))
            lines += f"      - {artifact}:\n        when: {{color: {artifact}}}\n"
        for layer in ("system", "tools", *ARTIFACTS):
            write(folder, f"layers/{layer}/.dockerignore", "*\n")
        lines += f"    matrix:\n      - {{color: [{', '.join(ARTIFACTS)}], variant: [a, b]}}\n"
        write(folder, "stacks.yaml", lines)
        write(folder, "mirrors/use", ":\n")
        write(folder, "buildsys.lock", "version: 1\n")
        shutil.copy(engine.overlay, folder / "buildsys.lock.local")

    def call(self, *words: str, **more: str) -> Run:
        return self._buildsys("-C", self.folder, *words, environment={**self.environment, **more})

    def runs(self) -> list[str]:
        """Return the target of each RUN that the last run executed, as often as it did."""
        return sorted(event.target for event in self._executed())

    def executions(self) -> list[str]:
        """Return the digest of each RUN that the last run executed, as often as it did."""
        return sorted(event.digest for event in self._executed())

    def _executed(self) -> list[StepEnded]:
        steps = [event for event in self.events() if isinstance(event, StepEnded)]
        return [event for event in steps if event.kind == "run" and not event.error]

    def events(self) -> list[object]:
        text = (self.folder / ".buildsys/events.jsonl").read_text(encoding="utf-8")
        return list(read_lines(text.splitlines()))

    def ends(self) -> dict[str, TargetEnded]:
        return {event.target: event for event in self.events() if isinstance(event, TargetEnded)}


@pytest.fixture
def broken(tmp_path: Path, own_engine: OwnEngine, buildsys: Command) -> Twelve:
    """Twelve images; two need an artifact that cannot be built."""
    own_engine.reset()
    return Twelve(tmp_path / "project", own_engine, buildsys, tmp_path.name.replace("_", ""), broken="white")


@pytest.fixture
def twelve(tmp_path: Path, own_engine: OwnEngine, buildsys: Command) -> Twelve:
    own_engine.reset()
    return Twelve(tmp_path / "project", own_engine, buildsys, tmp_path.name.replace("_", ""))


def tags(prefix: str) -> set[str]:
    """Return the stacks that have their public tag."""
    names = [f"{artifact}-{variant}" for artifact in ARTIFACTS for variant in "ab"]
    with Registry() as registry:
        return {name for name in names if registry.head(Reference.parse(f"{prefix}/{name}:latest"))}


def test_one_failing_layer_in_a_matrix_of_twelve(broken: Twelve, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    done = broken.call("bake", "--all", "--push", "--keep-going", "--events", str(events))
    assert done.code == 1, done.stdout + done.stderr
    good = {f"{artifact}-{variant}" for artifact in ARTIFACTS if artifact != "white" for variant in "ab"}
    ends = broken.ends()
    stacks = {f"{artifact}-{variant}" for artifact in ARTIFACTS for variant in "ab"}
    assert {name for name in stacks if ends[name].outcome == "made" and ends[name].layers} == good
    assert {name: end.blocked_by for name, end in ends.items() if end.outcome == "blocked"} == dict.fromkeys(
        ("white-a", "white-b"), "white"
    )
    with Registry() as registry:
        for name in good:
            assert registry.verify(Reference.parse(ends[name].reference)) == ()
    # Every requested image is tagged, or none.
    assert tags(broken.prefix) == set()
    output = done.stdout
    assert "layers/white/Dockerfile:2" in output
    assert "    $ mkdir -p /out/opt/white" in output
    assert "configure: error: rdma/rdma_cma.h not found" in output
    assert "exit code 3" in output
    assert "blocks  white-a, white-b" in output
    assert "nothing was tagged: 2 of 12 images are missing (--tags-on partial tags the rest)" in output
    assert events.read_text() == (broken.folder / ".buildsys/events.jsonl").read_text()
    log = next(line.split()[1] for line in output.splitlines() if line.startswith("  log "))
    assert "looking for rdma" in (broken.folder / log).read_text(encoding="utf-8")
    # The command that reproduces it, unchanged.
    alone = next(line.split(None, 1)[1] for line in output.splitlines() if line.startswith("  rerun "))
    words = shlex.split(alone)
    assert words[0] == "buildsys"
    again = run(BUILDSYS, *words[1:], cwd=broken.folder, environment=broken.environment)
    assert again.code == 1
    assert "configure: error: rdma/rdma_cma.h not found" in again.stdout
    assert broken.runs() == []
    partial = broken.call("bake", "--all", "--push", "--keep-going", "--tags-on", "partial")
    assert partial.code == 1
    assert tags(broken.prefix) == good
    assert "10 tags moved: 2 of 12 images are missing" in partial.stdout
    # Only the fixed target is built.
    path = broken.folder / "layers/white/Dockerfile"
    path.write_text(path.read_text(encoding="utf-8").replace(BROKEN, "true"), encoding="utf-8")
    mended = broken.call("bake", "--failed", "--push")
    assert mended.code == 0, mended.stdout + mended.stderr
    assert broken.runs() == ["white"]
    assert tags(broken.prefix) == {*good, "white-a", "white-b"}


def test_without_a_registry_it_is_the_same_but_for_what_a_registry_does(broken: Twelve) -> None:
    local = {"BUILDSYS_REGISTRY": "local"}
    done = broken.call("bake", "--all", "-k", **local)
    assert done.code == 1, done.stdout + done.stderr
    built = [name for name, end in broken.ends().items() if end.outcome == "made"]
    assert len(built) == 10 + 2 + 1 + 5
    size = broken.ends()["red-b"].size
    output = run("docker", "image", "inspect", "--format", "{{.Size}}", "local/red-b", environment=broken.environment)
    assert size == int(output.stdout)
    assert broken.runs() == sorted(["system-a", "system-b", "tools", *(a for a in ARTIFACTS if a != "white")])
    again = broken.call("bake", "--all", "-k", **local)
    assert again.code == 1
    assert broken.runs() == []
    shown = run(
        "docker", "run", "--rm", "local/red-b", "cat", "/etc/system", "/opt/red/file", environment=broken.environment
    )
    assert shown.stdout == "one b\nred\n"


def test_fail_fast_leaves_the_rest_and_failed_resumes_it(broken: Twelve) -> None:
    done = broken.call("bake", "--all", "--push", "--fail-fast", "--jobs", "1")
    assert done.code == 1
    outcomes = {end.outcome for end in broken.ends().values()}
    assert "not reached" in outcomes
    assert "run `buildsys bake --failed` to build what is missing" in done.stdout
    rest = {name for name, end in broken.ends().items() if end.outcome in ("failed", "blocked", "not reached")}
    broken.call("bake", "--failed", "--push", "-k")
    planned = {event.name for event in broken.events() if isinstance(event, TargetPlanned) and event.action == "build"}
    assert planned == rest


def test_no_cache_repeats_every_step_once(twelve: Twelve) -> None:
    local = {"BUILDSYS_REGISTRY": "local"}
    assert twelve.call("bake", "red-a", "green-a", **local).code == 0
    first = twelve.runs()
    assert len(first) == len(set(first)) == 4
    done = twelve.call("bake", "red-a", "green-a", "--no-cache", **local)
    assert done.code == 0, done.stdout + done.stderr
    assert twelve.runs() == first
    assert twelve.call("bake", "red-a", "green-a", **local).code == 0
    assert twelve.runs() == []


def test_overrides_go_to_the_targets_that_they_name(twelve: Twelve) -> None:
    local = {"BUILDSYS_REGISTRY": "local"}
    done = twelve.call("bake", "red-a", "--set", "system-a.args.PACKAGES=other", **local)
    assert done.code == 0, done.stdout + done.stderr
    shown = run("docker", "run", "--rm", "local/red-a", "cat", "/etc/system", environment=twelve.environment)
    assert shown.stdout == "other a\n"
    # What was overridden is not what the key says, so it does not pass for it.
    assert twelve.call("bake", "red-a", **local).code == 0
    shown = run("docker", "run", "--rm", "local/red-a", "cat", "/etc/system", environment=twelve.environment)
    assert shown.stdout == "one a\n"
    assert twelve.call("bake", "red-a", "--push", "--set", "system-a.args.PACKAGES=other").code == 2


def test_buildkits_own_output_is_shown_on_request(twelve: Twelve) -> None:
    done = twelve.call("bake", "red-a", "--push", "--progress", "docker")
    assert done.code == 0, done.stdout + done.stderr
    assert "RUN echo one a >/etc/system" in done.stderr
    assert "pushing manifest for" in done.stderr
    assert tags(twelve.prefix) == {"red-a"}


def test_disk_below_the_limit_stops_starting_with_a_message(twelve: Twelve) -> None:
    done = twelve.call("bake", "red-a", "--push", "--min-free", "100000")
    assert done.code == 1
    assert "to stay free (--min-free): nothing more is started" in done.stdout
    assert twelve.runs() == []
    assert tags(twelve.prefix) == set()


def test_warm_on_one_engine_then_bake_on_another(twelve: Twelve) -> None:
    cache = f"{twelve.prefix}/cache"
    nodes = 2 + 1 + len(ARTIFACTS)
    done = twelve.call("warm", "--all", "--stacks", BUILDSYS_CACHE=cache)
    assert done.code == 0, done.stdout + done.stderr
    assert f"{nodes + 12} of {nodes + 12} targets would be reused, {nodes} of {nodes} caches answer" in done.stdout
    assert tags(twelve.prefix) == set()
    twelve.engine.reset()
    baked = twelve.call("bake", "--all", "-k")
    assert baked.code == 0, baked.stdout + baked.stderr
    assert twelve.runs() == []
    assert "12 images" in baked.stdout
    # Plain bake finds the caches of the same file.
    twelve.engine.reset()
    assert twelve.call("plan").code == 0
    variables = dict(
        line.removeprefix("export ").partition("=")[::2] for line in twelve.call("variables").stdout.splitlines()
    )
    environment = {**twelve.environment, **variables, "BUILDSYS_CACHE": cache, "BUILDSYS_CACHE_WRITE": "0"}
    words = ("docker", "buildx", "bake", "--progress", "rawjson", "red-a", "blue-b")
    plain = run(*words, cwd=twelve.folder, environment=environment)
    assert plain.code == 0, plain.stderr[-2000:]
    # Each RUN prints a line when it is executed. BuildKit's own marks cannot be trusted here: a step from a cache
    # is shown as executed if its content is fetched for a second target.
    output = [
        log.text
        for line in plain.stderr.splitlines()
        if isinstance(event := parse_line(line), Status)
        for log in event.logs
    ]
    assert not any("it is built" in text for text in output)


def test_dead_cache_and_lost_node_are_named_and_refilled(twelve: Twelve) -> None:
    cache = f"{twelve.prefix}/cache"
    some = ("red-a", "green-a")
    assert twelve.call("warm", *some, BUILDSYS_CACHE=cache).code == 0
    check = twelve.call("warm", *some, "--check", BUILDSYS_CACHE=cache)
    assert check.code == 0, check.stdout
    assert "4 of 4 targets would be reused, 4 of 4 caches answer" in check.stdout
    with Registry() as registry:
        assert registry.delete(Reference.parse(f"{cache}:red"))
    check = twelve.call("warm", *some, "--check", BUILDSYS_CACHE=cache)
    assert check.code == 1
    assert "dead  the cache of red" in check.stdout
    assert "4 of 4 targets would be reused, 3 of 4 caches answer" in check.stdout
    again = twelve.call("warm", *some, BUILDSYS_CACHE=cache)
    assert again.code == 0, again.stdout + again.stderr
    assert twelve.runs() == []
    document = json.loads(twelve.call("plan", "--json").stdout)
    key = next(each["key"] for each in document["nodes"] if each["name"] == "green")
    with Registry() as registry:
        assert registry.delete(Reference.parse(f"{twelve.prefix}/nodes:{key}"))
    check = twelve.call("warm", *some, "--check", BUILDSYS_CACHE=cache)
    assert check.code == 1
    assert "cold  green" in check.stdout


def test_killed_run_is_resumed_and_no_run_step_is_repeated(twelve: Twelve) -> None:
    events = twelve.folder / ".buildsys/events.jsonl"
    words = [str(BUILDSYS), "-C", str(twelve.folder), "bake", "--all", "--push", "--jobs", "2"]
    environment = {**os.environ, **twelve.environment}
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(words, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if events.exists() and sum(end.outcome == "made" for end in twelve.ends().values()) >= 4:
            break
        time.sleep(0.05)
    assert process.poll() is None
    process.kill()
    process.wait()
    first = twelve.executions()
    assert 4 <= len(first) < 9
    # What was left of it ends by itself.
    time.sleep(3)
    done = twelve.call("bake", "--all", "--push")
    assert done.code == 0, done.stdout + done.stderr
    second = twelve.executions()
    assert not set(first) & set(second)
    assert len(first) + len(second) <= 9
    assert tags(twelve.prefix) == {f"{artifact}-{variant}" for artifact in ARTIFACTS for variant in "ab"}
