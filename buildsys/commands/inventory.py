"""What is in a published node or image, and the inventories that nodes lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from buildsys.commands.plan import make_plan
from buildsys.errors import Unavailable
from buildsys.inventory.contents import Unstable, folder_sizes, privileged_files, unstable_files
from buildsys.inventory.model import Entry, Inventory, UnreadableInventory, inventory_of
from buildsys.oci.http import DigestMismatch, NotFound, UnreadableManifest
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan
from buildsys.plan.selection import select
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import Node
from buildsys.run.decision import selection_of
from buildsys.run.inspection import shelf_of
from buildsys.run.store import open_store
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeContents:
    """What is in one target; for an image it is that of all its nodes, the later over the earlier.

    `sizes` are in bytes, by folder, of all files below it.
    """

    target: str
    nodes: tuple[str, ...]
    inventory: Inventory
    sizes: Mapping[str, int]
    privileged: tuple[Entry, ...]
    unstable: tuple[Unstable, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """A published node whose inventory was missing; `problem` says why it still is."""

    node: str
    paths: int = 0
    problem: str = ""


def contents_of_targets(
    workspace: Workspace, environ: Mapping[str, str], words: tuple[str, ...]
) -> tuple[NodeContents, ...]:
    """Return what is in the targets that words mean, by the inventories in the registry.

    Raises `InvalidInput` for a word that means nothing, `Unavailable` for a target that is not published, or whose
    inventory is missing.
    """
    plan = make_plan(workspace.tree(), overlay=True)
    targets = select(plan, words)
    selection = selection_of(workspace, plan, targets)
    with open_store(workspace, environ) as store:
        parts = {target: _parts(plan, target) for target in targets}
        needed = {node for nodes in parts.values() for node in nodes}
        published, shelf = store.existing(plan, selection.keys, needed).references, shelf_of(store)
        found: dict[str, Inventory] = {}
        for node in sorted(needed, key=plan.order.__getitem__):
            if node not in published:
                raise Unavailable(f"`{node}` is not in the registry under its key", hint="run `buildsys bake --push`")
            key, digest = selection.keys.of(node).key, published[node].rpartition("@")[2]
            inventory = shelf.find(key, digest)
            if inventory is None:
                raise Unavailable(f"`{node}` has no inventory", hint=f"run `buildsys inventory --fill {node}`")
            found[node] = inventory
    return tuple(_contents(target, nodes, found) for target, nodes in parts.items())


def _parts(plan: Plan, target: str) -> tuple[str, ...]:
    """Return the nodes whose files a target has, the lowest first."""
    found = plan.targets[target]
    return (target,) if isinstance(found, Node) else found.below


def _contents(target: str, nodes: tuple[str, ...], inventories: Mapping[str, Inventory]) -> NodeContents:
    entries = [entry for node in nodes for entry in inventories[node].entries.values()]
    whole = inventory_of(entries, (package for node in nodes for package in inventories[node].packages))
    return NodeContents(
        target=target,
        nodes=nodes,
        inventory=whole,
        sizes=folder_sizes(whole),
        privileged=privileged_files(whole),
        unstable=unstable_files(whole),
    )


def fill(
    workspace: Workspace, environ: Mapping[str, str], words: tuple[str, ...], listener: Callable[[Filled], None]
) -> tuple[Filled, ...]:
    """Store the inventories that published nodes lack, by the layers in the registry; return what was missing.

    Without `words` those of all nodes of the plan. `listener` gets each as it is done.
    """
    plan = make_plan(workspace.tree(), overlay=True)
    chosen = select(plan, words) if words else tuple(plan.targets)
    wanted = [name for name in closure(plan.needs, chosen) if isinstance(plan.targets[name], Node)]
    selection = selection_of(workspace, plan, tuple(wanted))
    filled = []
    with open_store(workspace, environ) as store:
        shelf = shelf_of(store)
        published = store.existing(plan, selection.keys, wanted).references
        for node in sorted(published, key=plan.order.__getitem__):
            reference, key = Reference.parse(published[node]), selection.keys.of(node).key
            if shelf.find(key, reference.target) is not None:
                continue
            try:
                inventory, subject = shelf.read_pushed(reference)
                shelf.put(key, inventory, subject)
                filled.append(Filled(node=node, paths=len(inventory.entries)))
            except (DigestMismatch, NotFound, UnreadableInventory, UnreadableManifest) as error:
                # One node that is damaged in the registry keeps no other from its inventory.
                filled.append(Filled(node=node, problem=str(error)))
            listener(filled[-1])
    return tuple(filled)
