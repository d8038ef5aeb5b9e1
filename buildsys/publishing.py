"""A bake to a registry, by keys: what is missing is built, images are composed, tags are moved last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from buildsys.actions import BUILD, Action, decide
from buildsys.commands import bake_environment, chosen_targets, make_plan
from buildsys.documents import defaults, plain
from buildsys.engine import Docker
from buildsys.engine_bake import BakeCall, print_bake, run_bake
from buildsys.engine_paths import check_paths
from buildsys.engine_stop import Stop
from buildsys.errors import InvalidInput
from buildsys.failure import Failure
from buildsys.key import Keys, folders_of, keys_of
from buildsys.plan import Plan
from buildsys.progress import Status, Text
from buildsys.registry_values import Reference
from buildsys.render import stack_tags
from buildsys.runtime import render_nodes
from buildsys.steps import executed_runs
from buildsys.store import Store, inputs_text
from buildsys.workspace import STATE_FOLDER, Workspace, write_whole

RUNTIME_FILE = f"{STATE_FOLDER}/publish.hcl"
LOG_FILE = f"{STATE_FOLDER}/logs/bake.jsonl"
# A second try is for what turned out to be damaged in the registry; more would hide a registry that loses things.
_TRIES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishOptions:
    """What the command line asks for; `verify` looks at the blobs of all that exists."""

    words: tuple[str, ...] = ()
    everything: bool = False
    verify: bool = False
    no_cache: bool = False
    builder: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a run will do: `tags` maps the stacks asked for to their public tags."""

    plan: Plan
    keys: Keys
    existing: Mapping[str, str]
    actions: Mapping[str, Action]
    targets: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]

    @property
    def nodes_to_build(self) -> tuple[str, ...]:
        """The nodes that are built, in build order."""
        return tuple(node.name for node in self.plan.nodes if self.actions[node.name].word == BUILD)

    @property
    def stacks_to_make(self) -> tuple[str, ...]:
        """The stacks that are made, by name."""
        return tuple(stack.name for stack in self.plan.stacks if self.actions[stack.name].word == BUILD)


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
    failure: Failure | None = None
    seconds: float = 0.0
    log: str | None = None


def decide_run(
    workspace: Workspace, store: Store, options: PublishOptions, environ: Mapping[str, str]
) -> tuple[Decision, Mapping[str, tuple[str, ...]]]:
    """Return what a run would do, and what of the registry is damaged if that is looked at."""
    made = make_plan(workspace.tree(), overlay=True)
    targets = chosen_targets(made, options.words, everything=options.everything)
    keys = keys_of(made, workspace.contents(folders_of(made)))
    existing = dict(store.existing(made, keys))
    damaged = store.verify(existing) if options.verify else {}
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
    options: PublishOptions,
    find: Callable[[], Docker],
    on_event: Callable[[Status | Text], None],
    stop: Stop,
    environ: Mapping[str, str],
) -> Published:
    """Make what is missing, and return how it went.

    `find` is called only if something must be built: where all that images stand on exists, no engine is needed. Public
    tags move only if nothing that was asked for is missing.
    """
    began = time.monotonic()
    decision, damaged = decide_run(workspace, store, options, environ)
    nodes: dict[str, str] = {}
    stacks: dict[str, str] = {}
    runs: list[str] = []
    failure: Failure | None = None
    for attempt in range(_TRIES):
        failure = None
        if decision.nodes_to_build:
            failure, made, executed = _build(workspace, store, decision, options, find(), on_event, stop)
            nodes.update(made)
            runs += executed
            store.remember(decision.plan, made)
        references = {**decision.existing, **nodes}
        made_stacks, unusable = _compose(store, decision, references)
        stacks.update(made_stacks)
        store.remember(decision.plan, made_stacks)
        if stop.requested or attempt + 1 == _TRIES or not (failure or unusable):
            break
        lost = store.verify({target: references[target] for target in references})
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
        decision=decision,
        nodes=nodes,
        stacks=stacks,
        blocked=blocked,
        moved=moved,
        runs=tuple(runs),
        damaged=damaged,
        failure=failure,
        seconds=time.monotonic() - began,
        log=LOG_FILE if decision.nodes_to_build else None,
    )


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


def _build(
    workspace: Workspace,
    store: Store,
    decision: Decision,
    options: PublishOptions,
    docker: Docker,
    on_event: Callable[[Status | Text], None],
    stop: Stop,
) -> tuple[Failure | None, dict[str, str], list[str]]:
    """Build the nodes that are missing in one bake; return its failure, what it published, and the RUNs it executed."""
    names = {name: str(store.node(decision.keys.nodes[name].key)) for name in decision.nodes_to_build}
    inputs = {name: inputs_text(decision.keys.nodes[name]) for name in names}
    text = render_nodes(decision.plan, decision.actions, decision.keys, names=names, inputs=inputs)
    write_whole(workspace.root / RUNTIME_FILE, text.encode())
    call = BakeCall(
        root=workspace.root,
        files=(RUNTIME_FILE,),
        targets=decision.nodes_to_build,
        environment=bake_environment(decision.plan, workspace),
        no_cache=options.no_cache,
        builder=options.builder,
    )
    if mistakes := check_paths(print_bake(docker, call), workspace.root):
        raise InvalidInput(mistakes)
    log = workspace.root / LOG_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    result = run_bake(docker, call, on_event, log=log, stop=stop)
    made = {}
    for name, reference in names.items():
        digest = result.published.get(reference) or (result.digests.get(name) if result.failure is None else None)
        if digest:
            made[name] = str(Reference.parse(reference).with_digest(digest))
    return result.failure, made, [vertex.name for vertex in executed_runs(result.steps)]


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
