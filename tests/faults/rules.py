"""What goes wrong, and for which request: the values that the proxy is given, and what it saw."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The proxy answers itself; the registry never hears of the request."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """The connection is reset after so many bytes of a body: of what is sent, or of what is fetched."""

    after: int = 0
    sending: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """No answer comes, and after `seconds` the connection is closed."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """Bodies in both directions take their time: bytes per second."""

    rate: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """The answer is wrong: its header has `digest` instead of the true one, or one byte of its body is another."""

    digest: str = ""
    body: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Down:
    """From this request on the proxy refuses connections, for so many seconds; open ones are cut."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Do:
    """Something is done outside before the request is passed on."""

    action: Callable[[], None]


Fault = Answer | Break | Hang | Slow | Wrong | Down | Do


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A fault for requests of a method (`|` between several) whose path holds the pattern.

    It meets `times` of them from the `first` on, counted from 1; None means all later ones. A request whose
    Authorization header is `unless` is none of them.
    """

    method: str
    path: str
    fault: Fault
    first: int = 1
    times: int | None = 1
    unless: str = ""

    def fits(self, method: str, path: str, proof: str) -> bool:
        """Whether this rule speaks of such a request."""
        if self.unless and self.unless == proof:
            return False
        return method in self.method.split("|") and re.search(self.path, path) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One request: `status` is that of its answer, 0 where none was given; `fault` says whether a rule met it."""

    at: float
    method: str
    path: str
    status: int
    fault: bool
