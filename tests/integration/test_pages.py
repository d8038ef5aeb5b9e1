"""The commands of pages that need an engine work as they are written, on the base images of this machine.

All but those of the first image use stand-ins for what takes minutes or a network: the layers that come with buildsys
install nothing, and a local registry has Debian and is `registry.example.com`.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, buildsys, run, write
from tests.support.own_registry import OwnRegistry
from tests.support.pages import Page, all_pages
from tests.support.pipelines import own_command

pytestmark = pytest.mark.engine
TUTORIAL = Page("tutorial.md")
PAGES = [page for page in all_pages("engine") if page.name != TUTORIAL.name]


def overlay() -> Path:
    return Path(os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local")


PREFIXES = {"cuda-runtime": "/usr/local/cuda", "nccl": "/opt/nccl", "openmpi": "/opt/openmpi"}
ARTIFACT = """\
FROM toolchain AS build
ARG PREFIX
RUN mkdir -p "/artifact$PREFIX" && echo a stand-in >"/artifact$PREFIX/file"
FROM scratch
COPY --from=build /artifact /
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout with stand-ins for the system and the toolchain."""
    folder = tmp_path / "checkout"
    for name in ("buildsys", "layers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "buildsys.lock"):
        shutil.copy(ROOT / name, folder / name)
    # No other run of these tests has left this step, or one on its result, in the cache of the engine.
    step = f'RUN test -n "$PACKAGES" && echo {time.time_ns()} >/stand-in'
    # What the tests of the system run.
    programs = "printf '#!/bin/sh\\necho OpenSSH, Free Software Foundation\\n' | tee /usr/bin/gcc >/usr/bin/ssh"
    system = f"{step} && {programs} && chmod 755 /usr/bin/gcc /usr/bin/ssh"
    write(folder, "layers/debian-os/Dockerfile", f"FROM base\nARG PACKAGES\nARG EPOCH\n{system}\n")
    write(folder, "layers/toolchain-debian/Dockerfile", f"FROM base\nARG PACKAGES\n{step}\n")
    return folder


@pytest.fixture
def behind(docker: Docker, debian: str, own_registry: OwnRegistry, tmp_path: Path) -> dict[str, str]:
    """What lets a new project find Debian in the registry of the test, which pages do not show."""
    image = f"{own_registry.address}/library/debian:12-slim"
    done = run(tmp_path, *docker.command, "buildx", "imagetools", "create", "--tag", image, debian, shell=engine())
    assert done.code == 0, done.output
    mirror = f"echo 'parents: {{docker.io: {own_registry.address}}}' >buildsys.settings.yaml"
    return {"cd images": f"{mirror}\nbuildsys lock --update debian-12 toolchain-debian-12"}


def engine() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}


def test_first_image_of_the_tutorial_is_baked_run_and_tested(docker: Docker, debian: str, tmp_path: Path) -> None:
    project = tmp_path / "images"
    assert buildsys(tmp_path, "init", project).code == 0
    for path, name in ((overlay(), "buildsys.lock.local"), (ROOT / "buildsys.settings.yaml", "buildsys.settings.yaml")):
        if path.is_file():
            shutil.copy(path, project / name)
    for command in (each.text for each in TUTORIAL.commands if each.needs == "engine"):
        done = run(project, "sh", "-c", command, seconds=1200, PATH=f"{own_command(tmp_path)}:{os.environ['PATH']}")
        assert done.code == 0, done.output
        assert "run" not in command or done.stdout == "hello 1.0\n"


@pytest.mark.registry
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_print_what_it_shows(
    page: Page, behind: dict[str, str], own_registry: OwnRegistry, checkout: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    path = own_command(tmp_path / "bin", checkout)
    page.run(folder, "engine", path=path, registry=own_registry.address, behind=behind, shell=engine())


@pytest.mark.registry
def test_every_command_of_the_tutorial_works_in_the_order_of_the_page(
    behind: dict[str, str], own_registry: OwnRegistry, checkout: Path, tmp_path: Path
) -> None:
    for name, prefix in PREFIXES.items():
        shutil.rmtree(checkout / "layers" / name)
        text = f"description: {name}\nkind: artifact\nlicence: MIT\nprefix: {prefix}\nrequires: [os]\n"
        more = "accelerator: gpu\n" if name == "cuda-runtime" else ""
        write(checkout, f"layers/{name}/layer.yaml", text + more)
        write(checkout, f"layers/{name}/Dockerfile", ARTIFACT)
    folder = tmp_path / "work"
    folder.mkdir()
    done = run(checkout, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    assert done.code == 0, done.output
    # The libraries of this environment, in place of an index.
    libraries = f"echo {sysconfig.get_path('purelib')} >$(echo environment/lib/*/site-packages)/own.pth"
    output = TUTORIAL.run(
        folder,
        *("install", "engine", "registry", "later"),
        path=tmp_path / "bin",
        registry=own_registry.address,
        behind={**behind, "pip install buildsys-*.whl": libraries},
        shell={**engine(), "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PYTHONPATH": ""},
        compared=False,
    )
    assert "\nhello 1.0\n" in output
    assert output.count("all passed") == 2
