"""buildsys's own connections to a registry, when it goes away and comes back: no engine is needed to see that."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from buildsys.oci.client import Registry, ask_many
from buildsys.oci.http import Retries, RetryNotice, Unreachable
from buildsys.oci.reference import OCI_MANIFEST, Reference
from tests.faults.proxy import Proxy, between

TAGS = [f"tag{number}" for number in range(16)]


class Shelf(http.server.BaseHTTPRequestHandler):
    """Has no manifest, and takes every one."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with between(f"127.0.0.1:{server.server_port}") as proxy:
            yield proxy
        server.shutdown()


def test_one_retry_is_enough_after_an_outage(proxy: Proxy) -> None:
    """Many connections are kept from the look-ups; all of them are dead, and a push must not try them one by one."""
    wanted = Reference.parse(f"{proxy.address}/x/one:latest")
    with Registry(retries=Retries(attempts=2, first=0.01, jitter=0)) as registry:
        assert set(ask_many([wanted.with_tag(tag) for tag in TAGS], registry.head).values()) == {None}
        proxy.down()
        proxy.up()
        assert registry.put_manifest(wanted, b"{}", OCI_MANIFEST).size == 2


def test_connection_refused_for_a_moment_is_waited_for(proxy: Proxy) -> None:
    """A registry that restarts refuses connections for seconds, which must not end a bake of hours."""
    wanted = Reference.parse(f"{proxy.address}/x/one:latest")
    with Registry(retries=Retries(attempts=5, first=0.5, jitter=0, outages=True)) as registry:
        assert registry.head(wanted) is None
        proxy.down()
        back = threading.Timer(1, proxy.up)
        back.start()
        assert registry.head(wanted) is None
        back.join()


def test_registry_that_never_answered_is_not_waited_for(proxy: Proxy) -> None:
    wanted = Reference.parse(f"{proxy.address}/x/one:latest")
    notices: list[RetryNotice] = []
    proxy.down()
    with (
        Registry(retries=Retries(attempts=5, first=0.5, jitter=0, outages=True), listener=notices.append) as registry,
        pytest.raises(Unreachable),
    ):
        registry.head(wanted)
    assert notices == []
