"""How an image is assembled: a Dockerfile with its base, one `COPY --link` for each artifact, and its settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from buildsys import texts
from buildsys.errors import Diagnostic
from buildsys.names import OWN_FILES, layer_problem
from buildsys.resolve.image import Variable, healthcheck_text, words_json
from buildsys.resolve.node import ImageTarget
from buildsys.texts import in_quotes

# What the Dockerfile's own reader takes as more than text outside of quotes.
_SPECIAL_BARE = re.compile(r"""([\\"'$])""")
# What an instruction is about, without its value.
_START = re.compile(r"[A-Z]+(?: \w+(?==)| \"[^\"]+\"(?==))?")


def assembly(image: ImageTarget) -> str:
    """Return the Dockerfile; its contexts are `base` and each artifact by its layer's name.

    Artifacts are joined in the one form that keeps the digest of their blob, whatever image they are copied to and
    wherever they are built (measured with BuildKit 0.32: from root to root, with `--link`, without `--chmod`).

    Texts are checked where they are read; one that would still end the line of its instruction is a defect of
    buildsys, and raises ValueError before anything is written.
    """
    return "".join(f"{_held(line, texts.line)}\n" for line in _instructions(image))


def problems(images: Iterable[ImageTarget]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each instruction that is longer than BuildKit can read."""
    for image in images:
        for line in _instructions(image) if _may_be_long(image) else ():
            if (size := len(line.encode())) > texts.LONGEST_LINE:
                what = _START.match(line)
                assert what
                message = (
                    f"`{what[0]}` of `{image.stack}` has {size} bytes, BuildKit reads at most {texts.LONGEST_LINE}"
                )
                hint = "shorten it, or let a layer put it into a file"
                yield Diagnostic(message=message, location=image.location, hint=hint)


def _may_be_long(image: ImageTarget) -> bool:
    config, healthcheck = image.config, image.config.healthcheck
    words = (config.entrypoint, config.command, healthcheck.command if healthcheck else ())
    # A name may be there three times.
    parts = ((each.name * 3, *each.prepended, each.value, *each.appended) for each in image.environment)
    found = (*words, *parts, *config.labels.items(), (config.workdir, config.user))
    return any(sum(len(text or "") + 4 for text in several or ()) > texts.SHORT_LINE for several in found)


def _instructions(image: ImageTarget) -> Iterator[str]:
    # A variable that the parent lacks is meant to be empty and needs no warning.
    yield "# check=skip=UndefinedVar"
    yield "FROM base"
    yield from (f"COPY --link --from={_context(layer)} / /" for layer, _ in image.artifacts)
    yield from (f"ENV {_variable(each)}" for each in image.environment)
    config = image.config
    yield from (f"LABEL {_quoted(key)}={_quoted(value)}" for key, value in config.labels.items())
    yield from (f"EXPOSE {_held(port, texts.port)}" for port in config.ports)
    yield from (f"WORKDIR {_unquoted(_held(config.workdir, texts.workdir))}",) if config.workdir else ()
    yield from (f"USER {_unquoted(_held(config.user, texts.user))}",) if config.user else ()
    # BuildKit expands no variables in JSON lists. An entry point drops a command that came before it.
    yield from (f"ENTRYPOINT {words_json(config.entrypoint)}",) if config.entrypoint is not None else ()
    yield from (f"CMD {words_json(config.command)}",) if config.command is not None else ()
    yield from (f"HEALTHCHECK {healthcheck_text(config.healthcheck)}",) if config.healthcheck else ()


def _held(text: str, rule: texts.Rule) -> str:
    if expected := rule(text):
        raise ValueError(f"`{texts.shown(text)}` reached an assembly, which takes {expected}")
    return text


def _context(layer: str) -> str:
    """Return a layer's name; in another form, `--from` could mean a stage by its number, or an image elsewhere."""
    if layer != OWN_FILES and (problem := layer_problem(layer)):
        raise ValueError(problem)
    return layer


def _variable(variable: Variable) -> str:
    return f"{_held(variable.name, texts.variable)}={environment_value(variable)}"


def environment_value(variable: Variable) -> str:
    """Return the value of an ENV instruction in quotes.

    Where no layer sets the variable, the parent's value is in the middle if it has one: in a list such as
    LD_LIBRARY_PATH an empty part would mean the current folder.
    """
    separator, name = _held(variable.separator, texts.separator), variable.name
    before = separator.join(in_quotes(part) for part in variable.prepended)
    behind = separator.join(in_quotes(part) for part in variable.appended)
    if variable.value is not None or variable.default is not None:
        whole = f"${{{name}:-{_held(variable.default or '', texts.default)}}}" if variable.value is None else ""
        middle = whole or in_quotes(variable.value or "")
        return f'"{separator.join(part for part in (before, middle, behind) if part)}"'
    if before:
        middle = f"${{{name}:+{separator}${{{name}}}}}"
        return f'"{before}{middle}{separator + behind if behind else ""}"'
    return f'"${{{name}:+${{{name}}}{separator}}}{behind}"'


def _unquoted(text: str) -> str:
    return _SPECIAL_BARE.sub(r"\\\1", text)


def _quoted(text: str) -> str:
    return f'"{in_quotes(text)}"'
