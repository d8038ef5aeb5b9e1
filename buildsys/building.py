"""The nodes that a run makes: one bake, again for what a failure did not touch and for what may pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from buildsys.actions import BUILD, Action
from buildsys.commands import bake_environment
from buildsys.engine import Docker
from buildsys.engine_bake import BakeCall, BakeResult, print_bake, run_bake
from buildsys.engine_paths import check_paths
from buildsys.engine_stop import Stop
from buildsys.errors import InvalidInput
from buildsys.failure import Failure, FailureKind, is_transient
from buildsys.key import Keys
from buildsys.plan import Plan
from buildsys.progress import Status, Text
from buildsys.registry_values import Reference
from buildsys.runtime import render_nodes, render_stacks
from buildsys.steps import executed_runs
from buildsys.store import Store, inputs_text
from buildsys.workspace import STATE_FOLDER, Workspace, write_whole

RUNTIME_FILE = f"{STATE_FOLDER}/publish.hcl"
LOG_FILE = f"{STATE_FOLDER}/logs/bake.jsonl"
_RETRIES = 3
_WAIT_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishOptions:
    """What the command line asks for; `verify` looks at the blobs of all that exists."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What became of nodes: target to reference of those made, the failures, and the RUN steps executed by digest."""

    made: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failures: tuple[Failure, ...] = ()
    runs: tuple[str, ...] = ()
    retries: int = 0


def build_nodes(
    workspace: Workspace,
    store: Store,
    decision: Decision,
    options: PublishOptions,
    docker: Docker,
    on_event: Callable[[Status | Text], None],
    stop: Stop,
    runs: tuple[str, ...] = (),
) -> Built:
    """Build the nodes that are missing and return what became of them; `runs` were executed before.

    bake gives up at its first failure. So it is called again for all that the failed node does not touch, and, up to
    three times, where the failure may pass; what was done is in the builder's cache.
    """
    names = {name: str(store.node(decision.keys.nodes[name].key)) for name in decision.nodes_to_build}
    inputs = {name: inputs_text(decision.keys.nodes[name]) for name in names}
    below = {node.name: node.below for node in decision.plan.nodes}
    text = render_nodes(decision.plan, decision.actions, decision.keys, names=names, inputs=inputs)
    write_whole(workspace.root / RUNTIME_FILE, text.encode())
    executed = dict.fromkeys(runs)
    made: dict[str, str] = {}
    failures: list[Failure] = []
    blocked: set[str] = set()
    tries = 0
    log = workspace.root / LOG_FILE
    log.unlink(missing_ok=True)
    while wanted := [name for name in names if name not in made and name not in blocked]:
        result = _bake(workspace, decision, options, docker, tuple(wanted), on_event, stop)
        executed.update(dict.fromkeys(vertex.digest for vertex in executed_runs(result.steps)))
        made.update(_published(result, {name: names[name] for name in wanted}))
        failure = result.failure
        if failure is None or stop.requested:
            failures += [failure] if failure else []
            break
        if is_transient(failure) and tries < _RETRIES:
            tries += 1
            time.sleep(_WAIT_SECONDS * tries)
            continue
        failures.append(failure)
        failed = failure.target or (wanted[0] if len(wanted) == 1 else "")
        if failed not in wanted or failure.kind is FailureKind.INTERRUPTED:
            break
        blocked |= {name for name in names if failed in _closure(below, name)}
    return Built(made=MappingProxyType(made), failures=tuple(failures), runs=tuple(executed), retries=tries)


def assemble_stacks(
    workspace: Workspace,
    store: Store,
    decision: Decision,
    options: PublishOptions,
    docker: Docker,
    references: Mapping[str, str],
    stacks: tuple[str, ...],
    on_event: Callable[[Status | Text], None],
    stop: Stop,
) -> Built:
    """Assemble stacks that cannot be composed with the engine, of nodes that exist; return what became of them."""
    by_target = {stack.name: stack.stack for stack in decision.plan.stacks}
    keyed = decision.keys.stacks
    names = {name: str(store.stack(by_target[name], keyed[name].key)) for name in stacks}
    inputs = {name: inputs_text(keyed[name]) for name in stacks}
    text = render_stacks(decision.plan, references, decision.keys, names=names, inputs=inputs)
    write_whole(workspace.root / RUNTIME_FILE, text.encode())
    result = _bake(workspace, decision, options, docker, stacks, on_event, stop)
    failures = (result.failure,) if result.failure else ()
    return Built(made=MappingProxyType(_published(result, names)), failures=failures)


def _closure(below: Mapping[str, tuple[str, ...]], name: str) -> set[str]:
    found, waiting = set[str](), [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(below[each])
    return found


def _bake(
    workspace: Workspace,
    decision: Decision,
    options: PublishOptions,
    docker: Docker,
    targets: tuple[str, ...],
    on_event: Callable[[Status | Text], None],
    stop: Stop,
) -> BakeResult:
    call = BakeCall(
        root=workspace.root,
        files=(RUNTIME_FILE,),
        targets=targets,
        environment=bake_environment(decision.plan, workspace),
        no_cache=options.no_cache,
        builder=options.builder,
    )
    if mistakes := check_paths(print_bake(docker, call), workspace.root):
        raise InvalidInput(mistakes)
    whole = workspace.root / LOG_FILE
    whole.parent.mkdir(parents=True, exist_ok=True)
    part = whole.with_suffix(".part")
    try:
        return run_bake(docker, call, on_event, log=part, stop=stop)
    finally:
        # One log for the whole run, whatever the number of calls.
        if part.exists():
            with whole.open("ab") as log:
                log.write(part.read_bytes())
            part.unlink()


def _published(result: BakeResult, names: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, reference in names.items():
        digest = result.published.get(reference) or (result.digests.get(name) if result.failure is None else None)
        if digest:
            found[name] = str(Reference.parse(reference).with_digest(digest))
    return found
