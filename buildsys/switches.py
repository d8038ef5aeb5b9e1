"""What the variables of a shell switch on: whether this is CI, what the terminal can do, whether it gets colours."""

from __future__ import annotations

from collections.abc import Mapping

_OFF = ("", "0", "false", "no", "off")
_PLAIN_TERMINALS = ("dumb", "unknown")


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether this is a CI job; `CI=false` and the like say that it is none."""
    return environ.get("CI", "").strip().lower() not in _OFF


def has_cursor(environ: Mapping[str, str]) -> bool:
    """Whether the terminal can move its cursor and show colours."""
    return environ.get("TERM") not in _PLAIN_TERMINALS


def wants_colour(environ: Mapping[str, str]) -> bool:
    """Whether a terminal gets colours; by https://no-color.org any text in NO_COLOR says no, also `0` and `false`."""
    return has_cursor(environ) and not environ.get("NO_COLOR")


def cache_switch(environ: Mapping[str, str]) -> str:
    """Return what BUILDSYS_CACHE_WRITE says: `0`, `1`, or nothing, which is as `1`."""
    return environ.get("BUILDSYS_CACHE_WRITE", "")


def emulates(environ: Mapping[str, str]) -> bool:
    """Whether BUILDSYS_EMULATE lets builders emulate platforms, as `--emulate` does."""
    return environ.get("BUILDSYS_EMULATE", "").strip().lower() not in _OFF


def writes_caches(environ: Mapping[str, str]) -> bool:
    """Whether bakes write BuildKit's caches: the bake file compares BUILDSYS_CACHE_WRITE with `0`, and nothing else."""
    return bool(environ.get("BUILDSYS_CACHE")) and cache_switch(environ) != "0"
