"""What a machine's settings do inside a real RUN, and that nothing of them is left in the image."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import run_container
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult, DockerBuilder
from buildsys.project.mirrors import write_mirrors
from buildsys.project.settings import Settings, read_settings
from tests.integration.standins.apt_repository import deb
from tests.support.commands import ROOT, run

pytestmark = [pytest.mark.engine, pytest.mark.parents]

BAKE = """
variable "PARENT" {{ default = "" }}
target "image" {{
  context = "image"
  contexts = {{
    base = "docker-image://${{PARENT}}"
    mirrors = "{folder}"
  }}
  tags = ["{tag}"]
}}
"""
MOUNT = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors . /run/mirrors/use"


def bake(docker: Docker, root: Path, debian: str, folder: str, dockerfile: str, tag: str) -> BakeResult:
    (root / "image").mkdir(exist_ok=True)
    (root / "image" / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (root / "docker-bake.hcl").write_text(BAKE.format(folder=folder, tag=tag), encoding="utf-8")
    call = BakeCall(root=root, files=("docker-bake.hcl",), targets=("image",), environment={"PARENT": debian})
    return DockerBuilder(docker=docker, environ=os.environ).bake(call, lambda _: None, stop=Stop())


@pytest.fixture
def tag() -> str:
    return f"buildsys-tests/mirrors:{uuid4().hex[:12]}"


def test_sources_index_and_proxy_of_the_settings_reach_the_run_and_stay_out_of_the_image(
    docker: Docker, tmp_path: Path, debian: str, tag: str
) -> None:
    repository = tmp_path / "elsewhere" / "repository"
    repository.mkdir(parents=True)
    (repository / "Packages").write_text("", encoding="utf-8")
    settings = Settings(
        apt={"bookworm": ("deb [trusted=yes] file:/run/mirrors/files/repository ./",), "*": ("deb nowhere x main",)},
        pip={"index-url": ("https://index.example.com/simple",)},
        proxy={"http": "http://proxy.example.com:3128"},
        files=repository.parent,
    )
    folder = write_mirrors(settings, tmp_path)
    assert folder is not None
    # A layer's own argument of this name must outlive the script.
    dockerfile = (
        "FROM base\n"
        "ARG VERSION=5\n"
        f"{MOUNT} && set -eu \\\n"
        " && apt-get update >/updated && apt-cache policy >/policy \\\n"
        ' && echo "$VERSION $http_proxy $HTTP_PROXY $UV_DEFAULT_INDEX" >/seen \\\n'
        ' && cat "$PIP_CONFIG_FILE" >>/seen\n'
    )
    result = bake(docker, tmp_path, debian, folder, dockerfile, tag)
    assert result.failure is None
    output = run_container(docker, tag, ["cat", "/seen"]).stdout
    assert output == (
        "5 http://proxy.example.com:3128 http://proxy.example.com:3128 https://index.example.com/simple\n"
        "[global]\nindex-url = https://index.example.com/simple\n"
    )
    policy = run_container(docker, tag, ["cat", "/policy"]).stdout
    assert "file:/run/mirrors/files/repository" in policy
    assert "http" not in policy
    history = run(*docker.command, "history", "--no-trunc", tag).stdout
    inspected = run(*docker.command, "image", "inspect", tag).stdout
    assert "example.com" not in history + inspected
    left = run_container(docker, tag, ["sh", "-c", "env; ls -A /run; cat /etc/apt/sources.list /etc/apt/apt.conf.d/*"])
    assert left.exit_code == 0
    assert "example.com" not in left.stdout
    assert "/run/mirrors" not in left.stdout


def test_package_of_a_file_repository_is_the_only_addition_to_the_image(
    docker: Docker, tmp_path: Path, debian: str, tag: str
) -> None:
    repository = tmp_path / "elsewhere" / "repository"
    repository.mkdir(parents=True)
    control = (
        "Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: Example <maintainer@example.com>\n"
        "Description: says a word\n"
    )
    package = deb(control, {"usr/share/greeting": b"good day\n"})
    (repository / "greeting.deb").write_bytes(package)
    digest = hashlib.sha256(package).hexdigest()
    index = f"{control}Filename: ./greeting.deb\nSize: {len(package)}\nSHA256: {digest}\n"
    (repository / "Packages").write_text(index, encoding="utf-8")
    settings = Settings(
        apt={"bookworm": ("deb [trusted=yes] file:/run/mirrors/files/repository ./",)}, files=repository.parent
    )
    folder = write_mirrors(settings, tmp_path)
    assert folder is not None
    dockerfile = (
        "FROM base\n"
        f"{MOUNT} && set -eu && apt-get update && apt-get install --yes greeting=1.0 && apt-get clean \\\n"
        " && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \\\n"
        "     /var/lib/dpkg/*-old /var/log/*\n"
    )
    result = bake(docker, tmp_path, debian, folder, dockerfile, tag)
    assert result.failure is None, result.failure.last_words
    gained = set(files_of(docker, tag)) - set(files_of(docker, debian))
    assert {name for name in gained if not name.startswith("/var/lib/dpkg/info/greeting.")} == {
        "/usr/share/greeting",
        "/var/lib/apt/extended_states",
    }
    search = ["sh", "-c", "grep -rlsF -e run/mirrors -e run_mirrors /boot /etc /opt /root /run /srv /tmp /usr /var"]
    assert run_container(docker, tag, search).stdout == ""
    assert run_container(docker, tag, ["cat", "/usr/share/greeting"]).stdout == "good day\n"


def files_of(docker: Docker, image: str) -> list[str]:
    """All paths of an image, but for what every container gets."""
    answer = run_container(docker, image, ["find", "/", "-xdev", "-path", "/dev", "-prune", "-o", "-print"])
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout.splitlines()


@pytest.mark.long
def test_real_packages_come_through_the_settings_of_this_machine(
    docker: Docker, tmp_path: Path, debian: str, tag: str
) -> None:
    folder = write_mirrors(read_settings(ROOT, os.environ), tmp_path)
    if folder is None:
        folder = "mirrors"
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "use").write_bytes((ROOT / "mirrors" / "use").read_bytes())
    dockerfile = (
        "FROM base\n"
        f"{MOUNT} && set -e && apt-get update \\\n"
        " && apt-get install --yes --no-install-recommends python3-pip python3-venv \\\n"
        " && pip download --no-cache-dir --dest /wheels six\n"
    )
    result = bake(docker, tmp_path, debian, folder, dockerfile, tag)
    assert result.failure is None, result.failure.last_words
    assert run_container(docker, tag, ["ls", "/wheels"]).stdout.startswith("six-")
