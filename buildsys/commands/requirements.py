"""Which lines of requirements name what a build does not see, such as files beside them, or what it must not keep."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildsys.errors import Diagnostic, Location

_FILE_OPTION = re.compile(r"(-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?=\S))(\S+)")
_PATH_OPTION = re.compile(r"(-e|-f|--editable|--find-links)(?:\s*=\s*|\s+|(?=\S))(\S+)")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_PATH = re.compile(
    r"(?:\S+\s*@\s*)?(file:\S*|(?:\.{1,2}|~)?/\S*|\.{1,2}|[^\s@:;=<>]+/[^\s@:;]*|[^\s@:/]+\.(?:whl|zip|tar\.gz))(?:\s|;|\[|\Z)"
)
# A user of ssh is no credential.
_CREDENTIALS = re.compile(r"https?://[^/?#\s\"'<>]*@\S*", re.IGNORECASE)
_WHOLE = "put the lines into one file, as `pip-compile` does"
_PUBLISHED = "name a published version, or an address that a build can reach"
IN_CACHES = "the address has credentials, which caches and the image would keep"
NAME_INDEX = (
    "remove them, and name the index under `pip` or `conda` in `buildsys.settings.yaml`, which keeps them secret"
)


def has_credentials(text: str) -> bool:
    """Whether a text has an address of HTTP with credentials."""
    return _CREDENTIALS.search(text) is not None


def problems(text: str, file: str, line: int = 1, column: int = 1) -> Iterator[Diagnostic]:
    """Yield what is wrong with lines of requirements; `line` and `column` are where the first one begins."""
    goes_on = False
    for number, whole in enumerate(text.split("\n")):
        continued, goes_on = goes_on, whole.rstrip().endswith("\\")
        said = re.split(r"(?:^|\s)#", whole, maxsplit=1)[0]
        at = len(said) - len(said.lstrip())
        problem, hint, length = "", "", len(said.strip())
        if found := _CREDENTIALS.search(said):
            at, length = found.start(), len(found[0])
            problem, hint = IN_CACHES, NAME_INDEX
        elif found := _VARIABLE.search(said):
            at, length = found.start(), len(found[0])
            problem, hint = f"`{found[0]}` is a variable, and builds have none of this shell", "write its value"
        elif continued or not said.strip():
            continue
        elif found := _FILE_OPTION.match(said.strip()):
            problem, hint = f"`{found[1]}` names the file `{found[2]}`, and a build sees only this one", _WHOLE
        elif (found := _PATH_OPTION.match(said.strip())) and "://" not in found[2].replace("file://", "file:"):
            problem, hint = f"`{found[1]}` names `{found[2]}` of this machine, which no build sees", _PUBLISHED
        elif found := _PATH.match(said.strip()):
            problem, hint = f"`{found[1]}` is a file of this machine, which no build sees", _PUBLISHED
        if problem:
            place = Location(file=file, line=line + number, column=(column if number == 0 else 1) + at, length=length)
            yield Diagnostic(message=problem, location=place, hint=hint)
