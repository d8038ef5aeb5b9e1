"""The shapes that fields of `layer.yaml`, `stacks.yaml` and the lock have in common."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from buildsys import texts
from buildsys.config.shapes import Converted, Dictionary, Many, Shape, Template, Text
from buildsys.names import NAME as NAME_FORM

NOTHING: Mapping[str, Any] = MappingProxyType({})
_MOST_CHARACTERS = 12
_MOST_MILLISECONDS = 2562047 * 3_600_000
TEXT = Text()
TEMPLATE = Text(template=Template())
LINE = Text(rule=texts.one_line)
NAME = Text(form=f"^{NAME_FORM}$")
PARAMETER_NAME = Text(form=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$")
PLATFORM = Text(form=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$")
PORT = Text(
    rule=texts.port,
    schema={
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 65535},
            {"type": "string", "pattern": r"^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?(/(tcp|udp|sctp))?$"},
        ]
    },
)
NAMES = Many(NAME)
TEXTS = Many(TEXT)
TEMPLATES = Many(TEMPLATE)
ONE_OR_MORE = Many(TEXT, or_one=True)
VALUES: Shape[Mapping[str, tuple[str, ...]]] = Dictionary(ONE_OR_MORE, key=PARAMETER_NAME)
"""Parameters or variables by name, each with one or several values."""


def _bytes(size: str) -> int:
    """MB and GB are powers of ten."""
    return int(float(size[:-2]) * {"MB": 10**6, "GB": 10**9}[size[-2:]])


def _milliseconds(duration: str) -> int:
    number = duration.rstrip("hms")
    return int(number) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}[duration.removeprefix(number)]


def _short(text: str) -> str | None:
    """Check a number with its unit: beyond this, it is none that a machine or docker can hold."""
    return None if len(text) <= _MOST_CHARACTERS else f"at most {_MOST_CHARACTERS} characters"


def _duration(duration: str) -> str | None:
    """Check a duration with its unit, which docker counts in nanoseconds."""
    return _short(duration) or (None if _milliseconds(duration) <= _MOST_MILLISECONDS else "at most `2562047h`")


SIZE = Converted(Text(form=r"^\d+(\.\d+)? ?(MB|GB)$", rule=_short), _bytes)
DURATION = Converted(Text(form=r"^[1-9]\d*(ms|s|m|h)$", rule=_duration), _milliseconds)

_VALUE = Text(template=Template(rule=texts.one_line, what="a variable", holder="an image"))
_VARIABLE = Text(rule=texts.variable, what="the name of a variable")
VARIABLES = Dictionary(_VALUE, key=_VARIABLE)
_PART = Text(template=Template(rule=texts.part, what="a part of a variable", holder="an image"))
PARTS = Dictionary(Many(_PART, or_one=True), key=_VARIABLE)
LABELS = Dictionary(
    Text(template=Template(rule=texts.one_line, what="a label", holder="a Dockerfile's `LABEL`")),
    key=Text(rule=texts.label_key, what="the key of a label"),
)
PACKAGES = Many(Text(template=Template(rule=texts.package, what="the package")))
LINES = Dictionary(Many(TEMPLATE, or_one=True), key=Text(form=r"^[A-Z][A-Z0-9_]*$"))
URL = Text(form=r"^https?://[^/\s]+/\S*$", template=Template(rule=texts.address, what="`url`"))
SHA256: Shape[str | None] = Converted(
    Text(form=r"^([0-9a-f]{64}|unknown)$"), lambda text: None if text == "unknown" else text
)
PARENT_NAME = Text(template=Template(rule=texts.parent, what="the name of the parent"))
IMAGES = Many(Text(template=Template(rule=texts.image, what="the image")), least=1)
PREFIX = Text(form=r"^/[^\s]*[^/\s]$")
USER = Text(template=Template(rule=texts.user, what="`user`"))
# A parameter may hold the whole path.
WORKDIR = Text(template=Template(rule=texts.workdir, what="`workdir`", leading=texts.name))
