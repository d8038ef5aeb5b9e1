"""The project and the engine that black-box tests work on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import command_line

Push = Callable[..., command_line.Run]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project that a test may change; its folder is called `project`, so a test has room beside it."""
    return command_line.small_project(tmp_path / "project")


@pytest.fixture(scope="session")
def registry_host(request: pytest.FixtureRequest) -> str:
    """The registry on loopback that BUILDSYS_REGISTRY names."""
    prefix = os.environ.get("BUILDSYS_REGISTRY", "")
    if not prefix.startswith("127.0.0.1:"):
        reason = "BUILDSYS_REGISTRY names no registry on loopback"
        if request.config.getoption("--require-engine"):
            pytest.fail(reason)
        pytest.skip(reason)
    return prefix.partition("/")[0]


@pytest.fixture
def registry(registry_host: str) -> str:
    """A repository prefix of its own in that registry."""
    return f"{registry_host}/blackbox-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def real_project(project: Path, registry: str) -> Path:
    """The small project on a Debian that the engine can pull."""
    return command_line.on_real_parents(project)
