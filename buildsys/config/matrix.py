"""What families, rows and single stacks say of the names of images; a matrix becomes rows, each with its variables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import TypeAlias

from buildsys.config.model import Budget
from buildsys.errors import Location, which_one
from buildsys.names import PLATFORM
from buildsys.recipes.fields import DATE, LINE, ONE_OR_MORE, PARAMETER_NAME, TEXT, VALUES
from buildsys.recipes.parameters import CONDITION, When
from buildsys.recipes.recipe import ImageFields
from buildsys.recipes.versions import Scheme
from buildsys.records.schema import Brief, Record, location_of, nullable, optional, required
from buildsys.records.shapes import WRONG, Choice, Json, Many, Reader, Shape, Wrong
from buildsys.records.source import Data, Path, Source
from buildsys.texts import shown
from buildsys.values import dataclass

Matrix: TypeAlias = Sequence[Mapping[str, tuple[str, ...]]]
# Keys of a row that are no variables.
SETTINGS = ("groups", "deprecated")


@dataclass(frozen=True, kw_only=True, slots=True)
class TagFields:
    """A tag of images; of several stacks that declare it, only the newest may have it."""

    tag: str = required(TEXT, "template of the tag; a part in `[ ]` is omitted without its variables")
    newest: tuple[str, ...] = optional(
        Many(PARAMETER_NAME, least=1, or_one=True),
        (),
        "variables, the most important first: the tag is that of the stack with the highest versions of them",
    )
    versions: tuple[Scheme, ...] = optional(
        Many(Choice(Scheme), least=1, or_one=True),
        (Scheme.PEP440,),
        "the scheme of the versions, one for all variables of `newest` or one for each; default `pep440`",
    )
    when: When = optional(CONDITION, When(), "variables that a row must have, or a map from variables to values")
    location: Location = location_of("tag")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFields(ImageFields):
    """Under which names images are published, how long they have support, and fields of layer.yaml of their own."""

    repository: str | None = nullable(
        LINE, None, "template of the repository below the registry; default is the name of the stack"
    )
    tags: tuple[TagFields, ...] = optional(
        Many(Brief("tag", Record(TagFields, "TagFields")), least=1), (), "tags of the image; default is BUILDSYS_TAG"
    )
    supported_until: date | None = nullable(
        DATE, None, "the last day with support; afterwards `--all` leaves the images out"
    )
    budget: Budget | None = nullable(
        Record(Budget, "Budget"), None, "what the image may have at most; with more, no public tag moves to it"
    )


PUBLISHED = Record(PublishedFields, "PublishedFields")
NOT_SAID = PublishedFields()


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFields:
    """A row of a matrix as it is written: `values` of its variables, some of them several, and of `SETTINGS`."""

    values: Mapping[str, tuple[str, ...]]
    published: PublishedFields = NOT_SAID


class RowShape(Shape[RowFields]):
    """A mapping from variables to values, and settings of the stacks of the row."""

    def read(self, data: Data, path: Path, reader: Reader) -> RowFields | Wrong:
        """Return the row; its settings are read as those of a family."""
        own = {key: each for key, each in data.items() if key in PUBLISHED.keys} if isinstance(data, dict) else {}
        rest = {key: each for key, each in data.items() if key not in own} if isinstance(data, dict) else data
        if isinstance(rest, dict) and PLATFORM in rest:
            hint = "rename the variable, or write `platforms` in the family"
            return reader.wrong(
                f"`{PLATFORM}` is reserved for the platform of an image", (*path, PLATFORM), hint, key=True
            )
        values, published = VALUES.read(rest, path, reader), PUBLISHED.read(own, path, reader)
        if isinstance(values, Wrong) or isinstance(published, Wrong):
            return WRONG
        return RowFields(values=values, published=published)

    def json(self, definitions: Json) -> Json:
        """Return the schema of an object whose further properties are variables."""
        return {
            "additionalProperties": ONE_OR_MORE.json(definitions),
            "properties": PUBLISHED.definition(definitions)["properties"],
            "propertyNames": {"pattern": PARAMETER_NAME.form},
            "type": "object",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One stack's variables, with where each value is written, and its settings; `path` is that of the row."""

    values: Mapping[str, str]
    locations: Mapping[str, Location]
    groups: tuple[str, ...]
    deprecated: str | None
    location: Location
    published: PublishedFields = NOT_SAID
    path: Path = ()


def rows_of(matrix: Sequence[RowFields], deprecated: str | None, path: Path, source: Source) -> Iterator[Row]:
    """Yield the product of each row's lists, in the order in which they are written."""
    for index, fields in enumerate(matrix):
        at, raw = (*path, "matrix", index), fields.values
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
                published=fields.published,
                path=at,
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
