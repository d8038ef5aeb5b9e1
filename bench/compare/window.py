"""A registry seen through a window: everything streams through, and the bytes of blobs are counted on their way."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 1 << 18
# Headers about the connection, not about its content.
OWN_HEADERS = ("connection", "transfer-encoding", "host", "keep-alive")


@dataclass(slots=True)
class Counts:
    """Bytes of blobs that went to clients and came from them, and the number of requests."""

    pulled: int = 0
    pushed: int = 0
    requests: int = 0


class Window:
    """Counts what passes; `host` is where it listens, the same for as long as it is open."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.host = ""
        self._counts = Counts()
        self._lock = threading.Lock()

    def add(self, *, pulled: int = 0, pushed: int = 0, requests: int = 0) -> None:
        """Count."""
        with self._lock:
            self._counts.pulled += pulled
            self._counts.pushed += pushed
            self._counts.requests += requests

    def counts(self) -> Counts:
        """Return what was counted so far."""
        with self._lock:
            return dataclasses.replace(self._counts)


def _pieces(source: io.BufferedIOBase, length: int | None) -> Iterator[bytes]:
    """Yield a body piece by piece: `length` bytes, or to its end if that is not known."""
    left = length
    while left is None or left > 0:
        piece = source.read(PIECE if left is None else min(PIECE, left))
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


def _chunks(source: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield the body of a request that comes in chunks."""
    while size := int(source.readline().partition(b";")[0], 16):
        yield from _pieces(source, size)
        source.readline()
    while source.readline() not in (b"\r\n", b"\n", b""):
        pass


def _handler(window: Window) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Docker tries TLS first, and continues without it if the answer to that is one of HTTP with its status.
        default_request_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        upstream: http.client.HTTPConnection | None = None

        def pass_on(self) -> None:
            is_upload = "/blobs/uploads/" in self.path
            is_blob = self.command == "GET" and "/blobs/sha256:" in self.path
            window.add(requests=1)
            try:
                answer = self._ask(is_upload)
                self._answer(answer, is_blob)
            except (OSError, http.client.HTTPException):
                # One side went away in the middle, as clients do that are stopped: the other end is closed too.
                self.close_connection = True
                self._leave()

        def _ask(self, is_upload: bool) -> http.client.HTTPResponse:
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection(window.upstream, timeout=300)
            chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
            length = int(self.headers.get("Content-Length") or 0)
            self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            # The registry redirects clients to the host that they asked, which is this window.
            self.upstream.putheader("Host", self.headers.get("Host", window.host))
            for name, value in self.headers.items():
                if name.lower() not in OWN_HEADERS:
                    self.upstream.putheader(name, value)
            if chunked:
                self.upstream.putheader("Transfer-Encoding", "chunked")
            self.upstream.endheaders()
            for piece in _chunks(self.rfile) if chunked else _pieces(self.rfile, length):
                self.upstream.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                if is_upload:
                    window.add(pushed=len(piece))
            if chunked:
                self.upstream.send(b"0\r\n\r\n")
            return self.upstream.getresponse()

        def _answer(self, answer: http.client.HTTPResponse, is_blob: bool) -> None:
            length = answer.getheader("Content-Length")
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in OWN_HEADERS:
                    self.send_header(name, value)
            empty = self.command == "HEAD" or answer.status in (204, 304)
            if length is None and not empty:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if empty:
                answer.read()
                return
            for piece in _pieces(answer, int(length) if length is not None else None):
                self.wfile.write(piece)
                if is_blob:
                    window.add(pulled=len(piece))
            # Also where there was nothing to read: the connection is free for the next request only then.
            answer.read()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def _leave(self) -> None:
            if self.upstream is not None:
                self.upstream.close()
                self.upstream = None

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            self._leave()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


class Server(http.server.ThreadingHTTPServer):
    """Ends although clients keep their connections open."""

    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def opened(upstream: str) -> Iterator[Window]:
    """Open a window on the registry `upstream`, `host:port`, on a free port of loopback."""
    window = Window(upstream)
    with Server(("127.0.0.1", 0), _handler(window)) as server:
        window.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield window
        finally:
            server.shutdown()
            thread.join()
