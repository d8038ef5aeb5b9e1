"""One connection through the proxy: its requests and answers are forwarded, except where a rule injects a fault."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import io
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.rules import Answer, Break, Do, Down, Fault, Hang, Seen, Slow, Wrong

PIECE = 64 * 1024
# What belongs to one connection and is not passed on to the other.
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"})
# The first byte of a TLS connection.
_TLS = b"\x16"


class Owner(Protocol):
    """What a connection needs of its proxy."""

    upstream: str

    def due(self, method: str, path: str, proof: str) -> Fault | None:
        """Return the fault that this request meets, and count it."""

    def note(self, seen: Seen) -> None:
        """Keep a request that has ended."""

    def down_for(self, seconds: float) -> None:
        """Be down now and up again after some seconds, without waiting for either."""

    def tracked(self, connection: socket.socket) -> AbstractContextManager[None]:
        """Keep a connection where the proxy finds it to cut it."""


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: broken connections are expected here."""


class _Broken(Exception):
    """The connection was cut on purpose."""


@dataclass(slots=True)
class _Body:
    """A body on its way: slowed, broken or changed by the fault."""

    fault: Fault | None
    sending: bool
    passed: int = 0
    began: float = field(default_factory=time.monotonic)

    def piece(self, data: bytes, length: int | None) -> bytes:
        """Return the replacement for a piece; raises `_Broken` where the body breaks off."""
        fault = self.fault
        before, self.passed = self.passed, self.passed + len(data)
        if isinstance(fault, Slow):
            late = self.passed / fault.rate - (time.monotonic() - self.began)
            if late > 0:
                time.sleep(late)
        elif isinstance(fault, Break) and fault.sending is self.sending and self.passed > fault.after:
            raise _Broken
        elif isinstance(fault, Wrong) and fault.body and not self.sending:
            middle = (length or 0) // 2
            if before <= middle < self.passed:
                at = middle - before
                return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Owner
    timeout = 600

    def handle(self) -> None:
        with self.owner.tracked(self.connection), contextlib.suppress(OSError, _Broken):
            super().handle()

    def handle_one_request(self) -> None:
        self._status, self._known, self._met = 0, False, False
        try:
            assert isinstance(self.rfile, io.BufferedReader)
            if self.rfile.peek(1)[:1] == _TLS:
                # An engine tries TLS first; only this answer makes it continue without TLS.
                self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is plain HTTP\n")
                self.close_connection = True
                return
            super().handle_one_request()
        except (_Broken, http.client.HTTPException, OSError):
            self.close_connection = True
            # A file over a socket keeps it open; only the last close resets.
            self.rfile.close()
            _reset(self.connection)
        finally:
            if self._known:
                self.owner.note(
                    Seen(at=time.time(), method=self.command, path=self.path, status=self._status, fault=self._met)
                )

    def pass_on(self) -> None:
        self._known = True
        fault = self.owner.due(self.command, self.path, self.headers.get("Authorization", ""))
        self._met = fault is not None
        if isinstance(fault, Do):
            fault.action()
        elif isinstance(fault, Answer):
            self._answer(fault)
            return
        elif isinstance(fault, Hang):
            self._hang(fault.seconds)
        elif isinstance(fault, Down):
            self.owner.down_for(fault.seconds)
            # This connection is cut with the others, once the proxy stops listening.
            time.sleep(1)
            raise _Broken
        elif isinstance(fault, Break) and not fault.after:
            raise _Broken
        self._through(fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def _hang(self, seconds: float) -> None:
        """Take what is sent and say nothing, until the time is over or the client has gone."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.connection], [], [], 0.2)[0] and not self.connection.recv(PIECE):
                break
        raise _Broken

    def _answer(self, fault: Answer) -> None:
        for _ in self._sent(None):
            pass
        self._status = fault.status
        self.send_response(fault.status)
        for name, value in fault.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(fault.body)

    def _sent(self, fault: Fault | None) -> Iterator[bytes]:
        """Yield the body of the request, piece by piece."""
        body = _Body(fault=fault, sending=True)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                while size:
                    data = self.rfile.read(min(size, PIECE))
                    if not data:
                        raise _Broken
                    size -= len(data)
                    yield body.piece(data, None)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        length = int(self.headers.get("Content-Length") or 0)
        left = length
        while left:
            data = self.rfile.read(min(left, PIECE))
            if not data:
                raise _Broken
            left -= len(data)
            yield body.piece(data, length)

    def _through(self, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(self.owner.upstream, timeout=120)
        try:
            # The registry builds the address to continue an upload from the Host header: through the proxy too.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"expect"}:
                    connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            for data in self._sent(fault):
                connection.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            if chunked:
                connection.send(b"0\r\n\r\n")
            self._back(connection.getresponse(), fault)
        finally:
            connection.close()

    def _back(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        length = answer.getheader("Content-Length")
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() in _HOP or (length is None and name.lower() == "content-length"):
                continue
            lie = isinstance(fault, Wrong) and fault.digest and name.lower() == "docker-content-digest"
            self.send_header(name, fault.digest if lie and isinstance(fault, Wrong) else value)
        empty = self.command == "HEAD" or answer.status in (204, 304)
        if length is None and not empty:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = _Body(fault=fault, sending=False)
        while not empty and (data := answer.read(PIECE)):
            data = body.piece(data, int(length) if length else None)
            self.wfile.write(data if length is not None else b"%x\r\n%b\r\n" % (len(data), data))
        if length is None and not empty:
            self.wfile.write(b"0\r\n\r\n")
        self._status = answer.status

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _reset(connection: socket.socket) -> None:
    """End a connection with a reset, not in good order."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
