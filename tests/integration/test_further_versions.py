"""A value that a layer does not list is baked with the file that `lock` has fetched, and with no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.blackbox.test_further_versions import CONTENT, DOCKERFILE, LAYER, STACKS
from tests.support.command_line import answering, buildsys, http_answer, on_real_parents, run, small_project, write

pytestmark = [pytest.mark.engine, pytest.mark.parents]


def test_bake_takes_the_locked_file_and_refuses_what_the_address_gives_later(tmp_path: Path, docker: Docker) -> None:
    assert docker.host
    files = {
        "layers/conf/layer.yaml": LAYER,
        "layers/conf/Dockerfile": DOCKERFILE.replace("cp /download", "mkdir -p /out/opt/conf && cp /download"),
        "stacks.yaml": STACKS,
    }
    project = on_real_parents(small_project(tmp_path / "project", files))

    def mirror(address: str) -> None:
        write(project, "buildsys.settings.yaml", f"downloads: {{'https://example.com': '{address}'}}\n")

    with answering(http_answer(CONTENT)) as server:
        mirror(server.address)
        done = buildsys(project, "lock", seconds=300, BUILDSYS_REGISTRY="further-versions")
        assert done.code == 0, done.output
        done = buildsys(
            project, "bake", "img", "--progress", "plain", seconds=600, BUILDSYS_REGISTRY="further-versions"
        )
        assert done.code == 0, done.output
    words = ("docker", "run", "--rm", "further-versions/img:latest", "cat", "/opt/conf/2.5")
    assert run(project, *words).stdout == CONTENT.decode()

    write(project, "stacks.yaml", STACKS.replace("2.5", "2.6"))
    with answering(http_answer(b"release 2.6"), http_answer(b"other bytes")) as server:
        mirror(server.address)
        assert buildsys(project, "lock", seconds=300, BUILDSYS_REGISTRY="further-versions").code == 0
        done = buildsys(
            project, "bake", "img", "--progress", "plain", seconds=600, BUILDSYS_REGISTRY="further-versions"
        )
    assert done.code == 1, done.output
    assert "checksum" in done.output
