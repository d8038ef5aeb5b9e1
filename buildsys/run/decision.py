"""What a run will do: which targets are made, which exist, under which tags images are published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.bake.hcl import evaluate
from buildsys.bake.targets import defaults, public_tag
from buildsys.config.model import Contents
from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import tag_problem
from buildsys.plan.actions import BUILD, REUSE, SKIP, Action, decide, needed
from buildsys.plan.keys import Keys, keys_of
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.run.contexts import contents_of
from buildsys.run.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a run will do: `tags` maps the stacks asked for to their public tags.

    `contents` are the files that the keys cover; `foreign` maps target to why what is under its key cannot be used.
    """

    plan: Plan
    keys: Keys
    existing: Mapping[str, str]
    actions: Mapping[str, Action]
    targets: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    contents: Contents
    foreign: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def built(self) -> tuple[str, ...]:
        """What is made, nodes in build order and then stacks."""
        return tuple(name for name, action in self.actions.items() if action.word == BUILD)

    @property
    def nodes_to_build(self) -> tuple[str, ...]:
        """The nodes that are built, in build order."""
        return tuple(node.name for node in self.plan.nodes if self.actions[node.name].word == BUILD)

    @property
    def reused(self) -> tuple[str, ...]:
        """What exists and was asked for, or is needed by what is made."""
        wanted = {*self.targets, *(need for name in self.built for need in self.plan.needs[name])}
        return tuple(name for name, action in self.actions.items() if action.word == REUSE and name in wanted)


def decide_published(
    workspace: Workspace,
    store: Store,
    made: Plan,
    targets: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    verify: bool = False,
) -> tuple[Decision, Mapping[str, tuple[str, ...]]]:
    """Return what a run that publishes would do, and with `verify` what of the registry is damaged."""
    check_tag(environ)
    contents = contents_of(workspace, made)
    keys = keys_of(made, contents)
    asked = store.existing(made, keys, targets)
    # What an image that exists is built of is nobody's question here.
    below = store.existing(made, keys, needed(made, asked.references, targets))
    existing, foreign = {**asked.references, **below.references}, {**asked.foreign, **below.foreign}
    damaged = store.verify(existing) if verify else {}
    for target in damaged:
        del existing[target]
    return decided(made, keys, contents, existing, targets, store, environ, foreign), damaged


def decided(
    made: Plan,
    keys: Keys,
    contents: Contents,
    existing: Mapping[str, str],
    targets: tuple[str, ...],
    store: Store,
    environ: Mapping[str, str],
    foreign: Mapping[str, str] = MappingProxyType({}),
) -> Decision:
    """Return the decision for what exists, with reasons from what was published before."""
    first = decide(made, keys, existing, {}, targets)
    built = [name for name, action in first.items() if action.word == BUILD]
    return Decision(
        plan=made,
        keys=keys,
        existing=existing,
        actions=decide(made, keys, existing, store.previous(made, built), targets, foreign),
        targets=targets,
        tags=public_tags(made, targets, {**environ, "BUILDSYS_REGISTRY": store.prefix}),
        contents=contents,
        foreign={name: why for name, why in foreign.items() if name in built},
    )


def decide_local(
    made: Plan,
    keys: Keys,
    contents: Contents,
    targets: tuple[str, ...],
    there: Mapping[str, str],
    published: Mapping[str, str],
    environ: Mapping[str, str],
) -> Decision:
    """Return what a run into the engine's own store would do.

    `there` maps the images that this store has under their keys to their names; `published` are the nodes that a
    registry has. Of the rest nobody knows what the builder's cache holds.
    """
    existing = {**published, **there}
    actions = {
        name: replace(action, reason="it is not in the engine's store") if action.word == BUILD else action
        for name, action in decide(made, keys, existing, {}, targets).items()
    }
    return Decision(
        plan=made,
        keys=keys,
        existing=existing,
        actions=MappingProxyType(actions),
        targets=targets,
        tags=public_tags(made, targets, environ),
        contents=contents,
    )


def public_tags(made: Plan, targets: Collection[str], environ: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return the public tags of the stacks among some targets, with all variables put in."""
    check_tag(environ)
    variables = {**defaults(made), **environ}
    return {stack.name: (evaluate(public_tag(stack), variables),) for stack in made.stacks if stack.name in targets}


def check_tag(environ: Mapping[str, str]) -> None:
    """Raise `InvalidInput` for a `BUILDSYS_TAG` that no image can have, or that buildsys moves itself."""
    if "BUILDSYS_TAG" in environ and (problem := tag_problem(environ["BUILDSYS_TAG"])):
        raise InvalidInput([Diagnostic(message=f"`BUILDSYS_TAG`: {problem}")])


def without_cache(decision: Decision) -> Decision:
    """Return the decision if nothing that exists is used, but for parents."""
    actions = {
        name: action if action.word == SKIP else Action(target=name, word=BUILD, reason="--no-cache")
        for name, action in decide(decision.plan, decision.keys, {}, {}, decision.targets).items()
    }
    return replace(decision, existing={}, actions=MappingProxyType(actions))
