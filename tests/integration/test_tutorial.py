"""The commands of the tutorial that need an engine work as they are written, on the base images of this machine.

All of them are run with the wheel too, with stand-ins for what takes minutes or a network: the layers in the wheel
install nothing, a local registry has Debian and is `registry.example.com`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, buildsys, run, write
from tests.support.tutorial import LINES, as_script, script

pytestmark = pytest.mark.engine


def test_first_image_of_the_tutorial_is_baked_run_and_tested(docker: Docker, debian: str, tmp_path: Path) -> None:
    project = tmp_path / "images"
    assert buildsys(tmp_path, "init", project).code == 0
    for path in (os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local", ROOT / "buildsys.settings.yaml"):
        if Path(path).is_file():
            shutil.copy(path, project / Path(path).name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run(project, "sh", "-c", script("sh engine"), seconds=1200, PATH=path)
    assert done.code == 0, done.output
    assert "\nhello 1.0\n" in done.stdout


PREFIXES = {"cuda-runtime": "/usr/local/cuda", "nccl": "/opt/nccl", "openmpi": "/opt/openmpi"}
ARTIFACT = """\
FROM toolchain AS build
ARG PREFIX
RUN mkdir -p "/artifact$PREFIX" && echo a stand-in >"/artifact$PREFIX/file"
FROM scratch
COPY --from=build /artifact /
"""


def stand_in(layers: Path) -> None:
    """Write layers that install nothing over those of the wheel that the tutorial uses."""
    for name, prefix in PREFIXES.items():
        shutil.rmtree(layers / name)
        text = f"description: {name}\nkind: artifact\nlicence: MIT\nprefix: {prefix}\nrequires: [os]\n"
        write(layers, f"{name}/layer.yaml", text + ("accelerator: gpu\n" if name == "cuda-runtime" else ""))
        write(layers, f"{name}/Dockerfile", ARTIFACT)
    for name in ("debian-os", "toolchain-debian"):
        text = (layers / name / "layer.yaml").read_text(encoding="utf-8")
        write(layers, f"{name}/layer.yaml", re.sub(r"\ntests:\n(  .*\n)*", "\n", text))
        epoch = "ARG EPOCH\n" if name == "debian-os" else ""
        write(layers, f"{name}/Dockerfile", f'FROM base\nARG PACKAGES\n{epoch}RUN test -n "$PACKAGES"\n')


def engine() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}


@pytest.mark.registry
def test_every_command_of_the_tutorial_works_in_the_order_of_the_page(
    docker: Docker, debian: str, registry: str, tmp_path: Path
) -> None:
    prefix = f"{registry}/tutorial-{os.getpid()}"
    words = [*docker.command, "buildx", "imagetools", "create", "--tag", f"{prefix}/library/debian:12-slim", debian]
    done = run(tmp_path, *words)
    assert done.code == 0, done.output
    checkout = tmp_path / "checkout"
    for name in ("buildsys", "layers"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "buildsys.lock"):
        shutil.copy(ROOT / name, checkout / name)
    stand_in(checkout / "layers")
    folder = tmp_path / "work"
    folder.mkdir()
    done = run(checkout, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    assert done.code == 0, done.output
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local")
    write(tmp_path, "settings.yaml", f"parents: {{docker.io: {prefix}}}\n")
    libraries = sysconfig.get_path("purelib")
    behind = {
        # The libraries of this environment, in place of an index.
        "pip install buildsys-*.whl": f"echo {libraries} >$(echo environment/lib/*/site-packages)/own.pth",
        "cd images": f"[ ! -f {overlay} ] || cp {overlay} buildsys.lock.local\n"
        f"cp {tmp_path}/settings.yaml buildsys.settings.yaml",
    }
    assert behind.keys() <= {*LINES}
    lines = [line.replace("registry.example.com/images", prefix) for line in LINES]
    assert sum(line != other for line, other in zip(lines, LINES, strict=True)) == 1
    variables = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PYTHONPATH": ""}
    done = run(folder, "sh", "-c", as_script(lines, behind), seconds=1200, shell={**engine(), **variables})
    assert done.code == 0, done.output[-5000:]
    assert "\nhello 1.0\n" in done.stdout
    assert done.stdout.count("all passed") == 2
    assert "debian-os" in done.stdout.rpartition("$ buildsys lock --update")[2]
