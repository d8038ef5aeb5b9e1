"""Whether a text is a constraint on a version, and which values satisfy it."""

from __future__ import annotations

import re

from packaging.specifiers import SpecifierSet
from packaging.version import Version

# What no name of a release or flavour has: a text with one of these is meant to be a range.
_OF_RANGES = re.compile(r"[<>=!~,\s]")


def expected(text: str) -> str | None:
    """Return what a constraint is where a text is none; a text without operators is the one value allowed."""
    if not _OF_RANGES.search(text) or _range(text) is not None:
        return None
    return "a range of versions with commas between its parts, such as `>=11,<13`, or one value"


def satisfies(value: str, constraint: str) -> bool:
    """Return whether a value is in a range of versions, or equal to the one value allowed."""
    versions = _range(constraint)
    try:
        return value == constraint if versions is None else versions.contains(Version(value))
    except ValueError:
        return value == constraint


def _range(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text, prereleases=True)
    except ValueError:
        return None
