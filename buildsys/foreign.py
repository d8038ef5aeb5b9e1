"""JSON that another program or host wrote: a value of bounded size, depth and number of parts, or an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
MOST_BYTES = 4 << 20
_MOST_VALUES = 200_000
_DEEPEST = 100
# It matches at every quote, so that no text is looked at twice.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_KINDS: Mapping[type, str] = MappingProxyType({dict: "objects", list: "lists", str: "texts"})
_BRACKETS = re.compile(rb"[\[{\]}]")


def json_of(raw: bytes | str, *, most: int = MOST_BYTES, values: int | None = None) -> Any:
    """Return the value of a JSON text of at most `most` bytes and about `values` values.

    Raises ValueError, with what is wrong, for anything but one value in UTF-8, for equal keys, numbers that JSON does
    not have, halves of surrogate pairs, and for what is too large or too deep.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > most:
        raise ValueError(f"more than {most >> 20} MiB")
    if sum(map(data.count, (b",", b"[", b"{"))) > (values or max(_MOST_VALUES, most // 20)):
        raise ValueError("too many values")
    if _is_deep(data):
        raise ValueError(f"brackets nested more than {_DEEPEST} deep")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite)
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ValueError("a text that is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg.lower()} at character {error.pos + 1}") from error
    return value


def object_of(raw: bytes | str, *, most: int = MOST_BYTES, values: int | None = None) -> dict[str, Any]:
    """Return the JSON object in a text; raises ValueError as `json_of` does, and for a value of another type."""
    value = json_of(raw, most=most, values=values)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def texts_of(document: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a field that is an object of texts, empty if it is missing or null; raises ValueError."""
    value = document.get(name)
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return value
    raise ValueError(f"`{name}` is no object of texts")


def list_of(document: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    """Return a field that is a list of items of one type, empty if it is missing or null; raises ValueError."""
    value = document.get(name)
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, kind) for each in value):
        return value
    raise ValueError(f"`{name}` is no list of {_KINDS[kind]}")


def _is_deep(data: bytes) -> bool:
    depth = 0
    for found in _BRACKETS.finditer(_TEXTS.sub(b"", data)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > _DEEPEST:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("two equal keys in an object")
    return value


def _finite(word: str) -> float:
    value = float(word)
    return value if math.isfinite(value) else _no_number(word)


def _no_number(_word: str) -> NoReturn:
    # The text may hold secrets: no word of it is in a message.
    raise ValueError("a number that JSON does not have")
