"""Which connection carries a request: kept open or new, direct or through a proxy, plain or TLS."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3
from urllib3 import exceptions

from buildsys.oci.bounds import Bounds
from buildsys.oci.http import ConnectTimeout, Garbled, RegistryProblem, Request, Response, Unreachable, loopback

# More than the threads that send at the same time: what does not fit is closed, and urllib3 logs it.
_KEPT = 64
# urllib3 closes what is in use when it knows more hosts than this.
_HOSTS = 1000


class Connections:
    """Sends requests; connections are kept and shared between threads. Retries and redirects are left to the caller.

    `environ` names the proxies, see `proxy_choice`. The certificates of the hosts in `insecure` are not verified.
    """

    def __init__(
        self, *, environ: Mapping[str, str], bounds: Bounds | None = None, insecure: Collection[str] = ()
    ) -> None:
        self._bounds = bounds or Bounds()
        self._timeout = urllib3.Timeout(connect=self._bounds.connect, read=self._bounds.answer)
        self._insecure = frozenset(map(_host, insecure))
        self._proxy = proxy_choice(environ)
        self._lock = threading.Lock()
        # By proxy, scheme and whether certificates are verified.
        self._managers: dict[tuple[str | None, str, bool], urllib3.PoolManager] = {}

    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status; raises OSError or http.client.HTTPException where none comes.

        A kept connection that the server ends when the request reaches it is replaced once.
        """
        manager = self._manager(request.url)
        try:
            return self._exchange(request)
        except ConnectionError:
            pool = manager.connection_from_url(request.url)
            is_kept = pool.num_requests > pool.num_connections
            # Only what has no effect may be sent twice without anybody asking for it.
            if request.method not in ("GET", "HEAD") or not is_kept:
                raise
        return self._exchange(request)

    def _exchange(self, request: Request) -> Response:
        with self.opened(request) as answer:
            try:
                body = self._bounds.body_of(answer)
            except (ValueError, OverflowError) as error:
                raise Garbled("it states a length that cannot be read") from error
            headers = {name.lower(): value for name, value in answer.headers.itermerged()}
            return Response(status=answer.status, headers=headers, body=body)

    @contextlib.contextmanager
    def opened(self, request: Request) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield an answer whose body is still to be read; raises as `send` does, for reads in the block too."""
        manager = self._manager(request.url)
        try:
            answer = manager.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={"User-Agent": "buildsys", **dict(request.headers)},
                timeout=self._timeout,
                redirect=False,
                retries=False,
                preload_content=False,
                enforce_content_length=False,
            )
            try:
                yield answer
            finally:
                # An answer that was read to its end has given its connection back.
                answer.close()
        except exceptions.HTTPError as error:
            cause = _cause(error)
            if isinstance(cause, ConnectionError):
                # What was kept with it is no better: each would cost a retry.
                self._forget(manager)
            raise cause from error
        except UnicodeError as error:
            raise OSError("its name is not one of a host") from error

    def close(self) -> None:
        """Close all kept connections."""
        with self._lock:
            managers = list(self._managers.values())
            self._managers.clear()
        for manager in managers:
            manager.clear()

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        verified = _host(parts.netloc) not in self._insecure
        key = (self._proxy(parts.scheme, parts.netloc), parts.scheme, verified)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = _new_manager(*key, parts.netloc)
                self._managers[key].pool_classes_by_scheme = self._bounds.pools()
            return self._managers[key]

    def _forget(self, manager: urllib3.PoolManager) -> None:
        """Let new requests open connections of their own; those under way end on the ones that they have."""
        with self._lock:
            self._managers = {key: each for key, each in self._managers.items() if each is not manager}


def page_of(url: str) -> Response:
    """Return what a server on this machine answers, whatever its status; raises OSError where no answer comes.

    Without proxy, redirects and retries, within 10 seconds.
    """
    with contextlib.closing(Connections(environ={}, bounds=Bounds(connect=5.0, answer=10.0))) as connections:
        try:
            return connections.send(Request(method="GET", url=url))
        except (http.client.HTTPException, RegistryProblem, ValueError) as error:
            raise OSError(str(error)) from error


def _new_manager(proxy: str | None, scheme: str, verified: bool, host: str) -> urllib3.PoolManager:
    context = None
    if scheme == "https":
        # One for all connections: it takes milliseconds to read the certificates of the system.
        context = ssl.create_default_context()
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # The user named the registry as unverified.
            urllib3.disable_warnings(exceptions.InsecureRequestWarning)
    if proxy is None:
        return urllib3.PoolManager(_HOSTS, maxsize=_KEPT, ssl_context=context)
    parts = _proxy_parts(proxy, host)
    credentials = {}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = {"Proxy-Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    address = f"http://{name}:{parts.port or 80}"
    return urllib3.ProxyManager(address, _HOSTS, proxy_headers=credentials, maxsize=_KEPT, ssl_context=context)


def pieces_of(answer: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
    """Yield a body in pieces of at most `size` bytes; raises OSError or http.client.HTTPException where it breaks."""
    try:
        yield from answer.stream(size, decode_content=False)
    except exceptions.HTTPError as error:
        raise _cause(error) from error
    except ValueError as error:
        raise Garbled("a part has no length that can be read") from error


def _host(netloc: str) -> str:
    return netloc.lower().removesuffix(":443")


def _cause(error: BaseException) -> Exception:
    """Return what lies below an error of urllib3, as an error of the standard library."""
    if isinstance(error, exceptions.ReadTimeoutError):
        return TimeoutError(str(error))
    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return ConnectTimeout(str(error))
    if isinstance(error, exceptions.LocationValueError):
        return OSError(str(error))
    if isinstance(error, exceptions.InvalidHeader):
        return Garbled("it states a length that cannot be read")
    if isinstance(error, exceptions.InvalidChunkLength):
        return http.client.HTTPException("a part has no length that can be read")
    if isinstance(error, (OSError, http.client.HTTPException)):
        return error
    below = error.__cause__ or next((each for each in error.args if isinstance(each, BaseException)), None)
    return _cause(below) if below else http.client.HTTPException(str(error))


def proxy_choice(environ: Mapping[str, str]) -> Callable[[str, str], str | None]:
    """Return what gives the proxy (`http://[user:password@]host:port`) of a scheme and a host, None for none.

    HTTP_PROXY, HTTPS_PROXY and NO_PROXY of `environ` decide, in lower case first, as in `urllib.request`, which reads
    the environment of the process. Loopback is always direct.
    """
    named = [(name, value) for name, value in environ.items() if name.lower().endswith("_proxy")]
    proxies = {name.lower().removesuffix("_proxy"): value for name, value in named if value}
    if "REQUEST_METHOD" in environ:
        # In a CGI script a client sets it by a header (CVE-2016-1000110).
        proxies.pop("http", None)
    proxies |= {name.removesuffix("_proxy"): value for name, value in named if name == name.lower()}
    direct = [name.strip().lower().lstrip(".") for name in proxies.get("no", "").split(",") if name.strip()]

    def choose(scheme: str, host: str) -> str | None:
        names = {host.lower(), host.lower().rpartition(":")[0] or host.lower()}
        is_direct = "*" in direct or any(f".{name}".endswith(f".{each}") for name in names for each in direct)
        return None if is_direct or loopback(host) else proxies.get(scheme) or None

    return choose


def _proxy_parts(proxy: str, host: str) -> SplitResult:
    """Return the parts of a proxy's address; raises Unreachable, in the name of `host`, for one that cannot be used.

    A proxy is reached without TLS, so one that wants it would get its password in the clear.
    """
    try:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        if parts.scheme in ("", "http") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise Unreachable(
        f"`{host}` cannot be reached: the address of its proxy cannot be used",
        host=host,
        hint="write HTTPS_PROXY and HTTP_PROXY as `http://host:port`; a `/` in a password is `%2F`, an `@` is `%40`",
    )
