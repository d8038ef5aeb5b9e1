"""Whether a path matches the pieces of a pattern, in a time that grows with both lengths and no faster.

A regular expression with many stars would try every way to divide a path among them. Here all ways are followed at
once: the bits of a number are the positions in the pattern that the path so far can have reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A piece of a pattern: one character of some ranges, or not of them, or one of the pieces below."""

    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False
    name: str = ""

    def takes(self, character: str) -> bool:
        """Whether it is a piece for one character, and this is one."""
        return not self.name and any(first <= character <= last for first, last in self.ranges) is not self.negated


ANY = Token(ranges=(("/", "/"),), negated=True)
STAR = Token(name="*")
"""Any number of characters but `/`."""
ENTER = Token(name="**/")
"""Nothing, or anything up to a `/`."""
REST = Token(name="**")
"""Anything."""
_INSIDE = Token(name="in **/")


class Glob:
    """A pattern that whole paths are compared with."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        # Equal stars in a row match no more than one; within `**/` is a position of its own.
        kept = [
            each
            for index, each in enumerate(tokens)
            if not each.name or not index or tokens[index - 1].name != each.name
        ]
        self._tokens = [each for token in kept for each in ((token, _INSIDE) if token is ENTER else (token,))]
        # Most pieces of a long pattern are single characters, which need no comparison.
        self._named = [(index, each) for index, each in enumerate(self._tokens) if each.name]
        self._end = 1 << len(self._tokens)
        self._skipped = self._bits(STAR) | self._bits(REST)
        self._entered = self._bits(ENTER)
        self._moves = cache(self._moves_of)

    def matches(self, path: str) -> bool:
        """Whether a path matches from its beginning to its end."""
        reached = self._without_text(1)
        for character in path:
            stay, one, two = self._moves(character)
            reached = self._without_text((reached & stay) | (reached & one) << 1 | (reached & two) << 2)
            if not reached:
                return False
        return bool(reached & self._end)

    def _bits(self, *tokens: Token) -> int:
        return sum(1 << index for index, each in self._named if each in tokens)

    def _moves_of(self, character: str) -> tuple[int, int, int]:
        """Return the positions that a character keeps, moves on by one, and by two."""
        within = 0 if character == "\n" else self._bits(_INSIDE, REST)
        single = sum(1 << index for index, each in enumerate(self._tokens) if each.takes(character))
        if character == "/":
            return within, single | self._entered | self._bits(_INSIDE), self._entered
        entered = 0 if character == "\n" else self._entered
        return within | self._bits(STAR), single | entered, 0

    def _without_text(self, reached: int) -> int:
        """Return positions and those that are reached from them by pieces that match nothing."""
        while (more := reached | (reached & self._skipped) << 1 | (reached & self._entered) << 2) != reached:
            reached = more
        return reached
