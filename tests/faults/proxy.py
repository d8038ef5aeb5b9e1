"""A registry seen through a bad line: bodies stream through, and rules say which request meets which fault.

Nothing of a body is held but one piece of it. Requests are counted by rule, so a fault meets exactly the nth one.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.handler import Handler, Server
from tests.faults.rules import Fault, Rule, Seen


@dataclass(slots=True)
class _Counted:
    rule: Rule
    count: int = 0


class Proxy:
    """Listens on one port of loopback for as long as it lives and passes everything on to a registry."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.port = 0
        self._rules: list[_Counted] = []
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._timers: list[threading.Timer] = []

    @property
    def address(self) -> str:
        """`host:port` to be named in place of the registry's own."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_down(self) -> bool:
        """Whether the proxy refuses connections."""
        return self._server is None

    def meet(self, *rules: Rule) -> None:
        """Forget what was seen and use these rules from now on; the first that fits and is due is used."""
        with self._lock:
            self._rules = [_Counted(rule) for rule in rules]
            self._seen = []

    def seen(self, method: str = "", path: str = "") -> list[Seen]:
        """Return the requests since the rules were set, in the order of their ends."""
        with self._lock:
            return [
                each
                for each in self._seen
                if (not method or each.method in method.split("|")) and re.search(path, each.path)
            ]

    def met(self) -> int:
        """Return how many requests met a fault."""
        return sum(each.fault for each in self.seen())

    def await_request(self, method: str, path: str, seconds: float = 60, times: int = 1) -> bool:
        """Wait until such a request was answered well; say whether it was."""
        end = time.monotonic() + seconds
        while sum(200 <= each.status < 300 for each in self.seen(method, path)) < times:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def await_any(self, count: int, *, while_running: Callable[[], bool]) -> None:
        """Wait until so many requests were answered, or until what makes them has ended."""
        while len(self.seen()) < count and while_running():
            time.sleep(0.01)

    def up(self) -> None:
        """Listen; the port stays the same from the first time on."""
        proxy = self

        class Connection(Handler):
            owner = proxy

        server = Server(("127.0.0.1", self.port), Connection)
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self) -> None:
        """Listen no more and cut every connection: who connects now is refused."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            for connection in self._open:
                # The thread that serves it wakes up by this, and closes it.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def down_for(self, seconds: float) -> None:
        """Be down now and up again after some seconds, without waiting for either."""
        timer = threading.Timer(seconds, self.up)
        timer.daemon = True
        self._timers.append(timer)

        def fall() -> None:
            self.down()
            timer.start()

        threading.Thread(target=fall, daemon=True).start()

    def restore(self) -> None:
        """End every fault: no rules, and it listens."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if self._server is None:
            self.up()
        self.meet()

    def due(self, method: str, path: str, proof: str) -> Fault | None:
        """Return the fault that this request meets, and count it."""
        with self._lock:
            for counted in self._rules:
                rule = counted.rule
                if not rule.fits(method, path, proof):
                    continue
                counted.count += 1
                if counted.count >= rule.first and (rule.times is None or counted.count < rule.first + rule.times):
                    return rule.fault
        return None

    def note(self, seen: Seen) -> None:
        """Keep a request that has ended."""
        with self._lock:
            self._seen.append(seen)

    @contextlib.contextmanager
    def tracked(self, connection: socket.socket) -> Iterator[None]:
        """Keep a connection where `down` finds it."""
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)


@contextlib.contextmanager
def between(upstream: str) -> Iterator[Proxy]:
    """Yield a proxy before the registry `upstream`, `host:port`."""
    proxy = Proxy(upstream)
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.restore()
        proxy.down()
