"""The bake target that lists what is in a node: on the builder, where its files are already."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from buildsys.bake.definition import Target
from buildsys.bake.hcl import Expression, Heredoc, Template, Value
from buildsys.inventory.step import BASE, HELPER, NODE, dockerfile
from buildsys.plan.plan import Plan
from buildsys.resolve.graph import closure

# No node and no stack begins with `_`.
_FIRST = "_inventory_"


def inventory_name(subject: str) -> str:
    """Return the name of the target that lists a node, or a parent by its name."""
    return f"{_FIRST}{subject}"


def inventory_target(
    name: str, node: Value, helper: Value, *, platform: str, folder: str, timestamp: int, base: Value | None = None
) -> Target:
    """Return the target that lists the context `node` on the image `helper`, and writes the list into a folder.

    `base` is what a system node is built on.
    """
    script = dockerfile(timestamp=timestamp, has_base=base is not None)
    return Target(
        name=inventory_name(name),
        contexts={NODE: node, HELPER: helper} | ({BASE: base} if base else {}),
        dockerfile_inline=Heredoc(script),
        platforms=(platform,),
        output=(f"type=local,dest={folder}",),
        # BuildKit takes nodes that differ only in times for equal, and the list says which files are newer.
        no_cache=True,
    )


def parent_image(plan: Plan, name: str) -> Value:
    """Return the context that is a parent image, as the variables of the bake file have it."""
    return Template(("docker-image://", Expression(plan.parent(name).variable)))


def helpers(plan: Plan, targets: Collection[str]) -> Iterator[Value]:
    """Yield the images that the step of a run may run on, the best first: that of the lock, or parents.

    These are parents that the targets need anyway, those of toolchains first: they have what builds artifacts.
    """
    if plan.helper:
        yield f"docker-image://{plan.helper}"
        return
    needed = closure(plan.needs, targets)
    nodes = [node for node in plan.nodes if node.name in needed and node.parent is not None]
    nodes.sort(key=lambda node: node.recipe.kind != "toolchain")
    names = [node.parent.name for node in nodes if node.parent is not None]
    names += [image.parent.name for image in plan.stacks if image.name in needed and image.base is None]
    for name in dict.fromkeys(names):
        yield parent_image(plan, name)
