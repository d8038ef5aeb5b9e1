"""What the bytes of a download are: all of them are read, or none counts."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from buildsys.addresses import NoHttpAddress, cleaned, followed
from buildsys.errors import Unavailable
from buildsys.oci.bounds import Bounds, length_of
from buildsys.oci.connections import Connections, pieces_of
from buildsys.oci.http import Garbled, RegistryProblem, Request, Retries, retrying
from buildsys.texts import shown
from buildsys.values import dataclass

ATTEMPTS = 3
_PIECE = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
# Larger than any archive that is built from; 256 KiB in half a minute is slower than any server that works.
_MOST_BYTES = 32 << 30
_BOUNDS = Bounds(connect=15.0, answer=30.0, pace=1 << 18)


class Unreached(Unavailable):
    """No source answered with content: what is known of the download stays true."""


class Unusable(Unavailable):
    """The content, or the address that it is redirected to, cannot be used; a retry may help if it is `transient`."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(
            shown(message), hint="rerun the command, or name a mirror under `downloads`; the lock was not changed"
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
    with contextlib.closing(Connections(environ=environ, bounds=_BOUNDS)) as connections:
        return retrying(retries, sleep=sleep)(_once, address, url, connections)


def _once(address: str, url: str, connections: Connections) -> Download:
    try:
        with contextlib.ExitStack() as stack:
            opened = _file(url) if url.startswith("file:") else _answer(address, url, connections)
            try:
                body = stack.enter_context(opened)
            except (OSError, http.client.HTTPException, RegistryProblem) as error:
                if isinstance(error, Garbled):
                    raise
                raise Unreached(shown(str(error))[:300]) from error
            except ValueError as error:
                # Its message quotes a part of the address, which may be a part of a password.
                raise Unreached("the address, or that of a proxy, cannot be read") from error
            return _measured(address, body)
    except Garbled as error:
        raise Unusable(f"`{address}` cannot be used: {error}") from error


def _measured(address: str, body: _Body) -> Download:
    digest, size, why = hashlib.sha256(), 0, ""
    _check_size(body.length or 0)
    try:
        for piece in body.pieces:
            digest.update(piece)
            size += len(piece)
            _check_size(size)
    except TimeoutError as error:
        # It is not asked for again: that would take as long.
        raise Unusable(f"`{address}` came too slowly: received {size} bytes") from error
    except http.client.IncompleteRead as error:
        size, why = size + len(error.partial), "a part is missing"
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, Garbled):
            raise
        why = str(error) or type(error).__name__
    if why or (body.length is not None and size != body.length):
        received = f"{size} bytes" if body.length is None else f"{size} of {body.length} bytes"
        message = f"`{address}` ended early: received {received}{f' ({why})' if why else ''}, {ATTEMPTS} times"
        raise Unusable(message, transient=True)
    if size == 0:
        raise Unusable(f"`{address}` is empty", transient=True)
    return Download(sha256=digest.hexdigest(), size=size)


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise Garbled(f"it has {size} bytes, expected at most {_MOST_BYTES >> 30} GiB")


@contextlib.contextmanager
def _file(url: str) -> Iterator[_Body]:
    """Yield the content of a mirror that is a folder."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Unreached("a `file:` address names another machine")
    path = Path(unquote(parts.path))
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unreached(f"`{path}` is no file")
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
                    raise Unreached(f"HTTP status {answer.status} {shown(answer.reason or '')[:100]}".rstrip())
                if answer.status != 200:
                    raise Unusable(f"`{address}` answered with status {answer.status}, expected 200")
                yield _Body(pieces=pieces_of(answer, _PIECE), length=length_of(answer))
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
