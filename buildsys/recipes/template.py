"""Texts with `{name}` in them: which names they use, and what they become with values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from buildsys.errors import which_one
from buildsys.names import PLATFORM
from buildsys.values import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w-]*)(?:\|([a-z]+))?\}|\{|\}")
_PART = re.compile(r"\[([^\[\]]*)\]")


def _series(value: str) -> str:
    return ".".join(value.split(".")[:2])


def _major(value: str) -> str:
    return value.split(".")[0]


def _nodots(value: str) -> str:
    return value.replace(".", "")


FILTERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"series": _series, "major": _major, "nodots": _nodots, "dashes": lambda value: value.replace(".", "-")}
)
# How the kernel, and so most release files and wheels, call the processors of platforms (uname(2) of Linux).
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}


def _arch(value: str) -> str:
    return value.split("/")[1] if "/" in value else value


_PLATFORM_FILTERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"arch": _arch, "machine": lambda value: _MACHINES.get(_arch(value), _arch(value))}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong with a template, in which part of it, and what to do about it."""

    message: str
    part: str
    hint: str


def problem(text: str) -> Problem | None:
    """Return what is wrong with a template, or None."""
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "}"):
            hint = "close it with `}`, or write `{{` for a brace" if token[0] == "{" else "write `}}` for a brace"
            return Problem(message=f"the `{token[0]}` has no counterpart", part=token[0], hint=hint)
        if token[2] in _PLATFORM_FILTERS:
            if token[1] != PLATFORM:
                message, hint = f"`{token[2]}` is a filter of `{PLATFORM}` alone", f"write `{{{PLATFORM}|{token[2]}}}`"
                return Problem(message=message, part=token[2], hint=hint)
        elif token[2] and (near := filter_hint(token[2])):
            return Problem(message=f"`{token[2]}` is not a filter", part=token[2], hint=near)
    return None


def filter_hint(name: str) -> str | None:
    """Return which filter is meant by one that does not exist; None by one that does."""
    return None if name in FILTERS else which_one(name, (*FILTERS, *_PLATFORM_FILTERS))


@cache
def names(text: str) -> frozenset[str]:
    """Return the names that a template uses."""
    return frozenset(token[1] for token in _TOKEN.finditer(text) if token[1])


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the template with values in it; raises KeyError for a name without one."""
    if "{" not in text and "}" not in text:
        return text

    def put(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        value = values[token[1]]
        return (FILTERS.get(token[2]) or _PLATFORM_FILTERS[token[2]])(value) if token[2] else value

    return _TOKEN.sub(put, text)


def sample(text: str, value: str = "1") -> str:
    """Return the template with one value for each name."""
    return fill(text, dict.fromkeys(names(text), value))


def literally(text: str) -> str:
    """Return the template that becomes exactly `text`."""
    return text.replace("{", "{{").replace("}", "}}")


def without_absent_parts(text: str, present: frozenset[str]) -> str:
    """Return a name template in which each part in brackets is kept if all its names are present."""
    return _PART.sub(lambda part: part[1] if names(part[1]) <= present else "", text)


def fill_parts(text: str, values: Mapping[str, str]) -> str:
    """Return a name template with values in it, without the parts in brackets that lack one; raises KeyError."""
    return fill(without_absent_parts(text, frozenset(values)), values)
