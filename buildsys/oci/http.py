"""Decides what one exchange with a registry came to: an answer, another try, or a named problem."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import tenacity

from buildsys.errors import Unavailable

T = TypeVar("T")


class RegistryProblem(Unavailable):
    """Something that a registry did; `host` is the registry, `transient` says that a later try may do."""

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
        super().__init__(message, hint=hint)
        self.host = host
        self.status = status
        self.retry_after = retry_after
        self.transient = transient


class Unauthorized(RegistryProblem):
    """The registry wants other credentials than it was given, or gives this user no right (401, 403)."""


class RateLimited(RegistryProblem):
    """The registry asks for patience (429); `retry_after` is in seconds where it said how long."""


class ServerError(RegistryProblem):
    """The registry itself failed (5xx)."""


class Unreachable(RegistryProblem):
    """No answer came: refused, unknown name, TLS, timeout, or the connection broke."""


class DigestMismatch(RegistryProblem):
    """What came is not what its digest says; never used, never tried again."""


class NotFound(RegistryProblem):
    """What an operation cannot do without is not there (404)."""


class UnexpectedAnswer(RegistryProblem):
    """The registry refused the request for a reason of its own, or answered with something unreadable."""


class UnreadableManifest(UnexpectedAnswer):
    """What is under a reference is no manifest that can be read."""


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
        """Return the status with the registry's own words, on one line, at most 300 characters."""
        try:
            errors = json.loads(self.body)["errors"]
            words = "; ".join(
                " ".join(str(error[key]) for key in ("code", "message") if error.get(key)) for error in errors
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            words = ""
        return " ".join(f"{self.status} {words}".split())[:300]

    def json(self, host: str) -> dict[str, Any]:
        """Return the JSON object in the body; raises UnexpectedAnswer in the name of `host`."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UnexpectedAnswer(f"`{host}` gave no JSON object ({self.status})", host=host)
        return value


class Transport(Protocol):
    """Carries a request; raises OSError or http.client.HTTPException where no answer comes."""

    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status."""

    def close(self) -> None:
        """Give up what is held open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often and how long to wait, in seconds; `cap` also bounds what a registry may ask for.

    With `outages` a registry that takes no connection is asked again too: a run of hours waits for one that restarts,
    while somebody who looks at a plan wants to hear at once that nothing listens there.
    """

    attempts: int = 5
    first: float = 0.5
    cap: float = 60.0
    jitter: float = 0.5
    outages: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryNotice:
    """A problem that will be tried again after `wait` seconds; `attempt` is the one that failed, from 1."""

    problem: RegistryProblem
    attempt: int
    attempts: int
    wait: float


class Client:
    """Sends requests over a transport; only `repeat` waits and tries again."""

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
        self._listener = listener
        self._backoff = tenacity.wait_exponential(retries.first, retries.cap) + tenacity.wait_random(0, retries.jitter)
        self._retrying = tenacity.Retrying(
            sleep=sleep,
            stop=tenacity.stop_after_attempt(retries.attempts),
            wait=self._wait,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RegistryProblem) and error.transient),
            before_sleep=self._notice,
            reraise=True,
        )

    def once(self, request: Request) -> Response:
        """Return the answer to one request; raises Unreachable, RateLimited or ServerError."""
        host = urlsplit(request.url).netloc.rpartition("@")[2]
        try:
            response = self._transport.send(request)
            _check_length(request, response)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(host, error, outages=self._retries.outages) from error
        if response.status == 429:
            wait = retry_after(response.headers.get("retry-after"), now=self._now())
            said = f", and said to wait {wait:g} s" if wait is not None else ""
            raise RateLimited(
                f"registry `{host}` limits the rate of requests ({response.reason()}){said}",
                host=host,
                hint=f"run `docker login {host}` if you have an account there, or use a mirror",
                status=429,
                retry_after=wait,
                transient=True,
            )
        if response.status >= 500:
            raise ServerError(
                f"registry `{host}` failed ({response.reason()}) at `{request.method} {_path(request.url)}`",
                host=host,
                status=response.status,
                retry_after=retry_after(response.headers.get("retry-after"), now=self._now()),
                transient=response.status != 501,
            )
        return response

    def repeat(self, action: Callable[[], T]) -> T:
        """Return what `action` returns; it must be safe to repeat from its start."""
        return self._retrying(action)

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def _wait(self, state: tenacity.RetryCallState) -> float:
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, RegistryProblem) and problem.retry_after is not None:
            return min(problem.retry_after, self._retries.cap)
        return self._backoff(state)

    def _notice(self, state: tenacity.RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, RegistryProblem):
            self._listener(
                RetryNotice(
                    problem=problem,
                    attempt=state.attempt_number,
                    attempts=self._retries.attempts,
                    wait=state.next_action.sleep if state.next_action else 0.0,
                )
            )


def _check_length(request: Request, response: Response) -> None:
    """Raise IncompleteRead for a body that is shorter than the answer said: the connection ended before it did."""
    said = response.headers.get("content-length", "")
    if request.method == "HEAD" or response.status in (204, 304) or not said.isdecimal():
        return
    if (missing := int(said) - len(response.body)) > 0 and "transfer-encoding" not in response.headers:
        raise http.client.IncompleteRead(response.body, missing)


class ConnectTimeout(TimeoutError):
    """No connection within the time given, as opposed to a connection that went silent."""


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (number or HTTP date), None if unreadable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


PLAIN_HTTP_HINT = (
    "if it speaks plain HTTP: that is spoken to a registry on loopback only; let a proxy with a certificate"
    " answer for it, or forward a port of this machine to it"
)


def loopback(host: str) -> bool:
    """Say whether `host` (`name[:port]`) is this machine, where docker speaks plain HTTP."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _unreachable(host: str, error: Exception, *, outages: bool) -> Unreachable:
    transient, hint = True, None
    if isinstance(error, socket.gaierror):
        words, transient, hint = "its name is unknown", False, "check the name, the network and `NO_PROXY`"
    elif isinstance(error, ssl.SSLCertVerificationError):
        words, transient = f"its certificate is not trusted: {error.verify_message}", False
    elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        words, transient = f"TLS failed: {error.reason or error}", False
        hint = PLAIN_HTTP_HINT
    elif isinstance(error, ConnectionRefusedError):
        words, transient = "connection refused", outages
    elif isinstance(error, ConnectTimeout):
        words, transient = "no connection in time", outages
    elif isinstance(error, TimeoutError):
        words = "no answer in time"
    elif isinstance(error, http.client.IncompleteRead):
        words = f"the answer ended after {len(error.partial)} bytes"
    else:
        words = str(error) or type(error).__name__
        transient = isinstance(error, (ConnectionError, http.client.HTTPException, ssl.SSLEOFError))
    return Unreachable(f"registry `{host}` cannot be reached: {words}", host=host, hint=hint, transient=transient)


def _path(url: str) -> str:
    return urlsplit(url).path
