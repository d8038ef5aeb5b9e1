"""A file becomes a value of a shape, or everything that is wrong with it is located at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from buildsys.config.stacks import STACKS
from buildsys.errors import Diagnostic
from buildsys.recipes.layers import LAYER
from buildsys.recipes.parameters import When
from buildsys.records.schema import Record, json_schema, key_name, location_of, nullable, optional, parse, required
from buildsys.records.shapes import Boolean, Choice, Converted, Dictionary, Either, Integer, Many, Template, Text
from buildsys.records.source import Path, read

_TEXT = Text(template=Template())


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part.

    It knows its name.
    """

    name: str = key_name()
    size: int = required(Integer(1), "how large")
    location: Any = location_of("size")


_PARTS = Dictionary(Record(Part, "Part"), key=Text(form="^[a-z]+$"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry."""

    text: str = required(_TEXT)
    when: When = optional(Converted(Dictionary(Many(Text(), or_one=True)), lambda _: When()), When())


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """All shapes."""

    title: str = required(Text(form="^[a-z]+$"))
    kind: str = optional(Choice(("round", "flat", "long")), "flat")
    big: bool = optional(Boolean(), False)
    parts: Mapping[str, Part] = optional(
        Dictionary(Record(Part, "Part"), key=Text(form="^[a-z]+$")), MappingProxyType({})
    )
    words: tuple[str, ...] = nullable(Many(_TEXT, or_one=True), ("none",))
    entries: tuple[Entry, ...] = optional(Many(Record(Entry, "Entry"), least=1), ())
    on: Part | None = nullable(Either("floor", Record(Part, "Part")), None, key="built-on")


WHOLE = Record(Whole, "Whole")


def whole(text: str) -> tuple[Whole | None, list[str]]:
    diagnostics: list[Diagnostic] = []
    value = parse(read(text, "f"), WHOLE, diagnostics)
    return value, [f"{each.location}: {each.message}" for each in diagnostics]


def test_file_becomes_a_frozen_value() -> None:
    value, wrong = whole(
        "title: a\nkind: round\nbig: true\nparts: {x: {size: 2}}\nwords: one\nentries: [{text: t}]\nbuilt-on: floor\n"
    )
    assert wrong == []
    assert value is not None
    assert (value.title, value.kind, value.big, value.words, value.on) == ("a", "round", True, ("one",), None)
    assert (value.parts["x"].name, value.parts["x"].size, str(value.parts["x"].location)) == ("x", 2, "f:4:19")
    with pytest.raises(TypeError):
        value.parts["y"] = value.parts["x"]  # type: ignore[index]


def test_what_is_not_written_or_empty_has_its_default() -> None:
    value, wrong = whole("title: a\nwords:\n")
    assert (value, wrong) == (Whole(title="a"), [])
    assert value is not None
    assert value.words == ("none",)


def test_all_errors_are_located_at_once() -> None:
    value, wrong = whole(
        "titlx: a\nkind: square\nbig: yes\nparts: {X: {size: 0}, y: [], z: {size: many}}\nwords: {a: b}\n"
        "entries: []\nbuilt-on: roof\n"
    )
    assert value is None
    assert sorted(wrong) == [
        "f:1:1: unknown key `titlx`",
        "f:2:7: `square` is not one of `round`, `flat` or `long`",
        "f:3:6: `yes`: expected `true` or `false`",
        "f:4:19: `0` is less than 1",
        "f:4:26: `y`: expected a mapping, found a list",
        "f:4:40: `many` is not a whole number",
        "f:4:9: `X`: expected the form `^[a-z]+$`",
        "f:5:8: `words`: expected a text, found a mapping",
        "f:6:10: `entries` is empty, expected at least one entry",
        "f:7:11: `roof` is not `floor`, nor a mapping",
    ]


def test_no_wrong_type_is_read_as_empty() -> None:
    """Every field, given every type that it does not take, is a diagnostic at the field."""
    samples = {"text": "x", "list": "[[]]", "mapping": "{a: [[]]}", "null": ""}
    taken = {("words", "null"), ("words", "text"), ("built-on", "null")}
    for key in ("kind", "big", "parts", "words", "entries", "built-on"):
        for name, written in samples.items():
            value, wrong = whole(f"title: a\n{key}: {written}\n")
            if (key, name) not in taken:
                assert value is None, (key, name)
                assert wrong, (key, name)


def test_unknown_key_alone_leaves_a_value_to_look_at() -> None:
    value, wrong = whole("title: a\nsizex: 1\n")
    assert (value, wrong) == (Whole(title="a"), ["f:2:1: unknown key `sizex`"])


def test_unknown_key_that_may_be_a_secret_is_not_quoted() -> None:
    assert whole('title: a\n"https://user:secret@x": 1\n')[1] == ["f:2:1: unknown key"]


@dataclass
class Filling:
    """Fills templates, and stays out of what has a condition."""

    paths: list[Path]

    def text(self, text: str, template: Template, path: Path) -> str:
        self.paths.append(path)
        return text.replace("{x}", "1")

    def enters(self, when: Any, path: Path) -> bool:
        return path != ("entries", 1)


def test_walk_reaches_every_template_with_its_path_and_nothing_else() -> None:
    value, _ = whole("title: a\nwords: ['{x}', b]\nentries: [{text: '{x}'}, {text: '{x}'}]\n")
    assert value is not None
    filling = Filling(paths=[])
    found = WHOLE.visit(value, (), filling)
    assert found == Whole(title="a", words=("1", "b"), entries=(Entry(text="1"), Entry(text="{x}")))
    assert filling.paths == [("words", 0), ("words", 1), ("entries", 0, "text")]


def test_json_schema_says_what_the_shapes_say() -> None:
    schema = json.loads(json_schema(WHOLE))
    assert schema["required"] == ["title"]
    assert schema["properties"]["kind"] == {
        "default": "flat", "enum": ["round", "flat", "long"], "title": "Kind", "type": "string",
    }  # fmt: skip
    assert schema["properties"]["built-on"]["anyOf"][0] == {"const": "floor", "type": "string"}
    assert schema["$defs"]["Part"] == {
        "additionalProperties": False,
        "description": "A part.",
        "properties": {"size": {"description": "how large", "minimum": 1, "title": "Size", "type": "integer"}},
        "required": ["size"],
        "title": "Part",
        "type": "object",
    }


@pytest.mark.parametrize("record", [LAYER, STACKS], ids=["layer", "stacks"])
def test_every_field_of_a_file_has_a_description(record: Record[Any]) -> None:
    schema = json.loads(json_schema(record))
    records = {"": schema, **schema["$defs"]}
    fields = {f"{name}.{key}": field for name, each in records.items() for key, field in each["properties"].items()}
    assert fields
    assert [name for name, field in fields.items() if "description" not in field] == []
