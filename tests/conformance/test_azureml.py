"""The stacks of `azureml-2021` are held against the facts of the images that they replace.

`facts.json` is what those images were; `differences.yaml` lists the allowed differences, each with its reason.
A difference that is not listed fails, and so does a listed one that does not exist.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from buildsys.commands.plan import make_plan
from buildsys.project.workspace import Workspace
from buildsys.report.documents import list_document, plan_document

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FACTS: Mapping[str, Any] = {each["image"]: each for each in json.loads((HERE / "facts.json").read_text())["images"]}
LISTED = yaml.load((HERE / "differences.yaml").read_text(), Loader=yaml.BaseLoader)
# Search paths are compared part by part.
PATHS = ("PATH", "LD_LIBRARY_PATH")
# What the parent image brought in the originals.
BELOW = ("cuda-runtime", "nccl")


# What the README of 2026-03-16 says of today's images: Ubuntu, Open MPI, CUDA.
CURRENT = {
    "openmpi4.1.0-ubuntu22.04": ("22.04", "4.1.0", ""),
    "openmpi5.0-ubuntu24.04": ("24.04", "5.0.6", ""),
    "openmpi5.0-cuda12.4-ubuntu22.04": ("22.04", "5.0.6", "12.4.1"),
    "openmpi5.0-cuda12.5-ubuntu22.04": ("22.04", "5.0.6", "12.5.1"),
    "openmpi5.0-cuda12.6-ubuntu24.04": ("24.04", "5.0.6", "12.6.3"),
    "openmpi5.0-cuda12.8-ubuntu24.04": ("24.04", "5.0.6", "12.8.1"),
    "openmpi5.0-cuda13.1-ubuntu24.04": ("24.04", "5.0.6", "13.1.1"),
}


class Difference(NamedTuple):
    """One thing that is not as it was; empty where there is nothing on that side."""

    fact: str
    original: str
    ours: str


class Image(NamedTuple):
    """A stack of this project: its entry of `list --json`, and its nodes of `plan --json` by layer."""

    listed: Mapping[str, Any]
    nodes: Mapping[str, Any]

    def parameter(self, layer: str, name: str) -> str:
        """Return a parameter's value; empty if the stack does not have the layer."""
        layers = {each["name"]: each["parameters"] for each in self.listed["layers"]}
        return str(layers[layer][name]) if layer in layers else ""

    def argument(self, layer: str, name: str) -> str:
        """Return what reaches a layer's Dockerfile; empty if the stack does not have the layer."""
        return str(self.nodes[layer]["args"][name]) if layer in self.nodes else ""

    def dockerfile(self, layer: str) -> str:
        """Return the text of a layer's Dockerfile; empty if the stack does not have the layer."""
        return (ROOT / self.nodes[layer]["dockerfile"]).read_text() if layer in self.nodes else ""


@pytest.fixture(scope="module")
def images() -> Mapping[str, Image]:
    return family("azureml-2021")


def family(name: str) -> Mapping[str, Image]:
    """Return the stacks of a family by name."""
    plan = make_plan(Workspace(root=ROOT).tree())
    planned = plan_document(plan)
    nodes = {node["name"]: node for node in planned["nodes"]}
    needs = {stack["name"]: stack["needs"] for stack in planned["stacks"]}
    found = {}
    for stack in list_document(plan)["stacks"]:
        if stack["family"] == name:
            reached: dict[str, Any] = {}
            waiting = list(needs[stack["name"]])
            while waiting:
                node = nodes[waiting.pop()]
                if node["kind"] != "toolchain":
                    reached[node["layer"]] = node
                    waiting.extend(node["needs"])
            found[stack["name"]] = Image(listed=stack, nodes=reached)
    return found


def differences(fact: Mapping[str, Any], ours: Image) -> Iterator[Difference]:
    """Yield the differences between a stack and the image that it replaces."""
    yield from _pairs(fact, ours)
    yield from _sets("package", set(fact["packages"]), _packages(ours))
    yield from _sets("port", {str(port) for port in fact["ports"]}, set(map(str, ours.listed["ports"])))
    yield from _sets("flag of openmpi", set(fact["openmpi"]["flags"]), _openmpi_flags(ours))
    ucx = set(fact["ucx"]["flags"]) if fact["ucx"] else set()
    yield from _sets("flag of ucx", ucx, _flags(ours, "ucx") | set(ours.parameter("ucx", "flags").split()))
    plugins = fact["nccl_rdma_sharp_plugins"]
    yield from _sets(
        "flag of nccl-rdma-sharp-plugins",
        set(plugins["flags"]) if plugins else set(),
        _flags(ours, "nccl-rdma-sharp-plugins"),
    )
    theirs, mine = fact["environment"], ours.listed["environment"]
    for name in sorted({*theirs, *mine}):
        if name in PATHS:
            yield from _sets(f"part of {name}", _parts(theirs, name), _parts(mine, name))
        elif theirs.get(name) != mine.get(name):
            yield Difference(f"variable {name}", theirs.get(name, ""), mine.get(name, ""))


def _pairs(fact: Mapping[str, Any], ours: Image) -> Iterator[Difference]:
    optional = {name: fact[name] or {} for name in ("ucx", "rdma_core", "nccl_rdma_sharp_plugins")}
    installer = ours.argument("miniconda", "INSTALLER_URL")
    pairs = {
        "parent": (fact["parent"], re.sub("^docker.io/(library/)?", "", ours.listed["parent_image"])),
        "ubuntu": (fact["ubuntu"], ours.parameter("ubuntu-os", "release")),
        "cuda": (fact["cuda"] or "", ours.parameter("cuda-runtime", "version")),
        "cudnn": (fact["cudnn"] or "", ours.parameter("cuda-runtime", "cudnn")),
        "nccl": (fact["nccl"] or "", ours.parameter("nccl", "version")),
        "user": (fact["user"], ours.listed["user"]),
        "miniconda": (fact["miniconda"]["version"], ours.parameter("miniconda", "version")),
        "pins of miniconda": (" ".join(fact["miniconda"]["pins"]), ours.parameter("miniconda", "pins")),
        "host of miniconda": (fact["miniconda"]["url"].split("/")[2], installer.split("/")[2]),
        "installer of miniconda": (fact["miniconda"]["url"].split("/")[-1], installer.split("/")[-1]),
        "openmpi": (fact["openmpi"]["version"], ours.parameter("openmpi", "version")),
        "source of openmpi": (fact["openmpi"]["url"], ours.argument("openmpi", "SOURCE_URL")),
        "ucx": (optional["ucx"].get("version", ""), ours.parameter("ucx", "version")),
        "source of ucx": (optional["ucx"].get("url", ""), ours.argument("ucx", "SOURCE_URL")),
        "rdma-core": (optional["rdma_core"].get("tag", "").lstrip("v"), ours.parameter("rdma-core", "version")),
        "nccl-rdma-sharp-plugins": (
            optional["nccl_rdma_sharp_plugins"].get("tag", "").lstrip("v"),
            ours.parameter("nccl-rdma-sharp-plugins", "version"),
        ),
    }
    for name, (theirs, mine) in pairs.items():
        if theirs != mine:
            yield Difference(name, theirs, mine)


def _sets(fact: str, theirs: set[str], mine: set[str]) -> Iterator[Difference]:
    yield from (Difference(fact, each, "") for each in sorted(theirs - mine))
    yield from (Difference(fact, "", each) for each in sorted(mine - theirs))


def _packages(ours: Image) -> set[str]:
    return {
        package.partition("=")[0]
        for layer, node in ours.nodes.items()
        if layer not in BELOW
        for package in node["packages"]
    }


def _openmpi_flags(ours: Image) -> set[str]:
    """The stack's flags, and of those in the Dockerfile the ones for this release and for what the stack has."""
    found = set(ours.parameter("openmpi", "flags").split())
    for flag in re.findall(r"--(?:enable|with)-[\w=/-]+", ours.dockerfile("openmpi")):
        if "prte" in flag and not ours.parameter("openmpi", "version").startswith("5."):
            continue
        if "ucx" not in flag or "ucx" in ours.nodes:
            found.add(flag)
    return found


def _flags(ours: Image, layer: str) -> set[str]:
    """The arguments of `./configure` in a Dockerfile."""
    found = re.search(r"\./configure ((?:[^\n]|\\\n)*)", ours.dockerfile(layer))
    return {word for word in found[1].split() if word.startswith("--")} if found else set()


def _parts(environment: Mapping[str, str], name: str) -> set[str]:
    return {part for part in environment.get(name, "").split(":") if part and part != f"${name}"}


def listed(image: str) -> dict[Difference, str]:
    """Return the differences that an image may have, each with its reason."""
    found = {}
    for entry in LISTED:
        if any(fnmatch.fnmatchcase(image, pattern) for pattern in entry["images"]):
            for fact, pairs in entry["differences"].items():
                for pair in pairs:
                    original, _, mine = (part.strip() for part in pair.partition("->"))
                    found[Difference(fact, original, mine)] = entry["reason"]
    return found


def test_the_family_has_the_images_of_2021_and_no_others(images: Mapping[str, Image]) -> None:
    assert set(images) == set(FACTS)


def test_only_the_image_that_was_deprecated_is_so(images: Mapping[str, Image]) -> None:
    assert [name for name, each in images.items() if each.listed["deprecated"]] == [
        "openmpi3.1.2-cuda9.0-cudnn7-ubuntu16.04"
    ]


@pytest.mark.parametrize("image", FACTS)
def test_an_image_differs_from_its_original_as_listed(image: str, images: Mapping[str, Image]) -> None:
    found = set(differences(FACTS[image], images[image]))
    allowed = set(listed(image))
    assert found - allowed == set(), "not listed"
    assert allowed - found == set(), "listed, but does not exist"


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: str(entry["reason"])[:40])
def test_a_listed_difference_has_a_reason_and_an_image(entry: Mapping[str, Any]) -> None:
    assert entry["reason"].strip()
    for pattern in entry["images"]:
        assert fnmatch.filter(FACTS, pattern)


def test_the_current_family_is_what_the_readme_says() -> None:
    found = {
        name: (
            image.parameter("ubuntu-os", "release"),
            image.parameter("openmpi", "version"),
            image.parameter("cuda-runtime", "version"),
        )
        for name, image in family("azureml-current").items()
    }
    assert found == CURRENT
