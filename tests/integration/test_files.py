"""Layers without a Dockerfile: of files, which are in an image as declared, and of commands after packages."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from buildsys.oci.client import Registry
from tests.support import command_line
from tests.support.command_line import small_project, write
from tests.support.commands import published_image, run

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

FILES = """\
description: scripts of the image
kind: artifact
licence: MIT
requires: [os]
parameters:
  gid: {description: group of the settings, default: 100}
files:
  /usr/local/bin/start.sh: start.sh
  /usr/local/bin/plain: {from: start.sh, mode: 0644}
  /usr/local/bin/as-root: {from: start.sh, mode: 4755}
  /etc/tool/: {from: config/, owner: "7:{gid}", mode: 2770}
  /etc/tool/more.conf: {from: config/a.conf, owner: 1000, mode: 0640}
  /etc/motd: motd
  /var/lib/tool/empty/: {mode: 1777}
"""
MORE = """\
description: commands
kind: system
licence: MIT
requires: [os]
packages: [{names: [some]}]
parameters:
  word: {description: what is said, default: "it's $HOME"}
run:
  - rm /etc/motd
  - |
    cat <<EOT >/usr/local/bin/more
    $PACKAGES said $WORD
    EOT
"""
# What `three` has, it has without a layer.
STACKS = """\
stacks:
  one: {layers: [dist, scripts]}
  two: {layers: [dist, more, scripts]}
  three:
    layers: [dist]
    run: install -m 600 /dev/null /srv/created
    files: {/etc/own/: {from: settings, owner: "7:0", mode: 0750}}
"""
SCRIPT, CONF = "#!/bin/sh\necho started\n", "setting = 1\n"
EXPECTED = {
    "/usr/local/bin/start.sh": ("755 0:0", SCRIPT),
    "/usr/local/bin/plain": ("644 0:0", SCRIPT),
    "/usr/local/bin/as-root": ("4755 0:0", SCRIPT),
    "/etc/tool": ("2770 7:100", None),
    "/etc/tool/a.conf": ("644 7:100", CONF),
    "/etc/tool/sub": ("755 7:100", None),
    "/etc/tool/sub/run": ("755 7:100", SCRIPT),
    "/etc/tool/more.conf": ("640 1000:1000", CONF),
    "/etc/motd": ("644 0:0", "hello\n"),
    "/var/lib/tool": ("755 0:0", None),
    "/var/lib/tool/empty": ("1777 0:0", None),
}
ABOVE = ("/", "/usr", "/usr/local", "/usr/local/bin", "/etc", "/var", "/var/lib")


def project_of(folder: Path) -> Path:
    project = small_project(
        folder,
        {
            "stacks.yaml": STACKS,
            "layers/more/layer.yaml": MORE,
            "layers/scripts/layer.yaml": FILES,
            "layers/scripts/config/a.conf": CONF,
            "layers/scripts/motd": "hello\n",
        },
    )
    write(project, "files/settings/own.conf", CONF)
    for name in ("start.sh", "config/sub/run"):
        write(project, f"layers/scripts/{name}", SCRIPT).chmod(0o755)
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or command_line.ROOT / "buildsys.lock.local")
    write(project, "buildsys.lock", overlay.read_text(encoding="utf-8"))
    return project


def engine() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}


def statuses(image: str, paths: tuple[str, ...]) -> dict[str, str]:
    done = run("docker", "run", "--rm", "--entrypoint", "stat", image, "-c", "%n|%a %u:%g", *paths)
    assert done.code == 0, done.stderr
    return dict(line.split("|") for line in done.stdout.splitlines())


def test_files_are_as_declared_in_one_blob_and_nothing_above_them_changes(tmp_path: Path, registry: str) -> None:
    project, prefix = project_of(tmp_path / "project"), f"{registry}/files-{os.getpid()}"
    given = {"BUILDSYS_REGISTRY": prefix}
    done = command_line.buildsys(
        project, "bake", "--all", "--push", seconds=600, shell={**engine(), **given, "BUILDSYS_TAG": "composed"}
    )
    assert done.code == 0, done.output
    assert command_line.buildsys(project, "plan").code == 0
    pushed = "*.output=type=image,push=true,store=false,oci-mediatypes=true,rewrite-timestamp=true"
    environment = {**given, "BUILDSYS_TAG": "assembled", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    assembled = run("docker", "buildx", "bake", "--set", pushed, cwd=project, environment=environment)
    assert assembled.code == 0, assembled.stderr[-3000:]

    layers = {}
    with Registry() as client:
        for stack in ("one", "two", "three"):
            both = [published_image(client, f"{prefix}/{stack}:{tag}")[0] for tag in ("composed", "assembled")]
            layers[stack], other = ([layer.digest for layer in each.layers] for each in both)
            assert layers[stack] == other
    assert layers["one"][-1] == layers["two"][-1]
    three = f"{prefix}/three:composed"
    assert statuses(three, ("/etc/own", "/etc/own/own.conf", "/srv/created")) == {
        "/etc/own": "750 7:0",
        "/etc/own/own.conf": "644 7:0",
        "/srv/created": "600 0:0",
    }
    for stack in ("one", "two"):
        image = f"{prefix}/{stack}:composed"
        assert statuses(image, tuple(EXPECTED)) == {path: status for path, (status, _) in EXPECTED.items()}
        texts = {path: text for path, (_, text) in EXPECTED.items() if text is not None}
        sums = run("docker", "run", "--rm", "--entrypoint", "sha256sum", image, *texts)
        assert sums.stdout == "".join(
            f"{hashlib.sha256(t.encode()).hexdigest()}  {path}\n" for path, t in texts.items()
        )
        dist = run("docker", "run", "--rm", "--entrypoint", "stat", image, "-c", "%a %u:%g", *ABOVE)
        assert dist.stdout == "755 0:0\n" * len(ABOVE)
    said = run("docker", "run", "--rm", "--entrypoint", "cat", f"{prefix}/two:composed", "/usr/local/bin/more")
    assert said.stdout == "some said it's $HOME\n"


def test_command_that_fails_is_reported_at_its_field(tmp_path: Path) -> None:
    project = project_of(tmp_path / "project")
    write(project, "layers/more/layer.yaml", MORE.replace("- rm /etc/motd", "- echo before && exit 7"))
    done = command_line.buildsys(project, "bake", "two", seconds=600, shell=engine())
    assert done.code == 1
    assert "layers/more/layer.yaml:8" in done.output
    write(project, "layers/dist/Dockerfile", 'FROM base\nARG PACKAGES\nRUN true\nRUN test -z "$PACKAGES"\n')
    done = command_line.buildsys(project, "bake", "two", seconds=600, shell=engine())
    assert done.code == 1
    assert "layers/dist/Dockerfile:4" in done.output
