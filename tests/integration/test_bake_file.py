"""The committed docker-bake.hcl, as docker buildx itself reads it, is what `plan --json` says."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.support.commands import ROOT, Command, run

pytestmark = [
    pytest.mark.buildx,
    pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed"),
]

FEATURED = (
    "openmpi3.1.2-ubuntu18.04",
    "openmpi4.1.0-ubuntu20.04",
    "openmpi3.1.2-cuda10.0-cudnn7-ubuntu18.04",
    "openmpi3.1.2-cuda10.1-cudnn7-ubuntu18.04",
    "openmpi3.1.2-cuda10.2-cudnn7-ubuntu18.04",
    "openmpi3.1.2-cuda10.2-cudnn8-ubuntu18.04",
    "openmpi4.1.0-cuda11.0.3-cudnn8-ubuntu18.04",
    "openmpi4.1.0-cuda11.1-cudnn8-ubuntu18.04",
    "openmpi4.1.0-cuda11.1-cudnn8-ubuntu20.04",
)
DEPRECATED = "openmpi3.1.2-cuda9.0-cudnn7-ubuntu16.04"


@pytest.fixture(scope="module")
def planned(buildsys: Command) -> dict[str, Any]:
    done = buildsys("plan", "--check", "--json")
    assert done.code == 0, done.stderr
    return dict(json.loads(done.stdout))


def printed(*targets: str, **environment: str) -> dict[str, Any]:
    """Return what `docker buildx bake --print` resolves, with no variable of the caller's set."""
    done = run("docker", "buildx", "bake", "--print", *targets, environment=environment)
    assert done.code == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("BUILDSYS_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_no_variables")
def test_buildx_reads_the_targets_links_arguments_and_tags_of_the_plan(planned: dict[str, Any]) -> None:
    names = [each["name"] for each in planned["nodes"]] + [each["target"] for each in planned["stacks"]]
    found = printed(*names)["target"]
    assert found.keys() == {*names, "mirrors"}
    for node in planned["nodes"]:
        target = found[node["name"]]
        assert target.get("contexts", {}) == node["contexts"]
        assert target.get("args", {}) == node["args"]
        assert target["context"] == (node["context"] or ".")
        if "dockerfile-inline" in target:
            # It is generated from fields of a stack, or of a layer.
            assert node["dockerfile"].endswith(".yaml")
        else:
            assert f"{target['context']}/{target['dockerfile']}" == node["dockerfile"]
        assert target["platforms"] == node["platforms"]
        links = {value.removeprefix("target:") for value in node["contexts"].values() if value.startswith("target:")}
        assert links - {"mirrors"} == set(node["needs"])
    for stack in planned["stacks"]:
        target = found[stack["target"]]
        assert target["tags"] == stack["tags"]
        assert target["contexts"] == stack["contexts"]
        # `--print` escapes `${` so that its output can be read again.
        assert target["dockerfile-inline"].replace("$${", "${") == stack["dockerfile"]


@pytest.mark.usefixtures("_no_variables")
def test_groups_are_those_of_the_plan_and_leave_deprecated_stacks_out(planned: dict[str, Any]) -> None:
    for name, members in planned["groups"].items():
        assert set(printed(name)["group"][name]["targets"] if members else []) == set(members), name
    assert {"default", "cpu", "gpu", "quickstart", "azureml-2021", "azureml-current", "debian"} <= planned[
        "groups"
    ].keys()
    deprecated = {each["target"] for each in planned["stacks"] if each["deprecated"]}
    assert not deprecated & set(planned["groups"]["default"])


def test_all_featured_tags_and_the_deprecated_one_exist(planned: dict[str, Any]) -> None:
    stacks = {each["name"]: each for each in planned["stacks"]}
    assert set(FEATURED) | {DEPRECATED} <= stacks.keys()
    assert [name for name in FEATURED if stacks[name]["deprecated"]] == []
    assert stacks[DEPRECATED]["deprecated"]
    for name in FEATURED:
        assert stacks[name]["tags"] == [f"buildsys/{name}:latest"]


def test_dotted_name_of_a_stack_is_taken_by_plain_bake() -> None:
    assert "openmpi4_1_0-ubuntu20_04" in printed("openmpi4.1.0-ubuntu20.04")["target"]


def test_every_target_has_a_cache_of_its_own_and_reads_those_of_its_needs(planned: dict[str, Any]) -> None:
    names = [each["name"] for each in planned["nodes"]] + [each["target"] for each in planned["stacks"]]
    found = printed(*names, BUILDSYS_CACHE="registry.example.com/cache")["target"]
    written = [entry["ref"] for target in found.values() for entry in target["cache-to"]]
    assert len(written) == len(set(written)) == len(found) == len(names) + 1
    for node in planned["nodes"]:
        target = found[node["name"]]
        assert [entry["ref"].rpartition(":")[2] for entry in target["cache-from"]] == [node["name"], *node["needs"]]
        options = target["cache-to"][0]
        assert (options["mode"], options["ignore-error"]) == ("max", "true")
        assert (options["image-manifest"], options["oci-mediatypes"]) == ("true", "true")
    for stack in planned["stacks"]:
        assert found[stack["target"]]["cache-to"][0]["mode"] == "min"


@pytest.mark.parametrize(
    ("cache", "first"),
    [
        ("type=gha", {"type": "gha", "scope": "git-on-debian-os-12"}),
        ("type=local,/var/cache/x", {"type": "local", "src": "/var/cache/x/git-on-debian-os-12"}),
    ],
)
def test_other_kinds_of_cache_have_a_place_for_each_target_too(cache: str, first: dict[str, str]) -> None:
    target = printed("git-on-debian-os-12", BUILDSYS_CACHE=cache)["target"]["git-on-debian-os-12"]
    assert target["cache-from"][0] == first
    assert target["cache-to"][0]["type"] == first["type"]


def test_pull_requests_read_the_cache_and_write_none() -> None:
    target = printed("debian12", BUILDSYS_CACHE="x.example.com/c", BUILDSYS_CACHE_WRITE="0")["target"]["debian12"]
    assert target["cache-from"]
    assert not target.get("cache-to")


def test_stacks_file_stays_short() -> None:
    assert len((ROOT / "stacks.yaml").read_text(encoding="utf-8").splitlines()) < 150
