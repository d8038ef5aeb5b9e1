"""Which credentials or token a request carries, and which hosts may see them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlencode, urlsplit

from buildsys.addresses import NoHttpAddress, cleaned, followed, origin
from buildsys.oci.credentials import Credential, Credentials
from buildsys.oci.http import (
    NAME_INSECURE,
    Client,
    RegistryProblem,
    Request,
    Response,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    too_slow,
)
from buildsys.oci.reference import Reference
from buildsys.values import dataclass

_REDIRECTS = (301, 302, 303, 307, 308)
# How a plain request ends at what speaks only TLS, where it gets no answer.
_NO_ANSWER = (ConnectionError, http.client.BadStatusLine)
_CHALLENGE = re.compile(r"(?:^|,\s*)(Basic|Bearer)(?=\s|,|$)", re.IGNORECASE)
# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MOST_HOPS = 6
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """What a registry asks for in its WWW-Authenticate header."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""

    @classmethod
    def parse(cls, header: str) -> Challenge | None:
        """Return the Bearer challenge if there is one, else the Basic one, else None."""
        starts = list(_CHALLENGE.finditer(header))
        found = {}
        ends = [*(each.start() for each in starts[1:]), len(header)]
        for start, end in zip(starts, ends, strict=False):
            text = header[start.end() : end]
            values = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(text)}
            found[start[1].lower()] = cls(
                scheme=start[1].lower(),
                realm=values.get("realm", ""),
                service=values.get("service", ""),
                scope=values.get("scope", ""),
            )
        return found.get("bearer") or found.get("basic")


class Authorizer:
    """Knows the Authorization header for a host and scopes, once a challenge was answered.

    `plain` says whether a registry is asked by plain HTTP, `may_be_plain` whether a host may give tokens by it,
    `is_named` whether the user named a host as insecure.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        send: Callable[[Request], Response],
        plain: Callable[[str], bool],
        may_be_plain: Callable[[str], bool],
        is_named: Callable[[str], bool],
    ) -> None:
        self._credentials = credentials
        self._send = send
        self._plain = plain
        self._may_be_plain = may_be_plain
        self._is_named = is_named
        self._challenges: dict[str, Challenge] = {}
        self._known: dict[tuple[str, tuple[str, ...]], str] = {}
        self._lock = threading.Lock()
        self._locks: defaultdict[tuple[str, tuple[str, ...]], threading.Lock] = defaultdict(threading.Lock)

    def header(self, host: str, scopes: tuple[str, ...]) -> str | None:
        """Return the header of a first request, None before the host's first challenge."""
        known = self._known.get((host, scopes))
        if known is None and (challenge := self._challenges.get(host)):
            return self._obtain(host, scopes, challenge, refused=None)
        return known

    def answer(self, host: str, scopes: tuple[str, ...], header: str, refused: str | None) -> str | None:
        """Return the header that answers a 401, None if there is none; `refused` is the header that was refused."""
        challenge = Challenge.parse(header)
        if challenge is None:
            return None
        self._challenges[host] = challenge
        return self._obtain(host, scopes, challenge, refused=refused)

    def _obtain(self, host: str, scopes: tuple[str, ...], challenge: Challenge, refused: str | None) -> str | None:
        key = (host, scopes)
        with self._lock:
            lock = self._locks[key]
        # Of many threads that are refused at the same time, one fetches the token for all.
        with lock:
            known = self._known.get(key)
            if known is not None and known != refused:
                return known
            credential = self._credentials(host)
            if challenge.scheme == "basic":
                header = f"Basic {_basic(credential)}" if credential and credential.username else None
            else:
                header = f"Bearer {self._token(host, scopes, challenge, credential)}"
            if header is None or header == refused:
                return None
            self._known[key] = header
            return header

    def _token(self, host: str, scopes: tuple[str, ...], challenge: Challenge, credential: Credential | None) -> str:
        """Fetch an access token (https://distribution.github.io/distribution/spec/auth/)."""
        realm = self._realm(host, challenge, credential)
        # The scope of a challenge remembered for another repository must not leak into this one's token.
        asked = list(scopes or (challenge.scope,))
        fields = [("service", challenge.service)] if challenge.service else []
        if credential and credential.identity_token:
            fields += [
                ("grant_type", "refresh_token"),
                ("refresh_token", credential.identity_token),
                ("client_id", "buildsys"),
                ("scope", " ".join(asked)),
            ]
            form = (("Content-Type", "application/x-www-form-urlencoded"),)
            request = Request(method="POST", url=realm, headers=form, body=urlencode(fields).encode())
        else:
            query = urlencode(fields + [("scope", scope) for scope in asked if scope])
            basic = (("Authorization", f"Basic {_basic(credential)}"),) if credential else ()
            joint = "&" if "?" in realm else "?"
            request = Request(method="GET", url=f"{realm}{joint}{query}", headers=basic)
        location = urlsplit(realm).netloc
        with _naming(host if location != host else None):
            response = self._send(request)
        if response.status in (400, 401, 403):
            raise _unauthorized(host, response, given=credential is not None)
        if response.status != 200:
            raise UnexpectedAnswer(
                f"`{location}` returned no token for registry `{host}`: {response.reason()}", host=host
            )
        with _naming(host if location != host else None):
            answer = response.json(location)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise UnexpectedAnswer(f"`{location}` returned no token for registry `{host}` that can be used", host=host)
        return token

    def _realm(self, host: str, challenge: Challenge, credential: Credential | None) -> str:
        """Return where tokens for a registry are fetched.

        By http only if the registry has no https, and with credentials only from itself or from what the user named:
        on loopback, each port may be a different user's.
        """
        try:
            realm = cleaned(challenge.realm)
            scheme, _, _ = origin(realm)
        except NoHttpAddress as error:
            raise UnexpectedAnswer(
                f"registry `{host}` refers for a token to an address that cannot be used: {error}", host=host
            ) from error
        location = urlsplit(realm).netloc
        if scheme != "https" and not (self._plain(host) and self._may_be_plain(location)):
            raise UnexpectedAnswer(f"registry `{host}` refers for a token to `{realm}`, which is not https", host=host)
        if scheme != "https" and credential and location != host.lower() and not self._is_named(location):
            raise UnexpectedAnswer(
                f"registry `{host}` refers for a token to `{realm}`, which would get its credentials by plain HTTP",
                host=host,
                hint=f"if you trust `{location}`, {NAME_INSECURE}",
            )
        return realm


class Session:
    """Sends requests about repositories with the credentials that their registry asks for.

    Registries for which `plain` holds are asked by plain HTTP, or by HTTPS where they speak only TLS. Those in
    `insecure` are asked by HTTPS, or by plain HTTP where they do not speak TLS, as docker does it. No other registry
    gets credentials by plain HTTP.
    """

    def __init__(
        self,
        *,
        client: Client,
        credentials: Credentials,
        plain: Callable[[str], bool],
        insecure: Collection[str] = (),
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._plain = plain
        self._insecure = frozenset(each.lower() for each in insecure)
        self._speaks_tls: dict[str, bool] = {}
        self._authorizer = Authorizer(
            credentials=credentials,
            send=client.once,
            plain=self._is_plain,
            may_be_plain=self._may_be_plain,
            is_named=self._is_named,
        )

    def _is_named(self, host: str) -> bool:
        return host.lower() in self._insecure

    def _may_be_plain(self, host: str) -> bool:
        return self._plain(host) or self._is_named(host)

    def _is_plain(self, host: str) -> bool:
        if host.lower() not in self._insecure:
            return self._plain(host) and not self._speaks_tls.get(host, False)
        if host not in self._speaks_tls:
            self._speaks_tls[host] = self._finds_tls(host)
        return not self._speaks_tls[host]

    def _finds_tls(self, host: str) -> bool:
        try:
            self._client.once(Request(method="GET", url=f"https://{host}/v2/"))
        except Unreachable as problem:
            # Without a port, the two schemes have different ones.
            no_listener = isinstance(problem.__cause__, ConnectionRefusedError) and ":" not in host
            is_refused = isinstance(problem.__cause__, ssl.SSLCertVerificationError)
            if no_listener or (isinstance(problem.__cause__, ssl.SSLError) and not is_refused):
                return False
            raise
        except RegistryProblem:
            # An answer, though none that helps.
            return True
        return True

    def url(self, repository: Reference, path: str) -> str:
        """Return the full address of `path` below a repository, or of the address that a registry itself gave.

        Raises UnexpectedAnswer if it is not an HTTP address.
        """
        scheme = "http" if self._is_plain(repository.host) else "https"
        base = f"{scheme}://{repository.api_host}/v2/{repository.repository}/"
        return self.follow(repository, base, path) if "://" in path else base + path

    def follow(self, repository: Reference, address: str, location: str) -> str:
        """Return where a redirect of `address` leads; raises UnexpectedAnswer if it is not an HTTP address."""
        try:
            return followed(address, location)
        except NoHttpAddress as error:
            message = f"registry `{repository.host}` redirects to an address that cannot be used: {error}"
            raise UnexpectedAnswer(message, host=repository.host) from error

    def repeat(
        self,
        method: str,
        repository: Reference,
        path: str,
        *,
        scopes: tuple[str, ...],
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
    ) -> Response:
        """Return the answer of `once`, with retries while the problem is transient."""
        return self._client.repeat(
            lambda: self._by_either(
                repository.host,
                lambda: self.once(method, repository, path, scopes=scopes, headers=headers, body=body),
            )
        )

    def _by_either(self, host: str, ask: Callable[[], Response]) -> Response:
        """Return what `ask` returns, by HTTPS from a registry that should be plain and speaks only TLS.

        Docker tries HTTPS first there. Nearly all are plain, and what speaks only TLS answers plain HTTP by 400 or not
        at all. Once found, TLS is never given up.
        """
        if host.lower() in self._insecure or host in self._speaks_tls or not self._plain(host):
            return ask()
        try:
            response = ask()
        except Unreachable as problem:
            if not isinstance(problem.__cause__, _NO_ANSWER) or isinstance(problem.__cause__, ConnectionRefusedError):
                raise
            if not self._turns_out_tls(host):
                raise
            return ask()
        return ask() if response.status == 400 and self._turns_out_tls(host) else response

    def _turns_out_tls(self, host: str) -> bool:
        try:
            self._speaks_tls[host] = self._finds_tls(host)
        except Unreachable as problem:
            if isinstance(problem.__cause__, ssl.SSLCertVerificationError):
                raise
            self._speaks_tls[host] = False
        return self._speaks_tls[host]

    def once(
        self,
        method: str,
        repository: Reference,
        path: str,
        *,
        scopes: tuple[str, ...],
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
    ) -> Response:
        """Return the answer; a challenge is answered once, a GET or HEAD follows redirects.

        Raises Unauthorized for a final 401 or 403, and what Client.once raises.
        """
        host, url = repository.host, self.url(repository, path)
        own = origin(self.follow(repository, self.url(repository, ""), ""))
        proof = self._authorizer.header(host, scopes)
        answered, until = False, time.monotonic() + self._client.patience
        for _hop in range(_MOST_HOPS):
            if time.monotonic() > until:
                raise too_slow(host)
            # Credentials are for the registry alone, by scheme, host and port, not for the store that it redirects to.
            home = origin(url) == own
            sent = (*headers, ("Authorization", proof)) if proof and home else headers
            request = Request(method=method, url=url, headers=sent, body=body)
            with _naming(None if home else host):
                response = self._client.once(request)
            if response.status == 401 and home and not answered:
                answered = True
                challenge = response.headers.get("www-authenticate", "")
                if answer := self._authorizer.answer(host, scopes, challenge, refused=proof):
                    proof = answer
                    continue
            location = response.headers.get("location")
            if not (response.status in _REDIRECTS and location and method in ("GET", "HEAD")):
                break
            url = self.follow(repository, url, location)
        else:
            raise UnexpectedAnswer(f"registry `{host}` redirects more than {_MOST_HOPS - 1} times", host=host)
        if response.status in (401, 403):
            if not home:
                scheme, name, _ = origin(url)
                what = "requires credentials and gets none" if response.status == 401 else "does not allow this"
                message = f"registry `{host}` redirects to `{scheme}://{name}`, which {what} ({response.reason()})"
                raise Unauthorized(message, host=host, status=response.status)
            raise _unauthorized(host, response, given=self._credentials(host) is not None)
        return response


@contextlib.contextmanager
def _naming(registry: str | None) -> Iterator[None]:
    """Let a problem at a host that a registry referred to name both; for the registry's own host it is None."""
    try:
        yield
    except RegistryProblem as problem:
        if registry is not None:
            problem.refer(registry)
        raise


def _unauthorized(host: str, response: Response, *, given: bool) -> Unauthorized:
    """Return the error for a final 401 or 403; `given` says whether there were credentials to show."""
    what = "rejects the given credentials" if given else "requires credentials, and none are configured"
    if response.status == 403:
        what = "does not allow this"
    return Unauthorized(
        f"registry `{host}` {what} ({response.reason()})",
        host=host,
        hint=f"run `docker login {host}`",
        status=response.status,
    )


def _basic(credential: Credential | None) -> str:
    secret = f"{credential.username}:{credential.password}" if credential else ":"
    return base64.b64encode(secret.encode()).decode()
