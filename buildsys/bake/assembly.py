"""How an image is assembled: a Dockerfile with its base, one `COPY --link` for each artifact, and its settings."""

from __future__ import annotations

import re

from buildsys import texts
from buildsys.names import layer_problem
from buildsys.resolve.image import Variable, healthcheck_text, words_json
from buildsys.resolve.node import ImageTarget

# What the Dockerfile's own reader takes as more than text inside double quotes.
_SPECIAL = re.compile(r'([\\"$])')
# The same outside of quotes.
_SPECIAL_BARE = re.compile(r"""([\\"'$])""")


def assembly(image: ImageTarget) -> str:
    """Return the Dockerfile; its contexts are `base` and each artifact by its layer's name.

    Artifacts are joined in the one form that keeps the digest of their blob, whatever image they are copied to and
    wherever they are built (measured with BuildKit 0.32: from root to root, with `--link`, without `--chmod`).
    """
    # A variable that the parent lacks is meant to be empty and needs no warning.
    lines = ["# check=skip=UndefinedVar", "FROM base"]
    lines += [_instruction("COPY", f"--link --from={_context(layer)} / /") for layer, _ in image.artifacts]
    lines += [_instruction("ENV", _variable(each)) for each in image.environment]
    config = image.config
    lines += [_instruction("LABEL", f"{_quoted(key)}={_quoted(value)}") for key, value in config.labels.items()]
    lines += [_instruction("EXPOSE", _held(port, texts.port)) for port in config.ports]
    lines += [_instruction("WORKDIR", _unquoted(_held(config.workdir, texts.workdir)))] if config.workdir else []
    lines += [_instruction("USER", _unquoted(_held(config.user, texts.user)))] if config.user else []
    # BuildKit expands no variables in JSON lists. An entry point drops a command that came before it.
    lines += [_instruction("ENTRYPOINT", words_json(config.entrypoint))] if config.entrypoint is not None else []
    lines += [_instruction("CMD", words_json(config.command))] if config.command is not None else []
    lines += [_instruction("HEALTHCHECK", healthcheck_text(config.healthcheck))] if config.healthcheck else []
    return "\n".join(lines) + "\n"


def _instruction(keyword: str, arguments: str) -> str:
    """Return an instruction of one line.

    Texts are checked where they are read; one that would still end the line is a defect of buildsys, and raises
    ValueError before anything is written.
    """
    return f"{keyword} {_held(arguments, texts.one_line)}"


def _held(text: str, rule: texts.Rule) -> str:
    if expected := rule(text):
        raise ValueError(f"`{texts.shown(text)}` reached an assembly, which takes {expected}")
    return text


def _context(layer: str) -> str:
    """Return a layer's name; in another form, `--from` could mean a stage by its number, or an image elsewhere."""
    if problem := layer_problem(layer):
        raise ValueError(problem)
    return layer


def _variable(variable: Variable) -> str:
    return f"{_held(variable.name, texts.variable)}={environment_value(variable)}"


def environment_value(variable: Variable) -> str:
    """Return the value of an ENV instruction in quotes.

    Where no layer sets the variable, the parent's value is in the middle if it has one: in a list such as
    LD_LIBRARY_PATH an empty part would mean the current folder.
    """
    before = ":".join(_escaped(part) for part in variable.prepended)
    behind = ":".join(_escaped(part) for part in variable.appended)
    if variable.value is not None:
        return f'"{":".join(part for part in (before, _escaped(variable.value), behind) if part)}"'
    name = variable.name
    if before:
        middle = f"${{{name}:+:${{{name}}}}}"
        return f'"{before}{middle}{":" + behind if behind else ""}"'
    return f'"${{{name}:+${{{name}}}:}}{behind}"'


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _unquoted(text: str) -> str:
    return _SPECIAL_BARE.sub(r"\\\1", text)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'
