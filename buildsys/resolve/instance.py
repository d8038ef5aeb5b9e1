"""What a layer in a stack is, and what the values of its parameters are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from buildsys.config.model import LayerUse
from buildsys.errors import Diagnostic, Location, did_you_mean, nearest
from buildsys.recipes.parameters import ParameterSource, value_problem
from buildsys.recipes.recipe import Recipe
from buildsys.recipes.template import FILTERS
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInstance:
    """A layer in a stack, with its parameters resolved: `origins` says where each value comes from.

    `why` says why the stack has it. `parameters` holds everything the recipe declares, and `flavour` where the
    layer has several. `position` is its place in the stack's list, in which a layer that is only required comes just
    before the first that requires it. `is_own` of the fields of the stack itself, which override those of layers;
    `contents` distinguishes what they build.
    """

    recipe: Recipe
    parameters: Mapping[str, str]
    origins: Mapping[str, str]
    why: str
    location: Location
    position: int = 0
    is_own: bool = False
    contents: str = ""

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
        before = len(self._diagnostics)
        if key in self._open or len(self._open) == _LONGEST_CHAIN:
            message = (
                f"`{layer}.{name}` is the end of {_LONGEST_CHAIN} parameters that take their values from each other"
            )
            if key in self._open:
                loop = " → ".join(f"{each[0]}.{each[1]}" for each in [*self._open, key])
                message = f"parameters take their values from each other: {loop}"
            hint = f"remove `from` of one of them, or set `{name}` in the stack"
            self._diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
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
        # What is wrong where the value comes from is said there.
        if found is None and len(self._diagnostics) == before and name not in _misspelt(one.recipe, one.use):
            self._diagnostics.append(without_value(one.recipe, name, one.use))
        elif found is not None and len(self._diagnostics) == before:
            self._diagnostics.extend(value_diagnostics(one.recipe, name, found[0], location))
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
            known = ", ".join(f"`{each}`" for each in sorted(recipe.parameters)) or "no parameters"
            otherwise = f"remove `{name}`, the layer has {known}"
            hint = did_you_mean(name, known_names, otherwise)
            message = f"layer {which} has no parameter `{name}`"
            yield Diagnostic(message=message, location=use.keys.get(name, use.location), hint=hint)


def _misspelt(recipe: Recipe, use: LayerUse) -> set[str | None]:
    """Return the parameters that a stack means with names that are not declared."""
    unset = [name for name in recipe.parameters if name not in use.parameters]
    return {nearest(name, unset) for name in use.parameters if name not in recipe.parameters}


def without_value(recipe: Recipe, name: str, use: LayerUse) -> Diagnostic:
    """Return the diagnostic that a parameter has no value."""
    source = recipe.parameters[name].source
    value = next(iter(recipe.parameters[name].values), "…")
    hint = f"add `{name}: {value}`"
    if not use.parameters:
        short = value if name == "version" else f"{{{name}: {value}}}"
        hint = f"write `{recipe.layer}: {short}`"
    message = f"layer `{recipe.layer}` needs a value for `{name}`"
    if source:
        message = f"{message}: no layer of the stack has `{source.layer}.{source.parameter}`, which it is taken from"
    return Diagnostic(message=message, location=use.location, hint=hint)


def value_diagnostics(recipe: Recipe, name: str, value: str, location: Location) -> Iterator[Diagnostic]:
    """Yield a diagnostic for a value that a parameter cannot have."""
    if problem := value_problem(recipe.parameters[name], value):
        message, hint = problem
        yield Diagnostic(message=f"layer `{recipe.layer}`: {message}", location=location, hint=hint)
