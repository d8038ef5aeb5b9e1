"""The shapes that fields of `layer.yaml`, `stacks.yaml` and the lock have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

from buildsys import texts
from buildsys.errors import Diagnostic
from buildsys.names import NAME as NAME_FORM
from buildsys.names import OWN_FILES_FOLDER
from buildsys.names import SECRET_ID as SECRET_FORM
from buildsys.recipes import versions
from buildsys.records import hints
from buildsys.records.shapes import Converted, Dictionary, Integer, Many, Shape, Template, Text
from buildsys.records.source import Source

# How other tools call fields of a layer, or the other file.
MEANT: Mapping[str, str] = MappingProxyType(
    {
        **{"env": "environment", "layers": "requires", "depends": "requires", "dependencies": "requires"},
        **{"base": "parent", "image": "parent", "cmd": "command", "expose": "ports", "params": "parameters"},
    }
)
NOTHING: Mapping[str, Any] = MappingProxyType({})
# Of layer.yaml, stacks.yaml and the lock.
_LATEST_FORMAT = 1
FORMAT = Integer(1, _LATEST_FORMAT)
_MOST_CHARACTERS = 12
_MOST_MILLISECONDS = 2562047 * 3_600_000
TEXT = Text()
TEMPLATE = Text(template=Template())
LINE = Text(rule=texts.one_line)
_LIKE_NAME = "write lower-case letters and digits, with single `-` between them"
NAME = Text(
    form=f"^{NAME_FORM}$",
    rule=texts.short,
    like="lower-case letters, digits and single `-` between",
    repair=hints.dashed,
    advice=_LIKE_NAME,
)
SECRET_ID = Text(
    form=f"^{SECRET_FORM}$",
    rule=texts.short,
    like="letters, digits, `_`, `-` and `.`, a letter first",
    advice="write it like `license-server.token`",
)
PARAMETER_NAME = Text(
    form=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$",
    rule=texts.short,
    like="lower-case letters, digits and single `_` or `-` between, a letter first",
    repair=hints.dashed,
    advice=_LIKE_NAME,
)
PLATFORM = Text(
    form=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$",
    like="a platform such as `linux/amd64`",
    repair=hints.platform,
    advice="write the system, a slash and the processor",
)
_SOURCE = "a layer and its parameter, such as `os.release`"
SOURCE = Text(form=r"^[a-z0-9-]+\.[a-z0-9_-]+(\|[a-z]+)?$", like=_SOURCE, advice=f"write {_SOURCE}")
NEED = Text(form=r"^[a-z0-9-]+\.[a-z0-9_-]+$", like=_SOURCE, advice=f"write {_SOURCE}")


def _day(text: str) -> str | None:
    try:
        date.fromisoformat(text)
    except ValueError:
        return "a day of the calendar"
    return None


DATE = Converted(
    Text(
        form=r"^\d{4}-\d{2}-\d{2}$",
        like="a date",
        rule=_day,
        advice="write year, month and day, such as `2027-04-30`",
    ),
    date.fromisoformat,
)
# `~=1` is no range of versions, `~=1.1` is one.
CONSTRAINT = Text(template=Template(rule=versions.expected, what="the constraint", sample="1.1"))
_PROTOCOL = "(/([tT][cC][pP]|[uU][dD][pP]|[sS][cC][tT][pP]))?"
# Docker takes protocols in capitals too, and writes them small.
PORT = Converted(
    Text(
        rule=texts.port,
        repair=hints.container_port,
        advice="write the port inside the container, such as `8080`",
        schema={
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": f"^[1-9][0-9]{{0,4}}(-[1-9][0-9]{{0,4}})?{_PROTOCOL}$"},
            ]
        },
    ),
    str.lower,
)
NAMES = Many(NAME, once=True)
PLATFORMS = Many(PLATFORM, least=1, once=True)
TEXTS = Many(TEXT)
_WORD = Text(template=Template(rule=texts.argument, what="the word", holder="an argument"))
WORDS = Many(_WORD)
COMMAND = Many(_WORD, least=1)
PAGE = Text(
    template=Template(
        rule=texts.page,
        what="the page",
        # A parameter may hold the port.
        leading=texts.argument,
        advice="write the port inside the container and the path, such as `8888/api`",
    )
)
SCRIPT = Text(template=Template(rule=texts.argument, what="the command"))
COMMANDS = Many(
    Text(rule=texts.commands, what="a command", advice="write lines of a shell; a long script needs a Dockerfile"),
    least=1,
    or_one=True,
)
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


SIZE = Converted(
    Text(
        form=r"^\d+(\.\d+)? ?(MB|GB)$",
        like="a size in MB or GB",
        rule=_short,
        repair=hints.size,
        advice="write it like `4 GB`",
    ),
    _bytes,
)
DURATION = Converted(
    Text(
        form=r"^[1-9]\d*(ms|s|m|h)$",
        like="a whole number with `ms`, `s`, `m` or `h`",
        rule=_duration,
        repair=hints.duration,
        advice="write it like `30s`",
    ),
    _milliseconds,
)

_ONE_LINE = "write it on one line"
_VALUE = Text(template=Template(rule=texts.one_line, what="a variable", holder="an image", advice=_ONE_LINE))
_VARIABLE = Text(
    rule=texts.variable, what="the name of a variable", repair=hints.variable, advice="rename the variable"
)
VARIABLES = Dictionary(_VALUE, key=_VARIABLE)
_PART = Text(
    template=Template(
        rule=texts.part,
        what="a part of a variable",
        holder="an image",
        advice="write it on one line, or remove it where it is empty",
    )
)
PARTS = Dictionary(Many(_PART, or_one=True), key=_VARIABLE)
SEPARATOR = Text(rule=texts.separator)
DEFAULTS = Dictionary(Text(template=Template(rule=texts.default, what="the default")), key=_VARIABLE)
LABELS = Dictionary(
    Text(template=Template(rule=texts.one_line, what="a label", holder="a Dockerfile's `LABEL`", advice=_ONE_LINE)),
    key=Text(rule=texts.label_key, what="the key of a label", advice="rename the label"),
)
PACKAGES = Many(
    Text(
        template=Template(
            rule=texts.package,
            what="the package",
            advice="write each package as an entry of its own, a version as `name=version`",
        )
    ),
    once=True,
)
LINES = Dictionary(
    Many(TEMPLATE, or_one=True),
    key=Text(
        form=r"^[A-Z][A-Z0-9_]*$",
        like="capital letters, digits and `_`",
        repair=hints.constant,
        advice="rename the argument",
    ),
)
_LIKE_ADDRESS = "write an address such as `https://example.com/file.tar.gz`"
URL = Text(
    form=r"^https?://[^/\s]+/\S*$",
    like="an http or https address without blanks",
    template=Template(rule=texts.address, what="`url`", advice=_LIKE_ADDRESS),
    repair=hints.address,
    advice=_LIKE_ADDRESS,
)
SHA256: Shape[str | None] = Converted(
    Text(
        form=r"^([0-9a-f]{64}|unknown)$",
        like="64 hexadecimal digits, or `unknown`",
        repair=hints.checksum,
        advice="copy all digits of the checksum, or write `unknown`",
    ),
    lambda text: None if text == "unknown" else text,
)
LOCKED = "locked"
"""What a layer writes for a checksum that the lock has, since its address depends on values that a stack chooses."""
CHECKSUM: Shape[str | None] = Converted(
    Text(
        form=r"^([0-9a-f]{64}|unknown|locked)$",
        like="64 hexadecimal digits, `locked` or `unknown`",
        repair=hints.checksum,
        advice="copy all digits of the checksum, or write `locked` for that of the lock",
    ),
    lambda text: None if text == "unknown" else text,
)
PARENT_NAME = Text(template=Template(rule=texts.parent, what="the name of the parent", advice="rename the parent"))
IMAGES = Many(
    Text(
        template=Template(
            rule=texts.image,
            what="the image",
            repair=str.lower,
            advice="write the registry, the repository in lower case, and the tag",
        )
    ),
    least=1,
)
PREFIX = Text(
    form=r"^/[^\s]*[^/\s]$",
    like="an absolute path without blanks and without a `/` at its end",
    repair=hints.absolute,
    advice="write it like `/opt/tool`",
)
# None of these is more than text in a COPY, and no path begins as an option does.
_PART_OF_PATH = "[A-Za-z0-9._+@~][A-Za-z0-9._+@~,:=%-]*"
_IN_PATHS = "letters, digits and `._+@~,:=%-`"
FILE_PATH = Text(
    form=f"^(/{_PART_OF_PATH})+/?$",
    like=f"an absolute path of {_IN_PATHS}, with a `/` at its end for a folder",
    repair=hints.from_root,
    advice="write it like `/etc/tool.conf`, or `/etc/tool/` for a folder",
)
FILE_SOURCE = Text(
    form=f"^{_PART_OF_PATH}(/{_PART_OF_PATH})*/?$",
    like=f"a path of {_IN_PATHS} in the folder of the layer, or of a stack in `{OWN_FILES_FOLDER}`",
    repair=hints.from_folder,
    advice="write it like `tool.conf`, and rename the file where its name has other characters",
)
MODE = Text(
    form="^[0-7]{3,4}$",
    like="an octal mode of three or four digits",
    repair=hints.mode,
    advice="write it like `0644` or `0755`",
)
OWNER = Text(
    template=Template(
        rule=texts.owner,
        what="`owner`",
        advice="write ids, such as `1000:100`: an artifact has no `/etc/passwd` in which a name could be found",
    )
)
USER = Text(template=Template(rule=texts.user, what="`user`", advice="write it like `worker`, `1000` or `1000:users`"))
# A parameter may hold the whole path.
WORKDIR = Text(
    template=Template(
        rule=texts.workdir,
        what="`workdir`",
        leading=texts.name,
        repair=hints.absolute,
        advice="write it like `/opt/work`",
    )
)


def newer_format(source: Source, key: str = "format") -> Diagnostic | None:
    """Return the diagnostic that a later buildsys wrote a file, None if not; the rest of such a file is not read."""
    written = source.text((key,))
    if not written or not re.fullmatch("[0-9]{1,9}", written) or int(written) <= _LATEST_FORMAT:
        return None
    message = f"`{source.file}` has format {written}, this buildsys reads up to {_LATEST_FORMAT}"
    return Diagnostic(message=message, location=source.location((key,)), hint="update buildsys")
