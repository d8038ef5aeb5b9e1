"""What a plan is: nodes and images in build order, groups, parents and epochs as the lock has them, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from datetime import date, timedelta
from types import MappingProxyType

from buildsys.config.lockfile import DEFAULT_TIMESTAMP, Lock, LockedParent, epoch_name, epoch_parts
from buildsys.config.model import Catalog, Family
from buildsys.errors import Diagnostic, Diagnostics, InvalidInput, Location
from buildsys.names import LOCK_FILE, target_name, variable_name
from buildsys.plan.downloads import can_be_locked, checked_downloads, origins_of, shared_checksums, unlocked
from buildsys.plan.order import two_orders
from buildsys.recipes.recipe import Parent
from buildsys.resolve.node import BuildGraph, ImageTarget, Node
from buildsys.values import dataclass

_FRESH_DAYS: Mapping[str, int] = MappingProxyType({"week": 7, "month": 31})
# How many names a folded warning has.
SHOWN_NAMES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedParent:
    """A parent image that some node or stack starts from, and the bake variable that holds it."""

    name: str
    variable: str
    images: tuple[str, ...]
    locked: LockedParent
    location: Location | None = None

    @property
    def reference(self) -> str:
        """What the variable holds unless a person sets it."""
        return self.locked.pinned


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpinned:
    """A parent, or a download, whose digest or checksum is unknown, so that its content may change.

    `lockable` says whether `buildsys lock` would look for it, `accepted` whether the lock accepts that it is unknown.
    """

    name: str
    is_download: bool
    reason: str | None
    location: Location | None
    lockable: bool
    accepted: bool

    @property
    def diagnostic(self) -> Diagnostic:
        """What a warning of it says."""
        what = "checksum of" if self.is_download else "digest of the parent"
        return Diagnostic(message=f"the {what} `{self.name}` is unknown: {self.reason}", location=self.location)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The whole decision as data. Nodes are in build order; stacks, groups and parents are sorted by name.

    `stacks` are the images of all stacks, one for each platform; `indexes` maps stack to those that are published as
    its index, in the order of its platforms.
    `origins` maps the bake variable of each host that downloads come from to its address. `unpinned` is sorted by name.
    `timestamp`, in seconds since 1970, is the time of everything that is built. `targets` has all nodes and then all
    images by name, `order` the position of each in it, `needs` the nodes that each is built on. `helper` is the image
    that the lock names for inventories. `copies` are the registries that get copies of what is published to `registry`.
    """

    registry: str
    nodes: tuple[Node, ...]
    stacks: tuple[ImageTarget, ...]
    groups: Mapping[str, tuple[str, ...]]
    parents: tuple[PlannedParent, ...]
    origins: Mapping[str, str]
    epochs: Mapping[str, str]
    timestamp: int
    remarks: tuple[Diagnostic, ...]
    unpinned: tuple[Unpinned, ...]
    families: tuple[Family, ...]
    helper: str = ""
    copies: tuple[str, ...] = ()
    indexes: Mapping[str, tuple[ImageTarget, ...]] = field(init=False, repr=False, compare=False)
    targets: Mapping[str, Node | ImageTarget] = field(init=False, repr=False, compare=False)
    order: Mapping[str, int] = field(init=False, repr=False, compare=False)
    needs: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index by name: a run of thousands of bakes asks for a few targets each time."""
        targets: dict[str, Node | ImageTarget] = {node.name: node for node in self.nodes}
        targets |= {stack.name: stack for stack in self.stacks}
        needs = {name: target.below for name, target in targets.items()}
        order = {name: number for number, name in enumerate(targets)}
        indexes: dict[str, tuple[ImageTarget, ...]] = {}
        for image in self.stacks:
            indexes[image.stack] = (*indexes.get(image.stack, ()), image)
        for name, found in (("indexes", indexes), ("targets", targets), ("order", order), ("needs", needs)):
            object.__setattr__(self, name, MappingProxyType(found))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """Every warning, one for each thing that is not pinned and not accepted."""
        return (*self.remarks, *(each.diagnostic for each in self.unpinned if not each.accepted))

    def parent(self, name: str) -> PlannedParent:
        """Return the parent of that name."""
        return next(each for each in self.parents if each.name == name)


def plan(catalog: Catalog, graph: BuildGraph, lock: Lock, *, locking: bool = False) -> Plan:
    """Return the plan; raises `InvalidInput` with every diagnostic that needs all stacks at once.

    While `locking`, the lock may lack checksums that it must have.
    """
    diagnostics = Diagnostics()
    groups = _groups(catalog, graph.images)
    diagnostics.extend(_collisions(graph, groups))
    parents = _parents(graph, lock, diagnostics)
    epochs = _epochs(graph, lock, diagnostics)
    diagnostics.extend(_platforms(graph, parents))
    diagnostics.extend(_triggers(graph, parents))
    nodes = tuple(_with_checksums(node, lock) for node in graph.nodes.values())
    diagnostics.extend(shared_checksums(checked_downloads(catalog, nodes)))
    diagnostics.extend(() if locking else unlocked(nodes))
    origins = origins_of(nodes, diagnostics)
    if diagnostics:
        raise InvalidInput(diagnostics)
    return Plan(
        registry=catalog.registry,
        nodes=nodes,
        stacks=graph.images,
        groups=MappingProxyType(groups),
        parents=parents,
        origins=MappingProxyType(dict(sorted(origins.items()))),
        epochs=MappingProxyType(epochs),
        timestamp=DEFAULT_TIMESTAMP if lock.timestamp is None else lock.timestamp,
        remarks=(*catalog.warnings, *_unknown_platforms(graph, parents), *two_orders(catalog, graph.images)),
        unpinned=_unpinned(parents, nodes, lock),
        families=catalog.families,
        helper=lock.helper,
        copies=catalog.copies,
    )


def _with_checksums(node: Node, lock: Lock) -> Node:
    """Return the node with the checksums that only the lock knows."""
    if not any(download.sha256 is None and download.url in lock.downloads for download in node.downloads):
        return node
    downloads = tuple(
        replace(download, sha256=lock.downloads[download.url].sha256)
        if download.sha256 is None and download.url in lock.downloads
        else download
        for download in node.downloads
    )
    return replace(node, downloads=downloads)


def _groups(catalog: Catalog, images: tuple[ImageTarget, ...]) -> dict[str, tuple[str, ...]]:
    """Return the groups, also one for each stack of several platforms.

    A deprecated stack is only in those that it names itself.
    """
    found: dict[str, list[str]] = {name: [] for name in ("default", "cpu", "gpu")}
    found.update({family.name: [] for family in catalog.families})
    for each in images:
        for group in {"default", *each.groups}:
            if each.deprecated is None or group not in ("default", "cpu", "gpu", each.family):
                found.setdefault(group, []).append(each.name)
        if each.is_part:
            found.setdefault(target_name(each.stack), []).append(each.name)
    return {name: tuple(sorted(members)) for name, members in sorted(found.items())}


def _collisions(graph: BuildGraph, groups: Mapping[str, tuple[str, ...]]) -> Iterator[Diagnostic]:
    images: dict[str, ImageTarget] = {}
    for each in graph.images:
        if (first := images.setdefault(each.name, each)) is not each:
            message = f"`{first.title}` and `{each.title}` would both be the bake target `{each.name}`"
            yield Diagnostic(message=message, location=each.location, hint="rename one of the stacks")
        name = target_name(each.stack)
        if each.is_part and {*groups.get(name, ())} != {part.name for part in graph.images if part.stack == each.stack}:
            message = f"the stack `{each.stack}` has several platforms, which bake groups under the name of a group"
            yield Diagnostic(message=message, location=each.location, hint="rename the stack")
        if each.name in graph.nodes:
            message = f"the stack `{each.stack}` has the name of the node `{graph.nodes[each.name].title}`"
            yield Diagnostic(message=message, location=each.location, hint="rename the stack")
    for name in sorted(groups.keys() & graph.nodes.keys()):
        location = next((each.location for each in graph.images if name in each.groups), None)
        message = f"the group `{name}` has the name of the node `{graph.nodes[name].title}`"
        yield Diagnostic(message=message, location=location, hint="rename the group")


def _parents(graph: BuildGraph, lock: Lock, diagnostics: list[Diagnostic]) -> tuple[PlannedParent, ...]:
    declared: dict[str, Parent] = {}
    locations: dict[str, Location | None] = {}
    given = [node.parent for node in graph.nodes.values() if node.parent]
    for parent in [*given, *(image.parent for image in graph.images)]:
        location = parent.location
        if declared.setdefault(parent.name, parent) != parent:
            message = f"the parent `{parent.name}` is `{declared[parent.name].images[0]}` and also `{parent.images[0]}`"
            diagnostics.append(Diagnostic(message=message, location=location, hint="rename one of them"))
        locations.setdefault(parent.name, location)
    found = []
    variables: dict[str, str] = {}
    for name, parent in sorted(declared.items()):
        variable = variable_name("PARENT", name)
        if variables.setdefault(variable, name) != name:
            message = f"the parents `{variables[variable]}` and `{name}` would both be `{variable}`"
            diagnostics.append(Diagnostic(message=message, location=locations[name], hint="rename one of them"))
        reason = "`buildsys.lock` has no entry for it"
        locked = lock.parents.get(name) or LockedParent(reference=parent.images[0], digest=None, reason=reason)
        found.append(
            PlannedParent(name=name, variable=variable, images=parent.images, locked=locked, location=locations[name])
        )
    return tuple(found)


def _platforms(graph: BuildGraph, parents: tuple[PlannedParent, ...]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each platform of a stack that the lock does not list for a parent of it."""
    locked = {parent.name: parent.locked.platforms for parent in parents}
    for image in graph.images:
        for name in _parents_of(graph, image):
            known = sorted(locked[name])
            if known and not any(is_platform(each, image.platform) for each in known):
                message = f"`{image.stack}` is for `{image.platform}`, and its parent `{name}` is not"
                hint = f"use a platform of the parent: {', '.join(f'`{each}`' for each in known)}"
                yield Diagnostic(message=message, location=image.location, hint=hint)


def _triggers(graph: BuildGraph, parents: tuple[PlannedParent, ...]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each image whose assembly would run ONBUILD triggers of its parent: it runs nothing."""
    found = {parent.name for parent in parents if parent.locked.triggers}
    for image in graph.images:
        if image.base is None and image.parent.name in found:
            message = (
                f"`{image.stack}` is assembled on its parent `{image.parent.name}`, whose ONBUILD triggers would run"
            )
            hint = "add a system layer that builds something, or use another parent"
            yield Diagnostic(message=message, location=image.location, hint=hint)


def _unknown_platforms(graph: BuildGraph, parents: tuple[PlannedParent, ...]) -> Iterator[Diagnostic]:
    """Yield a warning for each parent that must have several platforms if the lock lists none for it.

    `buildsys lock` lists them, so the lock is older than that, or the image was built on this machine.
    """
    unknown = {parent.name: parent for parent in parents if parent.locked.digest and not parent.locked.platforms}
    platforms: dict[str, list[str]] = {}
    for image in graph.images:
        platforms.setdefault(image.stack, []).append(image.platform)
    for image in graph.images:
        for name in _parents_of(graph, image) if unknown and image.is_part else ():
            if parent := unknown.pop(name, None):
                listed = " and ".join(f"`{each}`" for each in platforms[image.stack])
                message = f"the lock lists no platforms of the parent `{name}`, and `{image.stack}` is for {listed}"
                hint = f"compare them with `docker buildx imagetools inspect {parent.reference}`"
                yield Diagnostic(message=message, location=parent.locked.location or image.location, hint=hint)


def _parents_of(graph: BuildGraph, image: ImageTarget) -> tuple[str, ...]:
    """Return the names of all parents that an image is built from, sorted."""
    waiting, seen = [*image.below], set[str]()
    used = {image.parent.name}
    while waiting:
        node = graph.nodes[waiting.pop()]
        if node.name not in seen:
            seen.add(node.name)
            waiting += node.below
            used |= {node.parent.name} if node.parent else set()
    return tuple(sorted(used))


def is_platform(locked: str, wanted: str) -> bool:
    """Whether an image of one platform is one of another; 64-bit Arm is version 8 where none is named."""
    one, other = (text.removesuffix("/v8") if "/arm64" in text else text for text in (locked, wanted))
    return one == other or one.startswith(f"{other}/")


def _epochs(graph: BuildGraph, lock: Lock, diagnostics: list[Diagnostic]) -> dict[str, str]:
    found = {}
    for node in graph.nodes.values():
        for recipe in (node.recipe, node.build):
            if recipe.freshness and "EPOCH" in node.build.declared:
                if (name := epoch_name(recipe, lock.epochs)) in lock.epochs:
                    found[name] = lock.epochs[name]
                else:
                    message = f"`buildsys.lock` has no epoch for the layer `{recipe.layer}`"
                    hint = "run `buildsys lock`, which adds that of this week"
                    location = recipe.place("freshness")
                    diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
    return dict(sorted(found.items()))


def epoch_of(plan: Plan, node: Node) -> str | None:
    """Return the epoch that reaches a node's Dockerfile: its own layer's, else that of its installer."""
    if "EPOCH" not in node.build.declared:
        return None
    names = (epoch_name(recipe, plan.epochs) for recipe in (node.recipe, node.build))
    return next((plan.epochs[name] for name in names if name in plan.epochs), None)


def _unpinned(parents: tuple[PlannedParent, ...], nodes: tuple[Node, ...], lock: Lock) -> tuple[Unpinned, ...]:
    found = {
        Unpinned(
            name=parent.name,
            is_download=False,
            reason=parent.locked.reason,
            location=parent.locked.location or parent.location,
            lockable=parent.name not in lock.parents,
            accepted=parent.locked.accepted,
        )
        for parent in parents
        if parent.locked.digest is None
    }
    for download in (each for node in nodes for each in node.downloads if each.sha256 is None):
        locked = lock.downloads.get(download.url)
        found.add(
            Unpinned(
                name=download.url,
                is_download=True,
                reason=download.reason,
                location=download.location,
                lockable=can_be_locked(download.url),
                accepted=locked is not None and locked.accepted,
            )
        )
    return tuple(sorted(found, key=lambda each: each.diagnostic.message))


def folded(plan: Plan) -> tuple[Diagnostic, ...]:
    """Return the warnings of a plan, those of things that are not pinned as one for each way to deal with them."""
    groups: dict[tuple[bool, bool], list[Unpinned]] = {}
    for each in plan.unpinned:
        if not each.accepted:
            groups.setdefault((each.is_download, each.lockable), []).append(each)
    return (*plan.remarks, *(_fold(group) for _, group in sorted(groups.items())))


def _fold(group: list[Unpinned]) -> Diagnostic:
    first = group[0]
    hint = f"add `accepted: true` to its entry in `{LOCK_FILE}` to accept that it is unknown"
    if first.is_download:
        hint = f"add it to `downloads` in `{LOCK_FILE}`, with `sha256: unknown` and `accepted: true`, to accept that"
    if first.lockable:
        hint = "run `buildsys lock`, which looks for what is unknown"
    if len({each.name for each in group}) == 1:
        return replace(first.diagnostic, hint=hint)
    names = list(dict.fromkeys(f"`{each.name}`" for each in group))
    shown = ", ".join(names[:SHOWN_NAMES]) + (
        f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    )
    what = "checksums of" if first.is_download else "digests of"
    things = "downloads" if first.is_download else "parents"
    if first.lockable and not first.is_download:
        message = f"`{LOCK_FILE}` has no entry for {len(names)} parents: {shown}"
    else:
        message = f"the {what} {len(names)} {things} are unknown: {shown}; `buildsys plan --verbose` has each reason"
    return Diagnostic(message=message, location=first.location, hint=hint.replace("its entry", "their entries"))


def stale(plan: Plan, today: date) -> tuple[tuple[str, str], ...]:
    """Return the entry, a layer or one flavour of it, and the epoch of packages that are older than layers allow."""
    recipes = {recipe.file + recipe.flavour: recipe for node in plan.nodes for recipe in (node.recipe, node.build)}
    freshness = {epoch_name(each, plan.epochs): each.freshness for each in recipes.values() if each.freshness}
    return tuple(
        (layer, epoch)
        for layer, epoch in plan.epochs.items()
        if epoch_parts(epoch)[0] + timedelta(days=_FRESH_DAYS[freshness[layer] or "month"]) <= today
    )
