"""A small reader of what the bake file's writer may write, based only on the rules of HCL and of Dockerfiles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_BLOCK = re.compile(r'^(target|group|variable) "([^"]*)" \{\n(.*?)^\}\n', re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"^  dockerfile-inline = <<(EOT\d*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_QUOTED_DOCKERFILE = re.compile(r'^  dockerfile-inline = (".*")$', re.MULTILINE)
# What a heredoc has in place of a dollar or per cent sign that would open an interpolation.
_MARK = re.compile(r'\$\{"([$%])"\}|([$%])\2\{')
_ARGUMENT = re.compile(r'^    (\w+) += (".*")$', re.MULTILINE)
# In double quotes these are what BuildKit's word reader gives a meaning: an escape, or a variable if it has a value.
_TOKEN = re.compile(r"\\([\\\"$])|\$\{(\w+):\+((?:[^{}]|\$\{\w+\})*)\}|\$\{(\w+)\}|\$(\w+)")


def blocks(text: str, kind: str) -> dict[str, str]:
    """Return the bodies of all blocks of a kind by name; two of one name are an error."""
    found: dict[str, str] = {}
    for which, name, body in _BLOCK.findall(text):
        if which == kind:
            assert name not in found, f"two blocks are {kind} {name}"
            found[name] = body
    return found


def arguments(body: str) -> dict[str, str]:
    """Return the arguments of a target's block."""
    _, mark, rest = body.partition("  args = {\n")
    return {name: unquoted(text) for name, text in _ARGUMENT.findall(rest.partition("\n  }")[0])} if mark else {}


def unquoted(text: str) -> str:
    """Return what a quoted HCL string without interpolations says."""
    # HCL's escapes in quotes are JSON's; only its marks of interpolation come on top, after them.
    found: str = json.loads(text)
    return found.replace("$${", "${").replace("%%{", "%{")


def dockerfile(body: str) -> str:
    """Return the inline Dockerfile of a target's block."""
    if found := _HEREDOC.search(body):
        assert not re.search(r"[$%]\{", _MARK.sub("\0", found[2])), "a mark of interpolation that is not escaped"
        return _MARK.sub(lambda token: token[1] or f"{token[2]}{{", found[2])
    quoted = _QUOTED_DOCKERFILE.search(body)
    assert quoted is not None
    return unquoted(quoted[1])


def environment(text: str, parent: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an image that a Dockerfile without continuation lines makes of its parent's."""
    found = dict(parent)
    for line in text.split("\n"):
        if not line.startswith("ENV "):
            continue
        name, _, quoted = line.removeprefix("ENV ").partition("=")
        assert len(quoted) >= 2
        assert (quoted[0], quoted[-1]) == ('"', '"')
        found[name] = _evaluated(quoted[1:-1], found)
    return found


def _evaluated(text: str, variables: Mapping[str, str]) -> str:
    def put(token: re.Match[str]) -> str:
        if token[1]:
            return token[1]
        if token[2]:
            return _evaluated(token[3], variables) if variables.get(token[2]) else ""
        return variables.get(token[4] or token[5], "")

    return _TOKEN.sub(put, text)


def label(arguments: str) -> tuple[str, str]:
    """Return key and value of a LABEL instruction that has one of each, both in double quotes."""
    found = re.fullmatch(r'"([^"\\$]+)"="((?:[^"\\$]|\\["\\$])*)"', arguments)
    assert found, arguments
    return found[1], re.sub(r'\\(["\\$])', r"\1", found[2])


def bare(arguments: str) -> str:
    """Return the text of an instruction without quotes, in which nothing has a meaning without an escape."""
    assert re.fullmatch(r"""(?:[^"'\\$]|\\["'\\$])*""", arguments), arguments
    return re.sub(r"""\\(["'\\$])""", r"\1", arguments)
