"""What one exchange with a registry came to: an answer, a named problem, or a problem that is worth a retry."""

from __future__ import annotations

import email.utils
import functools
import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import tenacity

from buildsys.errors import Location, Unavailable
from buildsys.foreign import list_of, object_of
from buildsys.texts import shown
from buildsys.values import dataclass

T = TypeVar("T")
# Which answers a retry may change, see `Temporary` in google/go-containerregistry, pkg/v1/remote/transport/error.go;
# that a server does not know a request (501) or its version (505) stays so.
_TEMPORARY = frozenset({408, 429, *range(500, 600)} - {501, 505})
# What a registry may say of a status that is not temporary by itself, such as 400; nothing of rights or absence.
_TEMPORARY_CODES = frozenset({"BLOB_UPLOAD_INVALID", "TOOMANYREQUESTS", "UNAVAILABLE"})
NAME_INSECURE = "name it under `registries: {insecure: [...]}` in `buildsys.settings.yaml`"
_FINAL = frozenset({401, 403, 404, 405})
_LENGTH = re.compile(r"[0-9]{1,18}")
# An answer that takes longer counts against the patience with its host.
_SLOW = 5.0


class RegistryProblem(Unavailable):
    """A failed request; `host` is the registry, `transient` says whether a retry may succeed."""

    def __init__(
        self,
        message: str,
        *,
        host: str,
        hint: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        transient: bool = False,
    ) -> None:
        # It may hold words of the registry, which are shown and written to files.
        super().__init__(shown(message), hint=hint)
        self.host = host
        self.status = status
        self.retry_after = retry_after
        self.transient = transient

    def name_origin(self, location: Location | None) -> None:
        """Let the message show where the registry is named: at a place of a file, else by `BUILDSYS_REGISTRY`."""
        self.location = location
        if location is None:
            self.message = f"{self.message} (`BUILDSYS_REGISTRY` names this registry)"
            self.args = (self.message,)

    def refer(self, registry: str) -> None:
        """Let the message name the registry that referred to this host, and be a problem of it."""
        self.host = registry
        self.message = f"{self.message}; registry `{registry}` refers to it"
        self.args = (self.message,)


class Unauthorized(RegistryProblem):
    """The registry does not accept the credentials, or this user has no right to the operation (401, 403)."""


class RateLimited(RegistryProblem):
    """The registry limits the rate of requests (429); `retry_after` is in seconds where the registry states it."""


class ServerError(RegistryProblem):
    """The registry itself failed (5xx), or answered with a problem that is temporary by its code."""


class Unreachable(RegistryProblem):
    """No answer: connection refused, unknown name, TLS, time-out, or a broken connection."""


class DigestMismatch(RegistryProblem):
    """The content does not match its digest; it is never used, and the request is not retried."""


class NotFound(RegistryProblem):
    """Something that an operation needs is missing (404)."""


class UnexpectedAnswer(RegistryProblem):
    """The registry refused the request for another reason, or its answer cannot be read."""


class UnreadableManifest(UnexpectedAnswer):
    """The content of a reference is not a manifest that can be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request; headers may hold secrets and are never shown."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """One HTTP answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    def reason(self) -> str:
        """Return the status with the registry's message, on one line, at most 300 characters."""
        words = "; ".join(" ".join(word for word in error if word) for error in self.errors())
        return " ".join(f"{self.status} {words}".split())[:300]

    def errors(self) -> list[tuple[str, str]]:
        """Return code and message of each error in the body, as the specification of distribution has them."""
        try:
            errors = list_of(object_of(self.body), "errors", dict)
        except ValueError:
            return []
        return [(str(error.get("code") or ""), str(error.get("message") or "")) for error in errors]

    @property
    def temporary(self) -> bool:
        """Whether the same request may get another answer later."""
        if self.status in _TEMPORARY:
            return True
        # The body of an answer other than an error is content, which may be large.
        if self.status < 400 or self.status in _FINAL:
            return False
        codes = {code for code, _ in self.errors()}
        return bool(codes) and codes <= _TEMPORARY_CODES

    @property
    def length(self) -> int | None:
        """The content-length, None if it is missing or cannot be read."""
        stated = self.headers.get("content-length", "")
        return int(stated) if _LENGTH.fullmatch(stated) else None

    def json(self, host: str) -> dict[str, Any]:
        """Return the JSON object in the body; raises UnexpectedAnswer in the name of `host`."""
        try:
            return object_of(self.body)
        except ValueError as error:
            raise UnexpectedAnswer(
                f"`{host}` returned no JSON object that can be read ({self.status}): {error}", host=host
            ) from error


class Transport(Protocol):
    """Carries a request; raises OSError or http.client.HTTPException if there is no answer."""

    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status."""

    def close(self) -> None:
        """Give up what is held open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """Number of attempts, and waits between them in seconds; `cap` also bounds what a registry may ask for.

    No attempt begins more than `patience` after the first one, and a host whose slow answers took that long is asked no
    more. With `outages` there is no such end, and a host that has answered before is also waited for where it takes no
    connection: a run of hours outlasts a registry that restarts, while `plan` reports at once that nothing listens.
    """

    attempts: int = 5
    first: float = 0.5
    cap: float = 60.0
    jitter: float = 0.5
    patience: float = 30.0
    outages: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryNotice:
    """A problem that is retried after `wait` seconds; `attempt` is the one that failed, from 1."""

    problem: RegistryProblem
    attempt: int
    attempts: int
    wait: float


def too_slow(host: str) -> Unreachable:
    """Return the problem of a host that answers, and for too long."""
    return Unreachable(f"registry `{host}` cannot be reached: its answers take too long", host=host)


class Client:
    """Sends requests over a transport; only `repeat` waits and retries."""

    def __init__(
        self,
        *,
        transport: Transport,
        retries: Retries,
        sleep: Callable[[float], None],
        now: Callable[[], float],
        listener: Callable[[RetryNotice], None],
    ) -> None:
        self._transport = transport
        self._now = now
        self._retries = retries
        self._retrying = retrying(retries, sleep=sleep, listener=listener)
        # By scheme and host.
        self._answered: set[str] = set()
        self._slow: defaultdict[str, float] = defaultdict(float)
        self._given_up: dict[str, RegistryProblem] = {}

    @property
    def patience(self) -> float:
        """Seconds after which no further request is sent for one answer."""
        return self._retries.patience

    def once(self, request: Request) -> Response:
        """Return the answer to one request; raises Unreachable, RateLimited, ServerError or UnexpectedAnswer.

        A host that gave no answer in time is not asked again, whatever else it would be asked for.
        """
        base = request.url.partition("/v2/")[0]
        host = urlsplit(request.url).netloc.rpartition("@")[2]
        if problem := self._given_up.get(base):
            raise problem
        began = time.monotonic()
        try:
            response = self._transport.send(request)
            _check_length(request, response)
        except (OSError, http.client.HTTPException) as error:
            problem = _without_answer(host, error, outages=self._retries.outages and base in self._answered)
            if isinstance(error, TimeoutError) and not problem.transient:
                self._given_up[base] = problem
            raise problem from error
        self._answered.add(base)
        self._judge_time(base, host, time.monotonic() - began)
        if response.status == 429:
            wait = retry_after(response.headers.get("retry-after"), now=self._now())
            said = f", and asked to wait {wait:g} s" if wait is not None else ""
            raise RateLimited(
                f"registry `{host}` limits the rate of requests ({response.reason()}){said}",
                host=host,
                hint=f"run `docker login {host}` if you have an account there, or use a mirror",
                status=429,
                retry_after=wait,
                transient=True,
            )
        if response.status >= 500 or response.temporary:
            raise ServerError(
                f"registry `{host}` failed ({response.reason()}) at `{request.method} {_path(request.url)}`",
                host=host,
                status=response.status,
                retry_after=retry_after(response.headers.get("retry-after"), now=self._now()),
                transient=response.temporary,
            )
        return response

    def _judge_time(self, base: str, host: str, seconds: float) -> None:
        if seconds < _SLOW or self._retries.outages:
            return
        self._slow[base] += seconds
        if self._slow[base] > self.patience:
            self._given_up[base] = too_slow(host)

    def repeat(self, action: Callable[[], T]) -> T:
        """Return what `action` returns; it must be safe to repeat from its start."""
        return self._retrying(action)

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


def retrying(
    retries: Retries,
    *,
    sleep: Callable[[float], None],
    listener: Callable[[RetryNotice], None] = lambda _notice: None,
) -> tenacity.Retrying:
    """Return what calls a function until it does not raise a transient problem, and at most `retries.attempts` times.

    The last problem is raised as it is.
    """
    backoff = tenacity.wait_exponential(retries.first, retries.cap) + tenacity.wait_random(0, retries.jitter)

    def wait(state: tenacity.RetryCallState) -> float:
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, RegistryProblem) and problem.retry_after is not None:
            return min(problem.retry_after, retries.cap)
        return backoff(state)

    def notice(state: tenacity.RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, RegistryProblem):
            seconds = state.next_action.sleep if state.next_action else 0.0
            attempt = state.attempt_number
            listener(RetryNotice(problem=problem, attempt=attempt, attempts=retries.attempts, wait=seconds))

    return tenacity.Retrying(
        sleep=sleep,
        stop=tenacity.stop_any(*_ends(retries)),
        wait=wait,
        retry=tenacity.retry_if_exception(lambda error: getattr(error, "transient", False)),
        before_sleep=notice,
        reraise=True,
    )


def _check_length(request: Request, response: Response) -> None:
    """Raise IncompleteRead for content that is shorter than its content-length: the connection ended early."""
    if request.method == "HEAD" or response.status in (204, 304) or response.status >= 400 or response.length is None:
        return
    if (missing := response.length - len(response.body)) > 0 and "transfer-encoding" not in response.headers:
        raise http.client.IncompleteRead(response.body, missing)


def _ends(retries: Retries) -> Iterator[tenacity.stop.stop_base]:
    yield tenacity.stop_after_attempt(retries.attempts)
    if not retries.outages:
        yield tenacity.stop_before_delay(retries.patience)


class Garbled(http.client.HTTPException):
    """An answer that is larger than it may be, or not of HTTP; another request would get no better one."""


class ConnectTimeout(TimeoutError):
    """No connection in time, as opposed to no answer on a connection."""


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (number or HTTP date), None if unreadable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


@functools.lru_cache(maxsize=256)
def loopback(host: str) -> bool:
    """Return whether `host` (`name[:port]`) is this machine, where docker speaks plain HTTP."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _without_answer(host: str, error: Exception, *, outages: bool) -> RegistryProblem:
    if isinstance(error, (Garbled, http.client.LineTooLong, http.client.UnknownProtocol)):
        return UnexpectedAnswer(f"registry `{host}` gives an answer that cannot be used: {error}", host=host)
    transient, hint = True, None
    if isinstance(error, socket.gaierror):
        words, transient, hint = "its name is unknown", False, "check the name, the network and `NO_PROXY`"
    elif isinstance(error, ssl.SSLCertVerificationError):
        words, transient = f"its certificate is not trusted: {error.verify_message}", False
        hint = f"set SSL_CERT_FILE to the certificate of its authority, or {NAME_INSECURE}"
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        words, transient = f"TLS failed: {error.reason or error}", False
        hint = f"if it speaks plain HTTP, {NAME_INSECURE}"
    elif isinstance(error, ConnectionRefusedError):
        words, transient = "connection refused", outages
    elif isinstance(error, ConnectTimeout):
        words, transient = "no connection in time", outages
    elif isinstance(error, TimeoutError):
        words, transient = "no answer in time", outages
    elif isinstance(error, http.client.IncompleteRead):
        words = f"the answer ended after {len(error.partial)} bytes"
    else:
        words = str(error) or type(error).__name__
        transient = isinstance(error, (ConnectionError, http.client.HTTPException, ssl.SSLEOFError))
    return Unreachable(f"registry `{host}` cannot be reached: {words}", host=host, hint=hint, transient=transient)


def _path(url: str) -> str:
    return urlsplit(url).path
