"""A shell's variables cannot change what is published under a key (fault H6)."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import buildsys, git, refused, run, write

NOWHERE = {"BUILDSYS_REGISTRY": "127.0.0.1:9/nowhere", "DOCKER_HOST": "unix:///nonexistent.sock"}
OTHER = f"docker.io/library/debian@sha256:{'2' * 64}"


@pytest.mark.parametrize("variable", ["BUILDSYS_PARENT_DEBIAN_12", "BUILDSYS_PARENT_TOOLCHAIN_DEBIAN_12"])
@pytest.mark.parametrize(
    "words",
    [["bake", "img"], ["bake", "img", "--push", "--retries", "0"], ["warm", "img", "--retries", "0"]],
    ids=" ".join,
)
@pytest.mark.parametrize("value", [OTHER, ""], ids=["other", "empty"])
def test_parent_that_the_lock_does_not_name_is_refused(
    project: Path, variable: str, words: list[str], value: str
) -> None:
    done = buildsys(project, *words, shell={**NOWHERE, variable: value})
    refused(done, f"`{variable}` is `{value}` in the environment", f"unset {variable}")


@pytest.mark.parametrize("dockerfile", [False, True])
def test_environment_images_are_not_built_on_another_parent(project: Path, tmp_path: Path, dockerfile: bool) -> None:
    write(tmp_path, "own/Dockerfile", "FROM base\n")
    write(project, "layers/python-environment/layer.yaml", ENVIRONMENT)
    write(project, "layers/python-environment/Dockerfile", ENVIRONMENT_DOCKERFILE)
    requirements = write(tmp_path, "requirements.txt", "six==1.17.0\n")
    words = [tmp_path / "own/Dockerfile", "--dockerfile"] if dockerfile else [requirements]
    done = buildsys(
        project, "environment", *words, "--on", "img", shell={**NOWHERE, "BUILDSYS_PARENT_DEBIAN_12": OTHER}
    )
    refused(done, "BUILDSYS_PARENT_DEBIAN_12", "unset BUILDSYS_PARENT_DEBIAN_12")


ENVIRONMENT = """\
description: an environment
kind: artifact
licence: various
prefix: /opt/python-environment
requires: [os]
parameters:
  folder: {description: whose files, type: folder}
"""
ENVIRONMENT_DOCKERFILE = """\
FROM toolchain AS build
COPY --from=folder . /artifact/opt/python-environment/

FROM scratch
COPY --from=build /artifact /
"""


@pytest.mark.parametrize("name", ["docker.io/library/debian", "mirror.example.com/hub/debian:12"])
def test_parent_of_the_digest_that_the_lock_names_is_no_reason_to_refuse(project: Path, name: str) -> None:
    same = f"{name}@sha256:{'1' * 64}"
    words = ("bake", "img", "--push", "--retries", "0")
    done = buildsys(project, *words, shell={**NOWHERE, "BUILDSYS_PARENT_DEBIAN_12": same})
    assert "in the environment" not in done.stderr
    assert done.code == 5


@pytest.mark.parametrize("folder", ["mirrors", "evil", "/tmp", ""])
@pytest.mark.parametrize("words", [["bake", "img"], ["bake", "img", "--push", "--retries", "0"]], ids=" ".join)
def test_folder_of_mirrors_that_no_key_covers_is_refused(project: Path, words: list[str], folder: str) -> None:
    write(project, "evil/use", "export FROM_THE_SHELL=yes\n")
    done = buildsys(project, *words, shell={**NOWHERE, "BUILDSYS_MIRRORS": folder})
    refused(done, f"`BUILDSYS_MIRRORS` is `{folder}`", "unset BUILDSYS_MIRRORS")


def test_what_variables_prints_is_no_reason_to_refuse(project: Path) -> None:
    lines = [line for line in buildsys(project, "variables").stdout.splitlines() if line.startswith("export ")]
    shell = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert "BUILDSYS_MIRRORS" in shell
    assert buildsys(project, "bake", "img", "--push", "--retries", "0", shell={**NOWHERE, **shell}).code == 5


def test_source_policy_of_buildkit_is_refused(project: Path) -> None:
    done = buildsys(
        project,
        "bake",
        "img",
        "--push",
        "--retries",
        "0",
        shell=NOWHERE,
        EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="policy.json",
    )
    refused(done, "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "unset EXPERIMENTAL_BUILDKIT_SOURCE_POLICY")


def test_variables_takes_back_what_it_exported_before_the_lock_moved(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "parents: {docker.io: mirror.example.com/hub}\n")
    exported = buildsys(project, "variables").stdout
    assert "export BUILDSYS_PARENT_DEBIAN_12=mirror.example.com/hub" in exported
    (project / "buildsys.settings.yaml").unlink()
    script = f"{exported}\n{buildsys(project, 'variables').stdout}\nenv"
    left = [line for line in run(project, "sh", "-c", script).stdout.splitlines() if line.startswith("BUILDSYS_PARENT")]
    assert left == []


def test_variables_follows_the_lock_in_a_shell_that_has_older_ones(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "parents: {docker.io: mirror.example.com/hub}\n")
    done = buildsys(project, "variables", BUILDSYS_PARENT_DEBIAN_12=OTHER)
    assert f"export BUILDSYS_PARENT_DEBIAN_12=mirror.example.com/hub/library/debian@sha256:{'1' * 64}" in (
        done.stdout.replace("'", "")
    )


def config_of(registry: str, repository: str, tag: str) -> dict[str, Any]:
    host, _, prefix = registry.partition("/")
    types = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

    def get(path: str) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{host}/v2/{prefix}/{repository}/{path}", headers={"Accept": types})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    return get(f"blobs/{get(f'manifests/{tag}')['config']['digest']}")


@pytest.mark.engine
@pytest.mark.registry
def test_time_and_git_of_the_callers_shell_are_in_no_image(real_project: Path, registry: str) -> None:
    write(real_project, ".gitignore", ".buildsys\n")
    git(real_project, "init", "-q", ".")
    git(real_project, "remote", "add", "origin", "https://example.com/fleet.git")
    git(real_project, "add", "-A")
    git(real_project, "commit", "-qm", "one")
    shell = {"SOURCE_DATE_EPOCH": "86400", "BUILDX_GIT_LABELS": "full", "BUILDX_GIT_INFO": "1"}
    done = buildsys(real_project, "bake", "img", "--push", BUILDSYS_REGISTRY=registry, shell=shell)
    assert done.code == 0, done.output
    keys = json.loads(buildsys(real_project, "plan", "--offline", "--json").stdout)
    system = next(each for each in keys["nodes"] if each["layer"] == "dist")
    config = config_of(registry, "nodes", f"last-{system['name']}")
    assert not config["created"].startswith("1970"), config
    assert not [label for label in config["config"].get("Labels") or {} if "git" in label or "image" in label], config
