"""Where this machine has the values of secrets: in variables, in files that its settings name, or on a command line."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from buildsys.errors import Diagnostic, InvalidInput, Location, WrongUsage, did_you_mean
from buildsys.names import SECRET_ID as _FORM
from buildsys.names import SETTINGS_FILE, secret_problem, secret_variable
from buildsys.project.files import read_named
from buildsys.recipes.fields import SECRET_ID, TEXT
from buildsys.records.schema import Record, nullable
from buildsys.records.shapes import Converted, Dictionary
from buildsys.texts import shown
from buildsys.values import dataclass

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Linux takes at most 128 KiB in one variable of a process, its name included.
_MOST_BYTES = 96 << 10
_OPTION = "`--secret id=<id>,src=<file>` or `--secret id=<id>,env=<variable>`"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretSource:
    """Where the value of one secret is: in a file or in a variable."""

    file: Path | None = nullable(Converted(TEXT, lambda text: Path(text).expanduser() if text else None), None)
    env: str | None = nullable(TEXT, None)

    def below(self, folder: Path) -> SecretSource:
        """Return it with a path that is relative to a folder."""
        return self if self.file is None else replace(self, file=folder / self.file)


SOURCES = Dictionary(Record(SecretSource, "SecretSource"), key=SECRET_ID)


def source_problems(sources: Mapping[str, SecretSource]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield what is wrong with the settings of secrets: a message that quotes no value, its path, and a hint."""
    for name, source in sources.items():
        path = ("secrets", name)
        if problem := secret_problem(name):
            yield problem, path, "remove it; credentials of mirrors belong to `pip`, `proxy`, `apt` and `conda`"
        elif (source.file is None) == (source.env is None):
            hint = f"write `{name}: {{file: <path>}}` or `{name}: {{env: <variable>}}`"
            found = "neither `file` nor `env`" if source.file is None else "both `file` and `env`"
            yield f"`secrets.{name}` has {found}", path, hint
        elif source.env is not None and not _VARIABLE.fullmatch(source.env):
            message = f"`secrets.{name}.env` is not the name of a variable"
            yield message, (*path, "env"), "name the variable that has the value, not the value"


def committed_problem(
    name: str, source: SecretSource, location: Location, is_committed: Callable[[], bool]
) -> Iterator[Diagnostic]:
    """Yield an error for a variable of the machine that a committed file would give to the RUN steps of a project."""
    variable = secret_variable(name)
    if source.env not in (None, variable) and is_committed():
        message = f"`secrets.{name}.env` names `{source.env}`, in a file that is committed to git"
        hint = f"set `{variable}`, or keep the file out of git: `git rm --cached {Path(location.file).name}`"
        yield Diagnostic(message=message, location=location, hint=hint)


def values(
    environ: Mapping[str, str], sources: Mapping[str, SecretSource], options: Mapping[str, SecretSource]
) -> dict[str, str]:
    """Return the variables of secrets with their values that are to be added to an environment.

    Options go before the environment, and that before `sources` of the settings; what has no value is left out. Raises
    `InvalidInput` for a file that cannot be the value of a secret.
    """
    found: dict[str, str] = {}
    for given, word in ((sources, "`secrets` of the settings"), (options, "`--secret`")):
        for name, source in given.items():
            variable = secret_variable(name)
            if given is sources and variable in environ:
                continue
            value = _value(source, environ, word)
            if value is not None:
                found[variable] = value
            elif given is options:
                message = f"`--secret` names the variable `{source.env}`, which is not set"
                raise InvalidInput([Diagnostic(message=message, hint=f"set `{source.env}`")])
    return found


def _value(source: SecretSource, environ: Mapping[str, str], word: str) -> str | None:
    if source.file is None:
        return environ.get(source.env or "") or None
    data = read_named(source.file)
    problem = ""
    if b"\0" in data:
        problem = "has zero bytes, which no variable of a process can hold"
    elif len(data) > _MOST_BYTES:
        problem = f"has {len(data)} bytes, expected at most {_MOST_BYTES}"
    elif not data.strip():
        problem = "is empty"
    if problem:
        message = f"the file `{source.file}` of {word} {problem}"
        hint = "write the value into it" if not data.strip() else "give a smaller text, such as base64 of a key alone"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return os.fsdecode(data)


def parse_options(words: Iterable[str], environ: Mapping[str, str]) -> Mapping[str, SecretSource]:
    """Return the sources that options `--secret` name, in the syntax of buildx, by id; raises `WrongUsage`.

    A person may write the value itself there, so nothing but names is quoted.
    """
    return dict(_option(word, environ) for word in words)


def _option(word: str, environ: Mapping[str, str]) -> tuple[str, SecretSource]:
    try:
        parts = next(csv.reader([word], strict=True), [])
    except csv.Error as error:
        raise WrongUsage("`--secret` cannot be read", hint=f"write {_OPTION}") from error
    fields = {key.strip().lower(): value for key, _, value in (part.partition("=") for part in parts)}
    if unknown := [key for key in fields if key not in ("id", "type", "src", "source", "env")]:
        named = f"`{shown(unknown[0])}`" if _VARIABLE.fullmatch(unknown[0]) else "something"
        raise WrongUsage(f"`--secret` has {named}, expected `id`, and `src` or `env`", hint=f"write {_OPTION}")
    name, file, env = fields.get("id", ""), fields.get("src") or fields.get("source"), fields.get("env")
    if not re.fullmatch(_FORM, name):
        raise WrongUsage("`--secret` has no id of a secret", hint=f"write {_OPTION}")
    if problem := secret_problem(name):
        raise WrongUsage(f"`--secret`: {problem}", hint=f"put credentials of mirrors into {SETTINGS_FILE}")
    if fields.get("type", "file") not in ("file", "env"):
        raise WrongUsage("`type` of `--secret` is neither `file` nor `env`", hint="remove it")
    if fields.get("type") == "env":
        file, env = None, env or file
    if not (file or env):
        # As buildx does: the id is the name of a variable, or of a file.
        file, env = (None, name) if name in environ else (name, None)
    return name, SecretSource(file=Path(file) if file and not env else None, env=env or None)


def check_known(options: Collection[str], known: Collection[str]) -> None:
    """Raise `WrongUsage` for an option `--secret` whose id nothing mounts."""
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known, "remove it, or declare it under `secrets` in the layer that mounts it")
            raise WrongUsage(f"`--secret` names `{name}`, which no layer declares", hint=hint)
