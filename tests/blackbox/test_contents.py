"""What an artifact may hold, and what a base must be above its prefix: nothing that breaks it gets a tag."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, SYSTEM, buildsys, on_real_parents, refused, small_project, write

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

LIKE = """\
FROM toolchain AS build
RUN %s

FROM scratch
COPY --from=build /artifact /
"""
BASE = "FROM base\nARG PACKAGES\nRUN %s\n"


def project_of(folder: Path, prefix: str, artifact: str, system: str = "true") -> Path:
    """Write a project whose artifact `conf` with a prefix is built by one command, on a system built by another."""
    files = {
        "layers/conf/layer.yaml": ARTIFACT.replace("/opt/conf", prefix),
        "layers/conf/Dockerfile": LIKE % artifact,
        "layers/dist/Dockerfile": BASE % system,
    }
    return on_real_parents(small_project(folder, files))


def tags(registry: str, repository: str) -> list[str]:
    """Return the tags of a repository, none where it does not exist."""
    host, _, prefix = registry.partition("/")
    try:
        with urllib.request.urlopen(f"http://{host}/v2/{prefix}/{repository}/tags/list") as answer:
            return json.loads(answer.read())["tags"] or []
    except urllib.error.HTTPError:
        return []


def key_tags(registry: str, repository: str) -> list[str]:
    others = ("incoming-", "last", "inventory-", "record-")
    return [tag for tag in tags(registry, repository) if not tag.startswith(others)]


# H8: each writes what is not its own.
OUTSIDE = {
    "a file of the system": ("mkdir -p /artifact/opt/conf /artifact/etc && echo x >/artifact/etc/passwd", "/etc"),
    "a folder beside its own": ("mkdir -p /artifact/opt/conf /artifact/opt/config", "/opt/config"),
    "nothing of its own": ("mkdir -p /artifact/opt/other", "/opt/conf"),
    "a folder above its own": ("mkdir -p /artifact/opt/conf && chmod 700 /artifact/opt", "/opt"),
}
# H9: each is below a symlink of the base.
BELOW_A_LINK = {
    "of Debian": ("/lib/firmware/acme", "true", "/lib"),
    "of Debian, two levels down": ("/var/run/acme/state", "true", "/var/run"),
    "of a layer": ("/data/acme", "mkdir /mnt/data && ln -s /mnt/data /data", "/data"),
}
# H10: each is in a folder of another user.
OF_OTHERS = {
    "a home": ("/home/dev/.local/app", "useradd --create-home --uid 1000 dev && chmod 700 /home/dev", "/home/dev"),
    "of all": ("/srv/pool/app", "mkdir /srv/pool && chmod 1777 /srv/pool", "/srv/pool"),
    "of a group": ("/srv/team/app", "install -d -m 2775 -g 50 /srv/team", "/srv/team"),
}


@pytest.mark.parametrize("case", OUTSIDE)
@pytest.mark.parametrize("push", [True, False])
def test_artifact_that_breaks_its_promise_is_in_no_image(tmp_path: Path, registry: str, case: str, push: bool) -> None:
    command, path = OUTSIDE[case]
    project = project_of(tmp_path / "project", "/opt/conf", command)
    options = ("--push",) if push else ()
    done = buildsys(project, "bake", "img", *options, "--progress", "plain", BUILDSYS_REGISTRY=registry)
    refused(done, f"`{path}`", "layers/conf/layer.yaml:4", code=1)
    assert tags(registry, "img") == []
    # Toolchain and system are whole.
    assert len(key_tags(registry, "nodes")) == (2 if push else 0)


@pytest.mark.parametrize("case", BELOW_A_LINK)
def test_prefix_below_a_symlink_of_the_base_is_refused(tmp_path: Path, registry: str, case: str) -> None:
    prefix, system, path = BELOW_A_LINK[case]
    project = project_of(tmp_path / "project", prefix, f"install -D /dev/null /artifact{prefix}/file", system)
    done = buildsys(project, "bake", "img", "--push", "--progress", "plain", BUILDSYS_REGISTRY=registry)
    assert done.code in (1, 4), done.output
    refused(done, f"`{path}", "layers/conf/layer.yaml:4", code=done.code)
    assert tags(registry, "img") == []


@pytest.mark.parametrize("case", OF_OTHERS)
def test_prefix_in_a_folder_of_others_is_refused(tmp_path: Path, registry: str, case: str) -> None:
    prefix, system, path = OF_OTHERS[case]
    project = project_of(tmp_path / "project", prefix, f"install -D /dev/null /artifact{prefix}/file", system)
    done = buildsys(project, "bake", "img", "--push", "--progress", "plain", BUILDSYS_REGISTRY=registry)
    assert done.code in (1, 4), done.output
    refused(done, f"`{path}`", "layers/conf/layer.yaml:4", code=done.code)
    assert tags(registry, "img") == []


@pytest.mark.parametrize("case", ["a home", "of a group"])
def test_image_in_the_engine_is_refused_like_a_published_one(tmp_path: Path, case: str) -> None:
    prefix, system, path = OF_OTHERS[case]
    project = project_of(tmp_path / "project", prefix, f"install -D /dev/null /artifact{prefix}/file", system)
    refused(buildsys(project, "bake", "img", "--progress", "plain"), f"`{path}`", code=1)


def test_folder_of_others_that_nothing_is_below_is_no_concern(tmp_path: Path, registry: str) -> None:
    system = "useradd --create-home --uid 1000 dev && ln -s usr/lib /lib64x"
    project = project_of(tmp_path / "project", "/opt/conf", "install -D /dev/null /artifact/opt/conf/file", system)
    done = buildsys(project, "bake", "img", "--push", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    assert "latest" in tags(registry, "img")


def test_image_assembled_on_a_parent_alone_is_refused_below_its_symlinks(tmp_path: Path, registry: str) -> None:
    """No layer of this stack builds a system: its artifacts are added to the parent image itself."""
    prefix = "/var/spool/mail/conf"  # Below a symlink of Debian that the plan does not know.
    project = project_of(tmp_path / "project", prefix, f"install -D /dev/null /artifact{prefix}/file")
    (project / "layers/dist/Dockerfile").unlink()
    write(project, "layers/dist/layer.yaml", SYSTEM)
    done = buildsys(project, "bake", "img", "--push", "--progress", "plain", BUILDSYS_REGISTRY=registry)
    refused(done, "`/var/spool/mail`", code=1)
    assert tags(registry, "img") == []
