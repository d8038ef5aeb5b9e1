"""Decides which connection carries a request: kept open, direct or through a proxy, plain or TLS."""

from __future__ import annotations

import base64
import http.client
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import SplitResult, unquote, urlsplit

from buildsys.oci.http import ConnectTimeout, Request, Response, Unreachable, loopback

# Says through which proxy (`http://[user:password@]host:port`) a scheme and a host are reached, if any.
ProxyChoice = Callable[[str, str], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Seconds until a connection stands, and between two pieces of an answer."""

    connect: float = 10.0
    read: float = 60.0


class HttpTransport:
    """Sends over http.client; a connection serves one thread at a time and is kept for the next request."""

    def __init__(self, *, timeouts: Timeouts, proxy: ProxyChoice) -> None:
        self._timeouts = timeouts
        self._proxy = proxy
        self._lock = threading.Lock()
        self._idle: defaultdict[tuple[str, str], list[http.client.HTTPConnection]] = defaultdict(list)

    def send(self, request: Request) -> Response:
        """Return the answer; a kept connection that the registry has closed meanwhile is replaced once."""
        parts = urlsplit(request.url)
        key = (parts.scheme, parts.netloc)
        proxy = self._proxy(parts.scheme, parts.netloc)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        headers = request.headers
        if proxy and parts.scheme == "http":
            target, headers = request.url, headers + _proxy_headers(proxy)
        with self._lock:
            kept = self._idle[key].pop() if self._idle[key] else None
        if kept is not None:
            try:
                return self._exchange(kept, key, request, target, headers)
            except ConnectionError:
                # What was kept with it is no better: each would cost a try.
                self._forget(key)
                # Only what has no effect may be sent twice without anybody asking for it.
                if request.method not in ("GET", "HEAD"):
                    raise
        return self._exchange(self._connect(key, proxy), key, request, target, headers)

    def _forget(self, key: tuple[str, str]) -> None:
        with self._lock:
            stale, self._idle[key] = self._idle[key], []
        for connection in stale:
            connection.close()

    def close(self) -> None:
        """Close all kept connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, key: tuple[str, str], proxy: str | None) -> http.client.HTTPConnection:
        scheme, netloc = key
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        if proxy is None:
            connection = kind(netloc, timeout=self._timeouts.connect)
        else:
            through = _proxy_parts(proxy, netloc)
            connection = kind(through.hostname or "", through.port or 80, timeout=self._timeouts.connect)
            if scheme == "https":
                connection.set_tunnel(netloc, headers=dict(_proxy_headers(proxy)))
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectTimeout(str(error)) from error
        connection.sock.settimeout(self._timeouts.read)
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        key: tuple[str, str],
        request: Request,
        target: str,
        headers: tuple[tuple[str, str], ...],
    ) -> Response:
        try:
            connection.putrequest(request.method, target, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if request.body is not None or request.method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(request.body or b"")))
            connection.endheaders(request.body)
            answer = connection.getresponse()
            body = answer.read()
            response = Response(status=answer.status, headers=_headers(answer), body=body)
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle[key].append(connection)
        return response


def environment_proxies() -> ProxyChoice:
    """Return the choice that HTTP_PROXY, HTTPS_PROXY and NO_PROXY make; loopback is always direct."""
    if not any(name.lower().endswith("_proxy") and value for name, value in os.environ.items()):
        return lambda _scheme, _host: None
    # Costs as much to import as http.client itself, and most machines have no proxy.
    import urllib.request

    proxies = urllib.request.getproxies()

    def choose(scheme: str, host: str) -> str | None:
        proxy = proxies.get(scheme)
        if not proxy or loopback(host) or urllib.request.proxy_bypass(host):
            return None
        return proxy

    return choose


def _proxy_parts(proxy: str, host: str) -> SplitResult:
    """Return the parts of a proxy's address; raises Unreachable, in the name of `host`, for one that cannot be used.

    A proxy is reached without TLS, so one that wants it would get its password in the clear.
    """
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    try:
        usable = parts.scheme in ("", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable:
        return parts
    raise Unreachable(
        f"registry `{host}` cannot be reached: the address of its proxy cannot be used",
        host=host,
        hint="write HTTPS_PROXY and HTTP_PROXY as `http://host:port`; a `/` in a password is `%2F`, an `@` is `%40`",
    )


def _proxy_headers(proxy: str) -> tuple[tuple[str, str], ...]:
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    if parts.username is None:
        return ()
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return (("Proxy-Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}"),)


def _headers(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Return the headers by lower-case name; repeated ones are joined as RFC 9110, 5.2 has it."""
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers
