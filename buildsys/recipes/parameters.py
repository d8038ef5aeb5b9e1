"""What parameters and conditions on them are, and which values they may have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum

from buildsys.errors import did_you_mean, enumerated, use_one_of
from buildsys.names import STATE_FOLDER
from buildsys.pattern import fits
from buildsys.recipes import fields
from buildsys.recipes.versions import Scheme, version_problem
from buildsys.records import hints
from buildsys.records.schema import key_name, nullable, optional, required
from buildsys.records.shapes import Boolean, Choice, Converted, Dictionary, Json, Reader, Shape, Wrong
from buildsys.records.source import Data, Path
from buildsys.texts import composed, shown
from buildsys.values import dataclass

_WORD = re.compile(r"[A-Z][A-Z0-9_]*")
_HOSTS = ("github.com/", "gitlab.com/", "git@")
_KEPT = (".git", STATE_FOLDER)
# Where buildsys itself puts files that a build reads.
_OURS = re.compile(re.escape(STATE_FOLDER) + "/environments/[0-9a-f]{12}")


class ParameterType(StrEnum):
    """What a parameter's text must be."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    WORDS = "words"
    FOLDER = "folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """A condition on values by name: every name has one of its `values`, or in `has` any. Empty: always.

    The names are parameters of a layer, which always have a value, or variables of a row, which need not.
    """

    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    has: tuple[str, ...] = ()

    def holds(self, values: Mapping[str, str]) -> bool:
        """Whether values, `flavour` among them, satisfy it; an absent one satisfies nothing."""
        return all(values.get(name) in allowed for name, allowed in self.values) and all(
            name in values for name in self.has
        )


class _Condition(Shape[When]):
    """A mapping from names to values, or names alone."""

    def read(self, data: Data, path: Path, reader: Reader) -> When | Wrong:
        """Return the condition."""
        if isinstance(data, dict):
            values = fields.VALUES.read(data, path, reader)
            return values if isinstance(values, Wrong) else When(values=tuple(sorted(values.items())))
        has = fields.ONE_OR_MORE.read(data, path, reader)
        return has if isinstance(has, Wrong) else When(has=has)

    def json(self, definitions: Json) -> Json:
        """Return the schema of both forms."""
        return {"anyOf": [*fields.ONE_OR_MORE.json(definitions)["anyOf"], fields.VALUES.json(definitions)]}


CONDITION = _Condition()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterSource:
    """A parameter of another layer of the stack, and the filter that its value goes through."""

    layer: str
    parameter: str
    filter: str | None = None


def _source(text: str) -> ParameterSource:
    layer, _, rest = text.partition(".")
    parameter, _, chosen = rest.partition("|")
    return ParameterSource(layer=layer, parameter=parameter, filter=chosen or None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A declared input of a layer."""

    name: str = key_name()
    description: str = required(fields.TEXT, "purpose of the parameter")
    type: ParameterType = optional(Choice(ParameterType), ParameterType.STRING, "type of the value; default `string`")
    default: str | None = nullable(Converted(fields.ONE_OR_MORE, " ".join), None, "value if a stack sets none")
    values: tuple[str, ...] = optional(fields.TEXTS, (), "the only values allowed, apart from those of `pattern`")
    pattern: str | None = nullable(fields.TEXT, None, "regular expression for the whole value, if it is not listed")
    source: ParameterSource | None = nullable(
        Converted(fields.SOURCE, _source),
        None,
        "`layer.parameter` or `layer.parameter|filter`: the source of the value if a stack sets none",
        key="from",
    )
    label: bool = optional(Boolean(), False, "whether its value is part of the names of nodes")
    versions: Scheme | None = nullable(
        Choice(Scheme), None, "the scheme of its values, by which `checks` compare them; default `pep440`"
    )
    supported_until: Mapping[str, date] = optional(
        Dictionary(fields.DATE), fields.NOTHING, "the last day with support of each value, such as `2027-04-30`"
    )

    @property
    def argument(self) -> str:
        """The name of the Dockerfile argument."""
        return self.name.upper().replace("-", "_")


def _folder_problem(value: str) -> str | None:
    """Return why no build may have the folder that a text names, empty where that is plain; None if one may."""
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if value.startswith("/") or ".." in parts:
        return ""
    if not value.isprintable():
        return "it has invisible characters"
    if not parts:
        return "it is empty" if not value else "it is the whole project"
    # Which buildx would take for an address, a target or an image.
    if ":" in value or value.startswith(("-", "~", *_HOSTS)):
        return "it can be taken for an address"
    if parts[0].casefold() in _KEPT and not _OURS.fullmatch(value):
        return f"`{parts[0]}` is not part of the sources"
    return None


def value_problem(parameter: Parameter, value: str) -> tuple[str, str] | None:
    """Return what is wrong with a value of a parameter and what to do about it, or None."""
    if expected := composed(value):
        message = f"the value of `{parameter.name}` has the wrong form, expected {expected}"
        return message, "write the composed form of its characters (NFC)"
    match parameter.type:
        case ParameterType.INTEGER if not re.fullmatch(r"-?\d+", value):
            return f"`{parameter.name}` is a whole number, not `{value}`", hints.whole_number(value)
        case ParameterType.BOOLEAN if value not in ("true", "false"):
            return f"`{parameter.name}` is `true` or `false`, not `{value}`", hints.truth(value)
        case ParameterType.FOLDER if (problem := _folder_problem(value)) is not None:
            message = f"`{parameter.name}` is a folder inside the project, not `{shown(value)}`"
            hint = "write its path from the project's root, such as `environments/mine`"
            return f"{message}: {problem}" if problem else message, hint
    words = value.split() if parameter.type is ParameterType.WORDS else [value]
    for word in words:
        if found := _word_problem(parameter, word):
            return found
    return None


def _word_problem(parameter: Parameter, word: str) -> tuple[str, str] | None:
    if word in parameter.values:
        # What is wrong with a listed value is said where it is listed.
        return None
    if parameter.values and parameter.pattern is None:
        message, near = f"`{word}` is not a value of `{parameter.name}`", did_you_mean(word, parameter.values)
        if near is None:
            return message, use_one_of(parameter.values) or ""
        return f"{message}, which has {enumerated(parameter.values)}", near
    if parameter.pattern is not None and not fits(parameter.pattern, word):
        message = f"`{word}` does not have the form `{parameter.pattern}` that `{parameter.name}` requires"
        if parameter.values:
            message = f"{message}, and is not one of its values {enumerated(parameter.values)}"
        otherwise = "write a value of that form, or change `pattern` in the layer"
        return message, did_you_mean(word, parameter.values) or otherwise
    return scheme_problem(parameter, word)


def scheme_problem(parameter: Parameter, word: str) -> tuple[str, str] | None:
    """Return why a value cannot be compared by the scheme that its parameter names, and what to do, or None."""
    if parameter.versions and (problem := version_problem(word, parameter.versions)):
        return f"`{shown(word)}` {problem[0]}, by which `{parameter.name}` is compared", problem[1]
    return None


def named_by(commands: Iterable[str], arguments: Iterable[str]) -> frozenset[str]:
    """Return the arguments that commands name, as `$NAME` or otherwise."""
    words = {word for command in commands for word in _WORD.findall(command)}
    return frozenset(words.intersection(arguments))
