"""What the registry client makes of what really comes over a connection: half answers, proxies, TLS, refusals."""

from __future__ import annotations

import base64
import email.utils
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from buildsys.oci.client import Registry
from buildsys.oci.credentials import Credential
from buildsys.oci.http import PLAIN_HTTP_HINT, NotFound, Retries, RetryNotice, Unauthorized, Unreachable
from buildsys.oci.reference import OCI_MANIFEST, Reference, digest_of

Answer = tuple[int, dict[str, str], bytes]
ONCE = Retries(attempts=1)
DATA = b"some bytes"
# No name server knows it: whatever reaches it went through a proxy.
FAR = "registry.invalid:5000"
MANIFEST = b'{"schemaVersion": 2, "mediaType": "' + OCI_MANIFEST.encode() + b'"}'
THERE: Answer = (200, {"Docker-Content-Digest": digest_of(MANIFEST), "Content-Type": OCI_MANIFEST}, MANIFEST)
MISSING: Answer = (404, {}, b"")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request as it came: what a proxy is asked for is a whole address."""

    line: str
    authorization: str
    proxy_authorization: str
    body: bytes


@dataclass(kw_only=True)
class Server:
    """A server that answers from a list, whatever it is asked, and keeps what that was."""

    port: int
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def image(self) -> Reference:
        return Reference.parse(f"{self.address}/team/app:1")


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            known.asked.append(
                Asked(
                    line=f"{self.command} {self.path}",
                    authorization=self.headers.get("Authorization", ""),
                    proxy_authorization=self.headers.get("Proxy-Authorization", ""),
                    body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                )
            )
            status, headers, body = known.answers.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = headers.get("Connection") == "close"

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_CONNECT = answer

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        known = Server(port=listening.server_address[1])
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine itself has set for proxies is no part of these tests."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def lines(server: Server) -> list[str]:
    return [each.line for each in server.asked]


def test_upload_gets_a_token_for_its_own_rights_and_the_bytes_arrive_once(server: Server) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{server.address}/token",service="s"'}
    server.answers += [
        (401, challenge, b""),
        (200, {}, b'{"token": "reads"}'),
        MISSING,
        (200, {}, b'{"access_token": "writes"}'),
        (202, {"Location": "/upload/7?state=x"}, b""),
        (201, {}, b""),
    ]
    with Registry(credentials=lambda _: Credential(username="me", password="secret")) as client:
        found = client.put_blob(server.image, DATA)
    assert (found.digest, found.size) == (digest_of(DATA), len(DATA))
    blob = f"/v2/team/app/blobs/{digest_of(DATA)}"
    quoted = digest_of(DATA).replace(":", "%3A")
    assert lines(server) == [
        f"HEAD {blob}",
        "GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull",
        f"HEAD {blob}",
        "GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull%2Cpush",
        "POST /v2/team/app/blobs/uploads/",
        f"PUT /upload/7?state=x&digest={quoted}",
    ]
    basic = f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert [each.authorization for each in server.asked] == [
        *("", basic, "Bearer reads", basic, "Bearer writes", "Bearer writes")
    ]
    assert [each.body for each in server.asked if each.body] == [DATA]


def test_missing_image_is_distinguished_from_a_forbidden_one(server: Server) -> None:
    with Registry(retries=ONCE) as client:
        server.answers += [MISSING, MISSING, MISSING, MISSING]
        assert client.head(server.image) is None
        assert client.tags(server.image) == ()
        assert not client.delete(server.image)
        with pytest.raises(NotFound):
            client.blob(server.image, digest_of(DATA))
        server.answers += [(401, {"WWW-Authenticate": 'Basic realm="x"'}, b""), (403, {}, b"")]
        with pytest.raises(Unauthorized, match="asks for credentials and none are known") as asked:
            client.head(server.image)
        with pytest.raises(Unauthorized, match="does not allow this"):
            client.head(server.image)
    assert (asked.value.status, asked.value.hint) == (401, f"run `docker login {server.address}`")
    assert server.answers == []


def test_answer_that_breaks_off_is_retried_and_never_used(server: Server) -> None:
    output: list[RetryNotice] = []
    half = {"Content-Length": "100", "Connection": "close"}
    server.answers += [(200, {**THERE[1], **half}, MANIFEST[:5]), THERE]
    with Registry(retries=Retries(attempts=2, first=0.01, jitter=0.0), listener=output.append) as client:
        manifest = client.manifest(server.image)
    assert manifest is not None
    assert manifest.raw == MANIFEST
    assert [(each.attempt, type(each.problem)) for each in output] == [(1, Unreachable)]


def test_server_that_names_the_time_to_come_back_is_believed_in_both_forms(server: Server) -> None:
    waits: list[float] = []
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.answers += [(503, {"Retry-After": soon}, b""), (429, {"Retry-After": "7"}, b""), THERE]
    with Registry(sleep=waits.append) as client:
        assert client.head(server.image) is not None
    assert 25 < waits[0] <= 30
    assert waits[1] == 7


def test_registry_without_tls_where_tls_is_expected_is_reported_with_a_hint(server: Server) -> None:
    with Registry(insecure=lambda _: False, retries=ONCE) as client, pytest.raises(Unreachable) as caught:
        client.head(server.image)
    assert "TLS failed" in caught.value.message
    assert caught.value.hint == PLAIN_HTTP_HINT
    assert not caught.value.transient


def test_far_registry_is_asked_through_the_proxy_of_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{server.address}")
    server.answers += [THERE, MISSING]
    with Registry(insecure=lambda _: True, retries=ONCE) as client:
        assert client.head(Reference.parse(f"{FAR}/team/app:1")) is not None
        # Loopback is never asked for through a proxy.
        assert client.head(server.image) is None
    assert lines(server) == [
        f"HEAD http://{FAR}/v2/team/app/manifests/1",
        "HEAD /v2/team/app/manifests/1",
    ]
    basic = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert [each.proxy_authorization for each in server.asked] == [basic, ""]


def test_exception_from_the_proxy_is_asked_for_directly(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{server.address}")
    monkeypatch.setenv("no_proxy", "registry.invalid")
    with Registry(insecure=lambda _: True, retries=ONCE) as client, pytest.raises(Unreachable, match="name is unknown"):
        client.head(Reference.parse(f"{FAR}/team/app:1"))
    assert server.asked == []


def test_proxy_that_opens_no_tunnel_is_reported_with_its_message(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://{server.address}")
    server.answers += [(407, {"Connection": "close"}, b"")]
    with Registry(retries=ONCE) as client, pytest.raises(Unreachable, match="407"):
        client.head(Reference.parse(f"{FAR}/team/app:1"))
    assert lines(server) == [f"CONNECT {FAR}"]
