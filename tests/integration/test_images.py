"""What a user of the images relies on is installed: MPI, git, CUDA, Python, found on PATH without help."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from tests.support.commands import Command

pytestmark = [pytest.mark.engine, pytest.mark.parents]

PROGRAM = r"""
#include <cstdio>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <nccl.h>
int main() {
    int runtime = 0, nccl = 0, devices = 0;
    cudaRuntimeGetVersion(&runtime);
    ncclGetVersion(&nccl);
    printf("cudart %d.%d\n", runtime / 1000, runtime % 1000 / 10);
    printf("cudnn %zu\n", cudnnGetVersion() / 10000);
    printf("nccl %d.%d.%d\n", nccl / 10000, nccl % 10000 / 100, nccl % 100);
    cudaError_t error = cudaGetDeviceCount(&devices);
    printf("devices %d: %s\n", devices, cudaGetErrorString(error));
    return 0;
}
"""


@pytest.fixture(scope="module")
def images(docker: Docker, buildsys: Command) -> dict[str, str]:
    """Bake the images with buildsys in one run, whatever the engine held, and return the tag of each stack."""
    names = ("debian12", "debian12-cuda13.0", "debian12-mpi4py", "lab")
    prefix = os.environ.get("BUILDSYS_REGISTRY", "buildsys")
    tags = {name: f"{prefix}/{name}:latest" for name in names}
    # Without a registry an image of an older run stays as it is, though its nodes have been rebuilt since.
    subprocess.run([*docker.command, "image", "rm", "--force", *tags.values()], capture_output=True, check=False)
    done = buildsys("bake", *names)
    assert done.code == 0, done.stdout + done.stderr
    assert all(f"built   {name} " in done.stdout for name in names), done.stdout
    return tags


def test_every_test_that_a_layer_declares_passes(images: dict[str, str], buildsys: Command) -> None:
    done = buildsys("test", "--local", *images)
    assert done.code == 0, done.stdout
    assert "all passed" in done.stdout


def test_cuda_program_links_cudart_cudnn_and_nccl_and_misses_only_the_device(
    images: dict[str, str], docker: Docker, buildsys: Command
) -> None:
    script = (
        f"cat >/tmp/v.cu <<'END'\n{PROGRAM}\nEND\n"
        "nvcc -cudart shared -o /tmp/v /tmp/v.cu -lcudnn -lnccl && ldd /tmp/v && /tmp/v"
    )
    output = run_container(docker, images["debian12-cuda13.0"], ["-c", script], entrypoint="sh", seconds=300)
    assert output.exit_code == 0, output.stderr
    stack = json.loads(buildsys("show", "debian12-cuda13.0", "--json").stdout)
    versions = {layer["name"]: layer["parameters"] for layer in stack["layers"]}
    for library in (
        "libcudart.so.13 => /usr/local/cuda",
        "libcudnn.so.9 => /usr/local/cuda",
        "libnccl.so.2 => /opt/nccl",
    ):
        assert library in output.stdout
    assert f"cudart {versions['cuda-runtime']['version']}\n" in output.stdout
    assert f"cudnn {versions['cuda-runtime']['cudnn']}\n" in output.stdout
    assert f"nccl {versions['nccl']['version']}\n" in output.stdout
    assert "devices 0: CUDA driver version is insufficient" in output.stdout


def test_mpi4py_is_compiled_against_the_images_own_open_mpi(images: dict[str, str], docker: Docker) -> None:
    image = images["debian12-mpi4py"]
    command = ["mpirun", "-n", "2", "--oversubscribe", "python", "-m", "mpi4py.bench", "helloworld"]
    output = run_container(docker, image, command, seconds=300)
    assert output.exit_code == 0, output.stderr
    assert {line.partition(" on ")[0] for line in output.stdout.splitlines()} == {
        "Hello, World! I am process 0 of 2",
        "Hello, World! I am process 1 of 2",
    }
    linked = run_container(docker, image, ["sh", "-c", "ldd $(python -c 'import mpi4py.MPI as m; print(m.__file__)')"])
    assert "libmpi.so.40 => /opt/openmpi/lib/libmpi.so.40" in linked.stdout


def test_image_holds_no_package_lists_caches_logs_or_mirrors(images: dict[str, str], docker: Docker) -> None:
    script = (
        "find /var/lib/apt/lists /var/cache/apt /var/log /run/mirrors /etc/ssh/ssh_host_rsa_key -type f 2>/dev/null"
    )
    output = run_container(docker, images["debian12-cuda13.0"], ["-c", script], entrypoint="sh")
    assert output.stdout == ""
    history = subprocess.run(
        [*docker.command, "image", "inspect", images["debian12-cuda13.0"]], capture_output=True, text=True, check=True
    ).stdout
    assert "mirror" not in history.lower()
    assert "proxy" not in history.lower()


def test_artifacts_are_one_blob_in_every_image_that_has_them(images: dict[str, str], docker: Docker) -> None:
    layers = {}
    for name in ("debian12", "debian12-cuda13.0", "debian12-mpi4py"):
        output = subprocess.run(
            [*docker.command, "image", "inspect", "--format", "{{json .RootFS.Layers}}", images[name]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        layers[name] = set(json.loads(output))
    shared = layers["debian12"] & layers["debian12-cuda13.0"] & layers["debian12-mpi4py"]
    # The parent, the OS packages, git, and Open MPI.
    assert len(shared) == 4
    assert layers["debian12"] == shared


def test_second_bake_executes_no_step(images: dict[str, str], buildsys: Command) -> None:
    done = buildsys("bake", *images)
    assert done.code == 0, done.stderr
    assert f"nothing to do: {len(images)} images up to date · 0 RUN steps executed" in done.stdout


def test_plain_bake_takes_the_same_file(images: dict[str, str], buildsys: Command) -> None:
    variables = dict(
        line.removeprefix("export ").partition("=")[::2] for line in buildsys("variables").stdout.splitlines()
    )
    environment = {**os.environ, **{name: value.strip("'") for name, value in variables.items()}}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["docker", "buildx", "bake", "quickstart"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_a_registry_the_engines_own_store_is_the_memory(project: Path, buildsys: Command) -> None:
    environment = {"BUILDSYS_REGISTRY": "buildsys"}

    def action(name: str) -> tuple[str, str | None]:
        document = json.loads(buildsys("-C", project, "plan", "--json", environment=environment).stdout)
        found = next(each for each in document["stacks"] if each["name"] == name)
        return found["action"], found["reference"]

    done = buildsys("-C", project, "bake", "debian12", environment=environment)
    assert done.code == 0, done.stdout + done.stderr
    assert action("debian12") == ("reuse", "buildsys/debian12:latest")
    again = buildsys("-C", project, "bake", "debian12", environment=environment)
    assert "nothing to do: 1 image up to date · 0 RUN steps executed" in again.stdout
    layer = project / "layers/openmpi/layer.yaml"
    layer.write_text(
        layer.read_text(encoding="utf-8").replace("OMPI_ALLOW_RUN_AS_ROOT: 1", "OMPI_ALLOW_RUN_AS_ROOT: 2")
    )
    assert action("debian12") == ("build", None)
