"""Every Dockerfile of a layer, of this project and of the examples, passes BuildKit's own checks and hadolint."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT, Command, run

PROJECTS = (ROOT, *sorted(path.parent for path in ROOT.glob("examples/*/stacks.yaml")))
DOCKERFILES = sorted(path.relative_to(ROOT) for project in PROJECTS for path in project.glob("layers/*/*Dockerfile"))
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
Nodes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def nodes(buildsys: Command) -> Nodes:
    """Return a node for each Dockerfile that some stack uses, with `project`; generated ones are of no file."""
    found = {}
    for project in PROJECTS:
        document = json.loads(buildsys("-C", project, "plan", "--check", "--json").stdout)
        for node in document["nodes"]:
            if not node["dockerfile"].endswith(".yaml"):
                path = (project / node["dockerfile"]).relative_to(ROOT)
                found[str(path)] = {**node, "project": project}
    return found


def test_every_dockerfile_is_used_by_a_stack(nodes: Nodes) -> None:
    assert {str(path) for path in DOCKERFILES} == nodes.keys()


@pytest.mark.engine
@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_buildkit_finds_nothing_to_warn_of(path: Path, nodes: Nodes, docker: object) -> None:
    node = nodes[str(path)]
    words: list[str] = ["docker", "buildx", "build", "--check", "--file", str(ROOT / path)]
    for name in node["contexts"]:
        words += ["--build-context", f"{name}=docker-image://scratch"]
    for name, value in node["args"].items():
        # A checksum that the lock does not know is empty, which BuildKit reports as an error in the file.
        known = value or ("0" * 64 if name.endswith("_SHA256") else "")
        words += ["--build-arg", f"{name}={known}"]
    done = run(*words, node["context"], cwd=node["project"])
    assert done.code == 0, done.stdout + done.stderr
    assert "no warnings found" in done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_hadolint_finds_nothing(path: Path) -> None:
    assert HADOLINT, "hadolint is part of the development requirements"
    done = run(HADOLINT, "--no-color", "--config", ROOT / ".hadolint.yaml", ROOT / path)
    assert done.code == 0, done.stdout
