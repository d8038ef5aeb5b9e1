"""Whether a file has the shape of a value: it becomes the value, or every diagnostic with its location.

A field of a value is declared once, as `url: str = required(Text(form=…))`: the shape says what may be written there,
what it becomes, whether it is a template, and how the JSON Schema describes it.

Of the libraries for this, msgspec stops at the first error; pydantic, cattrs and marshmallow take longer to import than
all of these shapes (measured in the commit that replaced pydantic).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from buildsys.errors import Diagnostic
from buildsys.records import hints
from buildsys.records.shapes import WRONG, Json, Many, Nullable, Reader, Shape, Visitor, Wrong
from buildsys.records.source import Data, Path, Source
from buildsys.values import dataclass

T = TypeVar("T")
S = TypeVar("S")
NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Record(Shape[T]):
    """A mapping with the fields of a dataclass; `name` is what the JSON Schema calls it.

    `meant` are names that people use for a field; `otherwise` is the hint for a key that is near none; `first` is the
    field that a text in place of the mapping is probably meant for, where no field is required.
    """

    def __init__(
        self,
        kind: Callable[..., T],
        name: str,
        *,
        meant: Mapping[str, str] = NO_NAMES,
        otherwise: str | None = None,
        first: str | None = None,
    ) -> None:
        self._kind, self._name, self._meant, self._otherwise, self._first = kind, name, meant, otherwise, first
        self._fields: dict[str, tuple[str, _Field]] = {}
        self._given: dict[str, Callable[[Path, Reader], Any]] = {}
        for each in dataclasses.fields(kind):  # type: ignore[arg-type]
            field = each.metadata.get("field")
            if field:
                self._fields[field.key or each.name] = each.name, field
            elif given := each.metadata.get("given"):
                self._given[each.name] = given

    @property
    def keys(self) -> Collection[str]:
        """How its fields are written."""
        return self._fields.keys()

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return an instance; an unknown key is wrong, but what is beside it is read."""
        if not isinstance(data, dict):
            return reader.expected("a mapping", path, data, self.instead(data))
        misspelt = {
            reader.unknown((*path, key), self._fields, meant=self._meant, otherwise=self._otherwise)
            for key in data.keys() - self._fields.keys()
        }
        values, complete = {name: given(path, reader) for name, given in self._given.items()}, True
        for key, (name, field) in self._fields.items():
            if key in data:
                values[name] = field.shape.read(data[key], (*path, key), reader)
                complete = complete and not isinstance(values[name], Wrong)
            elif field.required and field.unless not in data:
                if key not in misspelt:
                    hint = f"add `{key}: {field.shape.example}`: {field.description}"
                    reader.wrong(f"`{key}` is missing", path, hint.removesuffix(": "), key=True)
                complete = False
        return self._kind(**values) if complete else WRONG

    def instead(self, data: Data) -> str | None:
        """Return the hint how a text is written as this mapping."""
        required = [
            (key, field.shape) for key, (_, field) in self._fields.items() if field.required or key == self._first
        ]
        if not required:
            return None
        key, shape = required[0]
        only, is_list = len(required) == 1, isinstance(shape, Many)
        return hints.as_mapping(data, key, shape.example, is_only=only, is_list=is_list)

    def visit(self, value: T, path: Path, visitor: Visitor) -> T:
        """Return the instance with its fields visited, unless the visitor stays out of it."""
        if hasattr(value, "when") and not visitor.enters(value.when, path):
            return value
        visited = {
            name: field.shape.visit(getattr(value, name), (*path, key), visitor)
            for key, (name, field) in self._fields.items()
        }
        return dataclasses.replace(value, **visited)  # type: ignore[type-var]

    def json(self, definitions: Json) -> Json:
        """Return a reference to the definition."""
        if self._name not in definitions:
            definitions[self._name] = self.definition(definitions)
        return {"$ref": f"#/$defs/{self._name}"}

    def definition(self, definitions: Json) -> Json:
        """Return the schema itself."""
        required = [key for key, (_, field) in self._fields.items() if field.required and field.unless is None]
        return {
            "additionalProperties": False,
            # A sentence on how the value is used goes to another paragraph.
            "description": (self._kind.__doc__ or "").partition("\n\n")[0].strip(),
            "properties": {key: field.json(key, definitions) for key, (_, field) in self._fields.items()},
            "title": self._name,
            "type": "object",
        } | ({"required": required} if required else {})


class Brief(Shape[T]):
    """A record that may also be written as the text of one of its fields."""

    def __init__(self, key: str, record: Record[T]) -> None:
        self._key, self._record = key, record

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return an instance."""
        return self._record.read({self._key: data} if isinstance(data, str) else data, path, reader)

    def visit(self, value: T, path: Path, visitor: Visitor) -> T:
        """Return the instance with its fields visited."""
        return self._record.visit(value, path, visitor)

    def json(self, definitions: Json) -> Json:
        """Return the schema of the text, or of the record."""
        record = self._record.json(definitions)
        text: Json = definitions[record["$ref"].rpartition("/")[2]]["properties"][self._key]
        return {"anyOf": [{"type": text.get("type", "string")}, record]}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """How a field of a record is written."""

    shape: Shape[Any]
    description: str
    required: bool = False
    default: Any = ()
    key: str | None = None
    unless: str | None = None

    def json(self, key: str, definitions: Json) -> Json:
        """Return the schema of the property, with the title and the default that editors show."""
        schema = self.shape.json(definitions)
        if isinstance(self.shape, Nullable):
            schema["default"] = None
        elif isinstance(self.default, (str, bool)):
            schema["default"] = self.default
        if self.description:
            schema["description"] = self.description
        references = [each for each in (schema, *schema.get("anyOf", ())) if "$ref" in each]
        if not references or len(schema.get("anyOf", ())) > 2:
            schema["title"] = key.replace("_", " ").title()
        return schema


def required(
    shape: Shape[T], description: str = "", *, default: Any = dataclasses.MISSING, unless: str | None = None
) -> T:
    """Declare a field that must be written, `unless` a different one is.

    `default` is for values that no file is read for, and for that case.
    """
    field = _Field(shape=shape, description=description, required=True, unless=unless)
    return dataclasses.field(default=default, metadata={"field": field})  # type: ignore[no-any-return]


def optional(shape: Shape[T], default: T, description: str = "") -> T:
    """Declare a field that has a value where it is not written."""
    field = _Field(shape=shape, description=description, default=default)
    return dataclasses.field(default_factory=lambda: default, metadata={"field": field})


def nullable(shape: Shape[T], default: S, description: str = "", *, key: str | None = None) -> T | S:
    """Declare a field that may also be left empty; `key` is how it is written where its name cannot be that."""
    field = _Field(shape=Nullable[Any](shape, default), description=description, key=key)
    return dataclasses.field(default_factory=lambda: default, metadata={"field": field})


def key_name() -> str:
    """Declare a field that holds the key of the record itself."""
    return dataclasses.field(metadata={"given": lambda path, _: str(path[-1])})  # type: ignore[no-any-return]


def location_of(key: str) -> Any:
    """Declare a field that holds the location of a different field; None for values that no file is read for."""
    return dataclasses.field(
        default=None, compare=False, metadata={"given": lambda path, reader: reader.source.location((*path, key))}
    )


def parse(source: Source, shape: Shape[T], diagnostics: list[Diagnostic]) -> T | None:
    """Return the file as a value, None where that cannot be, after adding everything that is wrong with its shape.

    Unknown keys alone do not keep it from being a value, so that the rest of it can be looked at as well.
    """
    value = shape.read({} if source.data is None else source.data, (), Reader(source, diagnostics))
    return None if isinstance(value, Wrong) else value


def json_schema(record: Record[Any]) -> str:
    """Return the JSON Schema of a file as text; the same bytes every time."""
    definitions: Json = {}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **record.definition(definitions)}
    return json.dumps({**schema, "$defs": definitions}, indent=2, sort_keys=True) + "\n"
