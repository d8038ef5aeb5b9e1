"""Where stacks order the same system layers differently, and build them twice: a warning with the edit that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from buildsys.config.model import Catalog, LayerUse, Stack
from buildsys.errors import Diagnostic, Location
from buildsys.recipes.recipe import Kind
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.node import ImageTarget
from buildsys.values import dataclass

# A layer with its parameters, and two of them on one parent in the order in which a stack builds them.
_Layer: TypeAlias = tuple[object, ...]
_Order: TypeAlias = tuple[str, _Layer, _Layer]
_GENERAL = "list them in one order, or give one of the layers an `after`"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Use:
    """Two layers of an image, in the order in which it builds them."""

    image: ImageTarget
    lower: LayerInstance
    upper: LayerInstance


def two_orders(catalog: Catalog, images: Iterable[ImageTarget]) -> Iterator[Diagnostic]:
    """Yield a warning for each pair of system layers that stacks on one parent order differently, and build twice.

    The stacks to edit are those of the order that is written in fewer lists.
    """
    orders = _orders(images)
    edits, numbers = _Edits(catalog), {order: number for number, order in enumerate(orders)}
    for (parent, lower, upper), uses in orders.items():
        order, turned = (parent, lower, upper), (parent, upper, lower)
        others = orders.get(turned)
        # Of two orders that are written equally often, the first stays.
        if others is None or (len(uses), -numbers[order]) >= (len(others), -numbers[turned]):
            continue
        one, other = next(iter(uses.values())), next(iter(others.values()))
        names = frozenset({one.lower.name, one.upper.name})
        if names in edits.reported:
            continue
        edits.reported.add(names)
        edit = edits.of(one, other)
        if edit is None and (edit := edits.of(other, one)):
            one, other, uses = other, one, others
        message = (
            f"`{one.image.stack}` builds `{one.upper.name}` on `{one.lower.name}`, and `{other.image.stack}` the other"
            " way round, so they share neither"
        )
        location, hint = edit or (one.upper.location, _GENERAL)
        more = [f"`{each.image.stack}`" for each in [*uses.values()][1:]]
        if more and edit:
            hint = f"{hint}, and in that of {', '.join(more)}"
        yield Diagnostic(message=message, location=location, hint=hint)


def _orders(images: Iterable[ImageTarget]) -> Mapping[_Order, Mapping[tuple[Location, Location], _Use]]:
    """Return, for each order of two layers on a parent, the first image of each place where they are listed so."""
    found: dict[_Order, dict[tuple[Location, Location], _Use]] = {}
    seen = set[tuple[object, ...]]()
    for image in images:
        built = [each for each in image.layers if each.recipe.kind is Kind.SYSTEM and each.recipe.makes_node]
        chain = [(each.name, *sorted(each.parameters.items())) for each in built]
        known = (image.parent.name, *chain, *(each.location for each in built))
        if known in seen:
            continue
        seen.add(known)
        for index, upper in enumerate(built):
            for lower, below in zip(chain[:index], built, strict=False):
                uses = found.setdefault((image.parent.name, lower, chain[index]), {})
                uses.setdefault((below.location, upper.location), _Use(image=image, lower=below, upper=upper))
    return found


class _Edits:
    """Finds edits, and tries each: an order may be that of `requires`, `after` or `order`, which no list changes.

    `reported` are the names of pairs that need no further warning.
    """

    def __init__(self, catalog: Catalog) -> None:
        # Who only reads a plan loads no library for graphs.
        from buildsys.resolve.stack import Resolver

        self._stacks = {stack.name: stack for stack in catalog.stacks}
        self._resolver = Resolver(catalog)
        self.reported: set[frozenset[str]] = set()

    def of(self, one: _Use, other: _Use) -> tuple[Location, str] | None:
        """Return the location and the hint of an edit of one stack that gives it the order of a different stack.

        Of several edits it is that which repairs most pairs; None if no edit repairs this pair.
        """
        stack = self._stacks[one.image.stack].on(one.image.platform)
        before = [each.name for each in one.image.layers]
        wanted = [each.name for each in other.image.layers if each.name in before]
        pairs = [(a, b) for index, a in enumerate(wanted) for b in wanted[index + 1 :] if not _agrees(before, a, b)]
        best, found = frozenset[frozenset[str]](), None
        for layer, word, to in _moves(one.lower.name, one.upper.name, before):
            edited = _moved(stack, layer, to, behind=word == "behind")
            names = self._names(edited) if edited else []
            repaired = frozenset(frozenset(pair) for pair in pairs if names and _agrees(names, *pair))
            if {one.lower.name, one.upper.name} in repaired and len(repaired) > len(best):
                best, found = repaired, (layer, word, to)
        if found is None:
            return None
        # What the same edit repairs needs no warning of its own.
        self.reported |= best
        layer, word, to = found
        listed = {use.layer: use.location for use in reversed(stack.layers)}
        verb = "move" if layer in listed else "add"
        return listed[layer if layer in listed else to], f"{verb} `{layer}` {word} `{to}` in this list"

    def _names(self, stack: Stack) -> list[str]:
        diagnostics: list[Diagnostic] = []
        layers = self._resolver.layers(stack, diagnostics)
        return [] if diagnostics else [each.name for each in layers]


def _moves(lower: str, upper: str, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield moves of one of two layers: first to the other one, then to any other layer of the stack."""
    yield from ((upper, "before", lower), (lower, "behind", upper))
    for to in names:
        if to not in (lower, upper):
            yield from ((upper, "before", to), (lower, "behind", to))


def _agrees(names: list[str], first: str, second: str) -> bool:
    return names.index(first) < names.index(second)


def _moved(stack: Stack, layer: str, to: str, *, behind: bool) -> Stack | None:
    """Return the stack with a layer listed just before, or behind, a different one; None if that is not listed."""
    others = [use for use in stack.layers if use.layer != layer]
    place = next((index for index, use in enumerate(others) if use.layer == to), None)
    if place is None:
        return None
    added = LayerUse(layer=layer, parameters=MappingProxyType({}), location=stack.location)
    use = next((use for use in stack.layers if use.layer == layer), added)
    place += behind
    return replace(stack, layers=(*others[:place], use, *others[place:]))
