"""An image that is composed at the registry has the config of the one that BuildKit assembles, field by field.

Settings are hostile texts; half of the images are on a base whose own settings are hostile too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from buildsys.config.lockfile import parse_lock
from buildsys.oci.client import Registry
from buildsys.oci.reference import Manifest, Reference
from tests.support import command_line
from tests.support.command_line import IGNORED, LOCK, SYSTEM, small_project, write
from tests.support.commands import Run, published_image, run
from tests.support.hostile_settings import Hostile, yaml

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

IMAGES = 26
ALLOWED: Mapping[str, str] = {
    "history": "an assembly has an entry for each instruction, a composed image one for each layer",
    "created": "BuildKit writes the time of the build, composing that of the base",
}
"""Fields that may differ, and why."""
ODD_PARENT = r"""FROM base
MAINTAINER "someone" <a@b>
ENV ODD="a\"b\\c\$HOME 'd' é=x" EMPTY="" PATH="/odd bin:/usr/bin:/bin" LD_LIBRARY_PATH=/odd/lib
LABEL "org.example.odd"="<&>\" \$x" "B"="" "org.opencontainers.image.title"="odd"
EXPOSE 80 9/SCTP 8000-8003/udp
VOLUME ["/data x", "/b"]
STOPSIGNAL SIGRTMIN+3
HEALTHCHECK --interval=1500ms --start-interval=7s --retries=3 CMD exit "1"
SHELL ["/bin/sh", "-e", "-c"]
WORKDIR /odd folder
ENTRYPOINT ["/odd", "$HOME"]
CMD echo "shell form" $HOME
USER 1000:1000
"""
NONE_PARENT = 'FROM base\nHEALTHCHECK NONE\nUSER 65534\nCMD ["sh"]\n'
# A trigger runs in each build that starts from the image, and is not in its result.
TRIGGER_PARENT = "FROM base\nONBUILD RUN echo ran >/ran\nONBUILD ENV TRIGGER=set\n"


class Both:
    """A project whose images are published both ways."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder, self.registry = folder, registry
        overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or command_line.ROOT / "buildsys.lock.local")
        known = parse_lock(overlay.read_text(encoding="utf-8")).parents["debian-12"]
        self.debian = f"{known.reference}@{known.digest}"
        self.given = {"BUILDSYS_REGISTRY": registry}

    def parent(self, name: str, dockerfile: str) -> str:
        """Build an image to start from, and return it by its digest."""
        write(self.folder, f"{name}/Dockerfile", dockerfile)
        reference = Reference.parse(f"{self.registry}/parent:{name}")
        output = f"type=image,push=true,store=false,oci-mediatypes=true,name={reference}"
        done = run(
            *("docker", "buildx", "build", "--provenance=false", "--output", output),
            *("--build-context", f"base=docker-image://{self.debian}", str(self.folder / name)),
        )
        assert done.code == 0, done.stderr
        return str(reference.with_tag("x").with_digest(read(reference)[0].descriptor.digest)).replace(":x@", "@")

    def project(self, stacks: Mapping[str, str], layers: Mapping[str, str], parents: Mapping[str, str]) -> Path:
        """Write the project: a system layer on each parent, one artifact, and layers that have nothing but settings."""
        files = {f"layers/{name}/layer.yaml": text for name, text in layers.items()}
        locked = {"debian-12": self.debian, "toolchain-debian-12": self.debian, **parents}
        lines = (
            f'  {name}: {{reference: "{each.partition("@")[0]}", digest: "{each.partition("@")[2]}"}}\n'
            for name, each in locked.items()
        )
        for name in parents:
            text = SYSTEM.replace("name: debian-12", f"name: {name}")
            files |= {f"layers/{name}/layer.yaml": text, f"layers/{name}/.dockerignore": IGNORED}
            files[f"layers/{name}/Dockerfile"] = "FROM base\nARG PACKAGES\nRUN true\n"
        files["stacks.yaml"] = "stacks:\n" + "".join(f"  {name}: {{{text}}}\n" for name, text in stacks.items())
        files["buildsys.lock"] = f"version: 1\nparents:\n{''.join(lines)}"
        assert LOCK.startswith("version: 1\nparents:\n")
        return small_project(self.folder / "project", files)

    def publish(self, project: Path) -> None:
        """Publish all images, composed where that is possible, and assembled by BuildKit from the same nodes."""
        shell = {**self.given, "BUILDSYS_TAG": "composed"}
        shell |= {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}
        done = command_line.buildsys(project, "bake", "--all", "--push", seconds=600, shell=shell)
        assert done.code == 0, done.output
        assert command_line.buildsys(project, "plan").code == 0
        environment = {**self.given, "BUILDSYS_TAG": "assembled", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        # Published nodes have rewritten times, which `--push` alone does not ask for.
        pushed = "*.output=type=image,push=true,store=false,oci-mediatypes=true,rewrite-timestamp=true"
        assembled = run("docker", "buildx", "bake", "--set", pushed, cwd=project, environment=environment)
        assert assembled.code == 0, assembled.stderr[-3000:]

    def configs(self, stack: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the composed and the assembled config of a stack, after comparing the layers."""
        found = [read(Reference.parse(f"{self.registry}/{stack}:{tag}")) for tag in ("composed", "assembled")]
        (one, composed), (other, assembled) = found
        assert [layer.digest for layer in one.layers] == [layer.digest for layer in other.layers]
        return composed, assembled

    def containers(self, stack: str) -> Iterator[tuple[Any, ...]]:
        """Yield, of the composed and the assembled image, what docker says of it and of a container of it."""
        for tag in ("composed", "assembled"):
            image = f"{self.registry}/{stack}:{tag}"
            pulled = run("docker", "pull", "-q", image)
            assert pulled.code == 0, pulled.stderr
            seen = inspected("image", image)
            created = run("docker", "create", image)
            config = {}
            if created.code == 0:
                container = created.stdout.strip()
                config = inspected("container", container)
                run("docker", "rm", container)
            run("docker", "image", "rm", image)
            yield seen, config, created.code, created.stderr.replace(tag, "")


def inspected(kind: str, name: str) -> dict[str, Any]:
    done: Run = run("docker", kind, "inspect", name)
    assert done.code == 0, done.stderr
    config = dict(json.loads(done.stdout)[0]["Config"])
    # These name the container and its image.
    return {field: value for field, value in config.items() if field not in ("Hostname", "Image")}


def read(reference: Reference) -> tuple[Manifest, dict[str, Any]]:
    """Return a manifest, and the config that it names."""
    with Registry() as registry:
        return published_image(registry, str(reference))


def differences(composed: Mapping[str, Any], assembled: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ, those of `config` one by one, without those that may."""
    flat = [
        {**{f"config.{name}": value for name, value in each["config"].items()}, **each}
        for each in (composed, assembled)
    ]
    names = sorted({*flat[0], *flat[1]} - {"config", *ALLOWED})
    return {name: (flat[0].get(name), flat[1].get(name)) for name in names if flat[0].get(name) != flat[1].get(name)}


def is_composed(config: Mapping[str, Any]) -> bool:
    return "buildsys" in {each.get("comment") for each in config["history"]}


@pytest.fixture(scope="module")
def images(registry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Both, list[str]]:
    """The images from hostile settings, each published both ways by one bake of each kind."""
    folder = tmp_path_factory.mktemp("both")
    both, hostile = Both(folder, f"{registry}/config-{folder.name}"), Hostile(1)
    parents = {name: both.parent(name, text) for name, text in (("odd", ODD_PARENT), ("none", NONE_PARENT))}
    stacks, layers = {}, {}
    for number in range(IMAGES):
        names = [f"s{number}a", f"s{number}b"]
        for name in names:
            head = "description: d\nkind: system\nlicence: MIT\n"
            layers[name] = head + "".join(f"{field}: {yaml(value)}\n" for field, value in hostile.fields(name).items())
        base = ("dist", "odd", "odd", "none")[number % 4]
        stacks[f"i{number}"] = f"layers: [{base}, {names[0]}, conf, {names[1]}]"
    both.publish(both.project(stacks, layers, parents))
    return both, [*stacks]


def test_composed_and_assembled_configs_are_equal_field_by_field(images: tuple[Both, list[str]]) -> None:
    both, stacks = images
    wrong = {}
    for stack in stacks:
        composed, assembled = both.configs(stack)
        assert is_composed(composed)
        assert not is_composed(assembled)
        if found := differences(composed, assembled):
            wrong[stack] = found
    assert wrong == {}
    assert len(stacks) >= 25


def test_docker_sees_the_same_image_and_the_same_container(images: tuple[Both, list[str]]) -> None:
    both, stacks = images
    created = 0
    for stack in stacks:
        composed, assembled = both.containers(stack)
        assert composed == assembled, stack
        created += composed[2] == 0
    # Some have neither an entry point nor a command, or a user that the base lacks.
    assert created > len(stacks) // 2


def test_triggers_of_a_parent_run_once_and_are_in_no_image(registry: str, tmp_path: Path) -> None:
    both = Both(tmp_path, f"{registry}/trigger-{tmp_path.parent.name}")
    parent = both.parent("trigger", TRIGGER_PARENT)
    both.publish(both.project({"one": "layers: [trigger, conf]"}, {}, {"trigger": parent}))
    composed, assembled = both.configs("one")
    assert differences(composed, assembled) == {}
    assert is_composed(composed)
    assert "TRIGGER=set" in composed["config"]["Env"]
    assert "OnBuild" not in composed["config"]


def test_settings_that_the_generator_gives_are_of_every_kind() -> None:
    hostile = Hostile(1)
    fields = [hostile.fields(f"s{number}") for number in range(2 * IMAGES)]
    names = {name for each in fields for name, value in each.items() if value}
    assert names == {"environment", "labels", "ports", "user", "entrypoint", "command", "healthcheck"}
    ways = {way for each in fields for environment in each["environment"] for way in environment}
    assert ways == {"set", "prepend", "append", "separator", "default"}
    assert any(each.get("command") == [] for each in fields)
    assert any("-" in port and "/" in port for each in fields for port in each["ports"])
