"""What the tests on a real engine share: the engine that the environment names, and trees to work in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker, find_docker
from buildsys.commands.plan import make_plan
from buildsys.errors import Unavailable
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import read_settings
from buildsys.project.workspace import find_workspace
from tests.support.commands import (
    BUILDSYS,
    ROOT,
    Command,
    OwnEngine,
    Run,
    registry_program,
    run,
    start_own_engine,
    stop_own_engine,
)
from tests.support.own_registry import OwnRegistry

# The processes of a suite, and two suites at once, would empty each other's: a name for each.
ENGINE = f"{os.environ.get('BUILDSYS_TESTS_ENGINE', 'tests')}-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"


def _missing(request: pytest.FixtureRequest, reason: str) -> None:
    if request.config.getoption("--require-engine"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker(request: pytest.FixtureRequest) -> Docker:
    """The engine that the environment points to."""
    try:
        return find_docker(None, os.environ)
    except Unavailable as error:
        _missing(request, f"no engine: {error}")
        raise


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest, docker: Docker) -> str:
    """Where tests may push: a repository prefix of a registry on loopback."""
    prefix = os.environ.get("BUILDSYS_REGISTRY", "")
    if not prefix.startswith("127.0.0.1:"):
        _missing(request, "BUILDSYS_REGISTRY names no registry on loopback")
    return f"{prefix}-tests"


@pytest.fixture(scope="session")
def debian(docker: Docker) -> str:
    """The Debian 12 base image for RUN steps of tests, by digest: the one that bakes of this project use."""
    plan = make_plan(find_workspace(ROOT).tree(), overlay=True)
    parent = next(each for each in plan.parents if each.name == "debian-12")
    return mirrored_reference(parent.reference, read_settings(ROOT, os.environ))


@pytest.fixture(scope="session")
def own_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A private engine and registry beside the one that all tests use, with Debian 12 as a parent."""
    overlay = tmp_path_factory.mktemp("overlay") / "buildsys.lock.local"
    found = start_own_engine(ENGINE, overlay, "debian:12")
    if isinstance(found, str):
        # Docker itself may be fine: this one needs root and Debian's packages.
        pytest.skip(f"no private engine: {found}")
    yield found
    stop_own_engine(ENGINE)


@pytest.fixture
def own_registry(request: pytest.FixtureRequest, tmp_path: Path, docker: Docker) -> Iterator[OwnRegistry]:
    """A registry of its own, which allows deletion, for an engine that can use one."""
    assert docker.containerd_store
    program = registry_program()
    if program is None:
        _missing(request, "no docker-registry is installed")
        raise AssertionError
    found = OwnRegistry(tmp_path, program)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="session")
def buildsys() -> Command:
    """Run the command line of this checkout."""

    def call(*words: str | Path, **options: object) -> Run:
        return run(BUILDSYS, *words, **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project that a test may change."""
    for name in ("environments", "files", "layers", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("stacks.yaml", "buildsys.lock", "docker-bake.hcl", "buildsys.lock.local", "buildsys.settings.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path
