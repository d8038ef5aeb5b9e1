#!/usr/bin/env python3
"""Write docs/cli.md and docs/layer-yaml.md from the command line and the JSON Schema of layer.yaml."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from buildsys.cli.app import app
from buildsys.project.variables import VARIABLES
from buildsys.recipes.fields import FILE_PATH, FILE_SOURCE

ROOT = Path(__file__).parents[1]
CLI = "docs/cli.md"
LAYER = "docs/layer-yaml.md"
SCHEMA = "schemas/layer.schema.json"
NOTE = "<!-- Written by `make reference`, do not edit: tools/write_reference.py -->"
VARIABLES_NOTE = (
    "A name in backticks at the beginning of a meaning is the setting of `buildsys.settings.yaml` that the variable "
    "takes the place of.",
    "",
    "- An empty `BUILDSYS_REGISTRY`, `BUILDSYS_CACHE`, `BUILDSYS_CACHE_WRITE` or `BUILDSYS_SETTINGS` counts as unset.",
    "- An empty variable of a setting takes away what the settings file has.",
    "- `BUILDSYS_TAG`, `BUILDSYS_PARENT_<NAME>` and `BUILDSYS_DOWNLOADS_<HOST>` must not be empty: "
    "plain bake would use the empty text.",
    "- Any other variable whose name begins with `BUILDSYS_` is reported with a warning.",
)
SCALAR = ["string", "number", "boolean"]
# What a pattern that comes up everywhere is called.
NAMES = {
    "^[a-z0-9]+(-[a-z0-9]+)*$": "name",
    "^[a-z][a-z0-9]*([_-][a-z0-9]+)*$": "parameter name",
    FILE_PATH.form: "path",
    FILE_SOURCE.form: "path in the layer",
}


def cell(text: str) -> str:
    """Return a text as the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table, none where it has no rows."""
    if rows:
        yield ""
        for row in (heads, ("---",) * len(heads), *rows):
            yield "| " + " | ".join(cell(each) for each in row) + " |"


def cli_reference() -> str:
    """Return docs/cli.md: usage, arguments and options of every command, in the order of `buildsys --help`."""
    group: Any = typer.main.get_command(app)
    top = group.context_class(group, info_name="buildsys")
    lines = ["# Command line", "", NOTE, "", group.help, "", *group.epilog.splitlines()]
    lines += table(("Option", ""), parameters(group, top))
    for name, command in group.commands.items():
        context = command.context_class(command, info_name=name, parent=top)
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines += ["", f"## {name}", "", *(command.help or "").splitlines(), "", "```", usage, "```"]
        lines += table(("Argument or option", ""), parameters(command, context))
        lines += ["", *command.epilog.splitlines()]
    lines += ["", "## Environment variables", "", *VARIABLES_NOTE]
    lines += table(("Variable", ""), [(f"`{name}`", meaning) for name, meaning in VARIABLES.items()])
    return "\n".join(lines) + "\n"


def parameters(command: Any, context: Any) -> list[tuple[str, ...]]:
    """Return a row for each parameter of a command: how it is written, what it does."""
    # `--help` is part of every command.
    records = [parameter.get_help_record(context) for parameter in command.params if not parameter.hidden]
    return [(f"`{written}`", meaning) for written, meaning in filter(None, records)]


def layer_reference(schema: Mapping[str, Any]) -> str:
    """Return docs/layer-yaml.md: every field of layer.yaml, and of each value in it that has fields."""
    lines = ["# Fields of layer.yaml", "", NOTE, "", schema["description"]]
    lines += ["What the fields are for and how they work together is in [layers.md](layers.md)."]
    lines += ["The editor's form of this page is [schemas/layer.schema.json](../schemas/layer.schema.json)."]
    lines += ["", *(f"- A {name} is `{pattern}`." for pattern, name in NAMES.items())]
    lines += fields(schema, {})
    for name, part in schema["$defs"].items():
        lines += ["", f"## {title(name)}", "", part.get("description", "")]
        lines += fields(part, schema["properties"])
    return "\n".join(lines) + "\n"


def title(name: str) -> str:
    """Return what a part of the schema is called: `WeightFields` is `weight`."""
    return name.removesuffix("Fields").lower()


def fields(part: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of an object's fields; those that are the same in `known` are only named."""
    required = part.get("required", [])
    same = [name for name, field in part["properties"].items() if known.get(name) == field]
    if same:
        yield from ("", f"As in layer.yaml itself: {', '.join(f'`{name}`' for name in same)}.")
    rows = [
        (f"`{name}`", kind(field), "yes" if name in required else "", field.get("description", ""))
        for name, field in part["properties"].items()
        if name not in same
    ]
    yield from table(("Field", "Value", "Required", ""), rows)


def kind(field: Mapping[str, Any]) -> str:
    """Return a description of the allowed values."""
    if "anyOf" in field:
        return " or ".join(kind(each) for each in field["anyOf"] if each.get("type") != "null")
    if "$ref" in field:
        name = title(field["$ref"].rpartition("/")[2])
        return f"[{name}](#{name})"
    if "const" in field or "enum" in field:
        return " or ".join(f"`{each}`" for each in field.get("enum", [field.get("const")]))
    if field.get("type") == SCALAR:
        return "text"
    if field.get("type") == "array":
        return f"list of {kind(field['items'])}"
    if field.get("type") == "object":
        inner = [*field.get("patternProperties", {}).items()]
        inner += [(".*", field["additionalProperties"])] if isinstance(field.get("additionalProperties"), dict) else []
        return " or ".join(f"map from {pattern(key)} to {kind(value)}" for key, value in inner)
    if field.get("type") == "string":
        return pattern(field.get("pattern", ".*"))
    return " ".join([str(field.get("type", "anything")), *limits(field)])


def pattern(expression: str) -> str:
    """Return the description of a regular expression, if it has one."""
    return "text" if expression == ".*" else NAMES.get(expression, f"`{expression}`")


def limits(field: Mapping[str, Any]) -> Iterator[str]:
    """Yield the limits of a value."""
    if "minimum" in field:
        yield f"from {field['minimum']}"
    if "maximum" in field:
        yield f"to {field['maximum']}"


def main() -> int:
    """Write the pages, or with `--check` list those that are out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--check", action="store_true", help="exit 3 if a page is not up to date, and write nothing")
    check = parser.parse_args().check
    schema = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    pages = {CLI: cli_reference(), LAYER: layer_reference(schema)}
    stale = [
        name
        for name, text in pages.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        if check:
            print(f"error: `{name}` is not up to date\nhint: run `make reference`", file=sys.stderr)
        else:
            (ROOT / name).write_text(pages[name], encoding="utf-8")
    return 3 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
