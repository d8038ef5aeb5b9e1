"""A registry that an older buildsys filled: everything is rebuilt once, with the reason, and both lose nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.command_line import ROOT, Run, buildsys, on_real_parents, run, small_project

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

# The last commit whose keys have definition 1 and whose images are no indexes.
OLD = "20c28a2"
REPOSITORIES = ("nodes", "img")


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was; a clone without its history fails."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", OLD, "buildsys"], capture_output=True, check=False)
    assert done.returncode == 0, f"the history of this clone lacks {OLD}: {done.stderr.decode()}"
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def held(prefix: str) -> dict[str, str]:
    """Return the digest of each tag, after a look at every blob of each."""
    with Registry() as client:
        found = {}
        for name in REPOSITORIES:
            for tag in client.tags(Reference.parse(f"{prefix}/{name}:x")):
                reference = Reference.parse(f"{prefix}/{name}:{tag}")
                assert client.verify(reference) == (), reference
                descriptor = client.head(reference)
                assert descriptor is not None
                found[f"{name}:{tag}"] = descriptor.digest
        return found


def keys(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags of keys, which are never moved, without the inventories beside them."""
    moving = ("last", "incoming-", "latest", "inventory-", "record-", "history-")
    return {name: digest for name, digest in tags.items() if not name.partition(":")[2].startswith(moving)}


def test_each_version_rebuilds_its_own_keys_once_and_leaves_those_of_the_other(
    tmp_path: Path, registry: str, old_tree: Path
) -> None:
    prefix = f"{registry}-migration-{uuid.uuid4().hex[:12]}"
    project = on_real_parents(small_project(tmp_path / "project", {"mirrors/use": ":\n"}))

    def old(*words: str) -> Run:
        given = {"PYTHONPATH": str(old_tree), "BUILDSYS_REGISTRY": prefix}
        return run(project, sys.executable, "-P", "-m", "buildsys", *words, shell=given, seconds=600)

    def new(*words: str) -> Run:
        return buildsys(project, *words, BUILDSYS_REGISTRY=prefix, seconds=600)

    done = old("bake", "--all", "--push")
    assert done.code == 0, done.output
    before = held(prefix)
    done = new("bake", "--all", "--push")
    assert done.code == 0, done.output
    assert "definition 1 of keys, and this buildsys has 2" in done.stderr, done.stderr
    assert "3 nodes" in done.stdout, done.stdout
    after = held(prefix)
    assert keys(before).items() <= keys(after).items()
    assert len(keys(after)) == 2 * len(keys(before)) + 1, "nodes, an image for its platform, and its index"
    assert after["img:latest"] != before["img:latest"]
    # Deployed digests are pulled as before.
    for digest in (before["img:latest"], after["img:latest"]):
        pulled = run(tmp_path, "docker", "pull", "--quiet", f"{prefix}/img@{digest}", seconds=300)
        assert pulled.code == 0, pulled.stderr
    done = old("bake", "--all", "--push")
    assert done.code == 0, done.output
    assert keys(held(prefix)) == keys(after)
    done = new("bake", "--all", "--push")
    assert done.code == 0, done.output
    assert "0 RUN steps executed" in done.stdout, done.stdout
    assert keys(held(prefix)) == keys(after)
    assert held(prefix)["img:latest"] == after["img:latest"]
