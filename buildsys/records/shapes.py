"""What may be written in one place of a file, what it becomes, and how the JSON Schema describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from buildsys.errors import Diagnostic, nearest, use_one_of, which_one
from buildsys.records import hints
from buildsys.records.source import Data, Path, Source
from buildsys.texts import Rule, excerpt, shown
from buildsys.values import dataclass

T = TypeVar("T")
S = TypeVar("S")
Json: TypeAlias = dict[str, Any]
Repair: TypeAlias = Callable[[str], str | None]

# A key of this form is quoted in a message; any other may be a password in the wrong place.
_PLAIN = re.compile(r"[\w.*-]{1,40}")


class Wrong:
    """Marks a value that could not be read."""


WRONG = Wrong()


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """What a text with `{name}` in it may become: `rule` holds for the text with a sample in place of each name.

    `leading` is the rule where the text begins with a name. In messages the text is `what`, and `holder` is what it
    becomes a part of. `repair` and `advice` are as those of `Text`, `sample` is a value that no rule refuses.
    """

    rule: Rule | None = None
    what: str = ""
    holder: str = "a Dockerfile"
    leading: Rule | None = None
    repair: Repair | None = None
    advice: str | None = None
    sample: str = "1"


class Visitor(Protocol):
    """What a walk over a value calls for its templates and conditions."""

    def text(self, text: str, template: Template, path: Path) -> str:
        """Return what replaces a template."""

    def enters(self, when: Any, path: Path) -> bool:
        """Whether the walk goes into what is in force under a condition; `path` is that of what has the condition."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A file while it is read, and what is wrong in it so far."""

    source: Source
    diagnostics: list[Diagnostic]

    def wrong(self, message: str, path: Path, hint: str | None = None, *, key: bool = False) -> Wrong:
        """Add a diagnostic at the value of `path`, or at its key."""
        location = self.source.key_location(path) if key else self.source.location(path)
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
        return WRONG

    def expected(self, what: str, path: Path, data: Data, hint: str | None = None) -> Wrong:
        """Add the diagnostic that a value is of another type; without a `hint`, how it is written as the right one."""
        key = next((step for step in reversed(path) if isinstance(step, str)), "")
        kinds = ((str, "a text"), (list, "a list"), (dict, "a mapping"))
        found = next((words for kind, words in kinds if isinstance(data, kind)), "nothing")
        message = f"expected {what}, found {found}"
        message = f"`{key}`: {message}" if _PLAIN.fullmatch(key) else message
        return self.wrong(message, path, hint or hints.instead(what, data))

    def unknown(
        self, path: Path, known: Iterable[str], *, meant: Mapping[str, str] = {}, otherwise: str | None = None
    ) -> str | None:
        """Add the diagnostic that a key is none of those that are known; return the one that is meant."""
        key, known = str(path[-1]), sorted(known)
        near = meant.get(key) or nearest(key, known)
        hint = f"did you mean `{near}`?" if near else otherwise or use_one_of(known)
        self.wrong(f"unknown key `{key}`" if _PLAIN.fullmatch(key) else "unknown key", path, hint, key=True)
        return near


class Shape(Generic[T]):
    """What may be written in one place of a file; `example` is what a hint shows for one that is missing."""

    example = "…"

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return the value of what is written there; what is wrong goes to the reader."""
        raise NotImplementedError

    def instead(self, data: Data) -> str | None:
        """Return the hint how something of another type is written as this, None where that is not known."""
        del data
        return None

    def visit(self, value: T, path: Path, visitor: Visitor) -> T:
        """Return the value with each template in it as the visitor returns it."""
        del path, visitor
        return value

    def json(self, definitions: Json) -> Json:
        """Return the JSON Schema; those of records are added to the definitions."""
        raise NotImplementedError


class Anything(Shape[Any]):
    """What is looked at elsewhere."""

    def read(self, data: Data, path: Path, reader: Reader) -> Any:
        """Return the data as they are."""
        del path, reader
        return data

    def json(self, definitions: Json) -> Json:
        """Return the schema that takes everything."""
        del definitions
        return {}


class Text(Shape[str]):
    """A text of a form, which is `like` something, or one that a rule lets through; `what` is its name in a message.

    Of a text that is wrong, `repair` returns what was meant; where that is unknown, `advice` is the hint.
    """

    def __init__(
        self,
        *,
        form: str | None = None,
        like: str | None = None,
        rule: Rule | None = None,
        what: str = "",
        template: Template | None = None,
        schema: Json | None = None,
        repair: Repair | None = None,
        advice: str | None = None,
    ) -> None:
        self.form, self.like, self.rule, self.what, self.template = form, like, rule, what, template
        self._repair, self._advice = repair, advice
        scalar: Json = {"type": ["string", "number", "boolean"]}
        self._schema = schema or ({"pattern": form, "type": "string"} if form else scalar)

    def problem(self, text: str) -> str | None:
        """Return what is wrong with a text, or None."""
        if self.form and not re.fullmatch(self.form, text):
            return f"`{excerpt(text)}`: expected {self.like or f'the form `{self.form}`'}"
        if self.rule and (expected := self.rule(text)):
            found = f"`{excerpt(text)}` cannot be {self.what}: " if self.what else f"`{excerpt(text)}`: expected "
            return f"{found}{expected}"
        return None

    def read(self, data: Data, path: Path, reader: Reader) -> str | Wrong:
        """Return the text."""
        if not isinstance(data, str):
            return reader.expected("a text", path, data)
        problem = self.problem(data)
        return reader.wrong(problem, path, self.hint(data)) if problem else data

    def hint(self, text: str) -> str | None:
        """Return what to write instead of a text that is wrong."""
        better = self._repair(text) if self._repair else None
        return f"write `{better}`" if better and not self.problem(better) else self._advice

    def visit(self, value: str, path: Path, visitor: Visitor) -> str:
        """Return the text, or what the visitor returns for a template."""
        return visitor.text(value, self.template, path) if self.template else value

    def json(self, definitions: Json) -> Json:
        """Return the schema of a text; one of a form needs quotes where it looks like a number."""
        del definitions
        return dict(self._schema)


class Integer(Shape[int]):
    """A whole number, from `least` on and up to `most`."""

    def __init__(self, least: int | None = None, most: int | None = None) -> None:
        self._least, self._most = least, most

    def read(self, data: Data, path: Path, reader: Reader) -> int | Wrong:
        """Return the number."""
        if not isinstance(data, str):
            return reader.expected("a whole number", path, data)
        if not hints.DIGITS.fullmatch(data):
            return reader.wrong(f"`{shown(data)}` is not a whole number", path, hints.whole_number(data))
        if self._least is not None and int(data) < self._least:
            return reader.wrong(f"`{data}` is less than {self._least}", path, f"write `{self._least}` or more")
        if self._most is not None and int(data) > self._most:
            return reader.wrong(f"`{data}` is more than {self._most}", path, f"write `{self._most}` or less")
        return int(data)

    def json(self, definitions: Json) -> Json:
        """Return the schema of an integer."""
        del definitions
        limits = {"minimum": self._least, "maximum": self._most}
        return {"type": "integer"} | {name: limit for name, limit in limits.items() if limit is not None}


class Boolean(Shape[bool]):
    """`true` or `false`."""

    def read(self, data: Data, path: Path, reader: Reader) -> bool | Wrong:
        """Return the truth."""
        if not isinstance(data, str):
            return reader.expected("`true` or `false`", path, data)
        if data not in ("true", "false"):
            return reader.wrong(f"`{shown(data)}`: expected `true` or `false`", path, hints.truth(data))
        return data == "true"

    def json(self, definitions: Json) -> Json:
        """Return the schema of a boolean."""
        del definitions
        return {"type": "boolean"}


class Choice(Shape[T]):
    """One of several words, such as the members of an enumeration."""

    def __init__(self, options: Iterable[T]) -> None:
        self._options = {str(option): option for option in options}

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return the option of that word."""
        words = [f"`{word}`" for word in self._options]
        known = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        if not isinstance(data, str):
            return reader.expected(known, path, data)
        if data not in self._options:
            message = f"`{shown(data)}` is not one of {known}"
            return reader.wrong(message, path, which_one(data, self._options))
        return self._options[data]

    def json(self, definitions: Json) -> Json:
        """Return the schema of an enumeration."""
        del definitions
        return {"enum": [*self._options], "type": "string"}


class Many(Shape[tuple[T, ...]]):
    """A list; with `or_one` one entry may be written without a list around it, with `once` none is there twice."""

    example = "[…]"

    def __init__(self, entry: Shape[T], *, least: int = 0, or_one: bool = False, once: bool = False) -> None:
        self._entry, self._least, self._or_one, self._once = entry, least, or_one, once

    def read(self, data: Data, path: Path, reader: Reader) -> tuple[T, ...] | Wrong:
        """Return the values of the entries."""
        if self._or_one and not isinstance(data, list):
            one = self._entry.read(data, path, reader)
            return one if isinstance(one, Wrong) else (one,)
        if not isinstance(data, list):
            return reader.expected("a list", path, data)
        if len(data) < self._least:
            return reader.wrong(f"`{path[-1]}` is empty, expected at least one entry", path, "add an entry")
        read = [self._entry.read(each, (*path, index), reader) for index, each in enumerate(data)]
        seen: set[str] = set()
        for index, each in enumerate(data if self._once else ()):
            if isinstance(each, str):
                if each in seen:
                    reader.wrong(f"`{shown(each)}` is listed twice", (*path, index), "remove one of them")
                seen.add(each)
        values = tuple(each for each in read if not isinstance(each, Wrong))
        return values if len(values) == len(data) else WRONG

    def visit(self, value: tuple[T, ...], path: Path, visitor: Visitor) -> tuple[T, ...]:
        """Return the entries, visited in order; the path of one without a list is that of the first."""
        return tuple(self._entry.visit(each, (*path, index), visitor) for index, each in enumerate(value))

    def json(self, definitions: Json) -> Json:
        """Return the schema of the list, or of one entry too."""
        entry = self._entry.json(definitions)
        many = {"items": entry, "type": "array"} | ({"minItems": self._least} if self._least else {})
        return {"anyOf": [entry, many]} if self._or_one else many


class Dictionary(Shape[Mapping[str, T]]):
    """A mapping from names to values; with `only` no other names are known."""

    def __init__(self, value: Shape[T], *, key: Text | None = None, only: tuple[str, ...] = ()) -> None:
        self._value, self._key, self._only = value, key, only

    def read(self, data: Data, path: Path, reader: Reader) -> Mapping[str, T] | Wrong:
        """Return the values by name."""
        if not isinstance(data, dict):
            return reader.expected("a mapping", path, data)
        values, complete = {}, True
        for name, each in data.items():
            if self._only and name not in self._only:
                reader.unknown((*path, name), self._only)
                continue
            if self._key and (problem := self._key.problem(name)):
                reader.wrong(problem, (*path, name), self._key.hint(name), key=True)
                complete = False
            value = self._value.read(each, (*path, name), reader)
            if isinstance(value, Wrong):
                complete = False
            else:
                values[name] = value
        return MappingProxyType(values) if complete else WRONG

    def visit(self, value: Mapping[str, T], path: Path, visitor: Visitor) -> Mapping[str, T]:
        """Return the values, visited in order."""
        return MappingProxyType({k: self._value.visit(each, (*path, k), visitor) for k, each in value.items()})

    def json(self, definitions: Json) -> Json:
        """Return the schema of an object without fixed properties."""
        value = self._value.json(definitions)
        if self._key and self._key.form:
            return {"patternProperties": {self._key.form: value}, "type": "object"}
        return {"additionalProperties": value, "type": "object"}


class Nullable(Shape[T]):
    """What may be left empty, which means `default`."""

    def __init__(self, shape: Shape[T], default: T) -> None:
        self._shape, self._default = shape, default

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return the value, or the default."""
        return self._default if data is None else self._shape.read(data, path, reader)

    def visit(self, value: T, path: Path, visitor: Visitor) -> T:
        """Return the value visited; None has nothing to visit."""
        return value if value is None else self._shape.visit(value, path, visitor)

    def json(self, definitions: Json) -> Json:
        """Return the schema, with null beside."""
        schema = self._shape.json(definitions)
        return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


class Either(Shape[T | None]):
    """One word, which means None, or something else."""

    def __init__(self, word: str, shape: Shape[T]) -> None:
        self._word, self._shape = word, shape

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong | None:
        """Return None for the word."""
        if data == self._word:
            return None
        if isinstance(data, str):
            message = f"`{shown(data)}` is not `{self._word}`, nor a mapping"
            return reader.wrong(message, path, self._shape.instead(data) or f"write `{self._word}`")
        return self._shape.read(data, path, reader)

    def visit(self, value: T | None, path: Path, visitor: Visitor) -> T | None:
        """Return the value visited."""
        return None if value is None else self._shape.visit(value, path, visitor)

    def json(self, definitions: Json) -> Json:
        """Return the schema of both."""
        return {"anyOf": [{"const": self._word, "type": "string"}, self._shape.json(definitions)]}


class Converted(Shape[T]):
    """What is read in one shape and kept as another value, which has no templates."""

    def __init__(self, shape: Shape[S], convert: Callable[[S], T]) -> None:
        self._shape: Shape[Any] = shape
        self._convert = convert

    def read(self, data: Data, path: Path, reader: Reader) -> T | Wrong:
        """Return the converted value."""
        value = self._shape.read(data, path, reader)
        return value if isinstance(value, Wrong) else self._convert(value)

    def json(self, definitions: Json) -> Json:
        """Return the schema of what is written."""
        return self._shape.json(definitions)
