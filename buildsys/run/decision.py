"""What a run will do: which targets are built, which exist, under which tags images are published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field, replace
from types import MappingProxyType

from buildsys.bake.hcl import Template, evaluate
from buildsys.bake.targets import defaults, index_names, public_names
from buildsys.config.model import Contents
from buildsys.errors import Diagnostic, ExitCode, InvalidInput, WrongUsage
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Descriptor
from buildsys.plan.actions import Action, ActionKind, decide, needed
from buildsys.plan.budget import PARENT, excess
from buildsys.plan.keys import Keys, keys_of
from buildsys.plan.plan import Plan
from buildsys.plan.sources import source_problems
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import BlobOrigins
from buildsys.run.contexts import contents_of
from buildsys.run.index import TagMove
from buildsys.run.store import Existing, Store
from buildsys.run.variables import check_tag
from buildsys.values import dataclass

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The targets of a plan that a run is asked for; `contents` are the files that the keys cover."""

    plan: Plan
    keys: Keys
    contents: Contents
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a run will do about a selection: `tags` maps the images asked for to the public tags of their stacks.

    `existing` maps target to the reference of what exists under its key, `indexes` stack to that of its index. `seen`
    is what each public tag named when this was decided, None for one that did not exist. `foreign` maps target to why
    what is under its key cannot be used, `damaged` to what is missing of it in the registry. `layers` are the blobs of
    what exists, as far as a registry was asked for them.
    """

    selection: Selection
    existing: Mapping[str, str]
    actions: Mapping[str, Action]
    tags: Mapping[str, tuple[str, ...]]
    indexes: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    seen: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    foreign: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    damaged: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    layers: Mapping[str, tuple[Descriptor, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def plan(self) -> Plan:
        """The plan of the selection."""
        return self.selection.plan

    @property
    def keys(self) -> Keys:
        """The keys of the plan."""
        return self.selection.keys

    @property
    def built(self) -> tuple[str, ...]:
        """What is built: nodes in build order, then stacks."""
        return tuple(name for name, action in self.actions.items() if action.word is ActionKind.BUILD)

    @property
    def nodes_to_build(self) -> tuple[str, ...]:
        """The nodes that are built, in build order."""
        return tuple(node.name for node in self.plan.nodes if self.actions[node.name].word is ActionKind.BUILD)

    @property
    def reused(self) -> tuple[str, ...]:
        """What exists and was asked for, or is needed by what is built."""
        wanted = {*self.selection.targets, *(need for name in self.built for need in self.plan.needs[name])}
        return tuple(
            name for name, action in self.actions.items() if action.word is ActionKind.REUSE and name in wanted
        )

    def why(self, target: str) -> str:
        """Return why a target is built in one sentence: the first in build order that is built, and its reason."""
        built = closure(self.plan.needs, [target]) & {*self.built}
        if not built:
            return "its image exists"
        first = min(built, key=self.plan.order.__getitem__)
        reason = self.actions[first].reason
        return reason if first == target else f"{self.plan.targets[first].title}: {reason}"

    def moves(self, indexes: Mapping[str, str]) -> dict[str, TagMove]:
        """Return which public tags are to name the indexes of stacks, by the target that was asked for."""
        images = {target: self.plan.targets[target] for target in self.tags}
        return {
            target: TagMove(
                stack=each.stack,
                repository=each.repository,
                image=indexes[each.stack],
                tags=self.tags[target],
                key=self.keys.indexes[each.stack].key,
                reason=self.why(target),
            )
            for target, each in images.items()
            if isinstance(each, ImageTarget) and each.stack in indexes
        }

    def moving(self, indexes: Mapping[str, str]) -> Mapping[str, str]:
        """Return the indexes, of some by stack, to which public tags are to move, by target."""
        found = {}
        for name, tags in self.tags.items():
            target = self.plan.targets[name]
            index = indexes.get(target.stack, "") if isinstance(target, ImageTarget) else ""
            if index and any(self.seen.get(tag) != index.rpartition("@")[2] for tag in tags):
                found[name] = index
        return found

    def missing(self, existing: Collection[str]) -> dict[str, str]:
        """Return what was asked for and does not exist, each with the first in build order that it lacks."""
        order, needs = self.plan.order.__getitem__, self.plan.needs
        return {
            target: next(each for each in sorted(closure(needs, [target]), key=order) if each not in existing)
            for target in self.selection.targets
            if target not in existing
        }


def selection_of(workspace: Workspace, plan: Plan, targets: tuple[str, ...]) -> Selection:
    """Return targets with the keys of their plan, by the files as they are now.

    Raises `InvalidInput` for files that a Dockerfile names and that are missing, and for addresses that may change.
    """
    contents = contents_of(workspace, plan)
    if diagnostics := tuple(source_problems(plan, contents)):
        raise InvalidInput(diagnostics)
    return Selection(plan=plan, keys=keys_of(plan, contents), contents=contents, targets=targets)


def decide_published(
    workspace: Workspace,
    store: Store,
    plan: Plan,
    targets: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    verify: bool = False,
) -> Decision:
    """Return what a run that publishes would do; with `verify`, what exists and lacks a blob is built."""
    check_tag(environ)
    selection = selection_of(workspace, plan, targets)
    # An index needs all images of its stack, whichever of them are asked for.
    stacks = {each.stack for each in plan.stacks if each.name in targets}
    wanted = {*targets, *(each.name for stack in stacks for each in plan.indexes[stack])}
    asked, damaged = store.existing(plan, selection.keys, wanted), dict[str, tuple[str, ...]]()
    if verify:
        asked, damaged = verified(selection, store, asked)
    existing = {target: each for target, each in asked.references.items() if target not in damaged}
    below = exists_below(selection, store, existing)
    damaged |= store.verify(below.references) if verify else {}
    existing |= {target: each for target, each in below.references.items() if target not in damaged}
    foreign = {**asked.foreign, **below.foreign}
    layers = {**asked.layers, **below.layers}
    found = Existing(references=existing, foreign=foreign, indexes=asked.indexes, layers=layers)
    return decide_from_registry(selection, store, found, environ, damaged=damaged)


def refuse_no_cache(decision: Decision) -> None:
    """Raise `WrongUsage` if a target that is published without the cache exists: under its key nothing is replaced."""
    existing = [name for name in decision.selection.targets if name in decision.existing]
    if not existing:
        return
    layers = list(dict.fromkeys(name.partition("@")[0].partition("/")[0] for name in decision.plan.epochs))
    more = f" and {len(existing) - 1} more targets" if len(existing) > 1 else ""
    hint = f"`buildsys fresh {layers[0]}` gives the packages of a layer a new epoch, and what is on it new keys"
    raise WrongUsage(
        f"`--no-cache` rebuilds nothing that is published: `{existing[0]}`{more} exists under its key",
        hint=hint if layers else "remove `--no-cache`, or name only targets that do not exist",
    )


def damage_notes(decision: Decision) -> Iterator[str]:
    """Yield why targets are rebuilt: the registry has lost a part of them."""
    for target, missing in decision.damaged.items():
        yield f"rebuilding `{target}`: {missing[0]} is missing from the registry"


def registry_notes(decision: Decision) -> Iterator[str]:
    """Yield why other targets are rebuilt whose key exists, and whether that is so for a whole registry."""
    for target, why in decision.foreign.items():
        yield f"rebuilding {target}: {why}"
    changed = [each.difference for each in decision.actions.values() if each.difference]
    if older := next((each for each in changed if each.name == "definition"), None):
        yield (
            f"this registry was filled with definition {older.before} of keys, and this buildsys has {older.after}: "
            "every node is rebuilt once (see CHANGELOG.md); what is published stays as it is"
        )


def with_image_layers(store: Store, decision: Decision) -> Decision:
    """Return a decision with the blobs of reused images where anything is built: only the report of a run has them."""
    images = [name for name in decision.reused if name in decision.tags and name not in decision.layers]
    if not decision.built or not images:
        return decision
    try:
        found = store.image_layers(decision.plan, decision.keys, images)
    except RegistryProblem:
        return decision
    return replace(decision, layers={**decision.layers, **found})


def verified(selection: Selection, store: Store, asked: Existing) -> tuple[Existing, dict[str, tuple[str, ...]]]:
    """Return what exists without indexes that lack something, and what each damaged target lacks.

    One image of a damaged index can be whole, so each is looked at under its own key.
    """
    plan = selection.plan
    damaged = dict(store.verify(asked.references))
    lost = {each.stack for each in plan.stacks if each.name in damaged and each.stack in asked.indexes}
    if not lost:
        return asked, damaged
    names = [each.name for each in plan.stacks if each.stack in lost]
    alone = store.existing(plan, selection.keys, names, lost=lost)
    references = {name: each for name, each in asked.references.items() if name not in names}
    found = Existing(
        references={**references, **alone.references},
        foreign={**asked.foreign, **alone.foreign},
        indexes={stack: each for stack, each in asked.indexes.items() if stack not in lost},
        layers={**asked.layers, **alone.layers},
    )
    # An image that is not under its own key is damaged as its index says.
    kept = {name: missing for name, missing in damaged.items() if name not in alone.references}
    return found, kept | dict(store.verify(alone.references))


def exists_below(selection: Selection, store: Store, existing: Mapping[str, str]) -> Existing:
    """Return what exists of everything needed, without what is known to exist.

    What an image that exists was built from need not exist, and is not looked up.
    """
    names = needed(selection.plan, existing, selection.targets) - {*selection.targets}
    return store.existing(selection.plan, selection.keys, names)


def decide_from_registry(
    selection: Selection,
    store: Store,
    found: Existing,
    environ: Mapping[str, str],
    *,
    damaged: Mapping[str, tuple[str, ...]],
) -> Decision:
    """Return the decision for what exists, with reasons from what was published before."""
    plan, keys, targets = selection.plan, selection.keys, selection.targets
    existing = found.references
    first = decide(plan, keys, existing, {}, targets)
    built = [name for name, action in first.items() if action.word is ActionKind.BUILD]
    return Decision(
        selection=selection,
        existing=existing,
        actions=decide(plan, keys, existing, store.previous(plan, built), targets, foreign=found.foreign),
        tags=index_tags(plan, targets, {**environ, "BUILDSYS_REGISTRY": store.prefix}),
        indexes=found.indexes,
        foreign={name: why for name, why in found.foreign.items() if name in built},
        damaged=damaged,
        layers=found.layers,
    )


def decide_local(
    selection: Selection, loaded: Mapping[str, str], published: Mapping[str, str], environ: Mapping[str, str]
) -> Decision:
    """Return what a run into the engine's own store would do.

    `loaded` maps the images that this store has under their keys to their names; `published` are the nodes that a
    registry has. What the builder's cache holds of the rest is unknown.
    """
    existing = {**published, **loaded}
    actions = {
        name: replace(action, reason="it is not in the engine's store") if action.word is ActionKind.BUILD else action
        for name, action in decide(selection.plan, selection.keys, existing, {}, selection.targets).items()
    }
    return Decision(
        selection=selection,
        existing=existing,
        actions=MappingProxyType(actions),
        tags=public_tags(selection.plan, selection.targets, environ),
    )


def public_tags(plan: Plan, targets: Collection[str], environ: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the images among some targets in an engine's store, with all variables replaced."""
    return _evaluated(plan, targets, environ, public_names)


def index_tags(plan: Plan, targets: Collection[str], environ: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return the public tags of the stacks of the images among some targets, by target."""
    return _evaluated(plan, targets, environ, index_names)


def _evaluated(
    plan: Plan,
    targets: Collection[str],
    environ: Mapping[str, str],
    names_of: Callable[[ImageTarget], tuple[Template, ...]],
) -> Mapping[str, tuple[str, ...]]:
    check_tag(environ)
    values = {**defaults(plan), **environ}
    images = [image for image in plan.stacks if image.name in targets]
    return {image.name: tuple(evaluate(name, values) for name in names_of(image)) for image in images}


def without_cache(decision: Decision) -> Decision:
    """Return the decision if nothing that exists is used, except base images of others."""
    actions = {
        name: replace(action, reason="--no-cache") if action.word is ActionKind.BUILD else action
        for name, action in decide(decision.plan, decision.keys, {}, {}, decision.selection.targets).items()
    }
    return replace(decision, existing={}, actions=MappingProxyType(actions))


class OverBudget(InvalidInput):
    """Images that have more than their stacks allow: no public tag moves to them, as if their build had failed."""

    exit_code = ExitCode.FAILED


def over_budget(store: Store, decision: Decision, images: Iterable[str]) -> Mapping[str, tuple[Diagnostic, ...]]:
    """Return by how much images exceed their budgets, as a registry has them, with the layers that take the most."""
    plan, keys = decision.plan, decision.selection.keys
    limited = {each.name: each for each in plan.stacks if each.budget is not None and each.name in images}
    found = {}
    for name, blobs in store.image_layers(plan, keys, limited).items():
        if any(excess(limited[name], ((PARENT, each.size) for each in blobs))):
            origins, needs = BlobOrigins(plan=plan), closure(plan.needs, [name]) - {name}
            nodes = store.image_layers(plan, keys, sorted(needs, key=plan.order.__getitem__))
            for node, own in nodes.items():
                origins.add(node, own)
            own_blobs = [(each.layer or PARENT, each.size) for each in origins.add(name, blobs)]
            found[name] = tuple(excess(limited[name], own_blobs))
    return found
