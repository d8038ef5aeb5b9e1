"""How things are called in bake and in a registry."""

from __future__ import annotations

import hashlib
import re

# Bake takes these characters only (docker/buildx, bake/bake.go); on its command line a dot becomes `_` too.
_NOT_IN_TARGET = re.compile(r"[^a-zA-Z0-9_-]")
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_NOT_IN_VARIABLE = re.compile(r"[^A-Z0-9]+")
LONGEST_TARGET = 100
# The annotation of what is published, and the label of an image in an engine's own store.
KEY_LABEL = "dev.buildsys.key"


def target_name(name: str) -> str:
    """Return the name of a bake target; two names may become one, which is for the caller to refuse."""
    return _NOT_IN_TARGET.sub("_", name)


def reference_problem(name: str) -> str | None:
    """Return why a stack's name cannot be the last part of a repository's name, or None."""
    if _REPOSITORY.fullmatch(name):
        return None
    return f"`{name}` cannot be an image's name: lower-case letters, digits, single `.` `_` `-` between"


def variable_name(prefix: str, name: str) -> str:
    """Return the bake variable of something: `BUILDSYS_<PREFIX>_<NAME>`."""
    return f"BUILDSYS_{prefix}_{_NOT_IN_VARIABLE.sub('_', name.upper()).strip('_')}"


def short_hash(text: str) -> str:
    """Return eight hexadecimal digits that stand for a text in a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def shortened(name: str) -> str:
    """Return a name of at most `LONGEST_TARGET` characters: a longer one ends in its hash."""
    if len(name) <= LONGEST_TARGET:
        return name
    return f"{name[: LONGEST_TARGET - 9]}-{short_hash(name)}"


def registry_prefix(prefix: str) -> str | None:
    """Return a prefix if it names a registry: its first part has a dot or a colon, or is `localhost`."""
    first, slash, _ = prefix.partition("/")
    return prefix.rstrip("/") if slash and (set(".:") & set(first) or first == "localhost") else None


def visible(text: str) -> str:
    """Return a text of somebody else as a message shows it: what cannot be seen, or moves the cursor, is escaped."""
    return text if text.isprintable() else repr(text)[1:-1]
