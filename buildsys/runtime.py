"""The bake file of one run: only what is built, what exists taken by its digest, each node published under its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from buildsys.actions import BUILD, Action
from buildsys.assembly import assembly
from buildsys.hcl import Attribute, Block, Comment, Heredoc, Item, Value, write
from buildsys.key import KEY_LABEL, Keys
from buildsys.node import Node
from buildsys.plan import Plan
from buildsys.render import (
    MIRRORS_TARGET,
    cache_attributes,
    helper_items,
    mirrors_target,
    node_arguments,
    node_contexts,
    stack_contexts,
)


def render_nodes(
    plan: Plan, actions: Mapping[str, Action], keys: Keys, *, names: Mapping[str, str], inputs: Mapping[str, str]
) -> str:
    """Return a bake file with the nodes that are built; `names` maps node to where it is pushed.

    `inputs` maps node to the text of the annotation that tells its inputs.
    """
    return write(_items(plan, actions, keys, names, inputs))


def render_stacks(
    plan: Plan,
    references: Mapping[str, str],
    keys: Keys,
    *,
    names: Mapping[str, str],
    inputs: Mapping[str, str],
) -> str:
    """Return a bake file with the stacks in `names`, assembled of nodes that exist, given as `references`."""
    return write(_assemblies(plan, references, keys, names, inputs))


def _assemblies(
    plan: Plan, references: Mapping[str, str], keys: Keys, names: Mapping[str, str], inputs: Mapping[str, str]
) -> Iterator[Item]:
    yield Comment("Written by `buildsys bake` for one run.")
    yield from helper_items(plan)
    for stack in plan.stacks:
        if stack.name not in names:
            continue
        contexts: dict[str, Value] = {}
        for context, value in stack_contexts(plan, stack).items():
            linked = isinstance(value, str) and value.startswith("target:")
            contexts[context] = f"docker-image://{references[str(value).removeprefix('target:')]}" if linked else value
        body = (
            Attribute("contexts", contexts),
            Attribute("dockerfile-inline", Heredoc(assembly(stack))),
            Attribute("labels", {"org.opencontainers.image.title": stack.stack}),
            Attribute("platforms", list(stack.noded.stack.platforms)),
            *_published(names[stack.name], keys.stacks[stack.name].key, inputs[stack.name]),
        )
        yield Block("target", (stack.name,), body)


def _published(name: str, key: str, inputs: str) -> Iterator[Attribute]:
    """Yield what pushes a target under its key, with its inputs told."""
    annotations: list[Value] = [f"manifest:dev.buildsys.inputs={inputs}", f"manifest:{KEY_LABEL}={key}"]
    yield Attribute("tags", [name])
    yield Attribute("annotations", annotations)
    # Layers stay in the builder's cache; its image store has no use for what is published.
    yield Attribute("output", ["type=image,push=true,store=false,oci-mediatypes=true"])
    yield Attribute("attest", ["type=provenance,disabled=true"])


def _items(
    plan: Plan, actions: Mapping[str, Action], keys: Keys, names: Mapping[str, str], inputs: Mapping[str, str]
) -> Iterator[Item]:
    yield Comment("Written by `buildsys bake` for one run.")
    yield from helper_items(plan)
    yield mirrors_target()
    for node in plan.nodes:
        if actions[node.name].word == BUILD:
            body = _node(plan, node, actions, names[node.name], keys, inputs[node.name])
            yield Block("target", (node.name,), tuple(body))


def _node(plan: Plan, node: Node, actions: Mapping[str, Action], name: str, keys: Keys, inputs: str) -> Iterator[Item]:
    yield Attribute("context", node.folder)
    yield Attribute("dockerfile", node.dockerfile.rpartition("/")[2])
    yield Attribute("contexts", {k: _linked(v, actions) for k, v in node_contexts(plan, node).items()})
    if arguments := node_arguments(plan, node):
        yield Attribute("args", arguments)
    yield Attribute("platforms", list(node.platforms))
    yield from cache_attributes(node.name, node.below, "max")
    yield from _published(name, keys.nodes[node.name].key, inputs)


def _linked(value: Value, actions: Mapping[str, Action]) -> Value:
    """Return a context with a link to what exists replaced by its digest."""
    if not isinstance(value, str) or not value.startswith("target:"):
        return value
    name = value.removeprefix("target:")
    if name == MIRRORS_TARGET:
        return value
    action = actions[name]
    return value if action.word == BUILD else f"docker-image://{action.reference}"
