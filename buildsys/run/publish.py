"""How a run publishes by keys: what is missing is built and pushed, images are composed, tags are moved last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

from buildsys.bake.targets import TAG_VARIABLE, Publication
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.errors import BuildsysError
from buildsys.events.events import TagsMoved
from buildsys.events.history import History
from buildsys.events.journal import history_of
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Manifest, Reference
from buildsys.plan.plan import Plan
from buildsys.project.revision import Origin
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import BlobOrigins, total_size
from buildsys.run.decision import (
    Decision,
    OverBudget,
    damage_notes,
    decide_from_registry,
    decide_published,
    exists_below,
    over_budget,
    refuse_no_cache,
    registry_notes,
    verified,
    with_image_layers,
)
from buildsys.run.executor import Emit, RunOutcome, TargetOutcome, with_contents
from buildsys.run.index import Indexes, TagHistory, annotations_of, move_unheld, run_annotations, tagged
from buildsys.run.inspection import Inspection, inspection_of, shelf_of
from buildsys.run.scheduler import tasks_of
from buildsys.run.session import (
    Publishing,
    Session,
    begin,
    execute,
    open_worker,
    report_limits,
    report_targets,
)
from buildsys.run.store import Existing, Store, can_compose, incoming_tag
from buildsys.run.variables import bake_environment, ignored_tag
from buildsys.values import dataclass

if TYPE_CHECKING:
    from buildsys.buildkit.invocation import Builder
    from buildsys.run.worker import BakeWorker

# A second attempt is for what the registry turned out to have lost; more would hide a registry that loses things.
_ATTEMPTS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """How a run ended: `references` are those of the targets that were built, `moved` and `held` the public tags.

    `indexes` maps stack to the reference of its index, `missing` each target that was asked for and does not exist to
    the deepest target that it lacks.
    """

    decision: Decision
    references: Mapping[str, str]
    indexes: Mapping[str, str]
    missing: Mapping[str, str]
    failures: tuple[Failure, ...]
    moved: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for exists."""
        return not self.missing and not self.failures

    def reference(self, target: str) -> str | None:
        """Return where a target is now, an image in its index, None if it does not exist."""
        found = self.decision.plan.targets[target]
        index = self.indexes.get(found.stack) if isinstance(found, ImageTarget) else None
        return index or self.references.get(target) or self.decision.existing.get(target)


def publish(
    session: Session,
    store: Store,
    plan: Plan,
    targets: tuple[str, ...],
    *,
    tag: bool = True,
    record: TagHistory | None = None,
    check: Callable[[Published], Published] | None = None,
) -> Published:
    """Build what is missing, and return how it went.

    No builder is needed where all nodes of the images exist. A node that fails blocks what needs it and nothing else.
    Public tags move only if nothing that was asked for is missing, unless partial tags are asked for, and if `record`
    does not hold them; without `tag` they stay. `check` may add failures, and images that get no tag, to what was
    published.
    """
    options = session.options
    environment = bake_environment(plan, session.workspace, session.environ)
    first = decide_published(session.workspace, store, plan, targets, session.environ, verify=options.verify)
    if options.no_cache:
        refuse_no_cache(first)
    if tag:
        if ignored := ignored_tag(plan, first.tags, session.environ):
            session.note("tags", ignored)
        tags = tagged(store.registry, (each for own in first.tags.values() for each in own))
        first = replace(first, seen=tags)
    assembled = frozenset(stack.name for stack in plan.stacks if not can_compose(stack))
    inspection = inspection_of(
        session.workspace,
        session.environ,
        first.selection,
        note=lambda text: session.note("inventory", text),
        shelf=shelf_of(store, session.context.clock),
    )
    work = _Attempt(
        session=session,
        store=store,
        decision=first,
        assembled=assembled,
        inspection=inspection,
        describe=_describer(session, first),
        origins=BlobOrigins(plan=plan),
    )
    references: dict[str, str] = {}
    for number in range(_ATTEMPTS):
        builder = session.find_builder() if work.needs_engine else None
        if number == 0:
            _report(session, store, first, builder)
            work.decision = with_image_layers(store, first)
        history = history_of(session.workspace)
        history = record.estimates(history, plan, work.decision.built) if record else history
        report_targets(session, work.decision, history, work.origins, repair=number > 0)
        outcome = work.run(builder, environment, history)
        references |= outcome.references
        if session.stop.requested or number + 1 == _ATTEMPTS or not (outcome.may_be_damage or (tag and work.lost)):
            break
        repair = work.repair(references, outcome)
        if repair is None:
            break
        work = repair
        references = {name: each for name, each in references.items() if name not in work.decision.damaged}
    if options.linked:
        from buildsys.run.warm import fill_caches

        fill_caches(session, store, first, environment)
    existing = {**work.decision.existing, **references}
    missing = work.decision.missing({name for name in existing if name not in outcome.failures})
    published = Published(
        decision=replace(work.decision, seen=first.seen),
        references=references,
        indexes=work.indexes.written,
        missing=missing,
        failures=tuple(outcome.failures.values()),
    )
    if check is not None and not session.stop.requested:
        published = check(published)
    return _with_tags(session, store, published, record) if tag else published


def _describer(session: Session, decision: Decision) -> Callable[[ImageTarget], Mapping[str, str]]:
    """Return a function that returns what the index of an image says of it and of this run."""

    workspace, plan, origin = session.workspace, decision.plan, Origin()
    # The sources as they are now: an edit during the run is of no part of it.
    if any(each.stack not in decision.indexes for each in plan.stacks if each.name in decision.tags):
        origin = session.context.origin(workspace.root, session.environ, workspace.tree(), decision.selection.contents)

    def describe(image: ImageTarget) -> Mapping[str, str]:
        version = image.tags[0] if image.tags else session.environ.get(TAG_VARIABLE, "")
        return run_annotations(plan, image, origin, version, session.context.clock())

    return describe


def _report(session: Session, store: Store, decision: Decision, builder: Builder | None) -> None:
    """Report how the run begins, and why targets whose key exists are rebuilt."""
    begin(session, builder.docker if builder else None, store.prefix)
    for text in (*damage_notes(decision), *registry_notes(decision)):
        session.note("registry", text)
    report_limits(session, decision, linked=session.options.linked)


def _with_tags(session: Session, store: Store, published: Published, record: TagHistory | None) -> Published:
    """Move the public tags, all of them or none but for those that are held; return how the run ended then."""
    decision = published.decision
    too_large = {} if session.stop.requested else over_budget(store, decision, decision.moving(published.indexes))
    missing = {**published.missing, **{name: name for name in too_large}}
    moves = {target: each for target, each in decision.moves(published.indexes).items() if target not in missing}
    moved, held, failed = tuple[str, ...](), dict[str, str](), dict[str, BuildsysError]()
    if not session.stop.requested and (session.options.partial_tags or not missing):
        moved, failed, held = move_unheld(store.registry, moves, decision.seen, record)
    not_moved = (*too_large, *failed)
    event = TagsMoved(at=session.context.clock(), tags=moved, missing=tuple(published.missing), failed=not_moved)
    session.journal.emit(event)
    for why in dict.fromkeys(held.values()):
        session.note("tags", why)
    if too_large:
        raise OverBudget(each for found in too_large.values() for each in found)
    for problem in failed.values():
        raise problem
    return replace(published, moved=moved, held=held)


@dataclass(kw_only=True, slots=True)
class _Attempt:
    """Carries out one decision: nodes and `assembled` stacks are baked, other stacks composed at the registry.

    When the last image of a stack exists, the index of all its images is written.
    """

    session: Session
    store: Store
    decision: Decision
    assembled: frozenset[str]
    inspection: Inspection
    describe: Callable[[ImageTarget], Mapping[str, str]]
    origins: BlobOrigins
    indexes: Indexes = field(init=False)
    _worker: BakeWorker | None = None

    def __post_init__(self) -> None:
        """Take over what exists."""
        decision, store = self.decision, self.store
        self.indexes = Indexes(
            plan=decision.plan,
            keys=decision.keys,
            registry=store.registry,
            place=store.index,
            describe=self.describe,
            written=dict(decision.indexes),
            images={name: each for name, each in decision.existing.items() if name in self._stacks},
        )

    @property
    def composed(self) -> frozenset[str]:
        """The stacks that are built without an engine."""
        stacks = {stack.name for stack in self.decision.plan.stacks}
        return frozenset(self.decision.built) & stacks - self.assembled

    @property
    def needs_engine(self) -> bool:
        """Whether anything is baked."""
        return len(self.composed) < len(self.decision.built)

    @property
    def lost(self) -> bool:
        """Whether an image that existed, and to which a tag is to move, lacks a part by now: it may be deleted."""
        return bool(self.store.verify(self.decision.moving(self.decision.indexes)))

    def run(self, builder: Builder | None, environment: Mapping[str, str], history: History) -> RunOutcome:
        """Build what the decision says, and return how each target ended."""
        decision, linked = self.decision, self.session.options.linked
        tasks = tasks_of(decision.plan, decision.actions, history, self.composed)
        with contextlib.ExitStack() as stack:
            if builder is not None:
                publishing = Publishing(
                    publications=self._publications(), accept=self._accept, linked=linked, inspection=self.inspection
                )
                opened = open_worker(self.session, builder, decision, environment, publishing)
                self._worker = stack.enter_context(opened)
                if linked:
                    self._worker.prefetch_base_images(decision.nodes_to_build)
            outcome = execute(self.session, decision.plan, tasks, self._bake, self._worker, push=True)
        if not self.session.stop.requested:
            self._write_indexes(outcome)
        return outcome

    def _write_indexes(self, outcome: RunOutcome) -> None:
        """Write the indexes of stacks whose images all existed."""
        chosen = {each.stack: name for name, each in self._stacks.items() if name in self.decision.selection.targets}
        for stack, target in chosen.items():
            if target in outcome.failures:
                continue
            try:
                self.indexes.write(stack)
            except Exception as problem:
                message = self.session.explain(problem)
                outcome.failures[target] = Failure(kind=FailureKind.PUSH, message=message, target=target)

    def repair(self, references: Mapping[str, str], outcome: RunOutcome) -> _Attempt | None:
        """Return the attempt that builds what the registry has lost; None where it has everything.

        What cannot be composed though nothing is lost is assembled: a registry need not mount blobs.
        """
        decision, session = self.decision, self.session
        known = Existing(references={**decision.existing, **references}, foreign={}, indexes=self.indexes.written)
        known, lost = verified(decision.selection, self.store, known)
        refused = frozenset(outcome.failures) & self.composed - self.indexes.images.keys()
        if not lost and not refused and known.indexes.keys() == self.indexes.written.keys():
            return None
        existing = {name: each for name, each in known.references.items() if name not in lost}
        # What an image that is lost was composed from may be lost with it, and there is no third attempt.
        below = exists_below(decision.selection, self.store, existing).references
        lost |= self.store.verify(below)
        existing |= {name: each for name, each in below.items() if name not in lost}
        found = replace(known, references=existing)
        repaired = decide_from_registry(decision.selection, self.store, found, session.environ, damaged=lost)
        for text in damage_notes(repaired):
            session.note("registry", text)
        assembled = self.assembled if lost else self.assembled | refused
        return replace(self, decision=repaired, assembled=assembled, _worker=None)

    @property
    def _stacks(self) -> Mapping[str, ImageTarget]:
        return {stack.name: stack for stack in self.decision.plan.stacks}

    def _publications(self) -> dict[str, Publication]:
        return {
            name: Publication(name=str(self._incoming(name)), annotations=annotations_of(self.decision.keys.of(name)))
            for name in self.decision.built
            if name not in self.composed
        }

    def _location(self, target: str) -> Reference:
        """Return where a target is under its key."""
        return self.store.location(self.decision.plan.targets[target], self.decision.keys)

    def _incoming(self, target: str) -> Reference:
        return self._location(target).with_tag(incoming_tag(target))

    def _accept(self, target: str, digest: str) -> str:
        pushed = self._incoming(target).with_digest(digest)
        keyed = self.decision.keys.of(target)

        def keep(manifest: Manifest) -> None:
            self.inspection.store(target, manifest.descriptor)
            self.origins.add(target, manifest.layers)

        return str(self.store.accept(pushed, self._location(target), keyed, keep))

    def _bake(self, targets: tuple[str, ...], references: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        composed = self.composed
        outcomes: dict[str, TargetOutcome] = {
            target: self._compose(target, references) for target in targets if target in composed
        }
        rest = tuple(target for target in targets if target not in composed)
        if rest:
            assert self._worker is not None
            outcomes |= self._worker.bake(rest, references, emit)
        outcomes = {name: self._with_blobs(name, each) for name, each in outcomes.items()}
        outcomes = with_contents(outcomes, self.decision.plan, lambda name: self.inspection.find(name, {}))
        done = {name: outcome.reference for name, outcome in outcomes.items() if outcome.failure is None}
        for name in done.keys() & self._stacks.keys():
            outcomes[name] = self._in_index(name, outcomes[name])
        try:
            self.store.remember(done)
        except RegistryProblem:
            # Nothing but explanations is read from these tags.
            pass
        except Exception as error:
            self.session.note("registry", self.session.explain(error))
        return outcomes

    def _in_index(self, target: str, outcome: TargetOutcome) -> TargetOutcome:
        """Return the outcome of an image that exists: where it is the last of its stack, in the index."""
        try:
            return replace(outcome, reference=self.indexes.add(self._stacks[target], outcome.reference))
        except Exception as problem:
            failure = Failure(kind=FailureKind.PUSH, message=self.session.explain(problem), target=target)
            return replace(outcome, failure=failure)

    def _compose(self, target: str, references: Mapping[str, str]) -> TargetOutcome:
        decision, clock = self.decision, self.session.context.clock
        began, stack = clock(), self._stacks[target]
        existing = {**decision.existing, **references}
        if failure := self.inspection.image_failure(target, existing):
            return TargetOutcome(started=began, seconds=clock() - began, failure=failure)
        message = "the registry does not have the layers of its nodes, or does not share them between repositories"
        try:
            image = self.store.publish(stack, decision.keys.of(target), existing)
        except Exception as problem:
            image, message = None, self.session.explain(problem)
        outcome = TargetOutcome(started=began, seconds=clock() - began)
        if image is None:
            return replace(outcome, failure=Failure(kind=FailureKind.PUSH, message=message, target=target))
        self.origins.add(target, image.layers)
        return replace(outcome, reference=image.reference)

    def _with_blobs(self, target: str, outcome: TargetOutcome) -> TargetOutcome:
        """Return the outcome of a target with what the registry has of it."""
        layers, tags = self.origins.found.get(target, ()), self.decision.tags.get(target, ())
        return outcome if outcome.failure else replace(outcome, size=total_size(layers), layers=layers, tags=tags)
