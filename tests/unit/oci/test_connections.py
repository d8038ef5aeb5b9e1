"""Which proxy a host is reached through, and what a failed connection is called."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, exceptions
from urllib3.connection import HTTPConnection

from buildsys.oci.connections import Connections, proxy_choice
from buildsys.oci.http import Request, Unreachable

HOST = "r.example.com:5000"


@pytest.mark.parametrize(
    ("environ", "scheme", "proxy"),
    [
        ({}, "https", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http", None),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "https", "http://low:1"),
        ({"HTTPS_PROXY": "http://up:1", "https_proxy": ""}, "https", None),
        ({"HTTPS_PROXY": ""}, "https", None),
        ({"ALL_PROXY": "http://p:1"}, "https", None),
        # In a CGI script, the client of the web server sets HTTP_PROXY by a header.
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http", None),
        ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http", "http://p:1"),
    ],
)
def test_proxy_is_that_of_the_scheme_in_lower_case_first(
    environ: dict[str, str], scheme: str, proxy: str | None
) -> None:
    assert proxy_choice(environ)(scheme, HOST) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("r.example.com", True),
        ("R.Example.Com", True),
        ("r.example.com:5000", True),
        ("r.example.com:5001", False),
        ("example.com", True),
        (".example.com", True),
        ("a.example, .example.com ,b.example", True),
        ("ample.com", False),
        ("other.example.com", False),
        ("5000", False),
    ],
)
def test_no_proxy_names_hosts_and_domains(no_proxy: str, direct: bool) -> None:
    choose = proxy_choice({"https_proxy": "http://p:1", "no_proxy": no_proxy})
    assert (choose("https", HOST) is None) == direct


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]:5000"])
def test_loopback_is_direct(host: str) -> None:
    choose = proxy_choice({"http_proxy": "http://p:1"})
    assert choose("http", host) is None
    assert choose("http", "127.0.0.1.example.com") == "http://p:1"


@pytest.mark.parametrize(
    "proxy",
    [
        "https://p:1",
        "socks5://p:1",
        "http://me:s3cret/x@p:1",
        "http://p:0",
        "http://",
        "http://me:s3cret@p p:1",
        "http://me:s3cret@\udcff:1",
        "http://me:s3cret@%00:1",
    ],
)
def test_proxy_that_cannot_be_used_is_refused_without_its_password(proxy: str) -> None:
    connections = Connections(environ={"https_proxy": proxy})
    with pytest.raises(Unreachable, match="the address of its proxy cannot be used") as caught:
        connections.send(Request(method="GET", url=f"https://{HOST}/"))
    assert "s3cret" not in str(caught.value)


def test_password_of_a_proxy_may_be_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    connections = Connections(environ={"https_proxy": "http://me:\udcff@p:1"})
    with pytest.raises(ConnectionRefusedError):
        connections.send(Request(method="GET", url=f"https://{HOST}/"))


POOL = HTTPConnectionPool("r.example.com")
CONNECTION = HTTPConnection("r.example.com")
NAME = socket.gaierror(-2, "unknown")
TLS = ssl.SSLError(1, "WRONG_VERSION_NUMBER")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.NameResolutionError("r.example.com", CONNECTION, NAME), socket.gaierror),
        (exceptions.SSLError(TLS), ssl.SSLError),
        (exceptions.ProxyError("no proxy", OSError("407")), OSError),
        (exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset")), ConnectionResetError),
        (exceptions.ReadTimeoutError(POOL, "/", "silent"), TimeoutError),
        (exceptions.ConnectTimeoutError(CONNECTION, "slow"), TimeoutError),
        (exceptions.InvalidHeader("two lengths"), http.client.HTTPException),
        (exceptions.LocationParseError("a..b"), OSError),
    ],
)
def test_error_of_urllib3_becomes_the_one_below_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fails(*_: object, **__: object) -> None:
        # As urllib3 does it: some errors have what lies below them as their cause alone.
        raise error from (NAME if isinstance(error, exceptions.NameResolutionError) else None)

    monkeypatch.setattr("urllib3.PoolManager.urlopen", fails)
    with pytest.raises(kind) as caught:
        Connections(environ={}).send(Request(method="GET", url=f"http://{HOST}/"))
    assert not isinstance(caught.value, exceptions.HTTPError)


@pytest.mark.parametrize("error", [ValueError("read length must be non-negative"), OverflowError("too large")])
def test_length_that_http_client_cannot_take_is_a_broken_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Answer:
        status, headers, length_remaining = 200, HTTPHeaderDict(), None

        def stream(self, *_: object, **__: object) -> bytes:
            raise error

        def close(self) -> None:
            """Hold nothing open."""

    monkeypatch.setattr("urllib3.PoolManager.urlopen", lambda *_, **__: Answer())
    with pytest.raises(http.client.HTTPException):
        Connections(environ={}).send(Request(method="GET", url=f"http://{HOST}/"))
