"""A file is held against its shape: either a value of the shape, or every mistake with its place."""

from __future__ import annotations

import copy
import types
import typing
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union

from pydantic import BaseModel, ValidationError

from buildsys.config.source import Data, Path, Source
from buildsys.errors import Diagnostic
from buildsys.texts import shown

Model = TypeVar("Model", bound=BaseModel)


def parse(source: Source, model: type[Model], diagnostics: list[Diagnostic]) -> Model | None:
    """Return the file as a value of `model`, or None after adding every mistake in its shape."""
    data: Data = source.data if source.data is not None else {}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        diagnostics.extend(_diagnostic(one, source, model) for one in errors)
    if any(one["type"] != "extra_forbidden" for one in errors):
        return None
    # Nothing but unknown keys: without them the rest can be looked at too, so that all mistakes are told at once.
    data = copy.deepcopy(data)
    for one in errors:
        _remove(data, _known_path(tuple(one["loc"]), source))
    return model.model_validate(data)


def _remove(data: Data, path: Path) -> None:
    for step in path[:-1]:
        data = data[step]  # type: ignore[index]
    del data[path[-1]]  # type: ignore[union-attr, arg-type]


def _diagnostic(error: Any, source: Source, model: type[BaseModel]) -> Diagnostic:
    steps: Path = tuple(error["loc"])
    path = _known_path(steps, source)
    last = str(steps[-1]) if steps else ""
    found = shown(error["input"]) if isinstance(error["input"], str) else None
    hint: str | None = None
    location = source.location(path)
    match error["type"]:
        case "extra_forbidden":
            message = f"unknown key `{last}`"
            fields = _fields(model, steps[:-1])
            near = get_close_matches(last, fields, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {_quoted(fields)}"
            location = source.key_location(path)
        case "missing":
            message = f"`{last}` is missing"
            location = source.key_location(_known_path(steps[:-1], source))
        case "literal_error":
            message = f"`{found}` is not one of {error['ctx']['expected'].replace(chr(39), '`')}"
        case "string_pattern_mismatch":
            message = f"`{found}` does not have the form `{error['ctx']['pattern']}`"
            if steps and steps[-1] == "[key]":
                location = source.key_location(_known_path(steps[:-1], source))
        case "int_parsing" | "int_type":
            message = f"`{found}` is not a whole number"
        case "value_error":
            message = f"`{found}`: {error['ctx']['error']}"
        case _:
            message = f"{_where(steps)}{_plain(error['msg'])}"
    return Diagnostic(message=message, location=location, hint=hint)


def _known_path(steps: Path, source: Source) -> Path:
    """Return where an error's location leads in the file: names of union members and wraps are left out."""
    path: Path = ()
    for step in steps:
        if (*path, step) in source.values:
            path = (*path, step)
    return path


def _where(steps: Path) -> str:
    names = [str(step) for step in steps if isinstance(step, str) and not step.startswith(("[", "list", "function"))]
    return f"`{names[-1]}`: " if names else ""


def _plain(message: str) -> str:
    words = {
        "Input should be a valid dictionary": "expected a mapping",
        "Input should be a valid list": "expected a list",
        "Input should be a valid string": "expected a text",
    }
    start = next((word for word in words if message.startswith(word)), None)
    return words[start] if start else message[:1].lower() + message[1:]


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _fields(model: type[BaseModel], steps: Path) -> list[str]:
    """Return the keys that may stand at a location."""
    current: Any = model
    for step in steps:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = next((f for name, f in current.model_fields.items() if step in (name, f.alias)), None)
            current = field.annotation if field else None
            continue
        current = _inside(current)
    current = _model_in(current)
    return sorted(field.alias or name for name, field in current.model_fields.items()) if current else []


def _inside(annotation: Any) -> Any:
    """Return what a list or mapping holds, through unions and annotations."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _inside(arguments[0])
    if origin in (Union, types.UnionType):
        return next((found for each in arguments if (found := _inside(each)) is not None), None)
    return arguments[-1] if origin in (list, dict) else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (Annotated, Union, types.UnionType):
        found = (_model_in(each) for each in typing.get_args(annotation))
        return next((each for each in found if each), None)
    return None
