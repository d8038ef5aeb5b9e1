"""What a fleet can declare is documented, in the schemas, in a golden case, and used by a stack of this repository.

A row of `ROWS` is one thing: its section in docs/, its field in schemas/, what the golden project and the project that
uses it write, and what the plan of the stack that uses it has. tests/integration bakes `lab` and the Debian images of
examples/docker-stacks.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from buildsys.bake.targets import BAKE_FILE
from buildsys.commands.plan import make_plan
from buildsys.image_tests.declared import TestRun, declared_tests
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import ImageTarget, Node

ROOT = Path(__file__).parents[2]
SHIPPED, DOCKER_STACKS, PLATFORMS = ".", "examples/docker-stacks", "examples/platforms"


class Used(NamedTuple):
    """A stack that uses something: its image, the nodes and the tests of that, and the plan."""

    image: ImageTarget
    nodes: Mapping[str, Node]
    tests: tuple[TestRun, ...]
    plan: Plan


class Row(NamedTuple):
    """One thing: `section` is a file of docs and a heading, `field` a schema, a definition and its property.

    `written` is a pattern in files of the golden project `golden` and of `project`, whose `stack` uses it.
    """

    section: str
    field: str
    golden: str
    project: str
    stack: str
    written: str
    holds: Callable[[Used], bool]


def planned(used: Used, name: str) -> bool:
    return name in (each.name for each in used.image.layers)


ROWS = {
    "repository": Row(
        "tags.md # Repositories and tags",
        "stacks FamilyFields repository",
        "tags",
        DOCKER_STACKS,
        "pytorch-notebook-cuda13",
        r"\n    repository: ",
        lambda used: used.image.repository == "pytorch-notebook",
    ),
    "tags": Row(
        "tags.md ## Which stack is the newest",
        "stacks TagFields newest",
        "tags",
        DOCKER_STACKS,
        "pytorch-notebook-cuda13",
        r"newest: ",
        lambda used: used.image.tags == ("cuda13-latest", "cuda-latest"),
    ),
    "extends": Row(
        "sharing.md ## A stack on a different stack",
        "stacks SingleFields extends",
        "inheritance",
        SHIPPED,
        "lab",
        r"\n    extends: ",
        lambda used: "python-environment" in dict(used.image.artifacts),
    ),
    "sets": Row(
        "sharing.md ## Sets of layers",
        "stacks - sets",
        "inheritance",
        DOCKER_STACKS,
        "base-notebook-debian",
        r"set: \w+",
        lambda used: planned(used, "server-scripts"),
    ),
    "fields of a stack": Row(
        "sharing.md ## Fields of a stack itself",
        "stacks SingleFields user",
        "inheritance",
        SHIPPED,
        "lab",
        r"\n    packages: ",
        lambda used: (used.image.config.user, used.image.config.ports) == ("student", ("8000",)),
    ),
    "files of a stack": Row(
        "sharing.md ## Fields of a stack itself",
        "stacks SingleFields files",
        "inheritance",
        SHIPPED,
        "lab",
        r"\n    files: ",
        lambda used: used.nodes["stack-files"].recipe.prefix == ("/srv/lab",),
    ),
    "fields of a row": Row(
        "sharing.md ## Fields of a stack itself",
        "stacks FamilyFields matrix.items.properties.tests",
        "inheritance",
        DOCKER_STACKS,
        "pytorch-notebook-cuda12",
        r"\n      - \{.*\b(tests|run): ",
        lambda used: any(each.layer == "row pytorch-notebook-cuda12" and each.gpu for each in used.tests),
    ),
    "files": Row(
        "layers.md ### Files",
        "layer - files",
        "fleet",
        DOCKER_STACKS,
        "base-notebook-debian",
        r"\nfiles:\n",
        lambda used: len(used.nodes["server-scripts"].recipe.prefix) > 1,
    ),
    "order": Row(
        "sharing.md ## One order",
        "layer - order",
        "fleet",
        SHIPPED,
        "debian12-cuda13.0",
        r"\norder: |workbench: ",
        # No two stacks of the shipped ones order their layers differently.
        lambda used: not any("the other way round" in each.message for each in used.plan.remarks),
    ),
    "flavours": Row(
        "sharing.md ## One flavour for several layers",
        "stacks FamilyFields flavour",
        "flavours",
        SHIPPED,
        "debian12-cuda13.0",
        r"\n    flavour: |flavour: \w+",
        lambda used: {each.parameters.get("flavour") for each in used.image.layers} == {None, "wheels"},
    ),
    "versions": Row(
        "layers.md ### Versions",
        "stacks TagFields versions",
        "fleet",
        DOCKER_STACKS,
        "pytorch-notebook-cuda13",
        r"versions: ",
        lambda used: "cuda-latest" in used.image.tags,
    ),
    "commands after packages": Row(
        "layers.md ### Commands",
        "layer - run",
        "fleet",
        DOCKER_STACKS,
        "minimal-notebook-debian",
        r"\nrun:",
        lambda used: "update-alternatives" in used.nodes["minimal-packages"].generated,
    ),
    "commands of a stack": Row(
        "sharing.md ## Fields of a stack itself",
        "stacks SingleFields run",
        "inheritance",
        SHIPPED,
        "lab",
        r"\n    run:|run: ",
        lambda used: used.nodes["stack-commands"].name == used.image.base,
    ),
    "test by HTTP": Row(
        "layers.md ### Tests",
        "layer TestFields http",
        "fleet",
        DOCKER_STACKS,
        "base-notebook-debian",
        r"http: ",
        lambda used: any(each.http == "8888/api" for each in used.tests),
    ),
    "test of a running container": Row(
        "layers.md ### Tests",
        "layer TestFields running",
        "fleet",
        SHIPPED,
        "lab",
        r"running: true",
        lambda used: any(each.run == "id -un" and each.within for each in used.tests),
    ),
    "test with a GPU": Row(
        "layers.md ### Tests",
        "layer TestFields gpu",
        "fleet",
        SHIPPED,
        "openmpi5.0-cuda12.4-ubuntu22.04",
        r"gpu: true",
        lambda used: any(each.gpu for each in used.tests),
    ),
    "platforms": Row(
        "platforms.md ## In a stack",
        "stacks FamilyFields platforms",
        "platforms",
        PLATFORMS,
        "uv",
        r"platforms: \[linux/amd64, linux/arm64\]",
        lambda used: (
            {
                each.platform: "pcm" in node.packages
                for each in used.plan.stacks
                for node in used.plan.nodes
                if node.name == each.base
            }
            == {"linux/amd64": True, "linux/arm64": False}
        ),
    ),
    "several registries": Row(
        "registry.md ## Several registries",
        "stacks - registry",
        "registries",
        PLATFORMS,
        "uv",
        r"registry: \[",
        lambda used: used.plan.copies == ("ghcr.io/example/platforms",),
    ),
    "support": Row(
        "layers.md ### Support",
        "layer ParameterFields supported_until",
        "fleet",
        SHIPPED,
        "debian13",
        r"supported_until: ",
        lambda used: used.image.support is not None and used.image.support.value == "`debian-os` release 13",
    ),
}


@functools.cache
def plan_of(project: str) -> Plan:
    return make_plan(Workspace(root=ROOT / project).tree())


def used(row: Row) -> Used:
    plan = plan_of(row.project)
    image = next(each for each in plan.stacks if each.stack == row.stack)
    waiting, found = list(image.below), {}
    nodes = {node.name: node for node in plan.nodes}
    while waiting:
        node = nodes[waiting.pop()]
        found[node.recipe.layer] = node
        waiting += node.below
    return Used(image, found, declared_tests(plan, (image.name,)), plan)


def text_of(project: Path) -> str:
    files = [project / "stacks.yaml", *sorted(project.glob("layers/*/layer.yaml"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_section_exists(row: Row) -> None:
    file, _, heading = row.section.partition(" ")
    assert heading in (ROOT / "docs" / file).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_field_is_in_the_schema(row: Row) -> None:
    file, definition, path = row.field.split()
    schema = json.loads((ROOT / "schemas" / f"{file}.schema.json").read_text(encoding="utf-8"))
    found = schema if definition == "-" else schema["$defs"][definition]
    for key in ("properties", *path.split(".")):
        found = found[key]
    assert found["description"]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_golden_case_writes_it(row: Row) -> None:
    folder = ROOT / "tests" / "golden" / row.golden
    assert (folder / BAKE_FILE).exists()
    assert re.search(row.written, text_of(folder / "project"))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_stack_of_this_repository_uses_it(row: Row) -> None:
    assert re.search(row.written, text_of(ROOT / row.project))
    assert row.holds(used(row))
