"""examples/python: bake reads its file, and two images with a Python from Debian's source package work."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from tests.support.commands import ROOT, Command, run

EXAMPLE = ROOT / "examples" / "python"
SLIM, FULL = "python3.11-debian12", "python3.13-debian13"
EXTENSION = """
cat >answer.c <<'END'
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer"};
PyMODINIT_FUNC PyInit_answer(void)
{
    PyObject *found = PyModule_Create(&module);
    PyModule_AddIntConstant(found, "value", 42);
    return found;
}
END
cc -shared -fPIC $(python3-config --includes) answer.c -o "answer$(python3-config --extension-suffix)"
python3 -c 'import answer; print(answer.value)'
"""


def compiles(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test for which Python is compiled."""
    for mark in (pytest.mark.engine, pytest.mark.parents, pytest.mark.long):
        test = mark(test)
    return test


@pytest.mark.buildx
def test_bake_reads_a_target_of_each_platform_for_each_image_of_the_fleet() -> None:
    done = run("docker", "buildx", "bake", "--print", "-f", "docker-bake.hcl", "python", cwd=EXAMPLE)
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    found = [document["target"][name] for name in document["group"]["python"]["targets"]]
    platforms = [platform for target in found for platform in target["platforms"]]
    assert (platforms.count("linux/amd64"), platforms.count("linux/arm64")) == (24, 24)
    assert any(tag.endswith("/python:latest-arm64") for target in found for tag in target["tags"])


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with what this machine says of parents and mirrors."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".buildsys", "*.local"))
    for name in ("buildsys.lock.local", "buildsys.settings.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def images(docker: Docker, buildsys: Command, example: Path) -> dict[str, str]:
    """Compile Python 3.11 and 3.13 and return the tag of an image with each."""
    done = buildsys("-C", example, "bake", SLIM, FULL, seconds=3600)
    assert done.code == 0, done.stdout + done.stderr
    prefix = os.environ.get("BUILDSYS_REGISTRY", "buildsys")
    return {name: f"{prefix}/{name}:latest" for name in (SLIM, FULL)}


@compiles
def test_every_test_that_the_layers_and_the_family_declare_passes(
    images: dict[str, str], buildsys: Command, example: Path
) -> None:
    done = buildsys("-C", example, "test", "--local", *images)
    assert done.code == 0, done.stdout
    assert "all passed" in done.stdout


@compiles
def test_an_image_without_a_command_starts_the_interpreter_of_its_layer(images: dict[str, str]) -> None:
    for name, version in ((SLIM, "3.11"), (FULL, "3.13")):
        # Without standard input the interpreter ends at once.
        done = run("docker", "run", "--rm", "--env", "PYTHONVERBOSE=1", images[name])
        assert done.code == 0, done.stderr
        assert f"/usr/local/lib/python{version}/" in done.stderr


@compiles
def test_full_image_compiles_an_extension_and_the_slim_one_has_no_compiler(
    images: dict[str, str], docker: Docker
) -> None:
    full = run_container(docker, images[FULL], ["sh", "-euc", EXTENSION], seconds=120)
    assert (full.exit_code, full.stdout.strip()) == (0, "42"), full.stderr
    assert run_container(docker, images[SLIM], ["sh", "-c", "command -v cc gcc make"]).exit_code != 0
