"""Which files of a build context a Dockerfile can read, by its `.dockerignore`.

The rules are those of moby/patternmatcher, as BuildKit uses them while it walks a context: the last pattern that
matches decides, `!` takes a path back in, what matches a folder matches all below it, `**` matches any number of
folders.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

_SPECIAL = frozenset("*?[]\\")


def ignored(text: str) -> Callable[[str], bool]:
    """Return a function that decides whether a path, relative to the context, is left out."""
    lines = text.removeprefix("\ufeff").split("\n")
    rules = [rule for line in lines if (rule := _rule(line)) is not None]

    def is_ignored(path: str) -> bool:
        parts = path.split("/")
        verdict = False
        above = [False] * len(rules)
        for length in range(1, len(parts) + 1):
            verdict, above = _verdict("/".join(parts[:length]), rules, above)
        return verdict

    return is_ignored


def _verdict(path: str, rules: list[tuple[re.Pattern[str], bool]], above: list[bool]) -> tuple[bool, list[bool]]:
    """Return whether a path is left out, and which rules matched; `above` are those that matched its folder.

    A rule that could not change the verdict is not tried, and then does not match for what is below either.
    """
    verdict, matched = False, []
    for (pattern, takes_back), inherited in zip(rules, above, strict=True):
        matches = inherited or (verdict is takes_back and pattern.fullmatch(path) is not None)
        matched.append(matches)
        if matches:
            verdict = not takes_back
    return verdict, matched


def _rule(line: str) -> tuple[re.Pattern[str], bool] | None:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    takes_back = text.startswith("!")
    text = posixpath.normpath(text[1:].strip() if takes_back else text).lstrip("/")
    if not text or text == ".":
        return None
    return re.compile(_expression(text), re.DOTALL), takes_back


def _expression(pattern: str) -> str:
    if pattern.startswith("**") and not pattern.startswith("**/") and not _SPECIAL & set(pattern[2:]):
        # Only at the start and with plain text behind it do two stars match a part of a name.
        return f".*{re.escape(pattern[2:])}"
    found = ""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 3 if pattern.startswith("**/", position) else 2
            found += "(?:.*/)?" if position < len(pattern) else ".*"
            continue
        if character == "[" and (end := pattern.find("]", position + 2)) > 0:
            inside = pattern[position + 1 : end].replace("\\", "\\\\")
            found += f"[{inside}]"
            position = end
        elif character == "\\" and position + 1 < len(pattern):
            position += 1
            found += re.escape(pattern[position])
        else:
            found += {"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character)
        position += 1
    return found
