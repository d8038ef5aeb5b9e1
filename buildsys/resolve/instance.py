"""What a layer in a stack is, and what the values of its parameters are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from buildsys.config.model import LayerUse, Parameter, ParameterSource, Recipe
from buildsys.config.parameters import value_problem
from buildsys.config.template import FILTERS
from buildsys.errors import Diagnostic, Location, did_you_mean
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInstance:
    """A layer in a stack, with its parameters resolved: `origins` says where each value comes from.

    `why` says why the stack has it. `parameters` holds everything the recipe declares, and `flavour` where the
    layer has several.
    """

    recipe: Recipe
    parameters: Mapping[str, str]
    origins: Mapping[str, str]
    why: str
    location: Location

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.recipe.layer


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedLayer:
    """A layer that a stack will have, before its parameters are resolved."""

    recipe: Recipe
    use: LayerUse
    why: str


_LONGEST_CHAIN = 100


class Values:
    """The parameter values of one stack: the value set, else the one taken from another layer, else the default."""

    def __init__(
        self,
        requested: Mapping[str, RequestedLayer],
        present: Callable[[str, Iterable[str]], list[str]],
        diagnostics: list[Diagnostic],
    ) -> None:
        self._requested = requested
        self._present = present
        self._diagnostics = diagnostics
        self._known: dict[tuple[str, str], tuple[str, str] | None] = {}
        self._open: list[tuple[str, str]] = []

    def value(self, layer: str, name: str) -> tuple[str, str] | None:
        """Return a parameter's value and where it comes from; None after adding a diagnostic."""
        key = (layer, name)
        if key in self._known:
            return self._known[key]
        one = self._requested[layer]
        parameter = one.recipe.parameters[name]
        location = one.use.locations.get(name, one.use.location)
        found: tuple[str, str] | None = None
        if key in self._open or len(self._open) == _LONGEST_CHAIN:
            message = (
                f"`{layer}.{name}` is the end of {_LONGEST_CHAIN} parameters that take their values from each other"
            )
            if key in self._open:
                loop = " → ".join(f"{each[0]}.{each[1]}" for each in [*self._open, key])
                message = f"parameters take their values from each other: {loop}"
            self._diagnostics.append(Diagnostic(message=message, location=location))
            # That the others have no value follows from this.
            self._known.update(dict.fromkeys([*self._open, key]))
            return None
        if name in one.use.parameters:
            found = one.use.parameters[name], "stack"
        elif parameter.source and (taken := self._taken(key, parameter.source)):
            found = taken
        elif parameter.default is not None:
            found = parameter.default, "default"
        if key in self._known:
            return None
        if found is None:
            self._diagnostics.append(without_value(one.recipe, name, one.use))
        else:
            self._diagnostics.extend(value_diagnostics(parameter, found[0], location))
        self._known[key] = found
        return found

    def _taken(self, key: tuple[str, str], source: ParameterSource) -> tuple[str, str] | None:
        for other in self._present(source.layer, self._requested):
            if source.parameter in self._requested[other].recipe.parameters:
                self._open.append(key)
                value = self.value(other, source.parameter)
                self._open.pop()
                if value is None:
                    return None
                text = FILTERS[source.filter](value[0]) if source.filter else value[0]
                return text, f"{other}.{source.parameter}"
        return None


def unknown(recipe: Recipe, use: LayerUse) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each parameter that is set and not declared."""
    for name in use.parameters:
        if name not in recipe.parameters and name != "flavour":
            known_names = [*recipe.parameters, *(["flavour"] if recipe.flavour else [])]
            which = f"`{recipe.layer}`" + (f" (flavour `{recipe.flavour}`)" if recipe.flavour else "")
            known = ", ".join(f"`{each}`" for each in sorted(recipe.parameters)) or "none"
            hint = did_you_mean(name, known_names, f"use one of its parameters: {known}")
            message = f"layer {which} has no parameter `{name}`"
            yield Diagnostic(message=message, location=use.locations.get(name, use.location), hint=hint)


def without_value(recipe: Recipe, name: str, use: LayerUse) -> Diagnostic:
    """Return the diagnostic that a parameter has no value."""
    source = recipe.parameters[name].source
    hint = f"it would be taken from `{source.layer}.{source.parameter}`, which is missing" if source else None
    message = f"layer `{recipe.layer}` needs a value for `{name}`"
    return Diagnostic(message=message, location=use.location, hint=hint)


def value_diagnostics(parameter: Parameter, value: str, location: Location) -> Iterator[Diagnostic]:
    """Yield a diagnostic for a value that is not allowed."""
    if problem := value_problem(parameter, value):
        yield Diagnostic(message=problem, location=location)
