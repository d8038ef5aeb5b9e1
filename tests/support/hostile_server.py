"""A server on loopback that answers from a table, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request as it came; `case` is the part of its path that names a case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    home: str
    other: str

    @property
    def authorization(self) -> str:
        return next((value for name, value in self.headers if name == "authorization"), "")

    @property
    def case(self) -> str:
        parts = self.path.partition("?")[0].strip("/").split("/")
        return parts[1] if len(parts) > 1 else ""


# What is written on a connection, all of it at once or as it comes.
Reply = bytes | Callable[[socket.socket], None]
Script = Callable[[Asked], Reply]


@dataclass(kw_only=True)
class Host:
    """One address that is listened on."""

    address: str
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def hosting(ip: str, script: Callable[[Asked], Reply], others: Callable[[], tuple[str, str]]) -> Iterator[Host]:
    """Serve on an address of loopback, one request on each connection; `others` are the names of home and other."""
    with socket.create_server((ip, 0), backlog=512) as listening:
        host = Host(address=f"{ip}:{listening.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(90)
                asked = _request(connection, *others())
                if asked is None:
                    return
                host.asked.append(asked)
                reply = script(asked)
                if callable(reply):
                    reply(connection)
                    return
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                # An end with unread data would be a reset, and lose the answer.
                while connection.recv(_PIECE):
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield host
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _request(connection: socket.socket, home: str, other: str) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(_PIECE)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(dict(headers).get("content-length", "0"))
    while len(body) < length:
        body += connection.recv(_PIECE)
    method, path, *_ = first.split(" ")
    return Asked(method=method, path=path, headers=headers, body=body, home=home, other=other)


def answer(
    body: bytes = b"", *headers: str, status: str = "200 OK", kind: str | None = None, length: int | str | None = None
) -> bytes:
    """Return an answer of HTTP; `length` replaces the true one, and an empty text leaves it out."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", "Set-Cookie: session=s3cr3tcookie; Path=/", *headers]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    if length != "":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body


def stalling(beginning: bytes) -> Reply:
    """Write a beginning and then nothing, with the connection open."""

    def write(connection: socket.socket) -> None:
        connection.sendall(beginning)
        with contextlib.suppress(OSError):
            connection.recv(1)

    return write


def dripping(beginning: bytes, piece: bytes = b"x", pause: float = 0.5) -> Reply:
    """Write a beginning, and then a piece from time to time without an end."""

    def write(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:
            time.sleep(pause)
            connection.sendall(piece)

    return write


def endless(beginning: bytes, piece: bytes) -> Reply:
    """Write a beginning, and then a piece as often as it is read."""

    def write(connection: socket.socket) -> None:
        connection.sendall(beginning)
        many = piece * max(1, _PIECE // len(piece))
        while True:
            connection.sendall(many)

    return write


def late(seconds: float, reply: bytes) -> Reply:
    """Answer after some seconds."""

    def write(connection: socket.socket) -> None:
        time.sleep(seconds)
        connection.sendall(reply)

    return write


def resetting(beginning: bytes = b"") -> Reply:
    """Write a beginning and break the connection."""

    def write(connection: socket.socket) -> None:
        connection.sendall(beginning)
        # Lingering for no time ends a connection with RST.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return write
