"""A declared stack becomes its layers in order, each with its parameters and the reason why it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from buildsys.config.model import OS, Catalog, Kind, LayerUse, Recipe, Stack
from buildsys.errors import Diagnostic, Location
from buildsys.resolve.graph import Cycle, ordered
from buildsys.resolve.instance import LayerInstance, RequestedLayer, Values, unknown, value_diagnostics, without_value
from buildsys.resolve.stack_checks import stack_diagnostics, text_diagnostics

_RANK = {Kind.SYSTEM: 0, Kind.TOOLCHAIN: 1, Kind.ARTIFACT: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class LayeredStack:
    """A stack whose layers are all there, in order; `os` is the one that provides the operating system."""

    stack: Stack
    instances: tuple[LayerInstance, ...]
    os: LayerInstance | None

    def instance(self, name: str) -> LayerInstance | None:
        """Return the layer of that name."""
        return next((each for each in self.instances if each.name == name), None)


class Resolver:
    """Resolves the stacks of one catalog; orders that were found once are kept."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._orders: dict[frozenset[tuple[str, str]], tuple[str, ...]] = {}
        self._providers: dict[str, list[str]] = {}
        for name, layer in sorted(catalog.layers.items()):
            for provided in layer.provides:
                self._providers.setdefault(provided, []).append(name)

    def resolve(self, stack: Stack, diagnostics: list[Diagnostic]) -> LayeredStack | None:
        """Return the stack with its layers, or None after adding every mistake."""
        before = len(diagnostics)
        wanted = self._closure(stack, diagnostics)
        if len(diagnostics) > before:
            return None
        instances = self._instances(wanted, diagnostics)
        if len(diagnostics) > before:
            return None
        names = self._order(stack, instances, diagnostics)
        if len(diagnostics) > before:
            return None
        found = tuple(instances[name] for name in names)
        diagnostics.extend(self._conflicts(stack, found))
        diagnostics.extend(self._shared_paths(stack, found))
        diagnostics.extend(stack_diagnostics(stack, found))
        if len(diagnostics) > before:
            return None
        os = next((each for each in found if OS in self._catalog.layers[each.name].provides), None)
        return LayeredStack(stack=stack, instances=found, os=os)

    def alone(
        self, layer: str, parameters: Mapping[str, str], location: Location, diagnostics: list[Diagnostic]
    ) -> LayerInstance:
        """Return a layer outside of any stack, as a toolchain is; what it does not declare is an error."""
        recipe = self._catalog.layers[layer].recipes[self._catalog.layers[layer].default_flavour]
        before = len(diagnostics)
        use = LayerUse(layer=layer, parameters=parameters, location=location)
        values, origins = {}, {}
        diagnostics.extend(unknown(recipe, use))
        for name, parameter in recipe.parameters.items():
            value, origin = parameters.get(name, parameter.default), "toolchain"
            if value is None:
                diagnostics.append(without_value(recipe, name, use))
            else:
                values[name], origins[name] = value, origin
                diagnostics.extend(value_diagnostics(parameter, value, location))
        found = LayerInstance(
            recipe=recipe,
            parameters=MappingProxyType(values),
            origins=MappingProxyType(origins),
            why="the toolchain of an artifact",
            location=location,
        )
        if len(diagnostics) == before:
            diagnostics.extend(text_diagnostics(layer, found))
        return found

    def present(self, name: str, names: Iterable[str]) -> list[str]:
        """Return which of the layers are meant by a layer's name or a provided name."""
        meant = self._providers.get(name, [name])
        return [each for each in names if each in meant]

    def _closure(self, stack: Stack, diagnostics: list[Diagnostic]) -> dict[str, RequestedLayer]:
        wanted: dict[str, RequestedLayer] = {}
        waiting: list[tuple[LayerUse, str]] = []
        open_choices: list[tuple[LayerUse, str, list[str]]] = []
        for use in stack.layers:
            if any(use.layer == other.layer for other, _ in waiting):
                message = f"the layer `{use.layer}` stands twice in `{stack.name}`"
                diagnostics.append(Diagnostic(message=message, location=use.location))
                continue
            waiting.append((use, "named by the stack"))
        while waiting:
            use, why = waiting.pop(0)
            recipe = self._recipe(use, diagnostics)
            if recipe is None:
                continue
            wanted[use.layer] = RequestedLayer(recipe=recipe, use=use, why=why)
            for name in recipe.requires:
                there = [*wanted, *(other.layer for other, _ in waiting)]
                if self.present(name, there):
                    continue
                choices = self._providers.get(name, [name])
                if len(choices) > 1:
                    open_choices.append((use, name, choices))
                    continue
                added = LayerUse(layer=choices[0], parameters=MappingProxyType({}), location=use.location)
                waiting.append((added, f"required by `{use.layer}`"))
        # Only now: a layer that another one requires may have come in later, and be the choice.
        for use, name, choices in open_choices:
            if not self.present(name, wanted):
                message = f"layer `{use.layer}` requires `{name}`, which `{stack.name}` does not have"
                hint = f"add one of {', '.join(f'`{each}`' for each in choices)}"
                diagnostics.append(Diagnostic(message=message, location=use.location, hint=hint))
        return wanted

    def _recipe(self, use: LayerUse, diagnostics: list[Diagnostic]) -> Recipe | None:
        layer = self._catalog.layers[use.layer]
        flavour = use.parameters.get("flavour", layer.default_flavour)
        if found := layer.recipes.get(flavour):
            return found
        location = use.locations.get("flavour", use.location)
        if not layer.default_flavour:
            message, hint = f"layer `{use.layer}` has no flavours", None
        else:
            message = f"`{flavour}` is not a flavour of `{use.layer}`"
            near = get_close_matches(flavour, layer.recipes, 1)
            known = ", ".join(f"`{each}`" for each in layer.recipes)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {known}"
        diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
        return None

    def _instances(
        self, wanted: Mapping[str, RequestedLayer], diagnostics: list[Diagnostic]
    ) -> dict[str, LayerInstance]:
        values = Values(wanted, self.present, diagnostics)
        found = {}
        for name, one in wanted.items():
            diagnostics.extend(unknown(one.recipe, one.use))
            parameters, origins = {}, {}
            if one.recipe.flavour:
                parameters["flavour"] = one.recipe.flavour
            for parameter in one.recipe.parameters:
                known = values.value(name, parameter)
                if known is not None:
                    parameters[parameter], origins[parameter] = known
            found[name] = LayerInstance(
                recipe=one.recipe,
                parameters=MappingProxyType(parameters),
                origins=MappingProxyType(origins),
                why=one.why,
                location=one.use.location,
            )
        return found

    def _order(
        self, stack: Stack, instances: Mapping[str, LayerInstance], diagnostics: list[Diagnostic]
    ) -> tuple[str, ...]:
        shape = frozenset((name, each.recipe.flavour) for name, each in instances.items())
        if known := self._orders.get(shape):
            return known
        needs: dict[str, list[str]] = {}
        for name, each in instances.items():
            edges = [n for edge in each.recipe.requires for n in self.present(edge, instances)]
            edges += [n for edge in each.recipe.after for n in self.present(edge, instances)]
            needs[name] = [need for need in edges if need != name]
            for need in needs[name]:
                if each.recipe.kind is Kind.SYSTEM and instances[need].recipe.kind is Kind.ARTIFACT:
                    message = f"the system layer `{name}` cannot stand on the artifact `{need}`"
                    diagnostics.append(Diagnostic(message=message, location=Location(file=each.recipe.file)))

        def rank(name: str) -> tuple[int, int]:
            recipe = instances[name].recipe
            return _RANK[recipe.kind], recipe.order

        try:
            found = ordered(needs, rank)
        except Cycle as cycle:
            message = f"layers of `{stack.name}` need each other: {cycle}"
            diagnostics.append(Diagnostic(message=message, location=stack.location))
            return ()
        self._orders[shape] = found
        return found

    def _shared_paths(self, stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
        """Yield a mistake for each two artifacts with one path, or one inside the other, that do not follow each other.

        One that follows another has it as a context, and may add to what it holds; else both are made apart, and
        the one that is joined last hides files of the other.
        """
        artifacts = [each for each in instances if each.recipe.prefix]
        for later, earlier in ((b, a) for index, b in enumerate(artifacts) for a in artifacts[:index]):
            one, other = f"{earlier.recipe.prefix}/", f"{later.recipe.prefix}/"
            if not one.startswith(other) and not other.startswith(one):
                continue
            edges = (*later.recipe.requires, *later.recipe.after)
            if not any(earlier.name in self.present(edge, [earlier.name]) for edge in edges):
                path = max(one, other, key=len).removesuffix("/")
                message = f"the layers `{earlier.name}` and `{later.name}` of `{stack.name}` both own `{path}`"
                hint = f"if `{later.name}` adds to what `{earlier.name}` makes, it says so by `requires` or `after`"
                yield Diagnostic(message=message, location=later.location, hint=hint)

    def _conflicts(self, stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
        names = [each.name for each in instances]
        for each in instances:
            for conflict in each.recipe.conflicts:
                for other in self.present(conflict, names):
                    if other != each.name:
                        message = f"the layers `{each.name}` and `{other}` cannot both be in `{stack.name}`"
                        yield Diagnostic(message=message, location=each.location)
        providers: dict[str, list[str]] = {}
        for name in names:
            for provided in self._catalog.layers[name].provides:
                providers.setdefault(provided, []).append(name)
        for provided, several in sorted(providers.items()):
            if len(several) > 1:
                listed = " and ".join(f"`{name}`" for name in several)
                yield Diagnostic(message=f"{listed} both provide `{provided}`", location=stack.location)
