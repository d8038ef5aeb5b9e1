"""What is wrong on a command line: each error names the word, what was expected, and what to write instead."""

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from buildsys.errors import ExitCode, WrongUsage, did_you_mean
from buildsys.texts import shown

# Typer has the classes of click without public names for all of them; this is the base of every wrong usage.
_Usage: Any = typer.BadParameter.__base__
# What other tools call it.
_OTHER_WORDS = {"build": "bake"}
_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "a build or test failed",
    ExitCode.USAGE: "wrong usage",
    ExitCode.DIFFERS: "a committed file differs",
    ExitCode.INVALID: "invalid input",
    ExitCode.UNAVAILABLE: "engine, registry, tool or disk unavailable",
    ExitCode.BUG: "a bug of buildsys",
}
_ALWAYS = (ExitCode.DONE, ExitCode.USAGE, ExitCode.INVALID, ExitCode.UNAVAILABLE, ExitCode.BUG)


def exit_codes(*codes: ExitCode) -> str:
    """Return the line of `--help` with the exit codes that every command has, and `codes`."""
    listed = [f"{int(code)} {word}" for code, word in _CODES.items() if code in (*_ALWAYS, *codes)]
    return f"Exit codes: {', '.join(listed)}, {int(ExitCode.INTERRUPTED)} and {int(ExitCode.TERMINATED)} interrupted."


class Commands(TyperGroup):
    """The commands; what is wrong on their command lines is an error of buildsys."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options before the command; raises `WrongUsage`."""
        if not args:
            # Then the help is shown.
            return super().parse_args(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except _Usage as error:
            raise _wrong(error, ctx, self) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the words after it; raises `WrongUsage`."""
        word = args[0]
        if word not in self.commands and not ctx.resilient_parsing:
            known = [*self.commands, *(option for each in self.params for option in each.opts), "--help"]
            hint = did_you_mean(_OTHER_WORDS.get(word, word), known, _help("buildsys"))
            raise WrongUsage(f"`{shown(word)}` is not a command of buildsys", hint=hint)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Call the command; raises `WrongUsage` for what it does not take."""
        try:
            return super().invoke(ctx)
        except _Usage as error:
            raise _wrong(error, ctx, self.commands.get(ctx.invoked_subcommand, self)) from error


def _wrong(error: Any, top: Any, command: Any) -> WrongUsage:
    """Return what to report for an error of click in the words of a command."""
    name = "buildsys" if command is top.command else command.name
    match type(error).__name__:
        case "NoSuchOption":
            return _unknown_option(error.option_name, top.command, command, name)
        case "BadOptionUsage":
            option = next(each for each in command.params if error.option_name in (*each.opts, *each.secondary_opts))
            if getattr(option, "is_flag", False):
                return WrongUsage(f"`{error.option_name}` takes no value", hint=f"write `{error.option_name}` alone")
            return WrongUsage(f"`{error.option_name}` lacks its value", hint=_addition(option))
        case "MissingParameter":
            written = error.param.opts[0] if error.param.param_type_name == "option" else error.param.name
            return WrongUsage(f"`{name}` lacks `{written}`", hint=_addition(error.param))
    if extra := re.search(r" \((.*)\)$", error.message, re.DOTALL):
        return WrongUsage(f"`{shown(extra[1])}` is one argument too many for `{name}`", hint="remove it")
    if command is top.command:
        return WrongUsage("`buildsys` lacks a command", hint=_help(name))
    found = shown(error.format_message()).rstrip(".")
    return WrongUsage(f"{found[:1].lower()}{found[1:]}", hint=_help(name))


def _addition(parameter: Any) -> str:
    """Return the hint to add a parameter, with the words of its help."""
    option = parameter.param_type_name == "option"
    written = f"`{parameter.opts[0]}` with its value" if option else f"`{parameter.name}`"
    # Some versions of Typer have no help of arguments here.
    meaning = (parameter.help or "").rstrip(".")
    return f"add {written}: {meaning[0].lower()}{meaning[1:]}" if meaning else f"add {written}"


def _unknown_option(option: str, top: Any, command: Any, name: str) -> WrongUsage:
    message = f"`{shown(option)}` is not an option of `{name}`"
    if command is not top and option in _options(top):
        return WrongUsage(message, hint=f"write it before the command: `buildsys {option} … {command.name}`")
    others = [each for each, other in top.commands.items() if option in _options(other)]
    if others:
        return WrongUsage(message, hint=f"remove it: it is an option of {_listed(others, 'and')}")
    known = [*_options(command), "--help"]
    return WrongUsage(message, hint=did_you_mean(option, known, _help(name)))


def _help(name: str) -> str:
    return f"run `buildsys {name} --help` to list its options" if name != "buildsys" else "run `buildsys --help`"


def _listed(words: Sequence[str], last: str) -> str:
    quoted = [f"`{word}`" for word in words]
    return f" {last} ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


def _options(command: Any) -> list[str]:
    """Return how the options of a command are written."""
    return [
        written
        for each in command.params
        if each.param_type_name == "option"
        for written in (*each.opts, *each.secondary_opts)
    ]


def exclusive(context: typer.Context, *names: str, hint: str = "remove one of them") -> None:
    """Raise `WrongUsage` if the command line has more than one of `names`: options, or the names of arguments."""
    found = [word for name in names if (word := given(context, name))]
    if len(found) > 1:
        raise WrongUsage(f"`{found[0]}` and `{found[1]}` exclude each other", hint=hint)


def needs(context: typer.Context, option: str, needed: str) -> None:
    """Raise `WrongUsage` if the command line has a parameter without the option that gives it a meaning."""
    if (word := given(context, option)) and not given(context, needed):
        raise WrongUsage(f"`{word}` needs `{needed}`", hint=f"add `{needed}`")


def given(context: typer.Context, name: str) -> str:
    """Return what the command line has of an option, or of the argument of that name: a word, empty for nothing."""
    found: Any = next(each for each in context.command.params if name in (each.name, *each.opts))
    source = context.get_parameter_source(found.name)
    if source is None or source.name != "COMMANDLINE":
        return ""
    value = context.params[found.name]
    return name if found.param_type_name == "option" else value if isinstance(value, str) else value[0]


def _not_of(option: str, text: object) -> str:
    return f"`{shown(str(text))}` is not a value of `{option}`"


def whole(option: str, least: int, most: int) -> Callable[[str], int]:
    """Return what reads the whole number of an option, within its limits; it raises `WrongUsage`."""

    def read(text: str) -> int:
        found = int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", str(text)) else None
        if found is None or not least <= found <= most:
            message = f"{_not_of(option, text)}, expected a whole number from {least} to {most}"
            raise WrongUsage(message, hint=f"use `{max(least, 4)}`")
        return found

    return read


def gigabytes(option: str, most: float) -> Callable[[str], float]:
    """Return what reads a size in GB of an option, at most `most`; it raises `WrongUsage`."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not 0 <= found <= most:
            message = f"{_not_of(option, text)}, expected a number of GB from 0 to {most:.0f}"
            raise WrongUsage(message, hint="use `10`")
        return found

    return read


def choice(option: str, known: Sequence[str]) -> Callable[[str], str]:
    """Return what reads one of several words; it raises `WrongUsage`."""

    def read(text: str) -> str:
        if text not in known:
            hint = did_you_mean(text, known, f"use `{known[0]}`")
            raise WrongUsage(f"{_not_of(option, text)}, expected {_listed(known, 'or')}", hint=hint)
        return text

    return read


def file(option: str) -> Callable[[str], Path]:
    """Return what reads the path of a file; it raises `WrongUsage` for a folder and for no name at all."""

    def read(text: str) -> Path:
        if not str(text) or os.path.isdir(text):  # noqa: PTH112
            found = f"`{shown(str(text))}` is a folder" if text else "the name is empty"
            raise WrongUsage(f"{found}, expected a file for `{option}`", hint="name a file")
        return Path(text)

    return read
