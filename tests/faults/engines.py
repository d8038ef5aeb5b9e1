"""Engines beside the first: one more that shares the registry, and file systems that are soon full."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_instance import Instance
from private_engine import default_home
from tests.support.commands import PRIVATE_ENGINE, run

# Two runs of the suite at once have engines of different names.
ENGINE = os.environ.get("BUILDSYS_FAULTS_ENGINE", "faults")
SECOND = f"{ENGINE}-second"


def instance_of(name: str) -> Instance:
    """Return where a private engine lives."""
    return Instance(home=default_home().expanduser().resolve(), name=name)


@contextlib.contextmanager
def small(folder: Path, size: str) -> Iterator[None]:
    """Put a file system of a size in a folder while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    done = run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    if done.code:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        done = run("umount", "--lazy", folder)
        assert done.code == 0, done.stderr


@contextlib.contextmanager
def second_engine(size: str = "") -> Iterator[dict[str, str]]:
    """Start one more engine, its whole store of a size if one is given; yields the environment that uses it."""
    assert run(sys.executable, PRIVATE_ENGINE, "wipe", "--name", SECOND).code == 0
    with contextlib.ExitStack() as stack:
        if size:
            stack.enter_context(small(instance_of(SECOND).folder / "docker", size))
        try:
            done = run(sys.executable, PRIVATE_ENGINE, "start", "--name", SECOND)
            assert done.code == 0, done.stderr
            output = json.loads(run(sys.executable, PRIVATE_ENGINE, "status", "--json", "--name", SECOND).stdout)
            yield {name: output["settings"][name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")}
        finally:
            run(sys.executable, PRIVATE_ENGINE, "stop", "--name", SECOND)
    run(sys.executable, PRIVATE_ENGINE, "wipe", "--name", SECOND)
