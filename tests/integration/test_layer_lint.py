"""Every Dockerfile of a layer passes BuildKit's own checks with its contexts stubbed, and hadolint."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT, Command, run

DOCKERFILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("layers/*/*Dockerfile"))
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


@pytest.fixture(scope="module")
def nodes(buildsys: Command) -> dict[str, dict[str, Any]]:
    """Return a node for each Dockerfile that some stack uses."""
    document = json.loads(buildsys("plan", "--check", "--json").stdout)
    return {node["dockerfile"]: node for node in document["nodes"]}


def test_every_dockerfile_is_used_by_a_stack(nodes: dict[str, dict[str, Any]]) -> None:
    assert {str(path) for path in DOCKERFILES} == nodes.keys()


@pytest.mark.engine
@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_buildkit_finds_nothing_to_warn_of(path: Path, nodes: dict[str, dict[str, Any]], docker: object) -> None:
    node = nodes[str(path)]
    words: list[str] = ["docker", "buildx", "build", "--check", "--file", str(path)]
    for name in node["contexts"]:
        words += ["--build-context", f"{name}=docker-image://scratch"]
    for name, value in node["args"].items():
        words += ["--build-arg", f"{name}={value}"]
    done = run(*words, node["context"])
    assert done.code == 0, done.stdout + done.stderr
    assert "no warnings found" in done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=str)
def test_hadolint_finds_nothing(path: Path) -> None:
    assert HADOLINT, "hadolint is part of the development requirements"
    done = run(HADOLINT, "--no-color", "--config", ROOT / ".hadolint.yaml", path)
    assert done.code == 0, done.stdout
