"""How the registry client takes real answers of a connection: incomplete ones, proxies, TLS, refusals."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from buildsys.oci.client import Registry, ask_many
from buildsys.oci.credentials import Credential
from buildsys.oci.http import NotFound, Retries, RetryNotice, Unauthorized, Unreachable
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
    connections: int = 0
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def image(self) -> Reference:
        return Reference.parse(f"{self.address}/team/app:1")


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            known.connections += 1
            super().setup()

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
            self.close_connection = headers.get("Connection") == "close" or not status
            if not status:
                return
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

    class Listening(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of a client that does not trust the certificate."""

        def get_request(self) -> tuple[socket.socket, Any]:
            plain, address = super().get_request()
            return (tls.wrap_socket(plain, server_side=True) if tls else plain), address

    with Listening(("127.0.0.1", port), Handler) as listening:
        known = Server(port=listening.server_address[1])
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as known:
        yield known


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


def test_missing_and_forbidden_are_different_answers(server: Server) -> None:
    with Registry(retries=ONCE) as client:
        server.answers += [MISSING, MISSING, MISSING, MISSING]
        assert client.head(server.image) is None
        assert client.tags(server.image) == ()
        assert not client.delete(server.image)
        with pytest.raises(NotFound):
            client.blob(server.image, digest_of(DATA))
        server.answers += [(401, {"WWW-Authenticate": 'Basic realm="x"'}, b""), (403, {}, b"")]
        with pytest.raises(Unauthorized, match="requires credentials, and none are configured") as asked:
            client.head(server.image)
        with pytest.raises(Unauthorized, match="does not allow this"):
            client.head(server.image)
    assert (asked.value.status, asked.value.hint) == (401, f"run `docker login {server.address}`")
    assert server.answers == []


def test_answer_that_breaks_off_is_retried_and_never_used(server: Server) -> None:
    notices: list[RetryNotice] = []
    half = {"Content-Length": "100", "Connection": "close"}
    server.answers += [(200, {**THERE[1], **half}, MANIFEST[:5]), THERE]
    with Registry(retries=Retries(attempts=2, first=0.01, jitter=0.0), listener=notices.append) as client:
        manifest = client.manifest(server.image)
    assert manifest is not None
    assert manifest.raw == MANIFEST
    assert [(each.attempt, type(each.problem)) for each in notices] == [(1, Unreachable)]


def test_server_that_names_the_time_to_come_back_is_believed_in_both_forms(server: Server) -> None:
    waits: list[float] = []
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.answers += [(503, {"Retry-After": soon}, b""), (429, {"Retry-After": "7"}, b""), THERE]
    with Registry(sleep=waits.append) as client:
        assert client.head(server.image) is not None
    assert 25 < waits[0] <= 30
    assert waits[1] == 7


def test_registry_without_tls_where_tls_is_expected_is_named_with_the_setting_for_it(server: Server) -> None:
    with Registry(plain=lambda _: False, retries=ONCE) as client, pytest.raises(Unreachable) as caught:
        client.head(server.image)
    assert "TLS failed" in caught.value.message
    assert caught.value.hint is not None
    assert "`registries: {insecure: [...]}` in `buildsys.settings.yaml`" in caught.value.hint
    assert not caught.value.transient


def test_far_registry_is_asked_through_the_proxy_of_the_environment(server: Server) -> None:
    environ = {"http_proxy": f"http://me:p%40ss@{server.address}", "HTTP_PROXY": "http://127.0.0.1:1"}
    server.answers += [THERE, MISSING]
    with Registry(environ=environ, plain=lambda _: True, retries=ONCE) as client:
        assert client.head(Reference.parse(f"{FAR}/team/app:1")) is not None
        # Loopback is never asked for through a proxy.
        assert client.head(server.image) is None
    assert lines(server) == [
        f"HEAD http://{FAR}/v2/team/app/manifests/1",
        "HEAD /v2/team/app/manifests/1",
    ]
    basic = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert [each.proxy_authorization for each in server.asked] == [basic, ""]


def test_exception_from_the_proxy_is_asked_for_directly(server: Server) -> None:
    environ = {"http_proxy": f"http://{server.address}", "no_proxy": "registry.invalid"}
    with (
        Registry(environ=environ, plain=lambda _: True, retries=ONCE) as client,
        pytest.raises(Unreachable, match="name is unknown"),
    ):
        client.head(Reference.parse(f"{FAR}/team/app:1"))
    assert server.asked == []


@pytest.mark.parametrize("user", ["", "me:p%C3%A9%40ss@"])
def test_proxy_that_opens_no_tunnel_is_reported_with_its_message(server: Server, user: str) -> None:
    server.answers += [(407, {"Connection": "close"}, b"")]
    environ = {"https_proxy": f"http://{user}{server.address}"}
    with Registry(environ=environ, retries=ONCE) as client, pytest.raises(Unreachable, match="407") as caught:
        client.head(Reference.parse(f"{FAR}/team/app:1"))
    assert lines(server) == [f"CONNECT {FAR}"]
    code = base64.b64encode("me:p\u00e9@ss".encode()).decode()
    assert server.asked[0].proxy_authorization == (f"Basic {code}" if user else "")
    assert "p%C3" not in str(caught.value)


# Registries that are named as insecure. No name server knows theirs: it is an alias of loopback here alone.

NAMED = "registry.test"
SECRET = f"Basic {base64.b64encode(b'me:s3cret').decode()}"
ASKS: Answer = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")


@pytest.fixture
def _alias(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = socket.getaddrinfo

    def known(host: Any, *others: Any, **named: Any) -> Any:
        return usual("127.0.0.1" if host == NAMED else host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """The TLS of a server with a self-signed certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to create a certificate with")
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=elsewhere.test", "-addext", "subjectAltName=DNS:elsewhere.test")
    keys = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"))
    subprocess.run([openssl, *words, *names, *keys], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


def named(server: Server, *insecure: str) -> tuple[Registry, Reference]:
    """Return a client that may show credentials, and an image of the server under its name."""
    credential = Credential(username="me", password="s3cret")
    client = Registry(insecure=insecure, retries=ONCE, credentials=lambda _: credential)
    return client, Reference.parse(f"{NAMED}:{server.port}/team/app:1")


@pytest.mark.usefixtures("_alias")
def test_self_signed_certificate_is_refused_and_the_hint_names_the_setting(tls: ssl.SSLContext) -> None:
    with serving(tls) as server:
        client, image = named(server)
        with client, pytest.raises(Unreachable, match="its certificate is not trusted") as caught:
            client.head(image)
    assert "registries: {insecure: [...]}" in (caught.value.hint or "")
    assert server.asked == []


@pytest.mark.usefixtures("_alias")
def test_self_signed_certificate_of_a_registry_named_insecure_is_taken(tls: ssl.SSLContext) -> None:
    with serving(tls) as server:
        server.answers += [MISSING, ASKS, THERE]
        client, image = named(server, f"{NAMED.upper()}:{server.port}")
        with client:
            assert client.head(image) is not None
    assert lines(server) == ["GET /v2/", *["HEAD /v2/team/app/manifests/1"] * 2]
    assert [each.authorization for each in server.asked] == ["", "", SECRET]


@pytest.mark.usefixtures("_alias")
def test_certificate_of_another_registry_is_still_verified(tls: ssl.SSLContext) -> None:
    with serving(tls) as server:
        client, image = named(server, f"other.test:{server.port}")
        with client, pytest.raises(Unreachable, match="its certificate is not trusted"):
            client.head(image)
        # Nor is that of a place to which a registry named insecure sends.
        server.answers += [MISSING, (307, {"Location": f"https://127.0.0.1:{server.port}/blob"}, b"")]
        client, image = named(server, f"{NAMED}:{server.port}")
        with client, pytest.raises(Unreachable, match="its certificate is not trusted"):
            client.blob(image, digest_of(DATA))


@pytest.mark.usefixtures("_alias")
def test_registry_named_insecure_that_has_no_tls_is_asked_by_plain_http(server: Server) -> None:
    # What the server makes of TLS is no request.
    server.answers += [ASKS, THERE, THERE]
    client, image = named(server, f"{NAMED}:{server.port}")
    with client:
        assert client.head(image) is not None
        assert client.head(image) is not None
    assert lines(server) == ["HEAD /v2/team/app/manifests/1"] * 3
    assert [each.authorization for each in server.asked] == ["", SECRET, SECRET]


@pytest.mark.usefixtures("_alias")
def test_registry_that_is_not_named_insecure_gets_nothing_by_plain_http(server: Server) -> None:
    client, image = named(server, NAMED, "127.0.0.1")
    with client, pytest.raises(Unreachable, match="TLS failed"):
        client.head(image)
    assert server.asked == []


@pytest.mark.usefixtures("_alias")
def test_outage_of_a_registry_named_insecure_is_not_taken_for_plain_http(tls: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client, image = named(Server(port=port), f"{NAMED}:{port}")
    with client:
        with pytest.raises(Unreachable, match="connection refused"):
            client.head(image)
        with serving(tls, port) as server:
            server.answers += [MISSING, THERE]
            assert client.head(image) is not None


# Connections.


def test_many_look_ups_share_few_connections(server: Server) -> None:
    server.answers += [MISSING] * 200
    with Registry() as client:
        found = ask_many([server.image.with_tag(str(number)) for number in range(200)], client.head, 8)
    assert set(found.values()) == {None}
    assert len(server.asked) == 200
    assert server.connections <= 8


def test_answer_that_is_temporary_by_status_or_code_is_retried_and_the_caller_waits(server: Server) -> None:
    waits: list[float] = []
    server.answers += [(408, {}, b""), (400, {}, b'{"errors": [{"code": "TOOMANYREQUESTS"}]}'), THERE]
    with Registry(sleep=waits.append) as client:
        assert client.manifest(server.image) is not None
    assert len(waits) == 2


@pytest.mark.parametrize("method", ["head", "manifest"])
def test_answer_that_breaks_off_in_its_headers_is_retried(server: Server, method: str) -> None:
    server.answers += [(0, {}, b""), THERE]
    with Registry(retries=Retries(attempts=2, first=0.01, jitter=0.0)) as client:
        assert getattr(client, method)(server.image) is not None
    assert len(server.asked) == 2
