"""What is under a key and was not published for it is reported and rebuilt, never reused (fault M9)."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import buildsys

pytestmark = [pytest.mark.registry]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
KEY, INPUTS = "dev.buildsys.key", "dev.buildsys.inputs"


class Stranger:
    """Another user who may push to the registry."""

    def __init__(self, registry: str) -> None:
        self._host, _, self._prefix = registry.partition("/")

    def _send(self, method: str, path: str, data: bytes, kind: str) -> Any:
        url = path if path.startswith("http") else f"http://{self._host}/v2/{self._prefix}/{path}"
        request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
        return urllib.request.urlopen(request, timeout=30)

    def blob(self, repository: str, data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self._send("POST", f"{repository}/blobs/uploads/", b"", "application/octet-stream") as opened:
            location = opened.headers["Location"]
        with self._send("PUT", f"{location}&digest={digest}", data, "application/octet-stream"):
            return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(data)}

    def push(self, repository: str, tag: str, annotations: dict[str, str]) -> dict[str, Any]:
        """Push an image without layers, and return its descriptor."""
        config = self.blob(
            repository, b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        )
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": annotations}
        return self._put(repository, tag, value, MANIFEST)

    def push_index(self, repository: str, tag: str, annotations: dict[str, str], *children: dict[str, Any]) -> None:
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children), "annotations": annotations}
        self._put(repository, tag, value, INDEX)

    def _put(self, repository: str, tag: str, value: dict[str, Any], kind: str) -> dict[str, Any]:
        data = json.dumps(value).encode()
        with self._send("PUT", f"{repository}/manifests/{tag}", data, kind):
            return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def plan(project: Path, registry: str) -> dict[str, dict[str, Any]]:
    """Return nodes and images of the plan by layer or stack name."""
    done = buildsys(project, "plan", "--json", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    document = json.loads(done.stdout)
    return {each.get("layer") or each["name"]: each for each in (*document["nodes"], *document["stacks"])}


def inputs_of(project: Path, registry: str, target: str) -> str:
    done = buildsys(project, "explain", target, "--json", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    inputs = json.loads(done.stdout)["inputs"]
    return json.dumps(dict(sorted(inputs.items())), ensure_ascii=True, separators=(",", ":"))


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param(lambda _key, _inputs: {}, id="without-annotations"),
        pytest.param(lambda _key, inputs: {KEY: "0" * 64, INPUTS: inputs}, id="of-another-key"),
        pytest.param(lambda _key, inputs: {INPUTS: inputs}, id="without-its-key"),
        pytest.param(lambda key, _inputs: {KEY: key}, id="without-its-inputs"),
        pytest.param(lambda key, _inputs: {KEY: key, INPUTS: "{}"}, id="of-no-inputs"),
        pytest.param(
            lambda key, inputs: {KEY: key, INPUTS: inputs.replace('"layer":"conf"', '"layer":"other"')},
            id="of-other-inputs",
        ),
    ],
)
def test_image_of_a_stranger_under_the_key_of_a_node_is_rebuilt(
    project: Path, registry: str, annotations: Callable[[str, str], dict[str, str]]
) -> None:
    node = plan(project, registry)["conf"]
    inputs = inputs_of(project, registry, node["name"])
    Stranger(registry).push("nodes", node["key"], annotations(node["key"], inputs))
    found = plan(project, registry)["conf"]
    assert found["action"] == "build", found
    assert node["key"] in found["reason"], found


def test_node_with_the_annotations_of_its_key_is_reused(project: Path, registry: str) -> None:
    node = plan(project, registry)["conf"]
    inputs = inputs_of(project, registry, node["name"])
    Stranger(registry).push("nodes", node["key"], {KEY: node["key"], INPUTS: inputs})
    assert plan(project, registry)["conf"]["action"] == "reuse"


def test_image_of_a_stranger_under_the_key_of_a_stack_is_rebuilt(project: Path, registry: str) -> None:
    stack = plan(project, registry)["img"]
    Stranger(registry).push("img", f"key-{stack['key']}", {})
    assert plan(project, registry)["img"]["action"] == "build"


def test_index_whose_manifests_do_not_carry_the_key_is_rebuilt(project: Path, registry: str) -> None:
    node = plan(project, registry)["conf"]
    mine = {KEY: node["key"], INPUTS: inputs_of(project, registry, node["name"])}
    stranger = Stranger(registry)
    child = {**stranger.push("nodes", "theirs", {}), "platform": {"os": "linux", "architecture": "amd64"}}
    # The index itself claims the key: what a machine pulls is its manifest.
    stranger.push_index("nodes", node["key"], mine, child)
    assert plan(project, registry)["conf"]["action"] == "build"


def test_warm_check_does_not_call_a_strangers_image_warm(project: Path, registry: str) -> None:
    found = plan(project, registry)
    stranger = Stranger(registry)
    for layer in ("dist", "tool", "conf"):
        stranger.push("nodes", found[layer]["key"], {})
    done = buildsys(project, "warm", "img", "--check", BUILDSYS_REGISTRY=registry)
    assert done.code == 1, done.output
    assert "does not name the key it was built for" in done.output


@pytest.mark.engine
def test_run_reports_a_strangers_image_rebuilds_it_and_moves_the_tags(real_project: Path, registry: str) -> None:
    found = plan(real_project, registry)
    stranger = Stranger(registry)
    stranger.push("nodes", found["conf"]["key"], {})
    stranger.push("img", f"key-{found['img']['key']}", {KEY: "1" * 64})
    for words in (["bake", "img", "--push", "--verify"], ["bake", "img", "--push"]):
        done = buildsys(real_project, *words, BUILDSYS_REGISTRY=registry)
        assert done.code == 0, done.output
        assert ("rebuilding img" in done.output) == ("--verify" in words), done.output
    assert {each["action"] for each in plan(real_project, registry).values()} == {"reuse"}
