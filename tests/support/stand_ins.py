"""A docker and a registry that only pretend: the one writes down how it was called, the other keeps images."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command_line import buildsys, program

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
KEY = "dev.buildsys.key"
DOCKER = """\
import json, os, sys, time

words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps(words), file=calls)

def value(option):
    return words[words.index(option) + 1]

if "info" in words:
    print(json.dumps({"ServerVersion": "28.5.2", "DriverStatus": [["x", "io.containerd.snapshotter.v1"]]}))
elif "version" in words:
    print("github.com/docker/buildx v0.29.1 x")
elif "inspect" in words:
    print("Name: the-current-one\\nDriver: docker")
elif "--help" in words:
    print("      --allow stringArray")
elif "--print" in words:
    print(json.dumps({"target": {words[-1]: {}}}))
elif "rawjson" in words:
    folder = os.environ.get("BAKES")
    if folder:
        # This bake runs until another bake has started.
        with open(os.path.join(folder, str(os.getpid())), "w") as seen:
            seen.write(open(value("--file")).read())
        end = time.monotonic() + 30
        while len(os.listdir(folder)) < int(os.environ["AWAITED"]) and time.monotonic() < end:
            time.sleep(0.02)
        print(open(value("--file")).read(), file=sys.stderr)
    print("ERROR: target " + words[-1] + ": failed to solve: " + os.environ.get("WHY", "no engine"), file=sys.stderr)
    sys.exit(1)
"""


def docker(folder: Path) -> str:
    """Write a docker whose bakes all fail, and return a PATH with it; `CALLS` names the file of its calls."""
    return f"{program(folder, 'docker', DOCKER)}:/usr/bin:/bin"


def calls(file: Path) -> list[list[str]]:
    """Return the words of all calls."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Serve a registry of manifests without blobs on loopback; yield a prefix in it."""
    with image_registry() as held:
        yield held.prefix


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What a stand-in of a registry has, by the path of the request; blobs are linked wherever one asks for it."""

    prefix: str
    answers: dict[str, bytes]

    def put(self, kind: str, name: str, data: bytes) -> str:
        """Hold a manifest or blob of a repository below the prefix under a tag, if there is one, and its digest."""
        repository, _, tag = name.partition(":")
        start = f"/v2/{self.prefix.partition('/')[2]}/{repository}/{kind}/"
        for target in filter(None, (tag, _digest(data))):
            self.answers[start + target] = data
        return _digest(data)

    def image(self, name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the manifest and the config of an image, None if there is none; of an index, those of its first."""
        repository, _, tag = name.partition(":")
        start = f"/v2/{self.prefix.partition('/')[2]}/{repository}/"
        raw = self.answers.get(f"{start}manifests/{tag}")
        if raw is None:
            return None
        manifest = json.loads(raw)
        if "manifests" in manifest:
            manifest = json.loads(self.answers[f"{start}manifests/{manifest['manifests'][0]['digest']}"])
        config = self.answers[f"{start}blobs/{manifest['config']['digest']}"]
        return manifest, json.loads(config)


@contextlib.contextmanager
def image_registry() -> Iterator[Held]:
    """Serve a registry of manifests and blobs on loopback."""
    answers: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = answers.get(self.path)
            self._answer(200 if found is not None else 404, found or b"")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            mount = urllib.parse.parse_qs(query).get("mount", [""])[0]
            data = next((each for name, each in answers.items() if mount and name.endswith(f"/blobs/{mount}")), None)
            if data is not None:
                answers[path.replace("uploads/", mount)] = data
            self._answer(202 if data is None else 201, b"", Location=f"{path}1")

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            path, _, query = self.path.partition("?")
            if query:
                path = path.rpartition("uploads/")[0] + urllib.parse.parse_qs(query)["digest"][0]
            answers[path] = answers[f"{path.rpartition('/')[0]}/{_digest(data)}"] = data
            self._answer(201, data)

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", MANIFEST),
                ("Content-Length", str(len(body))),
                ("Docker-Content-Digest", _digest(body)),
                *headers.items(),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Held(prefix=f"127.0.0.1:{server.server_address[1]}/x", answers=answers)
        finally:
            server.shutdown()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def publish(project: Path, prefix: str, stack: str) -> None:
    """Put the index of an image without layers under the key of a stack of one platform."""
    done = buildsys(project, "plan", "--json", BUILDSYS_REGISTRY=prefix)
    assert done.code == 0, done.output
    found = next(each for each in json.loads(done.stdout)["stacks"] if each["name"] == stack)
    config = {"mediaType": CONFIG, **_put_bytes(prefix, f"{stack}/blobs/{_digest(b'{}')}", b"{}", CONFIG)}
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    child = _put(prefix, stack, f"platform-{found['key']}", image)
    platform = {"os": "linux", "architecture": "amd64"}
    descriptor = {"mediaType": MANIFEST, **child, "platform": platform, "annotations": {KEY: found["key"]}}
    inputs = {"definition": "2", "image linux/amd64": found["key"], "name": stack}
    annotations = {KEY: found["index_key"], "dev.buildsys.inputs": json.dumps(inputs, separators=(",", ":"))}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor], "annotations": annotations}
    _put(prefix, stack, f"key-{found['index_key']}", index)


def _put(prefix: str, repository: str, tag: str, value: Mapping[str, object]) -> dict[str, object]:
    return _put_bytes(prefix, f"{repository}/manifests/{tag}", json.dumps(value).encode(), str(value["mediaType"]))


def _put_bytes(prefix: str, place: str, data: bytes, kind: str) -> dict[str, object]:
    host, _, path = prefix.partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{path}/{place}", data, {"Content-Type": kind}, method="PUT")
    with urllib.request.urlopen(request, timeout=30):
        return {"digest": _digest(data), "size": len(data)}


LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def explained(project: Path) -> dict[str, dict[str, Any]]:
    """Return the key and the inputs of each node, by its layer."""
    with registry() as prefix:
        shell = {"BUILDSYS_REGISTRY": prefix}
        done = buildsys(project, "plan", "--json", shell=shell)
        assert done.code == 0, done.output
        return {
            node["layer"]: json.loads(buildsys(project, "explain", node["name"], "--json", shell=shell).stdout)
            for node in json.loads(done.stdout)["nodes"]
        }


def publish_nodes(nodes: Mapping[str, Mapping[str, Any]], held: Held, **configs: Mapping[str, Any]) -> None:
    """Put an image of one layer under the key of each node; `configs` change what its config says, by layer.

    `layers` in one is how many layers the image has.
    """
    for layer, found in nodes.items():
        given = dict(configs.get(layer, {}))
        blobs = [f"{layer} {number}".encode() for number in range(given.pop("layers", 1))]
        layers = [{"mediaType": LAYER, "digest": held.put("blobs", "nodes", data), "size": len(data)} for data in blobs]
        config = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(b"plain " + data) for data in blobs]},
            **given,
        }
        raw = json.dumps(config).encode()
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": held.put("blobs", "nodes", raw), "size": len(raw)},
            "layers": layers,
            "annotations": {"dev.buildsys.key": found["key"], "dev.buildsys.inputs": _inputs(found)},
        }
        held.put("manifests", f"nodes:{found['key']}", json.dumps(value).encode())


def _inputs(found: Mapping[str, Any]) -> str:
    return json.dumps(dict(sorted(found["inputs"].items())), ensure_ascii=True, separators=(",", ":"))
