"""How versions compare by each scheme, whether a text is a constraint on them, and which values satisfy it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from packaging.specifiers import SpecifierSet
from packaging.version import Version

# Equal versions have equal keys, and a later version has a greater key.
Key: TypeAlias = Any


class Scheme(StrEnum):
    """The rules by which versions are compared."""

    PEP440 = "pep440"
    DEBIAN = "debian"
    SEMVER = "semver"


_EXAMPLES: Mapping[Scheme, str] = MappingProxyType(
    {Scheme.PEP440: "3.14.7", Scheme.DEBIAN: "1:2.3-1", Scheme.SEMVER: "1.4.0"}
)
# Of PyPI, `semver` would be another dependency for its fifteen lines, and `python-debian` a large one.
# Debian Policy wants a digit first, but tags such as `r36.2` have none there, and dpkg compares them too.
_DEBIAN = re.compile(r"(?:(\d+):)?([A-Za-z0-9.+~-]*?[A-Za-z0-9.+~])(?:-([A-Za-z0-9.+~]+))?", re.ASCII)
_RUNS = re.compile(r"(\D*)(\d*)", re.ASCII)
# Semantic Versioning 2.0.0 (https://semver.org), with the `v` that tags have.
_NUMBER, _IDENTIFIER = r"(0|[1-9]\d*)", r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
# What no name of a release or flavour has: a text with one of these is meant to be a range. Debian has `~` in versions.
_OF_RANGES: Mapping[Scheme, re.Pattern[str]] = MappingProxyType(
    dict.fromkeys(Scheme, re.compile(r"[<>=!~,\s]")) | {Scheme.DEBIAN: re.compile(r"[<>=!,\s]")}
)
_CLAUSE = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*([^\s<>=!]+)\s*")
_OPERATORS: Mapping[str, Callable[[Key, Key], bool]] = MappingProxyType(
    {
        **{"<": operator.lt, "<=": operator.le, "==": operator.eq},
        **{"!=": operator.ne, ">=": operator.ge, ">": operator.gt},
    }
)


def key_of(version: str, scheme: Scheme) -> Key:
    """Return by what a version is compared with others of its scheme; raises ValueError for a text that is none."""
    return _KEYS[scheme](version)


def is_prerelease(version: str, scheme: Scheme) -> bool:
    """Whether a version comes before a final release; raises ValueError for a text that is none.

    In Debian's versions, that is one with `~` in its upstream part; in the revision it is the sign of a backport.
    """
    match scheme:
        case Scheme.PEP440:
            return Version(version).is_prerelease
        case Scheme.DEBIAN:
            return "~" in _matched(_DEBIAN, version)[2]
        case Scheme.SEMVER:
            return _matched(_SEMVER, version)[4] is not None


def sample(scheme: Scheme) -> str:
    """Return a version of a scheme, for a template with no values yet."""
    return _EXAMPLES[scheme]


def version_problem(text: str, scheme: Scheme) -> tuple[str, str] | None:
    """Return that a text is no version of a scheme, as `is no version of …`, and a hint; None for a version."""
    schemes = [each for each in Scheme if _is_version(text, each)]
    if scheme in schemes:
        return None
    hint = f"write it like `{_EXAMPLES[scheme]}`"
    better = f"{hint}, or name the scheme `{schemes[0]}` under `versions`" if schemes else hint
    return f"is no version of the scheme `{scheme}`", better


def _is_version(text: str, scheme: Scheme) -> bool:
    try:
        key_of(text, scheme)
    except ValueError:
        return False
    return True


def expected(text: str, scheme: Scheme | None = None) -> str | None:
    """Return what a constraint is where a text is none, by a scheme or by all; one without operators is a value."""
    schemes = Scheme if scheme is None else (scheme,)
    if any(not _OF_RANGES[each].search(text) or _range(text, each) is not None for each in schemes):
        return None
    return "a range of versions with commas between its parts, such as `>=11,<13`, or one value"


def satisfies(value: str, constraint: str, scheme: Scheme = Scheme.PEP440) -> bool:
    """Return whether a value is in a range of versions, or equal to the one value allowed."""
    contains = _range(constraint, scheme) if _OF_RANGES[scheme].search(constraint) else None
    try:
        return value == constraint if contains is None else contains(value)
    except ValueError:
        return value == constraint


def _range(text: str, scheme: Scheme) -> Callable[[str], bool] | None:
    """Return the test whether a version is in a range; None for any other text."""
    try:
        if scheme is Scheme.PEP440:
            versions = SpecifierSet(text, prereleases=True)
            return lambda value: versions.contains(Version(value))
        clauses = [_CLAUSE.fullmatch(each) for each in text.split(",")]
        found = [(_OPERATORS[each[1]], key_of(each[2], scheme)) for each in clauses if each]
    except ValueError:
        return None
    if len(found) < len(clauses):
        return None
    return lambda value: all(compare(key_of(value, scheme), limit) for compare, limit in found)


def _debian(version: str) -> Key:
    """Return the key of a version of deb-version(7): epoch, upstream version, revision."""
    epoch, upstream, revision = _matched(_DEBIAN, version).groups()
    return int(epoch or 0), _runs(upstream), _runs(revision or "")


def _runs(part: str) -> Key:
    """Return runs of other characters and of digits in turn: `~` is before the end, letters are before other signs."""
    signs = {"~": -1}
    return [
        ((*(signs.get(sign, ord(sign) + (0 if sign.isalpha() else 256)) for sign in run), 0), int(digits or 0))
        for run, digits in _RUNS.findall(part or "0")
    ]


def _semver(version: str) -> Key:
    """Return the key by https://semver.org/#spec-item-11: numbers are before words, and a longer list is later."""
    found = _matched(_SEMVER, version)
    words = found[4].split(".") if found[4] else ()
    before = [(0, int(each), "") if each.isdecimal() else (1, 0, each) for each in words]
    return int(found[1]), int(found[2]), int(found[3]), not before, before


def _matched(form: re.Pattern[str], version: str) -> re.Match[str]:
    if found := form.fullmatch(version):
        return found
    raise ValueError(version)


_KEYS: Mapping[Scheme, Callable[[str], Key]] = MappingProxyType(
    {Scheme.PEP440: Version, Scheme.DEBIAN: _debian, Scheme.SEMVER: _semver}
)
