"""Open MPI, really compiled, once, and used by a CPU and a GPU image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from buildsys.buildkit.progress import parse_line
from buildsys.buildkit.vertices import Steps, executed_runs
from tests.support.commands import Command, run, served

pytestmark = [pytest.mark.engine, pytest.mark.parents, pytest.mark.long]

NODE = "openmpi-source-4_1_4-debian-12"
STACKS = ("debian12-openmpi4.1.4", "debian12-openmpi4.1.4-cuda13.0")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, buildsys: Command) -> Path:
    """Fetch Debian's source archive of Open MPI 4.1.4 through the package mirror of the parent."""
    folder = tmp_path_factory.mktemp("source")
    lines = buildsys("variables").stdout.splitlines()
    parent = next(line.partition("=")[2] for line in lines if "BUILDSYS_PARENT_DEBIAN_12=" in line)
    script = (
        "sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/sources.list && "
        "apt-get update -qq && apt-get install -qq --yes --no-install-recommends dpkg-dev >/dev/null && "
        "cd /out && apt-get source --quiet --download-only openmpi"
    )
    done = run("docker", "run", "--rm", "--volume", f"{folder}:/out", parent, "sh", "-c", script)
    assert done.code == 0, done.stderr
    return next(folder.glob("openmpi_4.1.4*.orig.tar.xz"))


def test_compiled_once_and_one_blob_in_both_images(
    project: Path, source: Path, buildsys: Command, docker: Docker
) -> None:
    layer_file = project / "layers" / "openmpi" / "layer.yaml"
    layer = yaml.load(layer_file.read_text(encoding="utf-8"), yaml.BaseLoader)
    for download in layer["flavours"]["source"]["downloads"]["source"]:
        if download["when"]["version"] == "4.1.4":
            download["url"] = f"https://download.open-mpi.org/{source.name}"
            download["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
    layer_file.write_text(yaml.safe_dump(layer), encoding="utf-8")
    settings = project / "buildsys.settings.yaml"
    known = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    with served(source.parent) as address:
        known = {**(known or {}), "downloads": {"https://download.open-mpi.org": address}}
        settings.write_text(yaml.safe_dump(known), encoding="utf-8")
        done = buildsys("-C", project, "bake", *STACKS, seconds=1800)
    assert done.code == 0, done.stdout + done.stderr
    steps = Steps()
    for line in (
        max(project.glob(".buildsys/runs/*/logs/bake.jsonl"), key=lambda log: log.stat().st_mtime)
        .read_text(encoding="utf-8")
        .splitlines()
    ):
        steps.add(parse_line(line))
    compiled = [vertex for vertex in steps.snapshot().vertexes if NODE in vertex.targets and vertex.name.count("RUN")]
    assert len({vertex.digest for vertex in compiled}) >= 1
    assert len([v for v in executed_runs(steps.snapshot()) if v.owner == NODE]) <= 1
    tags = [word for word in done.stdout.split() if word.endswith(":latest")]
    layers = []
    for tag in tags:
        output = run("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", tag).stdout
        layers.append(json.loads(output))
    # The last layer of both is Open MPI: it is joined last.
    assert layers[0][-1] == layers[1][-1]
    test = buildsys("-C", project, "test", "--local", *STACKS)
    assert test.code == 0, test.stdout
    version = run_container(docker, tags[0], ["mpirun", "--version"])
    assert "mpirun (Open MPI) 4.1.4" in version.stdout
