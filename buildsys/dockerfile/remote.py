"""Which addresses a Dockerfile fetches with ADD, and whether each of them can only ever give one content.

BuildKit's own reading (moby/buildkit, `util/gitutil/git_url.go`, `util/sshutil/scpurl.go`, `dfgitutil/git_ref.go`):
`scheme://…` is an address, and so is `host:path` without a scheme, which is git over ssh. A path that begins with `./`
is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

from buildsys.names import PLATFORM_ARGUMENTS
from buildsys.values import dataclass

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCP = re.compile(r"(?:[A-Za-z0-9_-]+@)?[A-Za-z0-9.-]+:")
# Go reads it as an address with a scheme, which git over ssh has not.
_NO_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/(?!/)")
# What no address begins with, whatever a variable behind it holds.
_PATH = re.compile(r"[^:@$]*/")
_VARIABLE = re.compile(
    r"\$(?:\{(?P<long>[A-Za-z_]\w*)(?:(?P<how>:?[-+])(?P<word>(?:[^{}]|\{[^{}]*\})*))?\}|(?P<short>[A-Za-z_]\w*))"
)
_CHECKSUM = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Variables in the defaults of others.
_DEEPEST = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What ARG or ENV says of a name; an ARG without a default has the text None."""

    name: str
    text: str | None
    is_argument: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """What is wrong with an ADD that fetches something: the address as far as it is known, and why it may change."""

    address: str | None
    is_git: bool = False

    @property
    def problem(self) -> str:
        """What is missing, as the end of a sentence."""
        if self.address is None:
            return "may be an address: nothing here says what its variables hold"
        if self.is_git:
            return "names no full commit, and what a branch or tag names changes"
        return "has no checksum, and what an address gives changes"


def moving(path: str, checksum: str, definitions: Iterable[Definition], arguments: Mapping[str, str]) -> Fetch | None:
    """Return what ADD fetches from `path` with `--checksum`, None if it fetches nothing or only one content."""
    values = _values(definitions, arguments)
    if _CHECKSUM.fullmatch(_expanded(checksum, values) or ""):
        return None
    address = _expanded(path, values)
    if address is None:
        return None if _PATH.match(path) else Fetch(address=None)
    if not is_address(address):
        return None
    if not is_git(address):
        return Fetch(address=address)
    if _COMMIT.fullmatch(_expanded(checksum, values) or "") or _commit_of(address):
        return None
    return Fetch(address=address, is_git=True)


def is_address(path: str) -> bool:
    """Whether BuildKit fetches what ADD names, in place of reading it from the context."""
    return bool(_SCHEME.match(path) or (_SCP.match(path) and not _NO_ADDRESS.match(path)))


def is_git(address: str) -> bool:
    """Whether BuildKit reads an address as a git repository, and not as a file of a web server."""
    if not _SCHEME.match(address):
        return bool(_SCP.match(address))
    scheme, _, rest = address.partition("://")
    return scheme.lower() not in ("http", "https") or re.split("[?#]", rest, maxsplit=1)[0].endswith(".git")


def _commit_of(address: str) -> bool:
    """Whether the address of a git repository has a full commit, in its fragment or its query."""
    before, _, fragment = address.partition("#")
    query = parse_qs(before.partition("?")[2])
    named = (
        fragment.partition(":")[0],
        *(value for key in ("ref", "commit", "checksum") for value in query.get(key, ())),
    )
    return any(_COMMIT.fullmatch(each) for each in named)


def expanded(text: str, definitions: Iterable[Definition], arguments: Mapping[str, str]) -> str | None:
    """Return a text with the values of its variables; None where one of them is not known."""
    return _expanded(text, _values(definitions, arguments))


def _values(definitions: Iterable[Definition], arguments: Mapping[str, str]) -> dict[str, str | None]:
    """Return what each name holds, None where that is not known; a variable hides the argument of its name."""
    values: dict[str, str | None] = {}
    variables = set()
    for each in definitions:
        if not each.is_argument:
            variables.add(each.name)
            values[each.name] = _expanded(each.text or "", values)
        elif each.name in variables:
            continue
        elif each.name in arguments:
            values[each.name] = arguments[each.name]
        elif each.name in PLATFORM_ARGUMENTS:
            # Any of its values is a plain word.
            values[each.name] = each.name
        else:
            values[each.name] = None if each.text is None else _expanded(each.text, values)
    return values


def _expanded(text: str, values: Mapping[str, str | None], depth: int = 0) -> str | None:
    if "$" not in text:
        return text
    if depth > _DEEPEST:
        return None
    parts: list[str | None] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts += [text[at : found.start()], _value(found, values, depth)]
        at = found.end()
    parts.append(text[at:])
    known = [each for each in parts if each is not None]
    # A dollar that is left is of a form that only BuildKit's own shell reads.
    if len(known) < len(parts) or any("$" in each for each in parts[::2] if each):
        return None
    return "".join(known)


def _value(found: re.Match[str], values: Mapping[str, str | None], depth: int) -> str | None:
    value = values.get(found["long"] or found["short"])
    how = found["how"]
    if value is None or how is None:
        return value
    holds = bool(value) or ":" not in how
    if how.endswith("+"):
        return _expanded(found["word"], values, depth + 1) if holds else ""
    return value if holds else _expanded(found["word"], values, depth + 1)
