"""Published files have times of images, and the same bytes whether the steps that wrote them or the push set these."""

from __future__ import annotations

import io
import sys
import tarfile
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from buildsys.oci.artifacts import pieces
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import Run, on_real_parents, run, small_project

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

MOUNT = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors"
FILES = {
    # What is below the step is older, newer, replaced and removed; mounts and folders of the image are not changed.
    "layers/dist/Dockerfile": f"FROM base\nARG PACKAGES\n{MOUNT} . /run/mirrors/use && mkdir /new && echo x >/new/x "
    "&& echo y >>/etc/hosts.allow && ln -s x /new/link && ln /new/x /new/hard && rm -rf /var/backups\n",
    "layers/tool/Dockerfile": f"FROM base\n{MOUNT} . /run/mirrors/use\n",
    "layers/conf/Dockerfile": f"FROM toolchain AS build\n{MOUNT} . /run/mirrors/use && mkdir -p /artifact/opt/conf/a "
    "&& echo 1 >/artifact/opt/conf/a/b\nFROM scratch\nCOPY --from=build /artifact /\n",
}
# A child that finds newer files in every node.
DOUBTS = (
    "from buildsys.run.inspection import Inspection; Inspection.may_be_newer = lambda *_: True; "
    "from buildsys.__main__ import main; main()"
)


def bake(project: Path, prefix: str, *words: str) -> Run:
    done = run(project, sys.executable, *words, "bake", "--all", "--push", "--no-cache", BUILDSYS_REGISTRY=prefix)
    assert done.code == 0, done.output
    return done


def blobs(prefix: str) -> dict[str, list[str]]:
    """Return the digests of config and layers of nodes by key; BuildKit notes at a layer that it was rewritten."""
    found = {}
    with Registry() as client:
        for tag in client.tags(Reference.parse(f"{prefix}/nodes:x")):
            manifest = client.manifest(Reference.parse(f"{prefix}/nodes:{tag}"))
            if "-" not in tag and manifest is not None and manifest.config is not None:
                found[tag] = [each.digest for each in (manifest.config, *manifest.layers)]
    return found


def is_rewritten(project: Path) -> bool:
    """Whether the last run packed any node twice."""
    log = max((project / ".buildsys/runs").glob("*/logs/bake.jsonl"), key=lambda path: path.stat().st_mtime)
    return "rewriting layers with source-date-epoch" in log.read_text(encoding="utf-8")


def times(prefix: str, tag: str) -> dict[str, float]:
    """Return the times of all paths in the last layer of a node."""
    with Registry() as client:
        node = Reference.parse(f"{prefix}/nodes:{tag}")
        manifest = client.manifest(node)
        assert manifest is not None
        data = b"".join(pieces(client, node, manifest.layers[-1]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {each.name: each.mtime for each in archive}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return on_real_parents(small_project(tmp_path, FILES))


def test_bytes_are_the_same_in_both_ways_to_set_the_times(project: Path, registry: str) -> None:
    prefix = f"{registry}-times-{uuid.uuid4().hex[:12]}"
    bake(project, f"{prefix}-steps", "-m", "buildsys")
    assert not is_rewritten(project)
    bake(project, f"{prefix}-push", "-c", DOUBTS)
    assert is_rewritten(project)
    found = blobs(f"{prefix}-steps")
    assert len(found) == 3
    assert found == blobs(f"{prefix}-push")
    # A lock without a timestamp means 1980-01-01, which docs/layers.md says.
    paths = {path: time for tag in found for path, time in times(f"{prefix}-steps", tag).items()}
    assert {"opt/conf/a/b", "new/link", "new/hard"} <= {*paths}
    assert max(paths.values()) <= datetime(1980, 1, 2, tzinfo=UTC).timestamp()
