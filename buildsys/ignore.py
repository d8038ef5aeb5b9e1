"""Which files of a build context a Dockerfile can read, by its `.dockerignore`.

The rules are those of moby/patternmatcher, which BuildKit uses: the last pattern that matches a path or a folder above
it decides, `!` takes a path back in, `**` stands for any number of folders.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable


def ignored(text: str) -> Callable[[str], bool]:
    """Return a function that tells whether a path, relative to the context, is left out."""
    rules = [rule for line in text.splitlines() if (rule := _rule(line)) is not None]

    def is_ignored(path: str) -> bool:
        parts = path.split("/")
        paths = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        verdict = False
        for pattern, takes_back in rules:
            if verdict is takes_back and any(pattern.fullmatch(each) for each in paths):
                verdict = not takes_back
        return verdict

    return is_ignored


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
    found = ""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 2
            if position < len(pattern) and pattern[position] == "/":
                position += 1
                found += "(?:.*/)?"
            else:
                found += ".*"
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
