"""A matrix becomes rows, each with one value of every variable that it has."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from buildsys.errors import Location, which_one
from buildsys.records.shapes import Reader
from buildsys.records.source import Path, Source
from buildsys.texts import shown
from buildsys.values import dataclass

Matrix: TypeAlias = Sequence[Mapping[str, tuple[str, ...]]]
# Keys of a row that are no variables.
SETTINGS = ("groups", "deprecated")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One stack's variables, with where each value is written, and its settings."""

    values: Mapping[str, str]
    locations: Mapping[str, Location]
    groups: tuple[str, ...]
    deprecated: str | None
    location: Location


def rows_of(matrix: Matrix, deprecated: str | None, path: Path, source: Source) -> Iterator[Row]:
    """Yield the product of each row's lists, in the order in which they are written."""
    for index, raw in enumerate(matrix):
        at = (*path, "matrix", index)
        variables = {key: value for key, value in raw.items() if key not in SETTINGS}
        located = [
            [(key, value, source.location((*at, key, i))) for i, value in enumerate(values)]
            for key, values in variables.items()
        ]
        for combination in itertools.product(*located):
            yield Row(
                values=MappingProxyType({key: value for key, value, _ in combination}),
                locations=MappingProxyType({key: location for key, _, location in combination}),
                groups=raw.get("groups", ()),
                deprecated=" ".join(raw["deprecated"]) if "deprecated" in raw else deprecated,
                location=source.location(at),
            )


def is_excluded(rule: Mapping[str, tuple[str, ...]], values: Mapping[str, str]) -> bool:
    return all(values.get(key) in allowed for key, allowed in rule.items())


def check_excludes(exclude: Matrix, rows: list[Row], path: Path, reader: Reader) -> None:
    """Add a diagnostic for each rule, or value in it, that excludes no row, and for rules that exclude every row."""
    before = len(reader.diagnostics)
    for index, rule in enumerate(exclude):
        at = (*path, "exclude", index)
        check_values(rule.items(), rows, at, reader)
        if len(reader.diagnostics) == before and not any(is_excluded(rule, row.values) for row in rows):
            reader.wrong("the rule excludes no row: no row has all of its values", at, "remove the rule")
    excluded = (any(is_excluded(rule, row.values) for rule in exclude) for row in rows)
    if exclude and len(reader.diagnostics) == before and all(excluded):
        message = f"`exclude` excludes every row of the family `{path[-1]}`"
        reader.wrong(message, (*path, "exclude"), "remove the rule that excludes too much")


def check_values(values: Iterable[tuple[str, tuple[str, ...]]], rows: list[Row], path: Path, reader: Reader) -> None:
    """Add a diagnostic for each variable and each value that no row has."""
    for name, wanted in values:
        known = {row.values[name] for row in rows if name in row.values}
        if not known:
            variables = sorted({key for row in rows for key in row.values})
            hint = which_one(name, variables, f"add `{name}` to the matrix")
            reader.wrong(f"no row of the matrix has the variable `{shown(name)}`", (*path, name), hint, key=True)
        for index, value in enumerate(wanted if known else ()):
            if value not in known:
                hint = which_one(value, sorted(known))
                reader.wrong(f"no row of the matrix has `{name}: {shown(value)}`", (*path, name, index), hint)
