"""A run that publishes, by keys: what is missing is built and pushed, images are composed, tags are moved last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.bake.targets import Publication
from buildsys.buildkit.docker import Docker
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.events.events import ImageLayer, Noted, TagsMoved
from buildsys.events.journal import Journal, history_of
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import ImageTarget
from buildsys.run.decision import Decision, decide_published, decided
from buildsys.run.executor import Emit, RunOutcome, TargetOutcome
from buildsys.run.options import RunOptions
from buildsys.run.session import begin, execute, making_for, tell_excess, tell_targets
from buildsys.run.store import Store, annotations_of, can_compose, incoming_tag
from buildsys.run.tasks import tasks_of
from buildsys.run.variables import bake_environment
from buildsys.run.warm import fill_caches
from buildsys.run.worker import BakeWorker

# A second try is for what turned out to be damaged in the registry; more would hide a registry that loses things.
_TRIES = 2
_NOT_THE_REGISTRY = frozenset(
    {FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID, FailureKind.INTERRUPTED, FailureKind.TRANSIENT}
)


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

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for exists."""
        return not self.blocked and not self.failures


def publish(
    workspace: Workspace,
    store: Store,
    made: Plan,
    targets: tuple[str, ...],
    options: RunOptions,
    find: Callable[[], Docker],
    journal: Journal,
    stop: Stop,
    environ: Mapping[str, str],
    *,
    tag: bool = True,
) -> Published:
    """Make what is missing, and return how it went.

    `find` is called only if something must be built: where all that images stand on exists, no engine is needed. A node
    that fails blocks what needs it and nothing else. Public tags move only if nothing that was asked for is missing,
    unless partial tags are asked for; without `tag` they stay.
    """
    environment = bake_environment(made, workspace, environ)
    decision, damaged = decide_published(workspace, store, made, targets, environ, verify=options.verify)
    first = decision
    nodes: dict[str, str] = {}
    stacks: dict[str, str] = {}
    runs: set[str] = set()
    ran = RunOutcome()
    by_engine = frozenset(stack.name for stack in made.stacks if not can_compose(stack))
    for attempt in range(_TRIES):
        publisher = _Publisher(workspace, store, decision, options, by_engine, environment)
        docker = find() if publisher.needs_engine else None
        if attempt == 0:
            begin(journal, options, docker, store.prefix)
            _tell_damage(journal, damaged)
            for target, why in decision.foreign.items():
                journal.emit(Noted(at=time.time(), about="registry", text=f"rebuilding {target}: {why}"))
            tell_excess(journal, workspace, decision, linked=options.linked)
        tell_targets(journal, decision, history_of(workspace), again=attempt > 0)
        ran = publisher.run(docker, journal, stop)
        runs |= ran.runs
        kinds = {node.name for node in made.nodes}
        nodes.update({name: reference for name, reference in ran.made.items() if name in kinds})
        stacks.update({name: reference for name, reference in ran.made.items() if name not in kinds})
        if stop.requested or attempt + 1 == _TRIES or not _may_be_damage(ran):
            break
        references = {**decision.existing, **nodes}
        lost = store.verify(references)
        composing = frozenset(ran.failures) & publisher.composed
        if not lost and not composing:
            break
        _tell_damage(journal, lost)
        damaged = {**damaged, **lost}
        # What cannot be composed though nothing is lost is assembled: a registry need not mount.
        by_engine |= composing if not lost else frozenset()
        existing = {target: ref for target, ref in {**references, **stacks}.items() if target not in lost}
        decision = decided(made, decision.keys, decision.contents, existing, decision.targets, store, environ)
        nodes = {target: ref for target, ref in nodes.items() if target not in lost}
    if options.linked:
        fill_caches(workspace, store, first, options, find, journal, stop, environment)
    have = {**first.existing, **decision.existing, **nodes, **stacks}
    lacking = _missing(decision, {target: have[target] for target in have if target not in ran.failures})
    return Published(
        decision=first,
        nodes=nodes,
        stacks=stacks,
        blocked=lacking,
        moved=_tag(store, decision, have, lacking, options, journal, stop) if tag else (),
        runs=tuple(sorted(runs)),
        damaged=damaged,
        failures=tuple(ran.failures.values()),
    )


def _may_be_damage(ran: RunOutcome) -> bool:
    """Whether the registry may have lost something: to look takes a request for each blob."""
    return any(failure.kind not in _NOT_THE_REGISTRY for failure in ran.failures.values())


def _tell_damage(journal: Journal, damaged: Mapping[str, tuple[str, ...]]) -> None:
    for target, missing in damaged.items():
        text = f"{target} is damaged and made again: {missing[0]} is gone"
        journal.emit(Noted(at=time.time(), about="registry", text=text))


def _missing(decision: Decision, have: Mapping[str, str]) -> dict[str, str]:
    return {
        target: next((need for need in _needs(decision.plan, target) if need not in have), target)
        for target in decision.targets
        if target not in have
    }


def _tag(
    store: Store,
    decision: Decision,
    have: Mapping[str, str],
    missing: Mapping[str, str],
    options: RunOptions,
    journal: Journal,
    stop: Stop,
) -> tuple[str, ...]:
    """Move the public tags, all of them or none; return those that moved."""
    whole = {target: have[target] for target in decision.tags if target not in missing and target in have}
    moved: tuple[str, ...] = ()
    failed: Mapping[str, RegistryProblem] = {}
    if not stop.requested and (options.partial_tags or not missing):
        moved, failed = store.move_tags(whole, decision.tags)
    journal.emit(TagsMoved(at=time.time(), tags=moved, missing=tuple(missing), failed=tuple(failed)))
    for problem in failed.values():
        raise problem
    return moved


class _Publisher:
    """Makes the nodes of one decision with the engine, and composes its stacks at the registry."""

    def __init__(
        self,
        workspace: Workspace,
        store: Store,
        decision: Decision,
        options: RunOptions,
        by_engine: frozenset[str],
        environment: Mapping[str, str],
    ) -> None:
        self._workspace, self._store, self._decision, self._options = workspace, store, decision, options
        self._environment = environment
        self._stacks = {stack.name: stack for stack in decision.plan.stacks}
        built = decision.built
        self.composed = frozenset(name for name in built if name in self._stacks and name not in by_engine)
        self.needs_engine = len(self.composed) < len(built)
        self._making: BakeWorker | None = None

    def run(self, docker: Docker | None, journal: Journal, stop: Stop) -> RunOutcome:
        """Make what the decision says, and return what became of it."""
        history = history_of(self._workspace)
        tasks = tasks_of(self._decision.plan, self._decision.actions, history, self.composed)
        if docker is not None:
            making = making_for(
                self._workspace,
                docker,
                self._decision,
                self._options,
                stop,
                self._environment,
                run_folder=journal.run,
            )
            making = replace(
                making,
                publications=self._publications(),
                existing=self._decision.existing,
                accept=self._accept,
                linked=self._options.linked,
            )
            self._making = making
            if making.linked:
                making.prefetch_base_images(self._decision.nodes_to_build)
        return execute(
            tasks, self._make, journal, stop, self._options, docker, self._making, self._decision.plan, push=True
        )

    def _publications(self) -> dict[str, Publication]:
        return {
            name: Publication(name=str(self._incoming(name)), annotations=annotations_of(self._decision.keys.of(name)))
            for name in self._decision.built
            if name not in self.composed
        }

    def _location(self, target: str) -> Reference:
        """Return where a target is under its key."""
        key = self._decision.keys.of(target).key
        return self._store.stack(self._stacks[target].stack, key) if target in self._stacks else self._store.node(key)

    def _incoming(self, target: str) -> Reference:
        return self._location(target).with_tag(incoming_tag(target))

    def _accept(self, target: str, digest: str) -> str:
        pushed = self._incoming(target).with_digest(digest)
        return str(self._store.accept(pushed, self._location(target), self._decision.keys.of(target)))

    def _make(self, targets: tuple[str, ...], made: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        composed = [target for target in targets if target in self.composed]
        results = {target: self._compose(self._stacks[target], made) for target in composed}
        rest = tuple(target for target in targets if target not in self.composed)
        if rest:
            assert self._making is not None
            results.update(self._making.make(rest, made, emit))
        done = {name: result.reference for name, result in results.items() if result.failure is None}
        # Nothing but explanations is read from these tags.
        with contextlib.suppress(RegistryProblem):
            self._store.remember(self._decision.plan, done)
        return results

    def _compose(self, stack: ImageTarget, made: Mapping[str, str]) -> TargetOutcome:
        began = time.time()
        references = {**self._decision.existing, **made}
        try:
            image = self._store.publish(stack, self._decision.keys.stacks[stack.name], references)
        except RegistryProblem as problem:
            failure = Failure(kind=FailureKind.PUSH, message=str(problem), target=stack.name)
            return TargetOutcome(started=began, seconds=time.time() - began, failure=failure)
        if image is None:
            message = "the registry does not have the layers of its nodes, or does not share them between repositories"
            failure = Failure(kind=FailureKind.PUSH, message=message, target=stack.name)
            return TargetOutcome(started=began, seconds=time.time() - began, failure=failure)
        layers = tuple(ImageLayer(digest=each.digest, size=each.size, layer=layer) for each, layer in image.layers)
        return TargetOutcome(
            reference=image.reference,
            started=began,
            seconds=time.time() - began,
            size=sum(each.size for each in layers),
            layers=layers,
            tags=self._decision.tags.get(stack.name, ()),
        )


def _needs(plan: Plan, target: str) -> tuple[str, ...]:
    # The deepest first: that is where it began.
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        for each in plan.needs[name]:
            if each not in ordered:
                visit(each)
        ordered.setdefault(name)

    for name in plan.needs[target]:
        visit(name)
    return tuple(ordered)
