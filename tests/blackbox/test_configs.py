"""What is composed at a registry is what BuildKit would assemble, whatever nodes' configs say (faults M11, M12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ARTIFACT, Run, buildsys, refused, small_project
from tests.support.stand_ins import Held, docker, explained, image_registry, publish_nodes

Nodes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    """The keys of the small project's nodes, which no setting of an image changes."""
    return explained(small_project(tmp_path_factory.mktemp("nodes")))


def bake(project: Path, scratch: Path, held: Held) -> Run:
    """Publish the image of a project; its nodes exist, and every bake fails."""
    shell = {"BUILDSYS_REGISTRY": held.prefix, "PATH": docker(scratch / "bin"), "CALLS": str(scratch / "calls")}
    return buildsys(project, "bake", "img", "--push", "--retries", "0", shell=shell)


def composed(folder: Path, nodes: Nodes, said: str, base: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an image that is composed of an artifact's fields and a base's config."""
    project = small_project(folder / "project", {"layers/conf/layer.yaml": f"{ARTIFACT}{said}"})
    with image_registry() as held:
        publish_nodes(nodes, held, dist={"config": base})
        done = bake(project, folder, held)
        assert done.code == 0, done.output
        found = held.image("img:latest")
    assert found is not None
    return dict(found[1]["config"])


@pytest.mark.parametrize(
    ("ports", "base", "expected"),
    [
        # The listed instances.
        ("1-3", {}, ["1/tcp", "2/tcp", "3/tcp"]),
        ("53/UDP", {}, ["53/udp"]),
        # Others.
        ("8000-8001/Tcp", {"80/tcp": {}}, ["80/tcp", "8000/tcp", "8001/tcp"]),
        ("7-7/SCTP", {}, ["7/sctp"]),
        ("80-81/tcp", {"81/tcp": {}}, ["80/tcp", "81/tcp"]),
    ],
)
def test_ports_are_single_and_small_as_buildkit_writes_them(
    tmp_path: Path, nodes: Nodes, ports: str, base: dict[str, Any], expected: list[str]
) -> None:
    found = composed(tmp_path, nodes, f"ports: ['{ports}']\n", {"ExposedPorts": base})
    assert sorted(found["ExposedPorts"]) == sorted(expected)


def test_settings_of_the_base_are_those_that_buildkit_keeps(tmp_path: Path, nodes: Nodes) -> None:
    base = {
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/sh", "-e"],
        "Healthcheck": {"Test": ["NONE"]},
        "WorkingDir": "/a b",
        "User": "a b",
        "Labels": {"e": "e\u0301"},
    }
    found = composed(tmp_path, nodes, "command: [run]\nenvironment: {set: {A: ''}}\n", base)
    assert {name: found[name] for name in base if name != "Labels"} == {
        name: value for name, value in base.items() if name != "Labels"
    }
    assert found["Labels"]["e"] == "e\u0301"
    assert (found["Env"], found["Cmd"], found["ArgsEscaped"]) == (["A="], ["run"], True)


@pytest.mark.parametrize(
    "said",
    [
        # The listed instances.
        "ports: [99999]",
        "healthcheck: {command: [a], interval: 99999999999h}",
        "user: a b",
        "labels: {a: e\u0301}",
        # Others.
        "ports: [8000-70000/udp]",
        "ports: ['9-8']",
        "healthcheck: {command: [a], timeout: 0ms}",
        "healthcheck: {command: [a], start_period: 2562048h}",
        "healthcheck: {command: [a], retries: 2147483648}",
        "user: '1000:'",
        "user: '4294967296'",
        "labels: {'a=b': c}",
        "environment: {set: {'A=B': c}}",
        "entrypoint: ['']",
        "healthcheck: {command: ['', a]}",
        "command: ['e\u0301']",
    ],
)
def test_setting_that_docker_refuses_or_changes_is_refused_at_its_line(tmp_path: Path, said: str) -> None:
    project = small_project(tmp_path, {"layers/conf/layer.yaml": f"{ARTIFACT}{said}\n"})
    refused(buildsys(project, "plan"), "layers/conf/layer.yaml:6:")


def test_trigger_in_a_layer_is_refused_at_its_line(tmp_path: Path) -> None:
    project = small_project(tmp_path, {"layers/dist/Dockerfile": "FROM base\nARG PACKAGES\nONBUILD RUN true\n"})
    refused(buildsys(project, "plan"), "layers/dist/Dockerfile:3", "ONBUILD")


DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("layer", "config"),
    [
        # The listed instances.
        ("dist", {"layers": 2, "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}),
        ("conf", {"rootfs": {"type": "layers", "diff_ids": []}}),
        ("dist", {"architecture": "arm64"}),
        ("dist", {"layers": 127}),
        ("dist", {"config": {"OnBuild": ["RUN id"]}}),
        # Others.
        ("conf", {"architecture": "riscv64"}),
        ("dist", {"os": "windows"}),
        ("dist", {"layers": 400}),
        ("conf", {"layers": 127}),
        ("dist", {"rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]}}),
        ("dist", {"config": {"Env": ["A=1", "A=2"]}}),
        ("dist", {"config": {"Cmd": "sh"}}),
        ("dist", {"config": {"User": 5}}),
        ("dist", {"config": {"ExposedPorts": {"99999/tcp": {}}}}),
        ("dist", {"config": {"Healthcheck": {"Interval": -1}}}),
        ("dist", {"config": {"Healthcheck": {"Interval": 10**30}}}),
        ("dist", {"config": {"StopTimeout": 5}}),
        ("dist", {"history": [{}] * 5}),
    ],
    ids=lambda each: json.dumps(each)[:60] if isinstance(each, dict) else each,
)
def test_node_whose_config_is_not_that_of_its_image_is_not_composed(
    tmp_path: Path, nodes: Nodes, layer: str, config: dict[str, Any]
) -> None:
    """What an engine assembles of it instead fails here, since this docker only pretends to bake."""
    project = small_project(tmp_path / "project")
    with image_registry() as held:
        publish_nodes(nodes, held, **{layer: config})
        done = bake(project, tmp_path, held)
        assert "Traceback" not in done.output
        assert done.code == 1, done.output
        assert [path for path in held.answers if "/img/manifests/" in path] == []


def test_nodes_whose_configs_are_right_are_composed(tmp_path: Path, nodes: Nodes) -> None:
    """The control: the same nodes without a fault."""
    project = small_project(tmp_path / "project")
    with image_registry() as held:
        publish_nodes(nodes, held, dist={"layers": 126, "author": "a", "created": "2026-01-02T03:04:05Z"})
        done = bake(project, tmp_path, held)
        assert done.code == 0, done.output
        found = held.image("img:latest")
        assert found is not None
        assert len(found[0]["layers"]) == len(found[1]["rootfs"]["diff_ids"]) == 127
