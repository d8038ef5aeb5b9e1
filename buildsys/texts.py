"""What a text may be, by what it becomes: one line, a port, a user, a folder, a label's key, a package, an address.

Each rule returns what it expects where a text breaks it, and None where the text is right. What a rule lets through
cannot end the instruction, word or quoted string that it is written into.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

LONGEST_NAME = 100
# One argument or variable of a process on Linux, with its end (MAX_ARG_STRLEN, execve(2)).
LONGEST_ARGUMENT = 128 * 1024 - 1
# All of them have a quarter of the usual stack, less what a container adds.
MOST_ARGUMENTS = 2 * 2**20 - LONGEST_ARGUMENT

Rule: TypeAlias = Callable[[str], str | None]

# The control characters, and halves of surrogate pairs, which no file can hold.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# These, what some terminals and editors take for the end of a line, and what turns the direction of a text.
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
# What runners of CI jobs obey in a log: GitHub's `::error::` behind any blanks at the start of a line and `##[error]`
# anywhere (actions/runner, ActionCommand.cs), `##vso[` of Azure and `##teamcity[`.
_COMMAND = re.compile(r"^([^\S\n]*)(?=::)|(?<=#)(?=#\w*\[)", re.MULTILINE)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FORM: Literal["NFC"] = "NFC"
LONGEST_LINE = 65535
"""Bytes that BuildKit's parser accepts in one line of a Dockerfile, those of a heredoc included."""
# As many characters are never more bytes, each of at most four and escaped.
SHORT_LINE = LONGEST_LINE // 8
# What the Dockerfile's own reader takes as more than text inside double quotes.
_SPECIAL = re.compile(r'([\\"$])')
_PORT = re.compile(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?(?:/(?:tcp|udp|sctp))?", re.IGNORECASE | re.ASCII)
_LONGEST_EXCERPT = 80
_SEPARATORS = (":", " ", ",", ";")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MOST_ID = 2**31 - 1
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
# Labels of buildsys are read back from images and manifests: a layer that sets one could pass its image off as another.
_OWN_LABELS = re.compile(r"dev\.buildsys(?:\.|\Z)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Of Debian and Red Hat, with a version, an architecture or a release. A `-` at its end would remove a package.
# A star may end a version, as apt has it: no file of a build is called so.
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.+:=~_/-]*(?:[A-Za-z0-9.+:=~_]|=[A-Za-z0-9.+:~_-]*\*))?")
_PARENT = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")
# The grammar of https://github.com/distribution/reference.
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
# What RFC 3986 allows, without what a shell or a Dockerfile takes as more than text.
_PAGE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!&()*+,;=%-]*")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~%!&*+,;=:@\[\]-]+/[A-Za-z0-9._~:/?#\[\]@!&()*+,;=%-]*")


def shown(text: str, *, keep: str = "") -> str:
    """Return a text for a message, with the characters that a terminal does not print written as escapes."""
    return _UNPRINTED.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def excerpt(text: str) -> str:
    """Return the beginning of a text for a message: one that is too long to be right is too long to be read."""
    return shown(text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…")


def _escaped(character: str) -> str:
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def inert(text: str) -> str:
    """Return lines for a log in which no runner finds a command: a backslash separates what would be one."""
    return _COMMAND.sub(lambda found: f"{found[1] or ''}\\", text) if "::" in text or "##" in text else text


def control(text: str, *, keep: str = "") -> str | None:
    """Return the first character of a text that is not printed, as a message names it; those of `keep` are left out."""
    if text.isprintable():
        return None
    found = next((each[0] for each in _CONTROL.finditer(text) if each[0] not in keep), None)
    return None if found is None else _escaped(found)


def recomposed(text: str) -> tuple[str, str] | None:
    """Return the first part of a text that is not in Unicode's normal form C, and that part in it, as code points.

    HCL has texts in this form only, so bake would change any other one.
    """
    if unicodedata.is_normalized(_FORM, text):
        return None
    whole = unicodedata.normalize(_FORM, text)
    start = next(index for index in range(len(text)) if text[index] != whole[index : index + 1])
    for end in range(start + 1, len(text) + 1):
        part = unicodedata.normalize(_FORM, text[start:end])
        if part != text[start:end] and whole == text[:start] + part + unicodedata.normalize(_FORM, text[end:]):
            break
    return _points(text[start:end]), _points(part)


def _points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)


def composed(text: str) -> str | None:
    """Check a text that bake reads."""
    found = recomposed(text)
    return f"{found[1]} in place of {found[0]}: bake has texts in Unicode's normal form C" if found else None


def one_line(text: str) -> str | None:
    """Check a value that an instruction holds in quotes; it may have a tab."""
    return line(in_quotes(text))


def line(text: str) -> str | None:
    """Check an instruction, or a part of it; it may have a tab."""
    if control(text, keep="\t"):
        return "one line without control characters"
    if len(text) > SHORT_LINE and len(text.encode(errors="replace")) > LONGEST_LINE:
        return f"at most {LONGEST_LINE} bytes, the longest line that BuildKit reads"
    return composed(text)


def in_quotes(text: str) -> str:
    """Return a text as it is written inside double quotes in a Dockerfile."""
    return _SPECIAL.sub(r"\\\1", text)


def part(text: str) -> str | None:
    """Check a part of a list such as PATH, in which an empty one would mean the current folder."""
    return one_line(text) if text else "at least one character: an empty part means the current folder"


def separator(text: str) -> str | None:
    """Check what is between the parts of a variable."""
    return None if text in _SEPARATORS else f"one of {', '.join(f'`{each}`' for each in _SEPARATORS)}"


def default(text: str) -> str | None:
    """Check the value of a variable where the base image has none, which an expansion in a Dockerfile holds."""
    if text and not control(text) and not set(text) & set("\"'\\$`{}"):
        return None
    return "one line without quotes, backslashes, `$`, backticks and braces"


def name(text: str) -> str | None:
    """Check a text that goes into names and arguments."""
    return "one line without control characters or tabs" if control(text) else composed(text)


def short(text: str) -> str | None:
    """Check the length of a name, which becomes a part of names of files, tags and targets."""
    return None if len(text) <= LONGEST_NAME else f"at most {LONGEST_NAME} characters, not {len(text)}"


def argument(text: str) -> str | None:
    """Check the length of an argument of a process."""
    size = len(text.encode("utf-8", "surrogatepass"))
    return None if size <= LONGEST_ARGUMENT else f"at most {LONGEST_ARGUMENT} bytes, not {size}"


def port(text: str) -> str | None:
    """Check what a container listens on."""
    found = _PORT.fullmatch(text)
    if found and int(found[1]) <= int(found[2] or found[1]) <= 65535:
        return None
    return "a number from 1 to 65535 or a range such as `8000-8010`, and `/tcp`, `/udp` or `/sctp` where wanted"


def page(text: str) -> str | None:
    """Check a port and a path of it, which a web server in a container answers."""
    number, _, rest = text.partition("/")
    one = _PORT.fullmatch(number)
    if one and not one[2] and number.isdecimal() and int(number) <= 65535 and _PAGE.fullmatch(rest):
        return None
    return "a port and a path such as `8888/api`"


def program(text: str) -> str | None:
    """Check the first word of what is run without a shell."""
    return None if text else "the name of a program"


def user(text: str) -> str | None:
    """Check a user, with a group where there is one, as names or numbers."""
    parts = text.split(":")
    if len(parts) <= 2 and all(_USER.fullmatch(part) and _is_id(part) for part in parts):
        return None
    return "a name or a number, and `:` with a group where wanted"


def _is_id(text: str) -> bool:
    return not text.isdecimal() or (len(text) <= len(str(_MOST_ID)) and int(text) <= _MOST_ID)


def workdir(text: str) -> str | None:
    """Check the folder that a container starts in."""
    normal = text == posixpath.normpath(text) and not text.startswith("//") and text == text.strip()
    if text.startswith("/") and normal and control(text) is None:
        return None
    return "an absolute path without `.`, `..`, empty parts or a `/` at its end"


def label_key(text: str) -> str | None:
    """Check the key of a label."""
    if _OWN_LABELS.match(text):
        return "`dev.buildsys.` is reserved for labels of buildsys"
    if _LABEL_KEY.fullmatch(text):
        return None
    return "letters, digits, `.`, `_`, `/` and `-`, with a letter or digit first"


def variable(text: str) -> str | None:
    """Check the name of a variable."""
    return None if _VARIABLE.fullmatch(text) else "letters, digits and `_`, no digit first"


def package(text: str) -> str | None:
    """Check a package, which a shell receives as a word."""
    if _PACKAGE.fullmatch(text):
        return None
    return "a package's name, with `=` and a version where wanted: letters, digits and `.+:=~_/-`"


def packages(text: str) -> str | None:
    """Check what a template for packages became: a parameter may hold several, or none."""
    return next((expected for word in text.split(" ") if word and (expected := package(word))), None)


def parent(text: str) -> str | None:
    """Check the name that a parent image has in the lock and in the bake file."""
    return None if _PARENT.fullmatch(text) else "letters and digits, with `.`, `_` or `-` between"


def image(text: str) -> str | None:
    """Check a reference to an image."""
    return None if _IMAGE.fullmatch(text) else "a reference such as `docker.io/library/debian:12-slim`"


def _has_host(text: str) -> bool:
    try:
        return urlsplit(text).hostname is not None
    except ValueError:
        return False


def address(text: str) -> str | None:
    """Check where a download comes from."""
    if _ADDRESS.fullmatch(text) and _has_host(text):
        return None
    return "an http or https address without blanks, quotes, `$`, `\\` and backticks"
