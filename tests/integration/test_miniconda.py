"""The real Dockerfiles of miniconda and conda-environment, against a stand-in that the mirror setting serves."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from tests.integration.standins.miniconda import write_installer
from tests.support.commands import Command, Run, served

pytestmark = [pytest.mark.engine, pytest.mark.parents]

ORIGIN = "https://repo.anaconda.com"
INSTALLER = "miniconda/Miniconda3-py312_25.1.1-2-Linux-x86_64.sh"


def declare(project: Path, sha256: str) -> None:
    """Let the layer declare the checksum of the stand-in."""
    file = project / "layers" / "miniconda" / "layer.yaml"
    layer = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    for download in layer["downloads"]["installer"]:
        if download["url"].endswith(INSTALLER):
            download["sha256"] = sha256
    file.write_text(yaml.safe_dump(layer), encoding="utf-8")


def settings(project: Path, address: str) -> None:
    """Point downloads of the origin to an address, in the way that a company does, beside what is set already."""
    file = project / "buildsys.settings.yaml"
    known = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(yaml.safe_dump({**(known or {}), "downloads": {ORIGIN: address}}), encoding="utf-8")


def bake(buildsys: Command, project: Path, address: str, *targets: str) -> Run:
    settings(project, address)
    return buildsys("-C", project, "bake", *targets)


def test_installer_becomes_an_artifact_and_an_environment_in_an_image(
    project: Path, tmp_path_factory: pytest.TempPathFactory, buildsys: Command, docker: Docker, registry: str
) -> None:
    site = tmp_path_factory.mktemp("site")
    declare(project, write_installer(site / INSTALLER))
    with served(site) as address:
        done = bake(buildsys, project, address, "debian12-conda")
    assert done.code == 0, done.stdout + done.stderr
    image = done.stdout.split()[done.stdout.split().index("debian12-conda") :]
    tag = next(word for word in image if word.endswith("/debian12-conda:latest"))
    script = (
        "command -v conda; conda --version; command -v python; cat /opt/conda-environment/installed-from.yml; "
        "ls -d /opt/miniconda/pkgs /opt/miniconda/lib/__pycache__; cat /opt/miniconda/asked; env"
    )
    output = run_container(docker, tag, ["-c", script], entrypoint="sh").stdout
    assert "/opt/miniconda/bin/conda\nconda 0.0.0 (stand-in)\n/opt/conda-environment/bin/python" in output
    assert (project / "environments/conda/environment.yml").read_text(encoding="utf-8") in output
    assert "clean --all --yes" in output
    assert "/opt/miniconda/pkgs" not in output
    assert "__pycache__" not in output
    assert "CONDA_PREFIX=/opt/conda-environment" in output
    assert address not in output


def test_wrong_checksum_stops_the_node_with_both_sums_and_the_address(
    project: Path, tmp_path_factory: pytest.TempPathFactory, buildsys: Command
) -> None:
    site = tmp_path_factory.mktemp("site")
    found = write_installer(site / INSTALLER)
    wrong = "0" * 64
    declare(project, wrong)
    with served(site) as address:
        done = bake(buildsys, project, address, "miniconda-py312_25_1_1-2")
    assert done.code == 1
    assert f"expected sha256:{wrong}" in done.stdout
    assert f"found    sha256:{found}" in done.stdout
    assert f"{address}/{INSTALLER}" in done.stdout
