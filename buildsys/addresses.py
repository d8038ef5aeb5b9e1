"""Where an address leads, and which credentials it has."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

# Why the address of a download has no credentials: BuildKit writes it into the history of images.
IN_HISTORY = "has credentials, which the history of images would show"
NO_CREDENTIALS = "use an address without credentials"
PORTS = {"http": 80, "https": 443}
# The characters that a path or query may have; others are encoded.
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_AUTHORITY = re.compile(r"://([^/?#\s\"<>`]*)")
_USERINFO = re.compile(r"(?<=://)[^/?#\s\"<>`]*@")
# A password with a `/`, as in `http://me:a/b@host`: the text before it is neither host nor port.
_HEAD = re.compile(r"://([^/?#@\s]*)(?=[/?#])")
# The path under which a server of conda packages takes a token (docs.conda.io, "channels with tokens").
_PATH = re.compile(r"://([^?#\s]*)")
_TOKEN = re.compile(r"/t/([^/]+)/")
_QUERY = re.compile(r"[?&;]([^=&;#?\s]+)=([^&;#\s]+)")
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|credential|api_?key|access_?key|signature|\bsig\b|auth", re.IGNORECASE
)


class NoHttpAddress(ValueError):
    """Not an address of HTTP; it is not quoted, since the fault may be a part of a password."""


@functools.lru_cache(maxsize=256)
def origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an HTTP address; raises NoHttpAddress."""
    try:
        parts = urlsplit(address)
        if parts.scheme in PORTS and parts.hostname:
            return parts.scheme, parts.hostname, PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        pass
    raise NoHttpAddress("it is not an http or https address")


def cleaned(address: str) -> str:
    """Return an HTTP address without credentials and fragment, fit to be sent; raises NoHttpAddress."""
    scheme, host, port = origin(address)
    parts = urlsplit(address)
    name = f"[{host}]" if ":" in host else host
    location = name if port == PORTS[scheme] else f"{name}:{port}"
    return urlunsplit((scheme, location, quote(parts.path, safe=_SAFE), quote(parts.query, safe=_SAFE), ""))


def followed(address: str, location: str) -> str:
    """Return where a `Location` in the answer of `address` leads; raises NoHttpAddress."""
    try:
        target, parts = urljoin(address, location), urlsplit(location)
    except ValueError as error:
        raise NoHttpAddress("it is not an address") from error
    # Without a host, `http:///x` would be a path of the same host.
    return cleaned(location if parts.scheme and not parts.netloc else target)


def credentials_in(text: str) -> Iterator[str]:
    """Yield the credentials of the addresses in a text, as they are written: `user:password`, or a token."""
    for authority in _AUTHORITY.findall(text):
        userinfo, at, _ = authority.rpartition("@")
        if at and userinfo:
            yield userinfo
    for word in text.split() if "@" in text else ():
        end = word.rfind("@")
        starts = (head.start(1) for head in _HEAD.finditer(word, 0, end) if not _is_port(head[1]))
        if (start := next(starts, None)) is not None:
            yield word[start:end]


def _is_port(head: str) -> bool:
    """Whether what follows a colon is a number, or nothing."""
    return re.fullmatch(r"\d*", head.partition(":")[2]) is not None


def tokens_in(text: str) -> Iterator[str]:
    """Yield the tokens in the paths of addresses of conda channels."""
    for path in _PATH.findall(text):
        yield from _TOKEN.findall(path)


def is_secret_name(name: str) -> bool:
    """Return whether the value of a name is likely to be a credential."""
    return _SECRET_NAME.search(name) is not None


def secrets_of_query(text: str) -> Iterator[str]:
    """Yield the values of parameters of queries whose names are those of credentials."""
    yield from (value for name, value in _QUERY.findall(text) if is_secret_name(name))


def without_credentials(text: str) -> str:
    """Return a text with `***` in place of user and password in its addresses."""
    return _USERINFO.sub("***@", text)
