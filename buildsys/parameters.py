"""Whether a text may be the value of a parameter."""

from __future__ import annotations

import re
from difflib import get_close_matches

from buildsys import texts
from buildsys.model import Parameter, ParameterType


def value_problem(parameter: Parameter, value: str) -> str | None:
    """Return what is wrong with a value of a parameter, or None."""
    match parameter.type:
        case ParameterType.INTEGER if not re.fullmatch(r"-?\d+", value):
            return f"`{parameter.name}` is a whole number, not `{value}`"
        case ParameterType.BOOLEAN if value not in ("true", "false"):
            return f"`{parameter.name}` is `true` or `false`, not `{value}`"
        case ParameterType.FOLDER if expected := texts.folder(value):
            return f"`{parameter.name}` is {expected}, not `{texts.shown(value)}`"
    words = value.split() if parameter.type is ParameterType.WORDS else [value]
    for word in words:
        if parameter.values and word not in parameter.values:
            near = get_close_matches(word, parameter.values, 1)
            allowed = ", ".join(f"`{each}`" for each in parameter.values)
            return f"`{word}` is not a value of `{parameter.name}`" + (
                f", did you mean `{near[0]}`?" if near else f", expected one of {allowed}"
            )
        if parameter.pattern is not None and not re.fullmatch(parameter.pattern, word):
            return f"`{word}` does not have the form `{parameter.pattern}` that `{parameter.name}` wants"
    return None
