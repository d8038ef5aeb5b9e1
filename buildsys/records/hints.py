"""What to write instead of something that is wrong: the hints of messages about the shape of a file."""

from __future__ import annotations

import re
from contextlib import suppress

from buildsys.records.source import Data

DIGITS = re.compile(r"[+-]?[0-9]{1,18}")
# What YAML takes as it is in brackets, and between braces.
_WORD = re.compile(r"\w[\w./:+=-]{0,60}")
_PLAIN_TEXT = re.compile(r"[\w./+-][\w ./+=-]{0,60}")
_FORMS = {
    "a list": "write each entry on a line of its own, with `- ` before it",
    "a mapping": "write it as `name: value`",
    "a text": "write one text, in quotes if it has brackets or braces",
}
_UNITS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "": "s"}


def instead(what: str, data: Data) -> str:
    """Return how a value of the wrong type is written as the right one, which is called `what`."""
    match data:
        case str() if what == "a list" and _WORD.fullmatch(data):
            return f"write `[{data}]`"
        case {**fields} if what == "a text" and len(fields) == 1 and None in fields.values():
            return f'write `"{{{next(iter(fields))}}}"`: what begins with a brace needs quotes'
        case None:
            return "write a value, or remove the key"
        case list() if what == "a mapping":
            return "write `name: value` on lines of their own, without `- `"
    return _FORMS.get(what, f"write {what}")


def as_mapping(data: Data, key: str, example: str, *, is_only: bool, is_list: bool) -> str | None:
    """Return how a text is written as a mapping with a field that is required, None where that is not known."""
    if not isinstance(data, str):
        return None
    if is_only and key != "description" and _PLAIN_TEXT.fullmatch(data):
        return f"write `{{{key}: {f'[{data}]' if is_list else data}}}`"
    return f"write its fields on lines below it, such as `{key}: {example}`"


def whole_number(text: str) -> str:
    """Return how a text is written as a whole number, such as one that is octal or has an exponent."""
    for read in (lambda each: int(each, 0), float):
        with suppress(ValueError, OverflowError):
            number = read(text)
            if number == int(number) and DIGITS.fullmatch(str(int(number))):
                return f"write `{int(number)}`"
    return "write digits, such as `4`"


def truth(text: str) -> str:
    """Return which of `true` and `false` a word means."""
    return "write `false`" if text.lower() in ("false", "no", "off", "n", "0") else "write `true`"


# Each of these returns what a text may mean; whether that is right is checked by the caller.
def dashed(text: str) -> str:
    """Return a name in lower case, with `-` between its parts."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def constant(text: str) -> str:
    """Return a name in capitals, with `_` between its parts."""
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def variable(text: str) -> str:
    """Return the name of a variable with `_` in place of what it cannot have."""
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def platform(text: str) -> str:
    """Return a platform with slashes, and with the system that is left out."""
    found = re.sub(r"[^a-z0-9_]+", "/", text.lower()).strip("/")
    return found if "/" in found else f"linux/{found}"


def container_port(text: str) -> str:
    """Return the port inside the container of one that is published as docker has it."""
    return text.rpartition(":")[2]


def size(text: str) -> str | None:
    """Return a size in MB or GB of one with another unit of that magnitude."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([mg])(?:i?b)?", text, re.IGNORECASE)
    return found and f"{found[1]} {found[2].upper()}B"


def duration(text: str) -> str | None:
    """Return a duration with a unit as docker has it, None for another unit; one without is in seconds."""
    found = re.fullmatch(r"(\d+) ?([a-z]*?)s?", text, re.IGNORECASE)
    unit = found and _UNITS.get(found[2].lower())
    return f"{found[1]}{unit}" if found and unit else None


def checksum(text: str) -> str:
    """Return a checksum in lower case, without the name of its algorithm."""
    return text.lower().removeprefix("sha256:")


def digest(text: str) -> str:
    """Return a digest in lower case, with the name of its algorithm."""
    return f"sha256:{checksum(text)}"


def address(text: str) -> str:
    """Return an address with a scheme, and without blanks."""
    return (text if "://" in text else f"https://{text}").replace(" ", "%20")


def from_root(text: str) -> str:
    """Return a path from the root; a slash at its end stays."""
    return f"/{text.lstrip('/')}"


def from_folder(text: str) -> str:
    """Return a path without what leads to the folder that it is in anyway."""
    return text.removeprefix("./").lstrip("/")


def mode(text: str) -> str:
    """Return a mode without the letter that marks other numbers as octal."""
    return text.lower().replace("o", "", 1)


def absolute(text: str) -> str:
    """Return a path from the root, without a slash at its end."""
    return f"/{text.strip('/')}"
