"""The `pattern` of a parameter: a regular expression that takes linear time, whatever it is compared with.

`re` tries every way to divide a text among nested repetitions: `(a+)+` against 40 letters takes hours. Here all ways
are followed at once, which is why back-references and what looks around are refused. RE2 would do the same, but its
Python package has no wheels for musl, its digits and letters are those of ASCII, and its syntax is not that of `re`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from buildsys.values import dataclass

# The library has no public parser of the syntax that users know.
_parser: Any = import_module("re._parser")
LONGEST_VALUE = 10_000
_MOST_STATES = 1_000
_CATEGORIES = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_NOT_DIGIT": re.compile(r"\D"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_NOT_SPACE": re.compile(r"\S"),
    "CATEGORY_WORD": re.compile(r"\w"),
    "CATEGORY_NOT_WORD": re.compile(r"\W"),
}
_ANCHORS = {"AT_BEGINNING": "begin", "AT_BEGINNING_STRING": "begin", "AT_END": "end", "AT_END_STRING": "end"}


class Unsupported(ValueError):
    """Why a text cannot be a pattern: it is not a regular expression, or would not take linear time."""


@dataclass(slots=True)
class _State:
    """A place in a pattern: a character leads on from it, or nothing does, or only the begin or end of the text."""

    takes: Callable[[str], bool] | str | None
    after: list[_State]

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@lru_cache(maxsize=256)
def compiled(text: str) -> Pattern:
    """Return a pattern; raises `Unsupported`."""
    return Pattern(text)


@lru_cache(maxsize=10_000)
def fits(text: str, value: str) -> bool:
    """Whether a value, which must not be longer than `LONGEST_VALUE`, is what a pattern describes.

    What cannot be a pattern, which is reported where it is declared, fits every value.
    """
    try:
        return len(value) <= LONGEST_VALUE and compiled(text).matches(value)
    except Unsupported:
        return True


class Pattern:
    """A regular expression for whole texts."""

    def __init__(self, text: str) -> None:
        self._count = 0
        self._final = _State(None, [])
        try:
            with warnings.catch_warnings():
                # Of sets that a later version of Python may read in another way.
                warnings.simplefilter("error")
                found = _parser.parse(text)
            if found.state.flags & ~re.UNICODE.value:
                raise Unsupported("flags are not supported")
            start = self._sequence(found, self._final)
        except (re.error, OverflowError, Warning) as error:
            raise Unsupported(f"it is not a regular expression, {error}") from error
        except RecursionError:
            raise Unsupported("it has too many levels") from None
        self._start = _closure([start], {"begin"})
        self._step = lru_cache(maxsize=10_000)(_step)

    def matches(self, text: str) -> bool:
        """Whether a text matches from its beginning to its end."""
        states = self._start
        for character in text:
            states = self._step(states, character)
            if not states:
                return False
        return self._final in _closure(states, {"end"} if text else {"begin", "end"})

    def _state(self, takes: Callable[[str], bool] | str | None, after: list[_State]) -> _State:
        self._count += 1
        if self._count > _MOST_STATES:
            raise Unsupported(f"its repetitions add up to more than {_MOST_STATES} parts")
        return _State(takes, after)

    def _sequence(self, items: Sequence[Any], after: _State) -> _State:
        """Return the state that begins some items, which lead to `after`."""
        for kind, value in reversed(items):
            after = self._one(str(kind), value, after)
        return after

    def _one(self, kind: str, value: Any, after: _State) -> _State:
        match kind:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self._state(_taker(kind, value), [after])
            case "BRANCH":
                return self._state(None, [self._sequence(each, after) for each in value[1]])
            case "SUBPATTERN" if not value[1] and not value[2]:
                return self._sequence(value[3], after)
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self._repeat(value, after)
            case "AT" if str(value) in _ANCHORS:
                return self._state(_ANCHORS[str(value)], [after])
        looks = "look-ahead and look-behind"
        words = {"GROUPREF": "back-references", "ASSERT": looks, "ASSERT_NOT": looks}
        words |= {"AT": "borders of words", "SUBPATTERN": "flags"}
        raise Unsupported(f"{words.get(kind, 'such groups')} are not supported")

    def _repeat(self, value: tuple[int, int, Any], after: _State) -> _State:
        """Return the state that begins a repetition: what must be there, and behind it what may be left out."""
        least, most, items = value
        if most == _parser.MAXREPEAT:
            loop = self._state(None, [after])
            loop.after.append(self._sequence(items, loop))
            after = loop
        else:
            end = after
            for _ in range(most - least):
                inner = self._sequence(items, after)
                if inner is after:
                    break
                after = self._state(None, [inner, end])
        for _ in range(least):
            inner = self._sequence(items, after)
            if inner is after:
                break
            after = inner
        return after


def _taker(kind: str, value: Any) -> Callable[[str], bool]:
    """Return whether one character fits a literal or a set."""
    match kind:
        case "LITERAL":
            return chr(value).__eq__
        case "NOT_LITERAL":
            return chr(value).__ne__
        case "ANY":
            return "\n".__ne__
    parts = [_part(str(each), given) for each, given in value if str(each) != "NEGATE"]
    negated = len(parts) < len(value)
    return lambda character: any(part(character) for part in parts) is not negated


def _part(kind: str, value: Any) -> Callable[[str], bool]:
    if kind == "LITERAL":
        return chr(value).__eq__
    if kind == "RANGE":
        first, last = map(chr, value)
        return lambda character: first <= character <= last
    category = _CATEGORIES[str(value)]
    return lambda character: category.match(character) is not None


def _closure(states: Iterable[_State], passed: Collection[str] = ()) -> frozenset[_State]:
    """Return states and those that are reached from them without a character, through anchors that are `passed`."""
    found, waiting = set[_State](), [*states]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            if state.takes is None or state.takes in passed:
                waiting += state.after
    return frozenset(found)


def _step(states: frozenset[_State], character: str) -> frozenset[_State]:
    return _closure(
        each for state in states if callable(state.takes) and state.takes(character) for each in state.after
    )
