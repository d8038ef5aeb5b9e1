"""A registry seen through a window: everything is passed on, and the bytes of blobs are counted on their way."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Bytes of blobs by direction, and how many requests there were of each method."""

    pulled: dict[str, int] = field(default_factory=dict)
    pushed: int = 0
    requests: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def counted(upstream: str) -> Iterator[tuple[str, Counts]]:
    """Pass requests on to the registry `upstream`, `host:port`; yields the window's own address and the counts."""
    counts = Counts()

    class Window(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            counts.requests[self.command] = counts.requests.get(self.command, 0) + 1
            if "/blobs/uploads/" in self.path:
                counts.pushed += len(body)
            connection = http.client.HTTPConnection(upstream, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            if self.command == "GET" and "/blobs/sha256:" in self.path:
                digest = self.path.rpartition("/")[2]
                counts.pulled[digest] = counts.pulled.get(digest, 0) + len(data)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in ("transfer-encoding", "connection", "content-length"):
                    continue
                # An upload continues at the address in the answer: through the window too.
                self.send_header(name, value.replace(upstream, self.headers["Host"]) if name == "Location" else value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
            connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Window) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", counts
        finally:
            server.shutdown()
            thread.join()
