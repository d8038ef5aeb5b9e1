"""Connections to a registry on loopback: which failures of a connection that was kept open are worth a second one."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from buildsys.oci.connections import Connections
from buildsys.oci.http import Request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def ending_kept_connections(*, from_the_start: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one answer on each connection and break it when the next request comes; yield address and requests."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), connection:
                    asked.append(connection.recv(1 << 16))
                    if not from_the_start:
                        connection.sendall(ANSWER)
                        asked.append(connection.recv(1 << 16))
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/", asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_kept_connection_that_the_registry_ends_is_replaced_at_once(method: str) -> None:
    """Before, it cost one of the attempts and a wait, and where there is one attempt the answer."""
    with ending_kept_connections() as (address, asked), contextlib.closing(Connections(environ={})) as connections:
        assert connections.send(Request(method="GET", url=address)).status == 200
        assert connections.send(Request(method=method, url=address)).status == 200
    assert len([request for request in asked if request]) == 3


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_what_has_an_effect_is_not_sent_twice(method: str) -> None:
    with ending_kept_connections() as (address, asked), contextlib.closing(Connections(environ={})) as connections:
        assert connections.send(Request(method="GET", url=address)).status == 200
        with pytest.raises(ConnectionError):
            connections.send(Request(method=method, url=address, body=b"x"))
    assert len([request for request in asked if request]) == 2


def test_new_connection_that_breaks_is_left_to_the_retries() -> None:
    with (
        ending_kept_connections(from_the_start=True) as (address, asked),
        contextlib.closing(Connections(environ={})) as connections,
        pytest.raises(ConnectionError),
    ):
        connections.send(Request(method="GET", url=address))
    assert len(asked) == 1
