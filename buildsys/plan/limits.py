"""Whether a run stays within the limits of bake and BuildKit: text, paths of links, their depth, layers, checksums.

The limits were measured on buildx 0.36 and BuildKit 0.32, and hold for older versions. gRPC carries messages of 16
MiB, and a target's bake sends the text of everything it links to. Bake walks every path of links: half a minute for a
diamond of 52 targets. Chains of 200 take two minutes. Docker's older image store and CRI-O refuse images of about 127
layers (moby/buildkit#6097, docker/buildx `loadLinks`, moby/buildkit#3067).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from buildsys.errors import Diagnostic, Location
from buildsys.plan.budget import planned_excess
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget, Node
from buildsys.texts import LONGEST_ARGUMENT, MOST_ARGUMENTS
from buildsys.values import dataclass

MOST_TEXT = 8 * 2**20
MOST_PATHS = 10**6
DEEP = 30
MANY_LAYERS, MOST_LAYERS = 100, 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess:
    """What no bake can do (`diagnostics`), and what is slow or risky (`warnings`)."""

    diagnostics: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()


def too_long(plan: Plan) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each text that no process can hold."""
    for node in plan.nodes:
        yield from _long_arguments(node)


def _long_arguments(node: Node) -> Iterator[Diagnostic]:
    recipe, whole = node.recipe, 0
    given = [*node.arguments, *((f"{each.name.upper()}_URL", each.url) for each in node.downloads)]
    hint = f"put the text into a file in `{node.folder}`, and copy or mount that"
    for name, value in given:
        size = len(f"{name}={value}".encode())
        whole += size + 1
        if size > LONGEST_ARGUMENT:
            places = [each.location for each in recipe.arguments if name in each.lines]
            places += [each.location for each in recipe.packages if name == "PACKAGES"]
            location = next(iter(places), Location(file=recipe.file))
            message = f"the argument `{name}` of `{node.title}` has {size} bytes, expected at most {LONGEST_ARGUMENT}"
            yield Diagnostic(message=message, location=location, hint=hint)
    if whole > MOST_ARGUMENTS:
        message = f"the arguments of `{node.title}` have {whole} bytes, expected at most {MOST_ARGUMENTS}"
        yield Diagnostic(message=message, location=Location(file=recipe.file), hint=hint)


def excess(
    plan: Plan, targets: Collection[str], references: Mapping[str, str], texts: Mapping[str, str], *, linked: bool
) -> Excess:
    """Return what of a run of `targets` exceeds a limit.

    `references` are nodes that are taken by their digest; without `linked` all are. `texts` holds Dockerfiles by path.
    Layers are those that nodes add: how many a parent has is not known here.
    """
    names = {*targets}
    measures: dict[str, _Measure] = {}
    for name, target in plan.targets.items():
        below = [measures[need] for need in target.below if linked and need not in references]
        measures[name] = _measure(target, below, measures)
    nodes = [node for node in plan.nodes if node.name in names]
    images = [image for image in plan.stacks if image.name in names]
    sizes = {node.name: len((node.generated or texts.get(node.dockerfile, "")).encode()) for node in plan.nodes}
    diagnostics = [
        *(each for node in nodes for each in _checksums(node, texts.get(node.dockerfile, ""))),
        *(each for node in nodes for each in _size(node, sum(sizes[name] for name in measures[node.name].nodes))),
        *(each for image in images for each in _too_many_layers(image, measures[image.name].layers)),
        *planned_excess(plan, images),
    ]
    chosen = {name: measures[name] for name in plan.targets if name in names}
    most = max(chosen, key=lambda name: chosen[name].paths, default="")
    if chosen and chosen[most].paths > MOST_PATHS:
        message = f"the links of `{most}` form {chosen[most].paths} paths, and bake walks all of them"
        diagnostics.append(Diagnostic(message=message, hint="bake with --push, which links nothing"))
    return Excess(diagnostics=tuple(diagnostics), warnings=tuple(_warnings(nodes, images, measures)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measure:
    """Of a target: the nodes that it links to and itself, the paths and the depth of its links, and its layers."""

    nodes: frozenset[str]
    paths: int
    depth: int
    layers: int


def _measure(
    target: Node | ImageTarget,
    below: Sequence[_Measure],
    measures: Mapping[str, _Measure],
) -> _Measure:
    base = measures[target.base].layers if target.base else 0
    if isinstance(target, ImageTarget):
        layers = base + len(target.artifacts)
    else:
        layers = target.added_layers + (0 if target.recipe.prefix else base)
    return _Measure(
        nodes=frozenset({target.name}).union(*(each.nodes for each in below)),
        paths=sum(each.paths for each in below) or 1,
        depth=1 + max((each.depth for each in below), default=0),
        layers=layers,
    )


def _checksums(node: Node, text: str) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each download whose checksum the Dockerfile needs, and which is unknown.

    A Dockerfile may do without, as by `${NAME_SHA256:+sha256:$NAME_SHA256}`, where it checks in another way.
    """
    for each in node.downloads:
        word = each.name.upper().replace("-", "_")
        if each.sha256 is None and re.search(rf"=sha256:\$\{{?{word}_SHA256\b", text):
            message = f"`{node.title}` fetches `{each.url}`, whose checksum is unknown: {each.reason}"
            hint = "`buildsys lock` fetches it and writes its checksum to `buildsys.lock`"
            yield Diagnostic(message=message, location=each.location, hint=hint)


def _size(node: Node, size: int) -> Iterator[Diagnostic]:
    if size > MOST_TEXT:
        message = f"the Dockerfiles of `{node.title}` and of everything that it links to have {size / 1e6:.0f} MB"
        hint = "move long texts into files next to the Dockerfiles, and copy those: bake carries at most 16 MiB"
        yield Diagnostic(message=message, location=Location(file=node.dockerfile), hint=hint)


def _too_many_layers(image: ImageTarget, count: int) -> Iterator[Diagnostic]:
    if count > MOST_LAYERS:
        message = f"`{image.stack}` has {count} layers in addition to its parent's, more than {MOST_LAYERS}"
        hint = "join layers: docker and CRI-O refuse images of about 127"
        yield Diagnostic(message=message, location=image.location, hint=hint)


def _warnings(nodes: Sequence[Node], images: Sequence[ImageTarget], measures: Mapping[str, _Measure]) -> Iterator[str]:
    deepest = max((node.name for node in nodes), key=lambda name: measures[name].depth, default="")
    if deepest and measures[deepest].depth > DEEP:
        yield f"`{deepest}` is {measures[deepest].depth} links deep, which slows bake down: --push links none"
    for image in images:
        count = measures[image.name].layers
        if MANY_LAYERS < count <= MOST_LAYERS:
            yield f"`{image.stack}` has {count} layers in addition to its parent's: about 127 are refused"
