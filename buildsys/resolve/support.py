"""How long an image has support: as its stack says, or the first of its layers' parameter values to end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from buildsys.config.model import Stack
from buildsys.errors import Location
from buildsys.resolve.instance import LayerInstance
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Support:
    """The last day with support of an image; `value` is that of a layer which ends it, empty if it is the stack's."""

    until: date
    value: str
    location: Location


def support_of(stack: Stack, layers: Iterable[LayerInstance]) -> Support | None:
    """Return the support of a stack's image, None where nothing says when it ends; the stack's own date decides."""
    if stack.supported_until:
        return Support(until=stack.supported_until, value="", location=stack.location)
    ends = [
        Support(
            until=parameter.supported_until[value],
            value=f"`{each.name}` {name} {value}",
            location=each.recipe.place("supported_until", f"{name} {value}"),
        )
        for each in layers
        for name, parameter in each.recipe.parameters.items()
        if (value := each.parameters.get(name, "")) in parameter.supported_until
    ]
    return min(ends, key=lambda end: (end.until, end.value), default=None)
