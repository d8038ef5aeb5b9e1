"""The references have every command, option and field, and are those of this code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

import write_reference
from buildsys.cli.app import app

ROOT = Path(__file__).parents[2]


def test_every_command_has_a_section_with_its_options() -> None:
    text = write_reference.cli_reference()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands) > 10
    for name, command in commands.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert f"\nbuildsys {name}" in section
        for parameter in command.params:
            assert parameter.opts[0] in section


def test_every_field_and_every_value_with_fields_is_in_the_reference() -> None:
    schema = json.loads((ROOT / "schemas/layer.schema.json").read_text(encoding="utf-8"))
    text = write_reference.layer_reference(schema)
    for part in (schema, *schema["$defs"].values()):
        assert part["properties"]
        for name in part["properties"]:
            assert f"`{name}`" in text
    for name in schema["$defs"]:
        assert f"\n## {write_reference.title(name)}\n" in text


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"anyOf": [{"$ref": "#/$defs/WeightFields"}, {"type": "null"}]}, "[weight](#weight)"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "list of `a` or `b`"),
        (
            {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            "map from text to text",
        ),
        ({"type": "object", "patternProperties": {"^x$": {"type": "boolean"}}}, "map from `^x$` to boolean"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer from 1 to 9"),
        ({"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}, "name"),
        ({"const": "os", "type": "string"}, "`os`"),
    ],
)
def test_value_is_described(field: dict[str, object], words: str) -> None:
    assert write_reference.kind(field) == words


def test_bar_in_a_cell_does_not_end_it() -> None:
    assert list(write_reference.table(("a", "b"), [("x|y", "two\nlines")]))[-1] == r"| x\|y | two lines |"


def test_check_reports_a_stale_page_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "schemas").mkdir()
    (tmp_path / write_reference.SCHEMA).write_bytes((ROOT / write_reference.SCHEMA).read_bytes())
    monkeypatch.setattr(write_reference, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["write_reference.py"])
    assert write_reference.main() == 0
    monkeypatch.setattr("sys.argv", ["write_reference.py", "--check"])
    assert write_reference.main() == 0
    (tmp_path / write_reference.CLI).write_text("old\n", encoding="utf-8")
    assert write_reference.main() == 3
    assert (tmp_path / write_reference.CLI).read_text(encoding="utf-8") == "old\n"
    assert "`docs/cli.md` is not up to date" in capsys.readouterr().err
