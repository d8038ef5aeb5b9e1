"""A bake to a registry, by keys: what is missing is built, images are composed, tags are moved last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.actions import BUILD, decide, needed
from buildsys.building import LOG_FILE, Built, Decision, PublishOptions, assemble_stacks, build_nodes
from buildsys.documents import defaults, plain
from buildsys.engine import Docker
from buildsys.engine_stop import Stop
from buildsys.failure import Failure
from buildsys.key import Keys, folders_of, keys_of
from buildsys.plan import Plan
from buildsys.progress import Status, Text
from buildsys.render import stack_tags
from buildsys.store import Store, can_compose
from buildsys.workspace import Workspace

# A second try is for what turned out to be damaged in the registry; more would hide a registry that loses things.
_TRIES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """How a run ended: what was made, as target to reference; what was not, with the node that it lacks."""

    decision: Decision
    nodes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    stacks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    blocked: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    moved: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    damaged: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    failures: tuple[Failure, ...] = ()
    retries: int = 0
    seconds: float = 0.0
    log: str | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for exists."""
        return not self.blocked and not self.failures


def decide_run(
    workspace: Workspace,
    store: Store,
    made: Plan,
    targets: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    verify: bool = False,
) -> tuple[Decision, Mapping[str, tuple[str, ...]]]:
    """Return what a run for some targets would do, and with `verify` what of the registry is damaged."""
    keys = keys_of(made, workspace.contents(folders_of(made)))
    # What an image that exists is made of is nobody's question here.
    existing = dict(store.existing(made, keys, targets))
    existing |= store.existing(made, keys, needed(made, existing, targets))
    damaged = store.verify(existing) if verify else {}
    for target in damaged:
        del existing[target]
    return _decision(made, keys, existing, targets, store, environ), damaged


def _decision(
    made: Plan,
    keys: Keys,
    existing: Mapping[str, str],
    targets: tuple[str, ...],
    store: Store,
    environ: Mapping[str, str],
) -> Decision:
    first = decide(made, keys, existing, {}, targets)
    built = [name for name, action in first.items() if action.word == BUILD]
    actions = decide(made, keys, existing, store.previous(made, built), targets)
    variables = {**defaults(made), **environ, "BUILDSYS_REGISTRY": store.prefix}
    tags = {
        stack.name: tuple(plain(tag, variables) for tag in stack_tags(stack))
        for stack in made.stacks
        if stack.name in targets
    }
    return Decision(plan=made, keys=keys, existing=existing, actions=actions, targets=targets, tags=tags)


def publish(
    workspace: Workspace,
    store: Store,
    made: Plan,
    targets: tuple[str, ...],
    options: PublishOptions,
    find: Callable[[], Docker],
    on_event: Callable[[Status | Text], None],
    stop: Stop,
    environ: Mapping[str, str],
) -> Published:
    """Make what is missing, and return how it went.

    `find` is called only if something must be built: where all that images stand on exists, no engine is needed. A node
    that fails blocks what needs it and nothing else. Public tags move only if nothing that was asked for is missing.
    """
    began = time.monotonic()
    decision, damaged = decide_run(workspace, store, made, targets, environ, verify=options.verify)
    first = decision
    nodes: dict[str, str] = {}
    stacks: dict[str, str] = {}
    built = Built()
    for attempt in range(_TRIES):
        built = Built(runs=built.runs)
        if decision.nodes_to_build:
            built = build_nodes(workspace, store, decision, options, find(), on_event, stop, built.runs)
            nodes.update(built.made)
            store.remember(decision.plan, built.made)
        references = {**decision.existing, **nodes}
        made_stacks, unusable = _compose(store, decision, references)
        if unusable and not stop.requested and (rest := _only_by_an_engine(decision, unusable)):
            done = assemble_stacks(workspace, store, decision, options, find(), references, rest, on_event, stop)
            made_stacks.update(done.made)
            unusable = tuple(name for name in unusable if name not in done.made)
            built = replace(built, failures=(*built.failures, *done.failures))
        stacks.update(made_stacks)
        store.remember(decision.plan, made_stacks)
        if stop.requested or attempt + 1 == _TRIES or not (built.failures or unusable):
            break
        lost = store.verify(references)
        if not lost:
            break
        damaged = {**damaged, **lost}
        existing = {target: ref for target, ref in {**references, **stacks}.items() if target not in lost}
        decision = _decision(decision.plan, decision.keys, existing, decision.targets, store, environ)
        nodes = {target: ref for target, ref in nodes.items() if target not in lost}
    have = {**decision.existing, **nodes, **stacks}
    blocked = {
        target: next((need for need in _needs(decision.plan, target) if need not in have), target)
        for target in decision.targets
        if target not in have
    }
    moved: tuple[str, ...] = ()
    if not blocked and not stop.requested:
        moved = store.move_tags({target: have[target] for target in decision.tags}, decision.tags)
    return Published(
        decision=first,
        nodes=nodes,
        stacks=stacks,
        blocked=blocked,
        moved=moved,
        runs=built.runs,
        damaged=damaged,
        failures=built.failures,
        retries=built.retries,
        seconds=time.monotonic() - began,
        log=LOG_FILE if first.nodes_to_build else None,
    )


def _only_by_an_engine(decision: Decision, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stack.name for stack in decision.plan.stacks if stack.name in names and not can_compose(stack))


def _needs(plan: Plan, target: str) -> tuple[str, ...]:
    found = next((stack.noded.needs for stack in plan.stacks if stack.name == target), None)
    if found is None:
        found = next(node.below for node in plan.nodes if node.name == target)
    below = {node.name: node.below for node in plan.nodes}
    # The deepest first: that is where it began.
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        for each in below[name]:
            visit(each)
        ordered.setdefault(name)

    for name in found:
        visit(name)
    return tuple(ordered)


def _compose(store: Store, decision: Decision, references: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Compose every stack whose nodes exist; return them, and those that could not be composed."""
    made, unusable = {}, []
    for stack in decision.plan.stacks:
        needs = stack.noded.needs
        if decision.actions[stack.name].word != BUILD or any(need not in references for need in needs):
            continue
        reference = store.publish(stack, decision.keys.stacks[stack.name], references)
        if reference is None:
            unusable.append(stack.name)
        else:
            made[stack.name] = reference
    return made, tuple(unusable)
