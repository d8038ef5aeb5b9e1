"""Reads a download to its end, to know its bytes: all of them, or none."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPMessage
from typing import IO, Any

import tenacity

from buildsys.addresses import NoHttpAddress, followed
from buildsys.config.lockfile import LockedDownload
from buildsys.errors import Unavailable

ATTEMPTS = 3
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_READ_SECONDS = 60
_PIECE = 1 << 16


class Unreached(Unavailable):
    """Nobody answered with content: what is known of the download stays true."""


class Unusable(Unavailable):
    """Content came, or its place, and cannot be used; `transient`: it may be whole another time."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message, hint="the lock was not changed: run it again, or name a mirror under `downloads`")
        self.transient = transient


def fetched(address: str, url: str, *, sleep: Callable[[float], None] = time.sleep) -> LockedDownload:
    """Return checksum and size of what `url` gives for the download `address`.

    What ends early is retried. Raises `Unreached` if there is no content, `Unusable` if it is not whole, is empty, or
    an answer sends from https to another scheme.
    """
    retrying = tenacity.Retrying(
        sleep=sleep,
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(_FIRST_WAIT, _LONGEST_WAIT),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Unusable) and error.transient),
        reraise=True,
    )
    return retrying(_once, address, url)


def _once(address: str, url: str) -> LockedDownload:
    try:
        answer = _opener(address).open(url, timeout=_READ_SECONDS)
    except (ValueError, http.client.InvalidURL) as error:
        # Its words quote a part of the address, which may be a part of a password.
        raise Unreached("the address, or that of a proxy, cannot be read") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreached(str(error)) from error
    with answer:
        if answer.status not in (None, 200):
            raise Unusable(f"`{address}` answered with status {answer.status}, expected 200")
        expected = _length(address, answer.headers)
        digest, size, why = hashlib.sha256(), 0, ""
        try:
            while piece := answer.read1(_PIECE):
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
    return LockedDownload(sha256=digest.hexdigest(), size=size)


def _length(address: str, headers: Message) -> int | None:
    """Return the length that an answer states, None if it states none; raises `Unusable` for what is no length."""
    stated = {value.strip() for value in headers.get_all("content-length") or ()}
    encodings = {value.strip().lower() for value in headers.get_all("transfer-encoding") or ()}
    if encodings - {"chunked"}:
        raise Unusable(f"`{address}` answered in an encoding that is not read here: {', '.join(sorted(encodings))}")
    if not stated or encodings:
        return None
    length = stated.pop()
    if stated or not length.isdecimal():
        raise Unusable(f"`{address}` answered with a length that cannot be read")
    return int(length)


def _opener(address: str) -> urllib.request.OpenerDirector:
    """Return what opens addresses: those of a web server and, where a mirror is a folder, of files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(address),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to web servers, and never from https to http."""

    def __init__(self, address: str) -> None:
        self._address = address

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """Follow one redirect; raises `Unusable`."""
        try:
            target = followed(req.full_url, headers.get("location") or "")
        except NoHttpAddress as error:
            raise Unusable(f"`{self._address}` redirects to an address that cannot be used: {error}") from error
        if req.full_url.startswith("https:") and not target.startswith("https:"):
            raise Unusable(f"`{self._address}` redirects from https to `{target}`")
        del headers["location"]
        headers["location"] = target
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request, without what the last one had for its proxy alone."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.remove_header("Proxy-authorization")
        return following
