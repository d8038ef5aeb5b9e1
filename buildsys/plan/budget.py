"""Whether an image stays within the budget of its stack, and which layers take the most of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from buildsys.errors import Diagnostic, Location
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget, Node

_SHOWN = 4
PARENT = "the parent image"
"""What image layers are counted for that no layer of buildsys has added."""


def planned_excess(plan: Plan, images: Iterable[ImageTarget]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each image to which its nodes alone add more layers than its budget allows.

    How many the parent has is not known here.
    """
    for image in images:
        if image.budget is not None and image.budget.layers is not None:
            counts = Counter(dict(_added(plan, image)))
            if counts.total() > image.budget.layers:
                what = f"`{image.title}` adds {counts.total()} layers to its parent"
                yield _too_many(what, image.budget.layers, counts, image.budget.at_layers or image.location)


def _added(plan: Plan, image: ImageTarget) -> Iterator[tuple[str, int]]:
    """Yield the layers of an image with the number of image layers that each adds."""
    base = plan.targets.get(image.base or "")
    while isinstance(base, Node):
        yield base.recipe.layer, base.added_layers
        base = plan.targets.get(base.base or "")
    yield from ((layer, 1) for layer, _ in image.artifacts)


def excess(image: ImageTarget, blobs: Iterable[tuple[str, int]]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each part of its budget that an image exceeds.

    `blobs` are its layers as a registry has them: the layer of buildsys that added each, or `PARENT`, and its bytes.
    """
    counts, sizes = Counter[str](), Counter[str]()
    for layer, size in blobs:
        counts[layer] += 1
        sizes[layer] += size
    budget = image.budget
    if budget is None:
        return
    if budget.size is not None and sizes.total() > budget.size:
        message = f"`{image.title}` has {_size(sizes.total())}, and its budget is {_size(budget.size)}"
        most = {layer: _size(size) for layer, size in sizes.most_common(_SHOWN)}
        yield _diagnostic(message, most, budget.at_size or image.location, "remove files or packages, or raise `size`")
    if budget.layers is not None and counts.total() > budget.layers:
        what = f"`{image.title}` has {counts.total()} layers"
        yield _too_many(what, budget.layers, counts, budget.at_layers or image.location)


def _too_many(what: str, budget: int, counts: Counter[str], location: Location) -> Diagnostic:
    most = {layer: str(count) for layer, count in counts.most_common(_SHOWN)}
    return _diagnostic(f"{what}, and its budget is {budget}", most, location, "join RUN steps, or raise `layers`")


def _diagnostic(message: str, most: Mapping[str, str], location: Location, hint: str) -> Diagnostic:
    named = ", ".join(f"{layer if layer == PARENT else f'`{layer}`'} {amount}" for layer, amount in most.items())
    return Diagnostic(message=f"{message}; the most is of {named}", location=location, hint=hint)


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"
