"""Every diagnostic or failure a user may see, with its facts, location, hint and exit code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import IntEnum
from itertools import islice
from typing import Self

from buildsys.values import dataclass


class ExitCode(IntEnum):
    """The exit codes of the process; README and `--help` have the table."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DIFFERS = 3
    INVALID = 4
    UNAVAILABLE = 5
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A position in a project file: path relative to the project root, line and column from 1."""

    file: str
    line: int = 1
    column: int = 1
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """One thing that is wrong in the input: what was found against what was expected.

    `message` is one lower-case sentence without a full stop, names and paths in backticks; `location` is where
    to look; `hint` is one thing to do about it.
    """

    message: str
    location: Location | None = None
    hint: str | None = None


class Diagnostics(list[Diagnostic]):
    """What was found wrong so far; raises `InvalidInput` with more than anybody would look at."""

    MOST = 1_000

    def append(self, found: Diagnostic) -> None:
        """Add one."""
        self.extend((found,))

    def extend(self, found: Iterable[Diagnostic]) -> None:
        """Add several, as far as they fit."""
        for each in found:
            super().append(each)
            if len(self) >= self.MOST:
                raise InvalidInput(self)

    def __iadd__(self, found: Iterable[Diagnostic]) -> Self:  # type: ignore[override, misc]
        self.extend(found)
        return self


class BuildsysError(Exception):
    """Base of everything that buildsys raises on purpose; `exit_code` is what the process ends with."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, location: Location | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return what a report shows, in order."""
        return (Diagnostic(message=self.message, location=self.location, hint=self.hint),)


class InvalidInput(BuildsysError):
    """The project's own files, or names given on the command line, are wrong; holds every diagnostic."""

    exit_code = ExitCode.INVALID

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        # An alias is read at each of its places, and has one location.
        found = {_position(each): each for each in sorted(diagnostics, key=lambda m: m.hint or "", reverse=True)}
        self._diagnostics = tuple(found[key] for key in sorted(found))
        super().__init__("; ".join(each.message for each in self._diagnostics))

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return all diagnostics, sorted by file, line and column."""
        return self._diagnostics


def _position(found: Diagnostic) -> tuple[str, int, int, str]:
    """Return what diagnostics are sorted by; two of one position say the same."""
    at = found.location
    return (at.file, at.line, at.column, found.message) if at else ("", 0, 0, found.message)


class WrongUsage(BuildsysError):
    """What is written on the command line contradicts itself, or is nothing that a command takes."""

    exit_code = ExitCode.USAGE


class Unavailable(BuildsysError):
    """An engine, a registry or a tool that is needed does not answer or is missing."""

    exit_code = ExitCode.UNAVAILABLE


class Bug(BuildsysError):
    """An error of buildsys itself."""

    exit_code: ExitCode = ExitCode.BUG


def unforeseen(error: BaseException) -> BuildsysError:
    """Return the error that an exception becomes which no module foresaw.

    What the system refuses is no fault of buildsys: it is reported with its path and the system's reason.
    """
    if isinstance(error, BuildsysError):
        return error
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        if error.filename is None:
            return Unavailable(f"the system refused a request: {reason}")
        return Unavailable(f"`{os.fsdecode(error.filename)}` cannot be used: {reason}")
    if isinstance(error, MemoryError):
        return Unavailable("the memory of this machine is exhausted", hint="raise its limit, or end other programs")
    return Bug(f"this is a bug of buildsys: {' '.join(f'{type(error).__name__}: {error}'.split())}")


class Differs(BuildsysError):
    """A committed file is not what would be generated now; `difference` is a unified diff."""

    exit_code = ExitCode.DIFFERS

    def __init__(self, message: str, *, difference: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.difference = difference


LONGEST_WORD = 60
# More are slow to compare with, and too many to read.
_MOST_KNOWN, _MOST_LISTED = 200, 50


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to an unknown one, None without a near one."""
    from difflib import get_close_matches

    # A longer one is no typing error, and would take long to compare. A capital is a slip like any other.
    folded = {} if len(word) > LONGEST_WORD else {each.casefold(): each for each in known}
    word = word.casefold()
    alike: Iterable[str] = folded
    if len(folded) > _MOST_KNOWN:
        alike = islice((each for each in folded if each[:1] == word[:1] or each[-2:] == word[-2:]), _MOST_KNOWN)
    near = get_close_matches(word, list(alike), 1)
    return folded[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint that names the known word nearest to an unknown one; without a near one, `otherwise`."""
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else otherwise


def which_one(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint that names the nearest known word, else all of them; `otherwise` where there are none."""
    known = list(known)
    return did_you_mean(word, known) or use_one_of(known) or otherwise


def use_one_of(known: Iterable[str]) -> str | None:
    """Return the hint that names what may be used, None where that is nothing."""
    known = list(known)
    return f"use {'one of ' if len(known) > 1 else ''}{enumerated(known)}" if known else None


def enumerated(words: Iterable[str]) -> str:
    """Return words in backticks with commas between, the first of very many."""
    words = iter(words)
    first = [f"`{each}`" for each in islice(words, _MOST_LISTED)]
    return ", ".join([*first, "…"] if next(words, None) is not None else first)
