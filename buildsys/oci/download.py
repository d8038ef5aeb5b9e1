"""What the bytes of a download are: all of them are read, or none counts."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import InvalidHeader

from buildsys.addresses import NoHttpAddress, cleaned, followed
from buildsys.errors import Unavailable
from buildsys.oci.connections import Connections, Timeouts, pieces_of
from buildsys.oci.http import RegistryProblem, Request, Retries, retrying
from buildsys.values import dataclass

ATTEMPTS = 3
_PIECE = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10


class Unreached(Unavailable):
    """No source answered with content: what is known of the download stays true."""


class Unusable(Unavailable):
    """The content, or the address that it is redirected to, cannot be used; a retry may help if it is `transient`."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(
            message, hint="rerun the command, or name a mirror under `downloads`; the lock was not changed"
        )
        self.transient = transient


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """Checksum and size in bytes of what an address gives."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Body:
    """A body to be read in pieces, and its length if that is stated."""

    pieces: Iterable[bytes]
    length: int | None


def fetched(
    address: str, url: str, *, environ: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
) -> Download:
    """Return checksum and size of the content of `url`, a web server's or a local file's, for the download `address`.

    Content that ends early is retried. Raises `Unreached` if there is no content, `Unusable` if it is incomplete or
    empty, or if a redirect leads from https to another scheme.
    """
    retries = Retries(attempts=ATTEMPTS, cap=10.0, jitter=0.0)
    with contextlib.closing(Connections(environ=environ, timeouts=Timeouts(connect=60.0, read=60.0))) as connections:
        return retrying(retries, sleep=sleep)(_once, address, url, connections)


def _once(address: str, url: str, connections: Connections) -> Download:
    digest, size, why, expected = hashlib.sha256(), 0, "", None
    with contextlib.ExitStack() as stack:
        opened = _file(url) if url.startswith("file:") else _answer(address, url, connections)
        try:
            body = stack.enter_context(opened)
        except (OSError, http.client.HTTPException, RegistryProblem) as error:
            # What urllib3 does not accept is a content-length with two values.
            if isinstance(error.__cause__, InvalidHeader):
                raise _unreadable_length(address) from error
            raise Unreached(str(error)) from error
        except ValueError as error:
            # Its message quotes a part of the address, which may be a part of a password.
            raise Unreached("the address, or that of a proxy, cannot be read") from error
        expected = body.length
        try:
            for piece in body.pieces:
                digest.update(piece)
                size += len(piece)
        except http.client.IncompleteRead as error:
            size, why = size + len(error.partial), "a part is missing"
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
    if why or (expected is not None and size != expected):
        received = f"{size} bytes" if expected is None else f"{size} of {expected} bytes"
        message = f"`{address}` ended early: received {received}{f' ({why})' if why else ''}, {ATTEMPTS} times"
        raise Unusable(message, transient=True)
    if size == 0:
        raise Unusable(f"`{address}` is empty", transient=True)
    return Download(sha256=digest.hexdigest(), size=size)


@contextlib.contextmanager
def _file(url: str) -> Iterator[_Body]:
    """Yield the content of a mirror that is a folder."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Unreached("a `file:` address names another machine")
    path = Path(unquote(parts.path))
    with path.open("rb") as file:
        yield _Body(pieces=iter(lambda: file.read(_PIECE), b""), length=path.stat().st_size)


@contextlib.contextmanager
def _answer(address: str, url: str, connections: Connections) -> Iterator[_Body]:
    """Yield the content of a web server, behind its redirects."""
    for _ in range(_MOST_REDIRECTS + 1):
        with connections.opened(Request(method="GET", url=cleaned(url))) as answer:
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                if answer.status >= 400:
                    raise Unreached(f"HTTP status {answer.status} {answer.reason or ''}".rstrip())
                if answer.status != 200:
                    raise Unusable(f"`{address}` answered with status {answer.status}, expected 200")
                yield _Body(pieces=pieces_of(answer, _PIECE), length=_length(address, answer.headers))
                return
            url = _redirected(address, url, location)
    raise Unreached(f"more than {_MOST_REDIRECTS} redirects")


def _redirected(address: str, url: str, location: str) -> str:
    try:
        target = followed(url, location)
    except NoHttpAddress as error:
        raise Unusable(f"`{address}` redirects to an address that cannot be used: {error}") from error
    if url.lower().startswith("https:") and not target.startswith("https:"):
        raise Unusable(f"`{address}` redirects from https to `{target}`")
    return target


def _length(address: str, headers: urllib3.HTTPHeaderDict) -> int | None:
    """Return the content-length of an answer, None if there is none; raises `Unusable` if it cannot be read."""
    stated = {value.strip() for value in headers.getlist("content-length")}
    encodings = {value.strip().lower() for value in headers.getlist("transfer-encoding")}
    if encodings - {"chunked"}:
        raise Unusable(f"`{address}` answered in an encoding that is not supported: {', '.join(sorted(encodings))}")
    if not stated or encodings:
        return None
    length = stated.pop()
    if stated or not length.isdecimal():
        raise _unreadable_length(address)
    return int(length)


def _unreadable_length(address: str) -> Unusable:
    return Unusable(f"`{address}` answered with a length that cannot be read")
