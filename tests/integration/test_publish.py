"""A registry as the memory: what the plan says and what BuildKit executes are the same, and the least possible.

The project is small and real. RUN steps are counted from BuildKit's own events, on an engine that is emptied before
each bake, with the registry full. The expected values are written by hand.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from buildsys.commands.plan import make_plan
from buildsys.events.events import StepEnded, read_lines
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from buildsys.plan import keys as key_module
from buildsys.plan.keys import folders_of, keys_of
from buildsys.project.workspace import Workspace
from tests.support.commands import PRIVATE_ENGINE, ROOT, Command, OwnEngine, Run, published_image, run
from tests.support.counting import counted

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

OS = """\
description: a system
kind: system
licence: free
provides: [os]
parent: {name: "debian-12", images: ["docker.io/library/debian:12-slim"]}
toolchain: {layer: tools}
freshness: week
packages: [{names: [hello]}]
parameters:
  variant: {description: which one, default: a, values: [a, b], label: true}
"""
# What counts here is which steps run, not what they do.
OS_DOCKERFILE = """\
FROM base
ARG PACKAGES
ARG EPOCH
ARG VARIANT
RUN echo "$VARIANT $PACKAGES $EPOCH" >/etc/system
"""
TOOLS = """\
description: toolchain for artifacts
kind: toolchain
licence: free
parent: {name: "toolchain-debian-12", images: ["docker.io/library/debian:12-slim"]}
packages: [{names: [compiler]}]
"""
TOOLS_DOCKERFILE = "FROM base\nARG PACKAGES\nRUN echo $PACKAGES >/etc/tools\n"
ARTIFACT = """\
description: an artifact
kind: artifact
licence: free
prefix: /opt/{name}
requires: [os]
order: {order}
parameters:
  version: {{description: release, default: 1, label: true}}
environment: {{prepend: {{PATH: /opt/{name}/bin}}}}
"""
ARTIFACT_DOCKERFILE = """\
FROM toolchain AS build
ARG VERSION
RUN mkdir -p /artifact/opt/{name}/bin && \\
    printf '#!/bin/sh\\necho {name} %s\\n' "$VERSION" >/artifact/opt/{name}/bin/{name} && \\
    chmod 0755 /artifact/opt/{name}/bin/{name}
FROM scratch
COPY --from=build /artifact /
"""
STACKS = """\
stacks:
  one: {layers: [system, mpi, conda]}
  two: {layers: [system, mpi]}
  three: {layers: [system: {variant: b}, conda]}
"""
ALL_NODES = {"system-a", "system-b", "tools", "mpi-1-tools", "conda-1-tools"}


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class Small:
    """The small project with its engine: changes, what is planned for it, what is executed for it."""

    def __init__(self, folder: Path, engine: OwnEngine, buildsys: Command, name: str) -> None:
        self.folder, self.engine, self._buildsys = folder, engine, buildsys
        self.environment = {**engine.environment, "BUILDSYS_REGISTRY": f"{engine.registry}/{name}"}
        write(folder, "layers/system/layer.yaml", OS)
        write(folder, "layers/system/Dockerfile", OS_DOCKERFILE)
        write(folder, "layers/tools/layer.yaml", TOOLS)
        write(folder, "layers/tools/Dockerfile", TOOLS_DOCKERFILE)
        for order, artifact in enumerate(("mpi", "conda")):
            write(folder, f"layers/{artifact}/layer.yaml", ARTIFACT.format(name=artifact, order=order))
            write(folder, f"layers/{artifact}/Dockerfile", ARTIFACT_DOCKERFILE.format(name=artifact))
        for layer in ("system", "tools", "mpi", "conda"):
            write(folder, f"layers/{layer}/.dockerignore", "*\n")
        write(folder, "stacks.yaml", STACKS)
        write(folder, "mirrors/use", ":\n")
        write(folder, "buildsys.lock", "version: 1\nepochs: {system: 2026-11-23}\n")
        shutil.copy(engine.overlay, folder / "buildsys.lock.local")

    def call(self, *words: str) -> Run:
        return self._buildsys("-C", self.folder, *words, environment=self.environment)

    def planned(self) -> tuple[set[str], set[str]]:
        """Return the nodes and the stacks that the plan lists as built."""
        done = self.call("plan", "--json")
        assert done.code == 0, done.stderr
        document = json.loads(done.stdout)
        nodes = {each["name"] for each in document["nodes"] if each["action"] == "build"}
        return nodes, {each["name"] for each in document["stacks"] if each["action"] == "build"}

    def bake(self) -> tuple[Run, list[str]]:
        """Empty the engine, bake everything to the registry, and return the owners of the RUNs executed."""
        self.engine.reset()
        done = self.call("bake", "--all", "--push", "--keep-going")
        return done, owners(self.folder / ".buildsys/events.jsonl")

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")


def owners(events: Path) -> list[str]:
    """Return the target of each RUN that a run executed, each step once, by its digest."""
    found = {}
    for event in read_lines(events.read_text(encoding="utf-8").splitlines()):
        if isinstance(event, StepEnded) and event.kind == "run" and not event.error:
            found[event.digest] = event.target
    return sorted(found.values())


def published_once(small: Small) -> Small:
    """Publish a project that was never published, which takes every node once."""
    assert small.planned() == (ALL_NODES, {"one", "two", "three"})
    done, executed = small.bake()
    assert done.code == 0, done.stdout + done.stderr
    assert executed == sorted(ALL_NODES)
    assert small.planned() == (set(), set())
    return small


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, own_engine: OwnEngine, buildsys: Command) -> Small:
    """The small project, published once for all tests that only look at keys and steps."""
    return published_once(Small(tmp_path_factory.mktemp("base"), own_engine, buildsys, "base"))


@pytest.fixture
def copied(tmp_path: Path, base: Small, buildsys: Command) -> Small:
    """A copy of the published project: a change of it has keys of its own, whatever others published beside it."""
    return Small(tmp_path, base.engine, buildsys, "base")


@pytest.fixture
def small(tmp_path: Path, own_engine: OwnEngine, buildsys: Command, request: pytest.FixtureRequest) -> Small:
    """The small project, published once to a repository of this test's own."""
    name = "".join(character for character in request.node.name.lower() if character.isalnum())
    return published_once(Small(tmp_path, own_engine, buildsys, name))


def more_packages(small: Small) -> None:
    small.edit("layers/system/layer.yaml", "names: [hello]", "names: [hello, world]")


def packages_of_one_variant(small: Small) -> None:
    small.edit(
        "layers/system/layer.yaml",
        "packages: [{names: [hello]}]",
        "packages: [{names: [hello]}, {names: [fix], when: {variant: b}}]",
    )


def other_version(small: Small) -> None:
    small.edit("layers/mpi/layer.yaml", "default: 1", "default: 2")


def stack_added(small: Small) -> None:
    small.edit("stacks.yaml", "stacks:\n", "stacks:\n  four: {layers: [system: {variant: b}, mpi]}\n")


def stack_removed(small: Small) -> None:
    small.edit("stacks.yaml", "  two: {layers: [system, mpi]}\n", "")


def comment(small: Small) -> None:
    small.edit("stacks.yaml", "stacks:\n", "# nothing but words\nstacks:\n")


def parent_moved(small: Small) -> None:
    """Push a parent with one more layer of settings under the same name, as an update does."""
    lines = (small.folder / "buildsys.lock.local").read_text(encoding="utf-8").splitlines()
    reference = next(line.split(": ")[1] for line in lines if "reference" in line)
    digest = next(line.split(": ")[1] for line in lines if "digest" in line)
    new = f"{reference}:moved"
    dockerfile = f"FROM {reference}@{digest}\nLABEL moved=yes\n"
    folder = small.folder / "moved"
    write(folder, "Dockerfile", dockerfile)
    metadata = folder / "metadata.json"
    words = (
        "docker",
        "buildx",
        "build",
        "--push",
        "--provenance=false",
        "--tag",
        new,
        "--metadata-file",
        str(metadata),
    )
    done = run(*words, str(folder), environment=small.environment)
    assert done.code == 0, done.stderr
    moved = json.loads(metadata.read_text(encoding="utf-8"))["containerimage.digest"]
    text = (small.folder / "buildsys.lock.local").read_text(encoding="utf-8")
    head, _, tail = text.partition("  toolchain-debian-12:")
    (small.folder / "buildsys.lock.local").write_text(head.replace(digest, moved) + "  toolchain-debian-12:" + tail)
    shutil.rmtree(folder)


def fresh(small: Small) -> None:
    small.edit("buildsys.lock", "2026-11-23", "2026-11-30")


def argument_of_one_stack(small: Small) -> None:
    small.edit(
        "stacks.yaml",
        "three: {layers: [system: {variant: b}, conda]}",
        "three: {layers: [system: {variant: b}, conda: {version: 9}]}",
    )


def comment_in_a_dockerfile(small: Small) -> None:
    small.edit("layers/conda/Dockerfile", "FROM toolchain AS build\n", "# said\nFROM toolchain AS build\n")


def environment_value(small: Small) -> None:
    small.edit("layers/mpi/layer.yaml", "PATH: /opt/mpi/bin", "PATH: /opt/mpi/bin, MPI: /opt/mpi")


SYSTEMS = {"system-a", "system-b"}
CHANGES: list[tuple[Callable[[Small], None], set[str], set[str]]] = [
    (more_packages, SYSTEMS, {"one", "two", "three"}),
    (packages_of_one_variant, {"system-b"}, {"three"}),
    (other_version, {"mpi-2-tools"}, {"one", "two"}),
    (stack_added, set(), {"four"}),
    (stack_removed, set(), set()),
    (comment, set(), set()),
    (parent_moved, SYSTEMS, {"one", "two", "three"}),
    (fresh, SYSTEMS, {"one", "two", "three"}),
    (argument_of_one_stack, {"conda-9-tools"}, {"three"}),
    (environment_value, set(), {"one", "two"}),
]


@pytest.mark.parametrize(("change", "nodes", "stacks"), CHANGES, ids=[change.__name__ for change, _, _ in CHANGES])
def test_what_is_planned_is_what_is_executed_and_the_least_possible(
    copied: Small, change: Callable[[Small], None], nodes: set[str], stacks: set[str]
) -> None:
    change(copied)
    assert copied.planned() == (nodes, stacks)
    done, executed = copied.bake()
    assert done.code == 0, done.stdout + done.stderr
    assert executed == sorted(nodes)
    assert copied.planned() == (set(), set())


# Each word is text and no more: a variable, quotes, an end of line, a heredoc, what bake takes for a template.
STARTS = {
    "labels": {"org.example.release": "{version} of $HOME"},
    "user": "{version}",
    "entrypoint": ["env", "SAID=$HOME ${{A}} %{{x}} \\$A q\"u'o\\te\nend\u2028{version}", "<<EOF=1"],
    "command": ["printenv", "SAID"],
    "healthcheck": {
        "command": ["test", "$HOME", "!=", "${{A}} '\""],
        "interval": "5m",
        "timeout": "3s",
        "start_period": "1500ms",
        "retries": "4",
    },
}

# Joined by another separator, and to what the parent lacks.
PARTS = """\
environment:
- prepend: {{PATH: /opt/{name}/bin}}
- append: {{CFLAGS: -I/opt/{name}}}
  separator: " "
  default: {{CFLAGS: -O2}}
- prepend: {{MANPATH: /opt/{name}/man}}
  default: {{MANPATH: /usr/share/man}}"""


def test_image_that_was_composed_runs_and_is_what_buildkit_assembles(small: Small) -> None:
    said = "\n".join(f"{field}: {json.dumps(value)}" for field, value in STARTS.items())
    small.edit("layers/conda/layer.yaml", "prefix: /opt/conda", f"prefix: /opt/conda\n{said}")
    for name in ("conda", "mpi"):
        path = f"environment: {{prepend: {{PATH: /opt/{name}/bin}}}}"
        small.edit(f"layers/{name}/layer.yaml", path, PARTS.format(name=name))
    # The engine keeps its cache, from which it assembles the same blobs below.
    done = small.call("bake", "--all", "--push")
    assert done.code == 0, done.stdout + done.stderr
    tag = f"{small.environment['BUILDSYS_REGISTRY']}/one:latest"
    with Registry() as registry:
        composed, composed_config = published_image(registry, tag)
    assert "buildsys" in {each.get("comment") for each in composed_config["history"]}
    script = "mpi; conda; cat /etc/system"
    output = run("docker", "run", "--rm", tag, "sh", "-c", script, environment=small.environment)
    assert output.stdout.splitlines()[:2] == ["mpi 1", "conda 1"]
    # The same stack, assembled by BuildKit out of the committed kind of file.
    assert small.call("plan").code == 0
    parents = {
        "BUILDSYS_PARENT_DEBIAN_12": "debian-12",
        "BUILDSYS_PARENT_TOOLCHAIN_DEBIAN_12": "toolchain-debian-12",
    }
    variables = dict(
        line.removeprefix("export ").partition("=")[::2] for line in small.call("variables").stdout.splitlines()
    )
    assert variables.keys() >= parents.keys()
    environment = {**small.environment, **variables, "BUILDSYS_TAG": "assembled"}
    # Published nodes have rewritten times, which `--push` alone does not ask for.
    pushed = "one.output=type=image,push=true,store=false,oci-mediatypes=true,rewrite-timestamp=true"
    done = run("docker", "buildx", "bake", "--set", pushed, "one", cwd=small.folder, environment=environment)
    assert done.code == 0, done.stderr
    with Registry() as registry:
        assembled, config = published_image(registry, str(Reference.parse(tag).with_tag("assembled")))
    assert composed_config["config"] == config["config"]
    word = "SAID=$HOME ${A} %{x} \\$A q\"u'o\\te\nend\u20281"
    assert config["config"]["Entrypoint"] == ["env", word, "<<EOF=1"]
    assert config["config"]["Healthcheck"] == {
        "Test": ["CMD", "test", "$HOME", "!=", "${A} '\""],
        "Interval": 300 * 10**9,
        "Timeout": 3 * 10**9,
        "StartPeriod": 1_500_000_000,
        "Retries": 4,
    }
    variables = dict(each.partition("=")[::2] for each in config["config"]["Env"])
    assert variables["CFLAGS"] == "-O2 -I/opt/mpi -I/opt/conda"
    assert variables["MANPATH"] == "/opt/conda/man:/opt/mpi/man:/usr/share/man"
    assert (config["config"]["User"], config["config"]["Labels"]["org.example.release"]) == ("1", "1 of $HOME")
    alone = run("docker", "run", "--rm", tag, environment=small.environment)
    assert alone.stdout == word.removeprefix("SAID=") + "\n"
    assert composed_config["rootfs"] == config["rootfs"]
    assert [layer.digest for layer in composed.layers] == [layer.digest for layer in assembled.layers]
    assert (composed_config["os"], composed_config["architecture"]) == (config["os"], config["architecture"])
    again = run(
        "docker",
        "run",
        "--rm",
        f"{small.environment['BUILDSYS_REGISTRY']}/one:assembled",
        "sh",
        "-c",
        script,
        environment=small.environment,
    )
    assert again.stdout == output.stdout


def test_composing_needs_no_engine_and_moves_no_layer_byte(small: Small) -> None:
    environment_value(small)
    with counted(small.engine.registry) as (window, counts):
        name = small.environment["BUILDSYS_REGISTRY"].partition("/")[2]
        nowhere = {
            **small.environment,
            "BUILDSYS_REGISTRY": f"{window}/{name}",
            "DOCKER_HOST": "unix:///nonexistent.sock",
        }
        done = run(ROOT / ".venv/bin/buildsys", "-C", small.folder, "bake", "--all", "--push", environment=nowhere)
    assert done.code == 0, done.stdout + done.stderr
    assert "built 2 images · " in done.stdout
    assert "0 RUN steps executed · 2 tags moved" in done.stdout
    with Registry() as registry:
        layers: set[str] = set()
        for stack in ("one", "two"):
            manifest, _ = published_image(registry, f"{small.environment['BUILDSYS_REGISTRY']}/{stack}:latest")
            layers |= {layer.digest for layer in manifest.layers}
    assert layers
    assert not layers & counts.pulled.keys()
    # What was pushed are two configs, and what was pulled are those of the parts, and the inventory of the base.
    assert 0 < counts.pushed < 10_000
    assert 0 < sum(counts.pulled.values()) < 200_000


def test_node_that_the_registry_lost_is_noticed_and_rebuilt(small: Small) -> None:
    prefix = small.environment["BUILDSYS_REGISTRY"]
    document = json.loads(small.call("plan", "--json").stdout)
    node = next(each for each in document["nodes"] if each["name"] == "mpi-1-tools")
    with Registry() as registry:
        assert registry.delete(Reference.parse(f"{prefix}/nodes:{node['key']}"))
        # With its manifest gone nothing keeps a stack that is changed from being composed of the rest.
    environment_value(small)
    done, executed = small.bake()
    assert done.code == 0, done.stdout + done.stderr
    assert executed == ["mpi-1-tools"]


def blob_file(small: Small, digest: str) -> Path:
    """Return where the private registry keeps the bytes of a blob."""
    output = json.loads(run(sys.executable, PRIVATE_ENGINE, "status", "--json", "--name", small.engine.name).stdout)
    folder = Path(output["home"]) / "instances" / small.engine.name / "registry"
    algorithm, _, number = digest.partition(":")
    return folder / "docker/registry/v2/blobs" / algorithm / number[:2] / number / "data"


@pytest.mark.parametrize("options", [(), ("--verify",)], ids=["when-used", "verify"])
def test_blob_that_the_registry_lost_is_noticed_and_rebuilt(small: Small, options: tuple[str, ...]) -> None:
    prefix = small.environment["BUILDSYS_REGISTRY"]
    document = json.loads(small.call("plan", "--json").stdout)
    node = next(each for each in document["nodes"] if each["name"] == "mpi-1-tools")
    with Registry() as registry:
        manifest = registry.manifest(Reference.parse(f"{prefix}/nodes:{node['key']}"))
        assert manifest is not None
        blob_file(small, manifest.layers[0].digest).unlink()
    environment_value(small)
    small.engine.reset()
    done = small.call("bake", "--all", "--push", *options)
    assert done.code == 0, done.stdout + done.stderr
    assert "registry: rebuilding `mpi-1-tools`: " in done.stdout
    tag = f"{prefix}/two:latest"
    output = run(
        "docker", "run", "--rm", "--pull", "always", tag, "sh", "-c", "mpi; echo $MPI", environment=small.environment
    )
    assert output.stdout == "mpi 1\n/opt/mpi\n", output.stderr


def test_fresh_moves_the_epoch_and_rebuilds_only_the_systems(small: Small) -> None:
    # Other packages too, since those of this week are published.
    small.edit("layers/system/layer.yaml", "names: [hello]", "names: [hello, more]")
    small.edit("buildsys.lock", "2026-11-23", "2020-01-06")
    small.engine.reset()
    assert small.call("bake", "--all", "--push").code == 0
    small.engine.reset()
    events = small.folder / ".buildsys/events.jsonl"
    done = small.call("bake", "--all", "--push", "--fresh", "--load")
    assert done.code == 0, done.stdout + done.stderr
    assert "2020-01-06" not in (small.folder / "buildsys.lock").read_text(encoding="utf-8")
    assert owners(events) == ["system-a", "system-b"]
    images = run("docker", "image", "ls", "--format", "{{.Repository}}", environment=small.environment).stdout.split()
    assert {f"{small.environment['BUILDSYS_REGISTRY']}/{name}" for name in ("one", "two", "three")} <= set(images)


def test_image_that_cannot_be_composed_is_assembled_by_the_engine(copied: Small) -> None:
    copied.edit("layers/conda/layer.yaml", "prefix: /opt/conda", "prefix: /opt/conda\nworkdir: /srv/here")
    assert copied.planned() == (set(), {"one", "three"})
    done, executed = copied.bake()
    assert (done.code, executed) == (0, []), done.stdout + done.stderr
    tag = f"{copied.environment['BUILDSYS_REGISTRY']}/three:latest"
    output = run(
        "docker", "run", "--rm", "--pull", "always", tag, "sh", "-c", "pwd; conda", environment=copied.environment
    )
    assert output.stdout == "/srv/here\nconda 1\n"
    assert copied.planned() == (set(), set())


def test_reason_names_the_input_and_survives_another_machine(
    small: Small, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packages_of_one_variant(small)
    comment_in_a_dockerfile(small)
    reasons = {each["name"]: each["reason"] for each in json.loads(small.call("plan", "--json").stdout)["nodes"]}
    assert reasons["system-b"] == "packages +fix"
    assert reasons["conda-1-tools"] == "layers/conda/Dockerfile changed"
    other = tmp_path_factory.mktemp("other") / "clone"
    shutil.copytree(small.folder, other, ignore=shutil.ignore_patterns(".buildsys"))
    clone = small.call("plan", "--json")
    assert {each["name"]: each["reason"] for each in json.loads(clone.stdout)["nodes"]} == reasons


def test_failing_node_blocks_what_needs_it_and_no_tag_moves(small: Small) -> None:
    small.edit("layers/conda/Dockerfile", "RUN mkdir", "RUN echo broken here >&2; exit 7; mkdir")
    small.edit("layers/mpi/layer.yaml", "default: 1", "default: 3")
    before = small.call("plan", "--json").stdout
    done, _ = small.bake()
    assert done.code == 1
    assert json.loads(before)["summary"]["build"] >= 2
    assert "broken here" in done.stdout
    assert "layers/conda/Dockerfile:3" in done.stdout
    assert "nothing was tagged: 2 of 3 images are missing" in done.stdout
    tag = f"{small.environment['BUILDSYS_REGISTRY']}/two:latest"
    output = run("docker", "run", "--rm", "--pull", "always", tag, "mpi", environment=small.environment)
    assert output.stdout == "mpi 1\n"


LEFT_OUT = [
    ("argument PACKAGES", more_packages),
    ("argument PACKAGES", packages_of_one_variant),
    ("argument VERSION", other_version),
    ("argument VERSION", argument_of_one_stack),
    ("dockerfile", comment_in_a_dockerfile),
    ("epoch", fresh),
    ("variable", environment_value),
    ("base", more_packages),
    ("artifact", other_version),
]


@pytest.mark.parametrize(("name", "change"), LEFT_OUT, ids=[f"{name}-{c.__name__}" for name, c in LEFT_OUT])
def test_key_that_leaves_an_input_out_is_seen_by_the_matrix(
    name: str, change: Callable[[Small], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each input is left out in turn; the sets that the matrix above expects then come out wrong."""
    expected = {each.__name__: (nodes, stacks) for each, nodes, stacks in CHANGES}
    expected[comment_in_a_dockerfile.__name__] = ({"conda-1-tools"}, {"one", "three"})
    overlay = tmp_path / "overlay"
    overlay.write_text("version: 1\n", encoding="utf-8")
    engine = OwnEngine(name="none", environment={"BUILDSYS_REGISTRY": "none"}, overlay=overlay)
    small = Small(tmp_path / "project", engine, lambda *_, **__: Run(code=1, stdout="", stderr=""), "none")

    def keys() -> dict[str, str]:
        workspace = Workspace(root=small.folder)
        plan = make_plan(workspace.tree())
        found = keys_of(plan, workspace.contents(folders_of(plan)))
        return {target: keyed.key for target, keyed in {**found.nodes, **found.stacks}.items()}

    def changed() -> set[str]:
        before = keys()
        folder = tmp_path / "kept"
        shutil.copytree(small.folder, folder)
        change(small)
        after = keys()
        shutil.rmtree(small.folder)
        folder.rename(small.folder)
        return {target for target, key in after.items() if before.get(target) != key}

    nodes, stacks = expected[change.__name__]
    assert changed() == nodes | stacks
    whole = key_module.keyed
    monkeypatch.setattr(
        key_module,
        "keyed",
        lambda inputs: whole({each: value for each, value in inputs.items() if not each.startswith(name)}),
    )
    assert changed() != nodes | stacks
