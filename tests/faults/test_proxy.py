"""The proxy does what its rules say and nothing else, seen with a registry of ten lines behind it."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy, between
from tests.faults.rules import Answer, Break, Do, Down, Hang, Rule, Slow, Wrong

BLOB = bytes(range(256)) * 4096


class Upstream(http.server.BaseHTTPRequestHandler):
    """Gives one blob whatever is asked for, and says what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(BLOB)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(data).hexdigest().encode())

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Docker-Content-Digest", "sha256:true")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def proxy(upstream: str) -> Iterator[Proxy]:
    with between(upstream) as proxy:
        yield proxy


def ask(
    proxy: Proxy, method: str = "GET", path: str = "/blob", body: bytes | Iterator[bytes] | None = None
) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection(proxy.address, timeout=10)
    try:
        connection.request(method, path, body=body, encode_chunked=not isinstance(body, bytes | None))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Docker-Content-Digest", "")
    finally:
        connection.close()


def test_without_rules_all_is_passed_on_unchanged(proxy: Proxy) -> None:
    assert ask(proxy) == (200, BLOB, "sha256:true")
    assert ask(proxy, "HEAD") == (200, b"", "sha256:true")
    assert ask(proxy, "PUT", body=BLOB)[1] == hashlib.sha256(BLOB).hexdigest().encode()
    proxy.await_any(3, while_running=lambda: True)
    assert [(each.method, each.status, each.fault) for each in proxy.seen()] == [
        ("GET", 200, False),
        ("HEAD", 200, False),
        ("PUT", 200, False),
    ]


def test_body_without_a_length_is_passed_on(proxy: Proxy) -> None:
    pieces = iter([b"a" * 100, b"b" * 200_000])
    connection = http.client.HTTPConnection(proxy.address, timeout=10)
    connection.request("PUT", "/blob", body=pieces, headers={"Transfer-Encoding": "chunked"}, encode_chunked=True)
    expected = hashlib.sha256(b"a" * 100 + b"b" * 200_000).hexdigest()
    assert connection.getresponse().read() == expected.encode()
    connection.close()


def test_rule_meets_the_nth_request_and_as_many_as_it_says(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET|HEAD", path="blob$", fault=Answer(status=503), first=2, times=2))
    assert [ask(proxy, "GET", path)[0] for path in ("/blob", "/other", "/blob", "/blob", "/blob")] == [
        200,
        200,
        503,
        503,
        200,
    ]
    assert proxy.met() == 2


def test_rule_without_an_end_meets_every_later_request(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET", path="", fault=Answer(status=500), times=None))
    assert [ask(proxy)[0] for _ in range(3)] == [500, 500, 500]
    proxy.restore()
    assert ask(proxy)[0] == 200


def test_rule_spares_a_request_with_the_right_proof(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET", path="", fault=Answer(status=401), times=None, unless="Bearer new"))
    assert ask(proxy)[0] == 401
    connection = http.client.HTTPConnection(proxy.address, timeout=10)
    for proof, status in (("Bearer old", 401), ("Bearer new", 200)):
        connection.request("GET", "/blob", headers={"Authorization": proof})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_answer_has_its_headers_and_takes_the_body_sent(proxy: Proxy) -> None:
    proxy.meet(Rule(method="PUT", path="", fault=Answer(status=429, headers=(("Retry-After", "7"),), body=b"{}")))
    connection = http.client.HTTPConnection(proxy.address, timeout=10)
    for status in (429, 200):
        # One connection: the body that was not wanted does not become the next request.
        connection.request("PUT", "/blob", body=BLOB)
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.getheader("Retry-After") == ("7" if status == 429 else None)
        answer.read()
    connection.close()


def test_download_breaks_off_by_a_reset_in_the_middle(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET", path="", fault=Break(after=len(BLOB) // 2)))
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(proxy)
    assert ask(proxy)[1] == BLOB
    proxy.await_any(2, while_running=lambda: True)
    assert [each.status for each in proxy.seen()] == [0, 200]


def test_upload_breaks_off_by_a_reset_in_the_middle(proxy: Proxy) -> None:
    proxy.meet(Rule(method="PUT", path="", fault=Break(after=100_000, sending=True)))
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        ask(proxy, "PUT", body=BLOB)
    assert ask(proxy, "PUT", body=BLOB)[0] == 200


def test_hang_gives_no_answer_until_its_time_is_over(proxy: Proxy) -> None:
    proxy.meet(Rule(method="PUT", path="", fault=Hang(seconds=0.5)))
    began = time.monotonic()
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        ask(proxy, "PUT", body=b"some")
    assert 0.4 < time.monotonic() - began < 5


def test_slow_link_takes_its_time_in_both_directions(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET|PUT", path="", fault=Slow(rate=2 * len(BLOB)), times=None))
    for method, body in (("GET", None), ("PUT", BLOB)):
        began = time.monotonic()
        assert ask(proxy, method, body=body)[0] == 200
        assert 0.4 < time.monotonic() - began < 5


def test_wrong_digest_is_only_in_the_header(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET", path="", fault=Wrong(digest="sha256:other")))
    assert ask(proxy) == (200, BLOB, "sha256:other")


def test_wrong_body_differs_in_one_byte(proxy: Proxy) -> None:
    proxy.meet(Rule(method="GET", path="", fault=Wrong(body=True)))
    status, data, digest = ask(proxy)
    assert (status, len(data), digest) == (200, len(BLOB), "sha256:true")
    assert sum(one != other for one, other in zip(data, BLOB, strict=True)) == 1


def test_down_refuses_connections_and_cuts_what_is_under_way(proxy: Proxy) -> None:
    proxy.meet(
        Rule(method="GET", path="/slow", fault=Slow(rate=len(BLOB) // 4)),
        Rule(method="HEAD", path="", fault=Down(seconds=1)),
    )
    broken: list[BaseException] = []

    def under_way() -> None:
        try:
            ask(proxy, "GET", "/slow")
        except (OSError, http.client.HTTPException) as error:
            broken.append(error)

    thread = threading.Thread(target=under_way)
    thread.start()
    time.sleep(0.3)
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        ask(proxy, "HEAD")
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)
    thread.join(5)
    assert len(broken) == 1
    time.sleep(1.2)
    assert ask(proxy)[0] == 200


def test_action_runs_before_the_request_is_forwarded(proxy: Proxy) -> None:
    done: list[str] = []
    proxy.meet(Rule(method="GET", path="", fault=Do(action=lambda: done.append("it"))))
    assert ask(proxy)[0] == 200
    assert done == ["it"]


def test_large_body_is_not_held_in_memory(proxy: Proxy) -> None:
    """What the proxy has taken while the client has read nothing is what sockets buffer, not the body."""
    taken = 0
    read = http.client.HTTPResponse.read

    def counted(self: http.client.HTTPResponse, amount: int | None = None) -> bytes:
        nonlocal taken
        data = read(self, amount)
        taken = max(taken, len(data))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read", counted)
        connection = http.client.HTTPConnection(proxy.address, timeout=10)
        connection.request("GET", "/blob")
        answer = connection.getresponse()
        assert read(answer) == BLOB
        connection.close()
    assert 0 < taken <= 64 * 1024
