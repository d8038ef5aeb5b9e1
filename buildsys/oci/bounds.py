"""How long an answer may take and how large it may be, whatever the other side sends."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from buildsys.foreign import MOST_BYTES
from buildsys.oci.http import Garbled
from buildsys.values import dataclass

_PIECE = 1 << 16
# Of status line, headers, and the lengths of parts.
_AROUND = 1 << 20
# More of an answer that is an error than this is not read: only its reason is shown.
_MOST_OF_ERROR = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Seconds until a connection is open and until an answer is complete, and the size of its body in bytes.

    With a `pace` the body is of any size, and each `pace` bytes of it extend the time by `answer`.
    """

    connect: float = 10.0
    answer: float = 20.0
    body: int = MOST_BYTES
    pace: int = 0

    def pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """Return the classes of connection pools, by scheme, whose answers are within these bounds."""
        bounds = self

        class Answer(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *words: Any, **named: Any) -> None:
                super().__init__(sock, *words, **named)
                self.fp = io.BufferedReader(_Watched(self.fp, sock, bounds))

        class Plain(HTTPConnection):
            response_class = Answer

        class Secure(HTTPSConnection):
            response_class = Answer

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def body_of(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """Return the body of an answer, of an error only its beginning.

        It may be shorter than its length. Raises Garbled, and what urllib3 raises.
        """
        length = length_of(answer)
        most = _MOST_OF_ERROR if answer.status >= 400 else self.body
        if answer.status < 400 and (length or 0) > most and answer.length_remaining != 0:
            raise Garbled(f"it states a length of {length} bytes, expected at most {most}")
        body = bytearray()
        for piece in answer.stream(_PIECE, decode_content=False):
            body += piece
            if len(body) > most:
                if answer.status < 400:
                    raise Garbled(f"its answer has more than {most} bytes")
                return bytes(body[:most])
        return bytes(body)


class _Watched(io.RawIOBase):
    """The bytes of one answer; a time is over when they are read, so it holds for the answer and not for each read."""

    def __init__(self, raw: io.BufferedReader, connection: socket.socket, bounds: Bounds) -> None:
        self._raw = raw
        self._connection = connection
        self._pace = bounds.pace
        # Of a proxy's answer to CONNECT it is that of a connection.
        self._seconds = connection.gettimeout() or bounds.answer
        self._until = time.monotonic() + self._seconds
        self._left = bounds.body + _AROUND
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come; raises TimeoutError and Garbled."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer is not complete in time")
        self._connection.settimeout(left)
        count = self._raw.raw.readinto(buffer) or 0
        self._received += count
        if not self._pace and self._received > self._left:
            raise Garbled(f"its answer has more than {self._left} bytes")
        if self._pace and self._received >= self._pace:
            self._received, self._until = 0, time.monotonic() + self._seconds
        return count

    def close(self) -> None:
        """Give the connection back."""
        self._raw.close()
        super().close()


def length_of(answer: urllib3.BaseHTTPResponse) -> int | None:
    """Return the content-length of an answer, None if there is none; raises Garbled if it cannot be read."""
    stated = {value.strip() for value in answer.headers.getlist("content-length")}
    encodings = {value.strip().lower() for value in answer.headers.getlist("transfer-encoding")}
    if encodings - {"chunked"}:
        raise Garbled(f"its answer is in an encoding that is not supported: {', '.join(sorted(encodings))}")
    if not stated or encodings:
        return None
    length = stated.pop()
    if stated or not (length.isascii() and length.isdecimal() and len(length) < 19):
        raise Garbled("it states a length that cannot be read")
    return int(length)
