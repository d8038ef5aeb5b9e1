"""A shared cache on a registry: what one engine did, another with an empty store does not do again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.commands import Command, OwnEngine, executed, run

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]


@pytest.mark.long
def test_second_plain_bake_on_an_emptied_engine_executes_no_run(
    project: Path, own_engine: OwnEngine, buildsys: Command
) -> None:
    parent = next(
        line.split(": ")[1] for line in own_engine.overlay.read_text(encoding="utf-8").splitlines() if "digest" in line
    )
    mirrors = [line for line in buildsys("-C", project, "variables").stdout.splitlines() if "BUILDSYS_MIRRORS" in line]
    reference = f"{own_engine.registry}/bootstrap/debian@{parent}"
    environment = {
        **own_engine.environment,
        "BUILDSYS_CACHE": f"{own_engine.registry}/cache",
        "BUILDSYS_PARENT_DEBIAN_12": reference,
        "BUILDSYS_PARENT_TOOLCHAIN_DEBIAN_12": reference,
        **({"BUILDSYS_MIRRORS": mirrors[0].partition("=")[2]} if mirrors else {}),
    }
    command = ("docker", "buildx", "bake", "--progress", "rawjson", "debian12")
    first = run(*command, cwd=project, environment=environment)
    assert first.code == 0, first.stderr[-2000:]
    # Three of apt (system, toolchain, git), one of the wheel.
    assert len(executed(first.stderr)) == 4
    own_engine.reset()
    second = run(*command, cwd=project, environment=environment)
    assert second.code == 0, second.stderr[-2000:]
    assert executed(second.stderr) == []
    assert os.environ.get("DOCKER_HOST") != own_engine.environment["DOCKER_HOST"]
