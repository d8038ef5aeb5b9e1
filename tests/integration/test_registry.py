"""The registry client against a real registry, and its connections against a small server on loopback."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from buildsys.oci.bounds import Bounds
from buildsys.oci.client import Registry, ask_many
from buildsys.oci.credentials import Credential
from buildsys.oci.http import NotFound, Retries, ServerError, Unreachable
from buildsys.oci.reference import OCI_INDEX, OCI_MANIFEST, Descriptor, Reference, digest_of

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def repository(registry: str) -> Reference:
    """A repository that no other test has."""
    return Reference.parse(f"{registry}/client-{uuid4().hex[:12]}:1")


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry() as made:
        yield made


def put_image(client: Registry, reference: Reference, layer: bytes = b"a layer") -> Descriptor:
    config = client.put_blob(reference, b"{}", CONFIG_TYPE)
    blob = client.put_blob(reference, layer, LAYER_TYPE)
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": LAYER_TYPE, "digest": blob.digest, "size": blob.size}],
        }
    ).encode()
    return client.put_manifest(reference, raw, OCI_MANIFEST)


@pytest.mark.registry
class TestRealRegistry:
    def test_missing_reference_is_none_and_a_pushed_one_is_found(self, client: Registry, repository: Reference) -> None:
        assert client.head(repository) is None
        assert client.manifest(repository) is None
        put = put_image(client, repository)
        assert client.head(repository) == put
        assert client.head(repository.with_digest(put.digest)) == put
        assert client.head(repository.with_tag("2")) is None
        manifest = client.manifest(repository)
        assert manifest is not None
        assert digest_of(manifest.raw) == put.digest
        assert client.blob(repository, manifest.layers[0].digest) == b"a layer"

    def test_many_are_looked_up_together(self, client: Registry, repository: Reference) -> None:
        put = put_image(client, repository)
        missing = repository.with_tag("none")
        assert ask_many([missing, repository], client.head) == {missing: None, repository: put}

    def test_tag_is_the_same_manifest_under_another_name(self, client: Registry, repository: Reference) -> None:
        put = put_image(client, repository)
        assert client.tag(repository, "latest").digest == put.digest
        assert client.tags(repository) == ("1", "latest")
        with pytest.raises(NotFound):
            client.tag(repository.with_tag("none"), "latest")

    def test_blob_is_mounted_from_another_repository_without_its_bytes(
        self, client: Registry, repository: Reference, registry: str
    ) -> None:
        layer = uuid4().bytes
        put_image(client, repository, layer)
        other = Reference.parse(f"{registry}/mounted-{uuid4().hex[:12]}:1")
        assert not client.blob_exists(other, digest_of(layer))
        assert client.mount_blob(other, digest_of(layer), repository)
        assert client.blob_exists(other, digest_of(layer), len(layer))
        assert not client.mount_blob(other, digest_of(b"nowhere"), repository)

    def test_image_that_lost_a_part_is_reported_by_the_name_of_the_part(
        self, client: Registry, repository: Reference
    ) -> None:
        put = put_image(client, repository)
        index = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [{"mediaType": OCI_MANIFEST, "digest": put.digest, "size": put.size}],
            }
        ).encode()
        whole = repository.with_tag("index")
        client.put_manifest(whole, index, OCI_INDEX)
        assert client.verify(whole) == ()
        assert client.delete(repository.with_digest(put.digest))
        assert client.verify(whole) == (str(repository.with_digest(put.digest)),)
        assert not client.delete(repository)


@dataclass(kw_only=True)
class Server:
    """A server on loopback that answers from a list and keeps what it was asked."""

    port: int
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    connections: int = 0

    @property
    def image(self) -> Reference:
        return Reference.parse(f"127.0.0.1:{self.port}/team/app:1")


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            known.connections += 1

        def do_GET(self) -> None:
            known.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            status, headers, body = known.answers.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = headers.get("Connection") == "close"

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Server(port=listening.server_address[1])
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield known
    listening.shutdown()
    listening.server_close()


def present(body: bytes = b"{}") -> tuple[int, dict[str, str], bytes]:
    return 200, {"Docker-Content-Digest": digest_of(body), "Content-Type": OCI_MANIFEST}, body


class TestConnections:
    def test_token_is_fetched_and_all_goes_over_one_connection(self, server: Server) -> None:
        realm = f'Bearer realm="http://127.0.0.1:{server.port}/token",service="test"'
        server.answers += [
            (401, {"WWW-Authenticate": realm}, b""),
            (200, {}, b'{"token": "T"}'),
            present(),
            (404, {}, b""),
        ]
        with Registry(credentials=lambda _: Credential(username="me", password="x")) as client:
            assert client.head(server.image) is not None
            assert client.head(server.image.with_tag("2")) is None
        assert [each[0] for each in server.asked] == ["HEAD", "GET", "HEAD", "HEAD"]
        assert server.asked[1][1] == "/token?service=test&scope=repository%3Ateam%2Fapp%3Apull"
        assert [each[2][:6] for each in server.asked] == ["", "Basic ", "Bearer", "Bearer"]
        assert server.connections == 1

    def test_registry_that_asks_for_patience_gets_it(self, server: Server) -> None:
        server.answers += [(429, {"Retry-After": "1"}, b""), present()]
        began = time.monotonic()
        with Registry() as client:
            assert client.head(server.image) is not None
        assert 1.0 <= time.monotonic() - began < 5.0

    def test_server_error_is_retried_and_then_reported(self, server: Server) -> None:
        server.answers += [(503, {}, b""), (500, {}, b'{"errors": [{"code": "UNKNOWN", "message": "disk"}]}')]
        with (
            Registry(retries=Retries(attempts=2, first=0.01, jitter=0.0)) as client,
            pytest.raises(ServerError, match="500 UNKNOWN disk"),
        ):
            client.manifest(server.image)
        assert len(server.asked) == 2

    def test_connection_that_the_server_closed_is_replaced(self, server: Server) -> None:
        status, headers, body = present()
        server.answers += [(status, {**headers, "Connection": "close"}, body), present()]
        with Registry() as client:
            assert client.head(server.image) is not None
            assert client.head(server.image) is not None
        assert server.connections == 2

    def test_refused_connection_is_reported_at_once(self) -> None:
        began = time.monotonic()
        with Registry() as client, pytest.raises(Unreachable, match="connection refused"):
            client.head(Reference.parse("127.0.0.1:1/x:1"))
        assert time.monotonic() - began < 2.0

    def test_answer_that_does_not_come_is_given_up_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            reference = Reference.parse(f"127.0.0.1:{silent.getsockname()[1]}/x:1")
            with (
                Registry(bounds=Bounds(connect=1.0, answer=0.2), retries=Retries(attempts=1)) as client,
                pytest.raises(Unreachable, match="no answer in time"),
            ):
                client.head(reference)
