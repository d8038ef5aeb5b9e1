"""What a text or stream is without credentials, which become `***`, also where they arrive in pieces."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

from buildsys.addresses import credentials_in, without_credentials

T = TypeVar("T")
MASKED = b"***"
# A shorter one would match in every second word.
_SHORTEST = 4
# Of a secret with several lines, a shorter line such as `{` says nothing.
_SHORTEST_LINE = 8
# `base64` breaks its lines after 76 characters.
_BASE64_LINE = 57
# The passwords of users whose name is the token (https://docs.github.com, "x-oauth-basic").
_NO_PASSWORD = ("", "x-oauth-basic")


class Mask:
    """Replaces credentials in every form in which programs print them."""

    def __init__(self, credentials: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        # No usable address has anything but UTF-8.
        known = [each.encode("utf-8", "replace").decode() for each in credentials]
        forms = {form.encode() for each in known for form in _forms(each)}
        forms |= {form for each in secrets for form in _secret_forms(each)}
        # The longest first: a regular expression takes the first that fits.
        self.forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._pattern = re.compile(b"|".join(map(re.escape, self.forms))) if forms else None

    @classmethod
    def of_texts(cls, texts: Iterable[str], others: Iterable[str] = (), secrets: Iterable[str] = ()) -> Mask:
        """Return the mask of the credentials in the addresses of some texts, of others, and of secrets."""
        return cls(dict.fromkeys([*(each for text in texts for each in credentials_in(text)), *others]), secrets)

    def __bool__(self) -> bool:
        return bool(self.forms)

    def data(self, data: bytes) -> bytes:
        """Return bytes without credentials."""
        return self._pattern.sub(MASKED, data) if self._pattern else data

    def spans(self, data: bytes) -> tuple[tuple[int, int], ...]:
        """Return the spans of credentials in the data, each from its first byte to behind its last."""
        return tuple(found.span() for found in self._pattern.finditer(data)) if self._pattern else ()

    def text(self, text: str) -> str:
        """Return a text without credentials: those known, and those of any address in it."""
        if self._pattern:
            text = self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        return without_credentials(text)

    def value(self, value: T, *, keep: Collection[str] = ()) -> T:
        """Return a value with all its texts masked, through tuples and dataclasses, but for the fields in `keep`."""
        return cast(T, self._value(value, keep))

    def _value(self, value: Any, keep: Collection[str]) -> Any:
        if type(value) is str:
            return self.text(value)
        if isinstance(value, tuple):
            return tuple(self._value(each, keep) for each in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [each.name for each in dataclasses.fields(value) if each.name not in keep]
            return dataclasses.replace(value, **{name: self._value(getattr(value, name), keep) for name in names})
        return value


class MaskedStream:
    """Masks a stream that arrives in pieces: what may be the beginning of a credential is held back."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def take(self, piece: bytes) -> bytes:
        """Return the masked bytes that are certain after a piece; with `rest` they are `Mask.data` of the stream."""
        data = self._held + piece
        end = self._open_end(data)
        self._held = data[end:]
        return self._mask.data(data[:end])

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return self._mask.data(held)

    def _open_end(self, data: bytes) -> int:
        """Return the position of the first beginning of a credential that the data does not complete."""
        starts = sorted({start for form in self._mask.forms for start in _beginnings(data, form)})
        whole = self._mask.spans(data) if starts else ()
        inside = (start for start in starts if not any(first < start < last for first, last in whole))
        return next(inside, len(data))


def _beginnings(data: bytes, form: bytes) -> Iterator[int]:
    start = data.find(form[:1], max(0, len(data) - len(form) + 1))
    while start >= 0:
        if form.startswith(data[start:]):
            yield start
        start = data.find(form[:1], start + 1)


def _forms(credentials: str) -> Iterator[str]:
    """Yield how `user:password` or a token of an address may be printed: encoded, decoded, quoted, as a header."""
    name, _, password = credentials.partition(":")
    secret = name if password in _NO_PASSWORD else password
    whole = f"{unquote(name)}:{unquote(password)}"
    for text in dict.fromkeys((secret, unquote(secret), credentials, whole)):
        for form in dict.fromkeys((text, quote(text, safe=""), quote(text, safe=":"), *_quoted(text))):
            yield from (each for each in (form, _lower_case(form)) if len(each) >= _SHORTEST)
    for text in (whole, f"{name}:{password}"):
        code = base64.b64encode(text.encode()).decode().rstrip("=")
        yield from (code, code.replace("+", "-").replace("/", "_"))
    if len(credentials) < _SHORTEST:
        yield f"//{credentials}@"


def _secret_forms(value: str) -> Iterator[bytes]:
    """Yield how the value of a secret may be printed: whole, line by line, quoted, encoded.

    What is encoded as base64 is found at any place of a longer text, without its first and last characters.
    """
    lines = [line.strip() for line in value.splitlines()]
    several = len([line for line in lines if line]) > 1
    for text in dict.fromkeys([value.strip(), *lines]):
        if len(text) >= (_SHORTEST_LINE if several else _SHORTEST):
            for form in dict.fromkeys((text, quote(text, safe="", errors="surrogateescape"), *_quoted(text))):
                yield form.encode("utf-8", "surrogateescape")
    data = value.strip().encode("utf-8", "surrogateescape")
    if len(data) < _SHORTEST_LINE:
        return
    for before in range(3):
        code = base64.b64encode(b"\0" * before + data)
        # Four characters are three bytes: those of a piece that has bytes of something else are left out.
        core = code[4 if before else 0 : len(code) - (4 if (before + len(data)) % 3 else 0)]
        yield from (core, core.replace(b"+", b"-").replace(b"/", b"_"))
    if len(data) > _BASE64_LINE:
        for start in range(0, len(data) - _SHORTEST_LINE, _BASE64_LINE):
            line = data[start : start + _BASE64_LINE]
            yield base64.b64encode(line[: len(line) // 3 * 3])


def _quoted(text: str) -> Iterator[str]:
    """Yield a text as it is written within the quotes of JSON, Go, Python and two shells."""
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    for quotes in ("\\'", "'\\''", "'\"'\"'"):
        yield text.replace("'", quotes)


def _lower_case(text: str) -> str:
    """Return a text with the hexadecimal digits of its encoded characters in lower case."""
    return re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text)
