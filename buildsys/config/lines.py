"""One entry of a stack's `layers`: which layer, with which parameters, in which rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from buildsys.config.model import When
from buildsys.config.source import Path, Source
from buildsys.errors import Diagnostic, Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A layer as one line of a stack or family names it, its texts still templates."""

    layer: str
    parameters: Mapping[str, str]
    when: When
    has: tuple[str, ...]
    location: Location
    locations: Mapping[str, Location]


def read_lines(raw: list[Any], path: Path, source: Source, diagnostics: list[Diagnostic]) -> list[Line]:
    """Return the lines in order, those that can be read, after adding the mistakes of the others."""
    found = []
    for index, item in enumerate(raw):
        line = _line(item, (*path, index), source)
        if isinstance(line, Diagnostic):
            diagnostics.append(line)
        else:
            found.append(line)
    return found


def _line(item: Any, path: Path, source: Source) -> Line | Diagnostic:
    if isinstance(item, str):
        location = source.location(path)
        return Line(layer=item, parameters={}, when=When(), has=(), location=location, locations={})
    form = "a layer is a name, or one name with its parameters and beside it `when`"
    if not isinstance(item, dict):
        return Diagnostic(message=form, location=source.location(path))
    names = [key for key in item if key != "when"]
    if len(names) != 1:
        found = ", ".join(f"`{name}`" for name in names) or "none"
        return Diagnostic(message=f"{form}; found {found}", location=source.location(path))
    layer, value = names[0], item[names[0]]
    at = (*path, layer)
    if isinstance(value, str):
        value = {"version": value}
        locations = {"version": source.location(at)}
    else:
        value = value or {}
        if not isinstance(value, dict):
            return Diagnostic(message=f"expected the parameters of `{layer}`", location=source.location(at))
        locations = {key: source.location((*at, key)) for key in value}
    texts = {}
    for key, text in value.items():
        words = text if isinstance(text, list) else [text]
        if not all(isinstance(word, str) for word in words):
            return Diagnostic(message=f"`{key}` is not a text or a list of texts", location=locations[key])
        texts[key] = " ".join(words)
    condition = item.get("when")
    when, has = When(), tuple[str, ...]()
    if isinstance(condition, str):
        has = (condition,)
    elif isinstance(condition, list) and all(isinstance(each, str) for each in condition):
        has = tuple(condition)
    elif isinstance(condition, dict):
        pairs = ((k, tuple(v) if isinstance(v, list) else (str(v),)) for k, v in condition.items())
        when = When(values=tuple(sorted(pairs)))
    elif condition is not None:
        message = "`when` names variables that the row has, or their values"
        return Diagnostic(message=message, location=source.location((*path, "when")))
    return Line(
        layer=layer,
        parameters=MappingProxyType(texts),
        when=when,
        has=has,
        location=source.key_location(at),
        locations=MappingProxyType(locations),
    )
