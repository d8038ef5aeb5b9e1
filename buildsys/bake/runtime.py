"""The bake file of one bake in a run: its targets, what exists by its digest, what is published under its key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from buildsys.bake.assembly import assembly
from buildsys.bake.definition import (
    MIRRORS_TARGET,
    cache_attributes,
    helper_items,
    mirrors_target,
    node_arguments,
    node_contexts,
    stack_contexts,
    stack_tags,
)
from buildsys.bake.hcl import Attribute, Block, Comment, Heredoc, Item, Value, write
from buildsys.plan.plan import Plan, StackTarget
from buildsys.resolve.node import Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """Where a target is pushed, and the annotations of each of its manifests."""

    name: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies:
    """Where the contexts of nodes are copied to, by node: the context itself, and folders by their context's name.

    Paths are relative to the project.
    """

    context: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    folders: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))


NO_COPIES = Copies()


def linked_nodes(plan: Plan, targets: Collection[str], references: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodes that a bake of targets links to: all that they need, except what is taken by its reference."""
    waiting, found = list(targets), set[str]()
    while waiting:
        for need in plan.needs[waiting.pop()]:
            if need not in references and need not in found:
                found.add(need)
                waiting.append(need)
    return tuple(sorted(found - {*targets}, key=plan.order.__getitem__))


def render_bake(
    plan: Plan,
    targets: Collection[str],
    references: Mapping[str, str],
    publications: Mapping[str, Publication],
    labels: Mapping[str, Mapping[str, str]],
    copies: Copies = NO_COPIES,
) -> str:
    """Return a bake file with `targets` and what they link to; the contexts of nodes are their copies if there are any.

    A node in `references` is taken from there, with its digest; another one is a target. What is in `publications` is
    pushed; another stack gets its public names and, by target, `labels`.
    """
    return write(_items(plan, targets, references, publications, labels, copies))


def render_base_images(
    plan: Plan, targets: Collection[str], references: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Return a bake file whose targets touch each image that nodes of `targets` stand on, and their names."""
    found: dict[str, Value] = {}
    for node in _in_order(plan, targets):
        if isinstance(node, Node):
            value = node_contexts(plan, node)["toolchain" if node.recipe.prefix else "base"]
            value = _linked(value, references)
            if not (isinstance(value, str) and value.startswith("target:")):
                found[str(value)] = value
    blocks: list[Item] = [Comment("Written by `buildsys bake` for one run."), *helper_items(plan)]
    names = tuple(f"ground-{number}" for number, _ in enumerate(found))
    for name, value in zip(names, found.values(), strict=True):
        body = (
            Attribute("contexts", {"base": value}),
            Attribute("dockerfile-inline", "FROM base\nWORKDIR /touched\n"),
            Attribute("output", ["type=cacheonly"]),
            *_plain(),
        )
        blocks.append(Block("target", (name,), body))
    return write(blocks), names


def render_flat(plan: Plan, targets: Collection[str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """Return a bake file with `targets` whose links lead nowhere: what bake can resolve quickly, and nobody builds."""
    nowhere = {node.name: "scratch" for node in plan.nodes}
    return write(_items(plan, targets, nowhere, {}, labels, NO_COPIES))


def _items(
    plan: Plan,
    targets: Collection[str],
    references: Mapping[str, str],
    publications: Mapping[str, Publication],
    labels: Mapping[str, Mapping[str, str]],
    copies: Copies,
) -> Iterator[Item]:
    yield Comment("Written by `buildsys bake` for one run.")
    yield from helper_items(plan)
    yield mirrors_target()
    for each in _in_order(plan, {*targets, *linked_nodes(plan, targets, references)}):
        publication = publications.get(each.name)
        if isinstance(each, Node):
            body = _node(plan, each, references, publication, copies)
        else:
            body = _stack(plan, each, references, publication, labels.get(each.name, {}))
        yield Block("target", (each.name,), tuple(body))


def _in_order(plan: Plan, names: Collection[str]) -> Iterator[Node | StackTarget]:
    for name in sorted({*names}, key=plan.order.__getitem__):
        yield plan.targets[name]


def _node(
    plan: Plan, node: Node, references: Mapping[str, str], publication: Publication | None, copies: Copies
) -> Iterator[Item]:
    yield Attribute("context", copies.context.get(node.name, node.folder))
    yield Attribute("dockerfile", node.dockerfile.rpartition("/")[2])
    contexts = {**node_contexts(plan, node), **copies.folders.get(node.name, {})}
    yield Attribute("contexts", {name: _linked(value, references) for name, value in contexts.items()})
    if arguments := node_arguments(plan, node):
        yield Attribute("args", arguments)
    yield Attribute("platforms", list(node.platforms))
    yield from cache_attributes(node.name, node.below, "max")
    if publication is not None:
        yield from published_attributes(publication)
    else:
        yield Attribute("output", ["type=cacheonly"])
        yield from _plain()


def _stack(
    plan: Plan,
    stack: StackTarget,
    references: Mapping[str, str],
    publication: Publication | None,
    labels: Mapping[str, str],
) -> Iterator[Item]:
    declared = stack.noded.stack
    yield Attribute(
        "contexts", {name: _linked(value, references) for name, value in stack_contexts(plan, stack).items()}
    )
    yield Attribute("dockerfile-inline", Heredoc(assembly(stack)))
    yield Attribute("labels", {"org.opencontainers.image.title": declared.name, **labels})
    yield Attribute("platforms", list(declared.platforms))
    yield from cache_attributes(stack.name, stack.noded.needs, "min")
    if publication is not None:
        yield from published_attributes(publication)
    else:
        yield Attribute("tags", list(stack_tags(stack)))
        yield from _plain()


def published_attributes(publication: Publication) -> Iterator[Attribute]:
    """Yield what pushes a target, with its annotations."""
    yield Attribute("tags", [publication.name])
    yield Attribute("annotations", [f"manifest:{name}={text}" for name, text in publication.annotations.items()])
    # Layers stay in the builder's cache; its image store has no use for what is published.
    yield Attribute("output", ["type=image,push=true,store=false,oci-mediatypes=true"])
    yield from _plain()


def _plain() -> Iterator[Attribute]:
    yield Attribute("attest", ["type=provenance,disabled=true"])


def _linked(value: Value, references: Mapping[str, str]) -> Value:
    """Return a context with a link to what exists replaced by its reference."""
    if not isinstance(value, str) or not value.startswith("target:"):
        return value
    name = value.removeprefix("target:")
    return value if name == MIRRORS_TARGET or name not in references else f"docker-image://{references[name]}"
