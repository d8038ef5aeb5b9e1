"""The Ubuntu stacks are baked from the committed file: their systems and assemblies for real, on stand-ins.

The parent is a Debian that passes for Ubuntu and CUDA images, the packages are empty ones of the right names and
versions, the artifacts are empty folders. What is real are the Dockerfiles of the system layers and the assemblies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.commands.plan import make_plan
from buildsys.project.workspace import find_workspace
from buildsys.report.documents import plan_document
from tests.integration.standins import nvidia
from tests.integration.standins.apt_repository import mirrors_folder
from tests.support.commands import ROOT, Run, run

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

TOOLCHAINS = ("toolchain-ubuntu", "toolchain-cuda")
FAMILIES = ("azureml-2021", "azureml-current")
OLD = "openmpi3.1.2-cuda9.0-cudnn7-ubuntu16.04"
APT = "openmpi3.1.2-cuda10.2-cudnn8-ubuntu18.04"
RDMA = "openmpi4.1.0-cuda11.1-cudnn8-ubuntu20.04"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The settings that a bake of these stacks needs."""

    document: Mapping[str, Any]
    environment: Mapping[str, str]
    options: tuple[str, ...]
    prefix: str

    def bake(self, *targets: str, **arguments: str) -> Run:
        words = [word for name, value in arguments.items() for word in ("--set", f"*.args.{name}={value}")]
        command = ("docker", "buildx", "bake", "--progress", "plain", *self.options, *words, *targets)
        return run(*command, cwd=ROOT, environment=self.environment)

    def stack(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(each for each in self.document["stacks"] if each["name"] == name)
        return found

    def inside(self, name: str, script: str) -> str:
        done = run("docker", "run", "--rm", f"{self.prefix}/{name}:latest", "sh", "-c", script)
        assert done.code == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def site(docker: Docker, registry: str, debian: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("azureml")
    document = plan_document(make_plan(find_workspace(ROOT).tree()))
    prefix = f"{registry}/{uuid4().hex[:8]}"
    parent = _parent(f"{prefix}/parent", debian, folder)
    installed = run("docker", "run", "--rm", parent, "dpkg-query", "--show", "--showformat=${Package}\\n")
    packages = {package for node in document["nodes"] for package in node["packages"]}
    mirrors = mirrors_folder(folder / "mirrors", {*packages, "gnupg"}, installed.stdout.split())
    options = ["--file", "docker-bake.hcl", "--load", f"--allow=fs.read={folder}"]
    for name, value in nvidia.arguments().items():
        options += ["--set", f"*.args.{name}={value}"]
    for stack in document["stacks"]:
        for layer in stack["contexts"]:
            if layer != "base" and stack["name"].startswith("openmpi"):
                artifact = folder / "artifacts" / layer
                (artifact / "opt" / layer).mkdir(parents=True, exist_ok=True)
                (artifact / "opt" / layer / "standin").touch()
                options += ["--set", f"{stack['target']}.contexts.{layer}={artifact}"]
    with nvidia.download_site(folder / "site") as address:
        environment = {
            "BUILDSYS_REGISTRY": prefix,
            "BUILDSYS_MIRRORS": str(mirrors),
            "BUILDSYS_DOWNLOADS_DEVELOPER_DOWNLOAD_NVIDIA_COM": address,
            **{each["variable"]: parent for each in document["parents"]},
        }
        yield Site(document=document, environment=environment, options=tuple(options), prefix=prefix)
    images = run("docker", "image", "ls", "--quiet", "--filter", f"reference={prefix}/*").stdout.split()
    run("docker", "image", "rm", "--force", *set(images))


def _parent(tag: str, debian: str, folder: Path) -> str:
    (folder / "parent").mkdir()
    (folder / "parent" / "Dockerfile").write_text(nvidia.PARENT)
    command = ("docker", "buildx", "build", "--push", "--provenance=false", "--tag", tag)
    done = run(*command, "--build-context", f"base=docker-image://{debian}", folder / "parent")
    assert done.code == 0, done.stderr
    assert run("docker", "pull", "--quiet", tag).code == 0
    return tag


@pytest.fixture(scope="module")
def baked(site: Site) -> Site:
    toolchains = {each["name"] for each in site.document["nodes"] if each["layer"] in TOOLCHAINS}
    done = site.bake(*FAMILIES, site.stack(OLD)["target"], *sorted(toolchains))
    assert done.code == 0, done.stderr[-4000:]
    return site


def test_every_stack_of_both_families_is_built(baked: Site) -> None:
    wanted = {each["name"] for each in baked.document["stacks"] if each["name"].startswith("openmpi")}
    images = run(
        "docker", "image", "ls", "--format", "{{.Repository}}", "--filter", f"reference={baked.prefix}/openmpi*"
    )
    assert {line.rpartition("/")[2] for line in images.stdout.split()} == wanted
    assert len(wanted) == 17


@pytest.mark.parametrize("name", [OLD, APT, RDMA])
def test_an_image_has_every_package_that_its_layers_name(name: str, baked: Site) -> None:
    nodes = {each["name"]: each for each in baked.document["nodes"]}
    waiting: list[str] = list(baked.stack(name)["needs"])
    wanted: set[str] = set()
    while waiting:
        node = nodes[waiting.pop()]
        if node["kind"] == "system":
            wanted |= set(node["packages"])
            waiting.extend(node["needs"])
    output = baked.inside(name, "dpkg-query --show --showformat='${Package}=${Version}\\n'").split()
    found = {*output, *(line.partition("=")[0] for line in output)}
    assert wanted
    assert wanted - found == set()


def test_cuda_from_packages_is_in_the_usual_folder(baked: Site) -> None:
    output = baked.inside(APT, "readlink /usr/local/cuda; echo $CUDA_VERSION; echo $PATH").split()
    assert output[:2] == ["cuda-10.2", "10.2.89"]
    assert "/usr/local/cuda/bin" in output[2].split(":")


@pytest.mark.parametrize("name", [OLD, APT, RDMA, "openmpi3.1.2-ubuntu18.04"])
def test_no_source_list_or_log_is_left_in_an_image(name: str, baked: Site) -> None:
    left = baked.inside(name, "find /etc/apt/sources.list.d /var/lib/apt/lists /var/log /var/cache/apt -type f")
    assert left == ""
    assert baked.inside(name, "find /run -name '*.gpg' -o -name use -o -name apt.conf") == ""


def test_image_config_has_the_settings(baked: Site) -> None:
    done = run("docker", "image", "inspect", f"{baked.prefix}/{RDMA}:latest")
    config = json.loads(done.stdout)[0]["Config"]
    environment = dict(each.partition("=")[::2] for each in config["Env"])
    assert config["User"] == "root:root"
    assert environment["NCCL_DEBUG"] == "INFO"
    assert environment["HOROVOD_GPU_ALLREDUCE"] == "NCCL"
    assert environment["LANG"] == environment["LC_ALL"] == "C.UTF-8"
    assert "/opt/miniconda/bin" in environment["PATH"].split(":")
    assert "" not in environment["LD_LIBRARY_PATH"].split(":")


def test_a_key_with_another_fingerprint_stops_the_build(site: Site) -> None:
    node = next(each["name"] for each in site.document["nodes"] if each["name"].startswith("cuda-runtime-apt-10_2-8"))
    done = site.bake(node, LEARNING_FINGERPRINT="0" * 40)
    right = nvidia.arguments()["LEARNING_FINGERPRINT"]
    assert done.code == 1
    assert f"the keys for the learning packages are {right}, expected {'0' * 40}" in done.stderr
