"""Which files of a build context a Dockerfile can read, by its `.dockerignore`.

The rules are those of moby/patternmatcher, as BuildKit uses them while it walks a context: the last pattern that
matches decides, `!` takes a path back in, what matches a folder matches all below it, `**` matches any number of
folders. BuildKit turns a pattern into a regular expression of Go, in which some of it has another meaning:
`\\d` a digit, `[[:alpha:]]` a letter, `[*]` a set of other characters. Such a pattern is refused.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterator

from buildsys.dockerfile.glob import ANY, ENTER, REST, STAR, Glob, Token
from buildsys.errors import Diagnostic, Location
from buildsys.texts import control, shown
from buildsys.values import dataclass

# Longer ones are not read by BuildKit (Go's `bufio.Scanner`).
_LONGEST_LINE = 65535
# Each file of a context is compared with each rule.
_MOST_RULES = 5_000
_SPECIAL = frozenset("*?[]\\")
_ITEM = re.compile(r"(\\.|[^\\\]-])(?:-(\\.|[^\\\]-]))?", re.DOTALL)
_ITSELF = "write `\\{}` for the character itself"


@dataclass(frozen=True, slots=True)
class _Rule:
    """Whether a path matches a line, and whether that takes it back in."""

    matches: Callable[[str], bool]
    takes_back: bool


class _Refused(Exception):
    """What BuildKit does not read, or not as it looks, with a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


# A project has few files of rules, and each is asked about many times; a rule may be long.
@functools.lru_cache(maxsize=32)
def ignored(text: str) -> Callable[[str], bool]:
    """Return a function that decides whether a path, relative to the context, is left out.

    Lines that `rule_problems` reports match nothing.
    """
    rules = [rule for _, rule in _rules(text) if isinstance(rule, _Rule)]

    def is_ignored(path: str) -> bool:
        parts = path.split("/")
        verdict = False
        above = [False] * len(rules)
        for length in range(1, len(parts) + 1):
            verdict, above = _verdict("/".join(parts[:length]), rules, above)
        return verdict

    return is_ignored


def rule_problems(text: str, file: str) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each line that BuildKit does not read, or not as it looks."""
    lines = text.split("\n")
    for count, (number, rule) in enumerate(_rules(text)):
        if count == _MOST_RULES:
            message = f"the file has more than {_MOST_RULES} rules"
            yield Diagnostic(message=message, location=Location(file=file, line=number), hint="use patterns with `*`")
            return
        if isinstance(rule, _Refused):
            line = lines[number - 1]
            column = len(line) - len(line.lstrip()) + 1
            location = Location(file=file, line=number, column=column, length=max(1, len(line.strip())))
            yield Diagnostic(message=rule.message, location=location, hint=rule.hint)


def _verdict(path: str, rules: list[_Rule], above: list[bool]) -> tuple[bool, list[bool]]:
    """Return whether a path is left out, and which rules matched; `above` are those that matched its folder.

    A rule that could not change the verdict is not tried, and then does not match for what is below either.
    """
    verdict, matched = False, []
    for rule, inherited in zip(rules, above, strict=True):
        matches = inherited or (verdict is rule.takes_back and rule.matches(path))
        matched.append(matches)
        if matches:
            verdict = not rule.takes_back
    return verdict, matched


def _rules(text: str) -> Iterator[tuple[int, _Rule | _Refused]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        try:
            rule = _rule(line)
        except _Refused as refused:
            yield number, refused
        else:
            if rule is not None:
                yield number, rule


def _rule(line: str) -> _Rule | None:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    if found := control(text, keep="\t"):
        raise _Refused(f"the rule has the control character `{found}`", "remove it")
    if len(line.encode("utf-8", "replace")) > _LONGEST_LINE:
        message = f"the line has more than {_LONGEST_LINE} bytes, which BuildKit does not read"
        raise _Refused(message, "write several lines")
    takes_back = text.startswith("!")
    text = text[1:].strip() if takes_back else text
    if not text:
        raise _Refused("the rule is `!` alone", "name what it takes back, or remove the line")
    text = posixpath.normpath(text).lstrip("/")
    return None if text in ("", ".") else _Rule(_matcher(text), takes_back)


@functools.lru_cache(maxsize=64)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return whether a path matches a pattern; these cases are those of patternmatcher's `compile`."""
    rest = pattern[2:]
    if not _SPECIAL & set(pattern):
        return pattern.__eq__
    if pattern.startswith("**") and not _SPECIAL & set(rest):
        # Only at the start and with plain text behind it do two stars match a part of a name.
        return lambda path: path.endswith(rest) or path == rest[1:]
    if pattern.endswith("**") and not _SPECIAL & set(pattern[:-2]):
        return lambda path: path.startswith(pattern[:-2])
    return Glob(list(_tokens(pattern))).matches


def _tokens(pattern: str) -> Iterator[Token]:
    """Yield what the characters of a pattern mean."""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 3 if pattern.startswith("**/", position) else 2
            yield ENTER if position < len(pattern) else REST
            continue
        if character == "[":
            end, token = _set(pattern, position)
            yield token
            position = end
            continue
        if character == "^":
            raise _Refused(f"`{shown(pattern)}` has a `^` outside of a set", _ITSELF.format("^"))
        if character == "\\":
            yield _escaped(pattern, pattern[position : position + 2])
            position += 2
            continue
        yield {"*": STAR, "?": ANY}.get(character) or Token(ranges=((character, character),))
        position += 1


def _escaped(pattern: str, pair: str) -> Token:
    return Token(ranges=((_plain(pattern, pair),) * 2,))


def _plain(pattern: str, item: str) -> str:
    """Return the character that a text of one, or of a backslash and one, means."""
    character = item[-1]
    if item == "\\":
        raise _Refused(
            f"`{shown(pattern)}` ends with a `\\`", "remove the `\\`, or write `\\\\` for the character itself"
        )
    if len(item) == 2 and (character.isalnum() or not character.isascii() or not character.isprintable()):
        message = f"`{shown(pattern)}` has `{item}`, which BuildKit takes for a class of characters or not at all"
        raise _Refused(message, "remove the `\\`")
    if len(item) == 1 and character in "[*?":
        message = f"`{shown(pattern)}` has `{character}` in a set, which BuildKit reads as something else"
        raise _Refused(message, f"write `\\{character}`, and list characters as in `[a-zA-Z]`")
    return character


def _set(pattern: str, start: int) -> tuple[int, Token]:
    """Return the index behind a set such as `[^a-z_]`, and what it means."""
    position = start + 1
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (pattern.startswith("]", position) and ranges):
        item = _ITEM.match(pattern, position)
        if not item:
            message = f"`{shown(pattern)}` has a `[` that begins no set that BuildKit reads"
            raise _Refused(message, "write a set as `[a-z_]` with `\\-` for a `-`, or `\\[` for the character itself")
        first = _plain(pattern, item[1])
        last = _plain(pattern, item[2]) if item[2] else first
        if first > last:
            raise _Refused(f"`{shown(pattern)}` has the reversed range `{item[0]}`", f"write `{last}-{first}`")
        ranges.append((first, last))
        position = item.end()
    return position + 1, Token(ranges=tuple(ranges), negated=negated)
