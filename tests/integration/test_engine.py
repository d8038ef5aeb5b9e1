"""How buildx is called: by its own path if docker reports it, otherwise through docker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker, answer_of, buildx_of
from buildsys.buildkit.images import image_sizes
from buildsys.errors import Unavailable
from tests.support.commands import program


def information(path: object) -> dict[str, object]:
    """Return the part of `docker info` about plugins."""
    plugins = [{"Name": "compose"}, {"Name": "buildx", "Version": "v0.29.1+ds1", "Path": str(path)}]
    return {"ClientInfo": {"Plugins": plugins}}


def test_plugin_is_called_by_its_own_file(tmp_path: Path) -> None:
    plugin = program(tmp_path, "docker-buildx", "exit 1")
    assert buildx_of(("docker",), information(plugin), os.environ) == ((str(plugin),), "0.29.1+ds1")


@pytest.mark.parametrize("answer", [{}, {"ClientInfo": {"Plugins": None}}, information("/nowhere/docker-buildx")])
def test_plugin_whose_file_is_unknown_or_missing_is_called_through_docker(
    tmp_path: Path, answer: dict[str, object]
) -> None:
    docker = program(tmp_path, "docker", "echo github.com/docker/buildx v0.30.0 abc")
    assert buildx_of((str(docker),), answer, os.environ) == ((str(docker), "buildx"), "0.30.0")


def test_below_another_plugin_buildx_is_called_through_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = program(tmp_path, "docker", "echo github.com/docker/buildx v0.30.0 abc")
    plugin = program(tmp_path, "docker-buildx", "exit 1")
    monkeypatch.setenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker other")
    assert buildx_of((str(docker),), information(plugin), os.environ) == ((str(docker), "buildx"), "0.30.0")


def test_docker_without_buildx_is_an_error_with_a_hint(tmp_path: Path) -> None:
    docker = program(tmp_path, "docker", "echo unknown command >&2; exit 1")
    with pytest.raises(Unavailable, match="docker has no buildx") as raised:
        buildx_of((str(docker),), {}, os.environ)
    assert "install the buildx plugin" in str(raised.value.hint)


def test_images_are_inspected_in_a_few_calls_and_a_missing_one_hides_no_other(tmp_path: Path) -> None:
    script = """shift 4; for name; do
    [ "$name" = gone ] && { echo no such image >&2; exit 1; }
    echo "sha256:$name 1${#name}"
done"""
    docker = Docker(
        command=(str(program(tmp_path, "docker", script)),),
        buildx=(),
        buildx_version="",
        engine_version="",
        builder="",
        driver="docker",
        containerd_store=True,
        bake_flags=frozenset(),
    )
    found = image_sizes(docker, ["a", "bb", "gone", "ccc", "dddd", "eeeee", "beside"])
    assert found == {name: (f"sha256:{name}", 10 + len(name)) for name in ("a", "bb", "ccc", "dddd", "eeeee")}
    assert image_sizes(docker, []) == {}


@pytest.mark.engine
def test_both_ways_of_calling_see_the_same_builder(docker: Docker) -> None:
    assert docker.buildx != (*docker.command, "buildx")
    ways = [
        answer_of((*words, "inspect")).stdout.splitlines() for words in (docker.buildx, (*docker.command, "buildx"))
    ]
    assert ways[0][:2] == ways[1][:2]
    assert ways[0][0].split() == ["Name:", docker.builder]
