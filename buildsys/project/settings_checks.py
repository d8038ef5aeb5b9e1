"""Which names and values settings may have: they become file names, lines of a shell script and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in, is_secret_name, secrets_of_query, tokens_in
from buildsys.errors import InvalidInput
from buildsys.oci.reference import Reference
from buildsys.values import dataclass

_CODENAME = re.compile(r"\*|[a-z0-9][a-z0-9.-]*")
_CONDA_KEY = re.compile(r"[a-z][a-z0-9_]*")
_ORIGIN = re.compile(r"https?://[^/\s]+")
_PROXY = re.compile(r"(?:https?|socks[45][ah]?)://[^/?#\s]+/?")
_DOWNLOAD = re.compile(r"(?:https?|file)://\S+")
_INDEX = re.compile(r"(?:(?:https?|file)://|/)\S+")
# https://manpages.debian.org/sources.list: the type, options in brackets, the address, a suite, components.
_APT_LINE = re.compile(r"\s*(?:#.*|deb(?:-src)?\s+(?:\[[^]]*\]\s+)?[a-z][a-z0-9+-]*:\S+\s+\S.*)")
# Line ends and control characters of Unicode, and what no file in UTF-8 holds.
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
_ENCODE = "in a user or password write `/` as `%2F`, `@` as `%40`, `:` as `%3A`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong with a setting; `of_key` says that it is its name."""

    message: str
    hint: str
    of_key: bool = False


def problem_of(section: str, key: str, value: str, name: str) -> Problem | None:
    """Return what is wrong with one value of a setting; `name` is what it is called in a message.

    A value that may have credentials is never in the message.
    """
    return next(_problems(section, key, value, name), None)


def _problems(section: str, key: str, value: str, name: str) -> Iterator[Problem]:
    yield from _key_problems(section, key)
    # A tab is a blank in a line of apt, as people copy them.
    if _CONTROL.search(value.replace("\t", " ") if section == "apt" else value):
        hint = "write a list with one line each" if section in ("apt", "pip") else "write it on one line"
        yield Problem(message=f"{name} has a line end or another control character", hint=hint)
    elif section == "parents":
        yield from _parent_problems(value, name)
    elif section == "downloads":
        yield from _download_problems(value, name)
    elif section == "registries" and not _is_registry(value, alone=True):
        hint = "write host and port alone, as in the names of images, such as `registry.example.com:5000`"
        yield Problem(message=f"{_found(name, value)} is not a registry", hint=hint)
    elif section == "proxy" and key != "no" and not _PROXY.fullmatch(value):
        yield Problem(
            message=f"{name} is not the address of a proxy",
            hint=f"write it as `http://host:port`; {_ENCODE}",
        )
    elif any(not _is_readable(word) for word in value.split() if "://" in word[1:]):
        yield Problem(message=f"{name} has an address that cannot be read", hint=_ENCODE)
    else:
        yield from _form_problems(section, key, value, name)


def _form_problems(section: str, key: str, value: str, name: str) -> Iterator[Problem]:
    """Yield what is wrong with a value of a form that its program reads."""
    if section == "apt" and not _APT_LINE.fullmatch(value):
        hint = "write it as `deb http://mirror.example.com/debian bookworm main`"
        yield Problem(message=f"{_found(name, value)} is not a line of a sources.list", hint=hint)
    elif section == "pip" and key != "trusted-host" and not _INDEX.fullmatch(value):
        hint = "begin it with `https://`, `http://` or `file://`, or name a folder by its absolute path"
        yield Problem(message=f"{_found(name, value)} is not an address", hint=_of_blanks(value) or hint)
    elif section == "conda" and key == "channel_alias" and not _DOWNLOAD.fullmatch(value):
        hint = _of_blanks(value) or "begin it with `https://` or `http://`"
        yield Problem(message=f"{_found(name, value)} is not an address", hint=hint)


def _of_blanks(value: str) -> str:
    return "remove the blanks" if re.search(r"\s", value) else ""


def _found(name: str, value: str) -> str:
    """Return the subject of a message about a value, which it quotes unless it may have credentials."""
    return f"{name} has `{value}`, which" if not set("@?") & set(value) and "/t/" not in value else name


def _key_problems(section: str, key: str) -> Iterator[Problem]:
    if section == "apt" and not _CODENAME.fullmatch(key):
        hint = "use lower-case letters, digits, `.` and `-`, such as `bookworm`, or `*` for every release"
        yield Problem(message=f"{_quoted(key)} is not the codename of a release", hint=hint, of_key=True)
    if section == "conda" and not _CONDA_KEY.fullmatch(key):
        hint = "use lower-case letters, digits and `_`, such as `channel_alias`: it becomes `CONDA_<NAME>`"
        yield Problem(message=f"{_quoted(key)} is not a setting of conda", hint=hint, of_key=True)
    if section == "parents" and not _is_registry(key, alone=True):
        hint = "name a registry as images do, such as `docker.io`"
        yield Problem(message=f"{_quoted(key)} is not a registry", hint=hint, of_key=True)
    if (section == "downloads" and not (_ORIGIN.fullmatch(key) and _is_readable(key))) or "@" in key:
        hint = "write scheme and host alone, such as `https://example.com`"
        yield Problem(message=f"{_quoted(key)} is not where downloads come from", hint=hint, of_key=True)


def _parent_problems(value: str, name: str) -> Iterator[Problem]:
    if "@" in value:
        hint = "run `docker login`, which keeps them for buildsys and docker"
        yield Problem(message=f"{name} has credentials, which would be part of an image's name", hint=hint)
    elif not _is_registry(value.rstrip("/")):
        hint = "write a registry and a path, without a scheme"
        yield Problem(message=f"`{value}` cannot be a part of an image's name", hint=hint)


def download_problem(value: str, name: str) -> Problem | None:
    """Return what is wrong with the address that takes the place of a host of downloads."""
    return next(_download_problems(value, name), None)


def _download_problems(value: str, name: str) -> Iterator[Problem]:
    if "@" in value:
        yield Problem(message=f"{name} {IN_HISTORY}", hint=NO_CREDENTIALS)
    elif not _DOWNLOAD.fullmatch(value) or not _is_readable(value):
        message = f"{name} is `{value}`, which is not an address"
        yield Problem(message=message, hint=_of_blanks(value) or "begin it with `https://`, `http://` or `file:///`")


def _is_registry(text: str, *, alone: bool = False) -> bool:
    """Whether an image's name may begin with a text, and its first part is a registry then."""
    first, slash, _ = text.partition("/")
    if (alone and slash) or not (set(".:") & set(first) or first == "localhost"):
        return False
    try:
        return Reference.parse(f"{text}/image").host in (first, "docker.io")
    except InvalidInput:
        return False


def _is_readable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.port is None or bool(parts.hostname)
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Return a name for a message, unless it looks like more than a name."""
    return f"`{text}`" if "@" not in text and not _CONTROL.search(text) else "the name"


def credentials_of(section: str, key: str, value: str) -> tuple[str, ...]:
    """Return the credentials in one value of a setting: in an address, as a part of its query, or the value itself."""
    tokens = tokens_in(value) if section == "conda" else ()
    whole = (value,) if section == "conda" and is_secret_name(key) else ()
    return (*credentials_in(value), *secrets_of_query(value), *tokens, *whole)


def variable_of(section: str, key: str) -> str:
    """Return the variable of the environment that says what a setting says; empty if there is none."""
    match section:
        case "parents":
            return "BUILDSYS_PARENTS"
        case "apt":
            return "BUILDSYS_APT" if key == "*" else f"BUILDSYS_APT_{key.upper()}"
        case "pip" | "proxy" | "registries":
            return f"BUILDSYS_{section.upper()}_{key.upper().replace('-', '_')}"
    return ""
