"""A public tag moves only if it still names what it named when the run began (fault M14)."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT_DOCKERFILE, buildsys, on_real_parents, small_project, start, write

pytestmark = [pytest.mark.engine, pytest.mark.registry]

TYPES = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
SLOW = ARTIFACT_DOCKERFILE.replace("\n\n", "\nRUN sleep 12\n\n", 1)
STACKS = "stacks:\n  img: {layers: [dist, conf]}\n  other: {layers: [dist, conf]}\n"


class Tags:
    """The tags of a registry, which a different run may move."""

    def __init__(self, prefix: str) -> None:
        self._host, _, self._path = prefix.partition("/")

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes, str, str]:
        connection = http.client.HTTPConnection(self._host, timeout=30)
        try:
            headers = {"Accept": TYPES, **({"Content-Type": kind} if kind else {})}
            connection.request(method, f"/v2/{self._path}/{path}", body, headers)
            answer = connection.getresponse()
            said = answer.getheader("Docker-Content-Digest", ""), answer.getheader("Content-Type", "")
            return answer.status, answer.read(), *said
        finally:
            connection.close()

    def of(self, repository: str) -> list[str]:
        status, body, _, _ = self._ask("GET", f"{repository}/tags/list")
        return list(json.loads(body).get("tags") or ()) if status == 200 else []

    def digest(self, repository: str, tag: str) -> str:
        return self._ask("GET", f"{repository}/manifests/{tag}")[2]

    def move(self, repository: str, tag: str) -> str:
        """Let a tag name something that no run publishes, as a run of a different checkout would; return its digest."""
        config = b"{}"
        digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        self._upload(repository, digest, config)
        kind = "application/vnd.oci.image.manifest.v1+json"
        listed = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
        value = {"schemaVersion": 2, "mediaType": kind, "config": listed, "layers": []}
        status, body, _, _ = self._ask("PUT", f"{repository}/manifests/{tag}", json.dumps(value).encode(), kind)
        assert status == 201, body
        return self.digest(repository, tag)

    def _upload(self, repository: str, digest: str, data: bytes) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=30)
        try:
            connection.request("POST", f"/v2/{self._path}/{repository}/blobs/uploads/")
            opened = connection.getresponse()
            opened.read()
            location = opened.getheader("Location", "")
            path = location.removeprefix(f"http://{self._host}")
            connection.request("PUT", f"{path}&digest={digest}", data, {"Content-Type": "application/octet-stream"})
            done = connection.getresponse()
            assert done.status == 201, done.read()
        finally:
            connection.close()


@pytest.fixture
def slow_project(tmp_path: Path) -> Path:
    """A project whose artifact takes some seconds, so that something can happen meanwhile."""
    files = {"layers/conf/Dockerfile": SLOW, "stacks.yaml": STACKS, "mirrors/use": ":\n"}
    return on_real_parents(small_project(tmp_path / "project", files))


@pytest.mark.parametrize("existed", [True, False], ids=["a-tag-that-existed", "a-tag-that-did-not-exist"])
def test_tag_that_a_different_run_moved_meanwhile_stays_and_the_run_ends_with_1(
    slow_project: Path, registry: str, existed: bool
) -> None:
    tags = Tags(registry)
    if existed:
        done = buildsys(slow_project, "bake", "img", "--push", BUILDSYS_REGISTRY=registry)
        assert done.code == 0, done.output
        write(slow_project, "layers/conf/conf", "two\n")
        write(slow_project, "layers/dist/Dockerfile", "FROM base\nARG PACKAGES\nRUN true && true\n")
    nodes = len(tags.of("nodes"))
    process = start(slow_project, "bake", "--all", "--push", shell={"BUILDSYS_REGISTRY": registry})
    try:
        for _ in range(1200):
            # The first node is pushed: the run has begun, and the slow one keeps it.
            if len(tags.of("nodes")) > nodes or process.poll() is not None:
                break
            time.sleep(0.1)
        assert process.poll() is None, "the run was too fast for this test"
        theirs = tags.move("img", "latest")
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1, said
    assert "was moved to" in said, said
    assert f"{registry}/img:latest" in said, said
    assert tags.digest("img", "latest") == theirs
    # The tag that no other run touched is of a whole image, and moves.
    assert tags.digest("other", "latest")
    again = buildsys(slow_project, "bake", "--all", "--push", BUILDSYS_REGISTRY=registry)
    assert again.code == 0, again.output
    assert tags.digest("img", "latest") != theirs
