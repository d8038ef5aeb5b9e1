"""What the layers of a stack do to the variables of its image, merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from buildsys.config import template
from buildsys.config.model import Environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One variable of an image: `value` if a layer sets it, else what the parent has; parts go around it.

    `layers` are those that have a say, in order.
    """

    name: str
    value: str | None
    prepended: tuple[str, ...]
    appended: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The value as a person reads it; `$NAME` stands for the parent's."""
        middle = f"${self.name}" if self.value is None else self.value
        return ":".join([*self.prepended, *([middle] if middle else []), *self.appended])


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Two layers that set one variable to different values."""

    variable: str
    first: tuple[str, str]
    second: tuple[str, str]


def merge(
    layers: Iterable[tuple[str, Iterable[Environment], Mapping[str, str]]],
) -> tuple[tuple[Variable, ...], tuple[Conflict, ...]]:
    """Return the variables, sorted by name, and the conflicts.

    `layers` are the name, the environments and the parameters (with `flavour`) of each layer, in layer order.
    What a later layer prepends stands in front of what an earlier one did; equal parts stand once, first.
    """
    values: dict[str, tuple[str, str]] = {}
    before: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    said: dict[str, dict[str, None]] = {}
    conflicts = []
    for layer, environments, parameters in layers:
        for environment in environments:
            if not environment.when.holds(parameters):
                continue
            for name, text in environment.set.items():
                value = template.fill(text, parameters)
                known = values.setdefault(name, (layer, value))
                if known[1] != value:
                    conflicts.append(Conflict(variable=name, first=known, second=(layer, value)))
                said.setdefault(name, {})[layer] = None
            for name, texts in environment.prepend.items():
                parts = [template.fill(text, parameters) for text in texts]
                before[name] = [*parts, *before.get(name, [])]
                said.setdefault(name, {})[layer] = None
            for name, texts in environment.append.items():
                behind.setdefault(name, []).extend(template.fill(text, parameters) for text in texts)
                said.setdefault(name, {})[layer] = None
    variables = tuple(
        Variable(
            name=name,
            value=values[name][1] if name in values else None,
            prepended=tuple(dict.fromkeys(before.get(name, ()))),
            appended=tuple(dict.fromkeys(behind.get(name, ()))),
            layers=tuple(said[name]),
        )
        for name in sorted(said)
    )
    return variables, tuple(conflicts)
