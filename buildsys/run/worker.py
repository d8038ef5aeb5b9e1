"""How one bake of a run is done: its file, its process, the retries, and how each of its targets ended."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

import tenacity

from buildsys.bake.definition import Definition, Target
from buildsys.bake.inventory import inventory_name
from buildsys.bake.targets import (
    MIRRORS_TARGET,
    NO_COPIES,
    Copies,
    Publication,
    base_images_definition,
    linked_nodes,
    run_definition,
    variables,
)
from buildsys.buildkit.diagnosis import is_lost_cache, is_transient
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult, Builder
from buildsys.buildkit.progress import PlainProgress, Status, StepKind, Text
from buildsys.buildkit.vertices import Snapshot
from buildsys.events.events import Retried
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan
from buildsys.project.state import append_to
from buildsys.project.workspace import Workspace, write_whole
from buildsys.resolve.node import ImageTarget, Node
from buildsys.run.executor import Emit, TargetOutcome
from buildsys.run.index import WrongResult
from buildsys.run.inspection import Inspection
from buildsys.run.step_events import StepEvents, TargetLogs, titles
from buildsys.texts import inert
from buildsys.values import dataclass

RAW_LOG = "bake.jsonl"
_COUNTED = frozenset({StepKind.RUN, StepKind.FILE})
# Publishes what was pushed for a target, by its digest, and returns its reference; raises `RegistryProblem`.
Accept = Callable[[str, str], str]


@dataclass(kw_only=True, slots=True)
class BakeWorker:
    """Runs the bakes of one run, several at once, with files in `folder` and logs in `logs`.

    `call` is a bake without files and targets, `existing` maps target to reference for what this run does not build.
    `linked`: nodes are linked to although they exist, so that BuildKit's caches are those that a plain bake looks for.
    """

    plan: Plan
    builder: Builder
    call: BakeCall
    folder: Path
    logs: Path
    stop: Stop
    retries: int
    clock: Callable[[], float]
    publications: Mapping[str, Publication]
    accept: Accept
    explain: Callable[[Exception], str] = str
    linked: bool = False
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    existing: Mapping[str, str] = field(default_factory=dict)
    copies: Copies = NO_COPIES
    progress: TextIO | None = None
    caches: bool = False
    inspection: Inspection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listing: threading.Lock = field(default_factory=threading.Lock)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def log_file(self, target: str) -> Path:
        """Return the file that holds all output of a target's steps."""
        return self.logs / f"{target}.log"

    def bake(self, targets: tuple[str, ...], references: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        """Bake targets and return how each ended; `references` are those of what this run has built.

        Transient failures are retried, for the targets that are still missing.
        """
        published = {target: reference for target, reference in references.items() if reference}
        known = {} if self.linked else {**self.existing, **published}
        work = _Work(targets=targets, built=references, references=known, emit=emit, clock=self.clock)
        for target in targets:
            with contextlib.suppress(OSError):
                self.log_file(target).unlink()
        attempts = self.retries + 1
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential_jitter(initial=1, max=30, jitter=1),
            retry=tenacity.retry_if_result(lambda failure: failure is not None and not self.stop.requested),
            sleep=self.stop.wait,
            before_sleep=lambda state: work.report_retry(state, attempts),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        self._refuse(work)
        failure = retrying(self._attempt, work)
        for target in tuple(work.rest):
            kept = failure or Failure(kind=FailureKind.INTERRUPTED, message="interrupted")
            work.end(target, TargetOutcome(failure=replace(kept, target=target)))
        return work.outcomes

    def prefetch_base_images(self, targets: Collection[str]) -> None:
        """Let the engine fetch the base images of targets, before any of them is baked.

        BuildKit 0.25 finds what a different bake built only if its base image was in the store before: 6 of 6 trials
        ran steps again, none with this. What goes wrong here shows again in the bakes themselves.
        """
        definition = base_images_definition(self.plan, targets, {})
        if len(targets) < 2 or not definition.targets:
            return
        self._bake_alone(definition, "base-images")

    def _call_of(self, file: Path) -> BakeCall:
        return replace(self.call, files=(str(file.relative_to(self.call.root)),), no_cache=False)

    def _attempt(self, work: _Work) -> Failure | None:
        """Bake what is missing until it is built or has failed for good; return a transient failure."""
        work.attempts += 1
        while work.rest:
            result = self._bake(work)
            # Where all of it was built before something went wrong, nothing is missing.
            failure = result.failure or (None if work.repeats else _not_pushed(work))
            if work.rest and failure is None and work.repeats:
                continue
            if not work.rest or failure is None or failure.kind is FailureKind.INTERRUPTED:
                return None
            if self.inspection is not None and (listed := work.listed.get(failure.target)):
                # What lists a node is no part of it.
                self.inspection.give_up(listed, failure, passes=is_transient(failure))
                continue
            if self.caches and not work.without_cache and is_lost_cache(failure):
                work.without_cache = True
                return failure
            if is_transient(failure):
                return failure
            self._fail(work, result.steps, failure)
        return None

    def _fail(self, work: _Work, steps: Snapshot, failure: Failure) -> None:
        """End the targets that a failure which is not retried belongs to."""
        if failure.target in work.rest:
            work.end(failure.target, self._outcome(work, steps, failure.target, failure))
        elif len(work.rest) == 1 or failure.kind is FailureKind.INVALID:
            for target in tuple(work.rest):
                work.end(target, self._outcome(work, steps, target, replace(failure, target=target)))
        else:
            # Nothing names the one that failed, so each is baked alone.
            for target in tuple(work.rest):
                work.end(target, self.bake((target,), work.built, work.emit)[target])

    def _refuse(self, work: _Work) -> None:
        """End the images whose nodes do not go together, before anything is assembled."""
        if self.inspection is None:
            return
        for target in work.targets:
            image = self.plan.targets[target]
            if isinstance(image, ImageTarget):
                self._list_parent(image)
                failure = self.inspection.image_failure(target, {**self.existing, **work.built})
                if failure is not None:
                    work.end(target, TargetOutcome(started=self.clock(), failure=failure))

    def _list_parent(self, image: ImageTarget) -> None:
        """List the parent on which an image is assembled, unless that is known; two at once would share a folder."""
        inspection = self.inspection
        if inspection is None:
            return
        with self._listing:
            while (target := inspection.parent_target(image)) is not None:
                definition = Definition(variables=variables(self.plan), targets=(target,))
                result = self._bake_alone(definition, f"{next(self._numbers)}-parent")
                if result.failure is not None and result.failure.kind is FailureKind.INTERRUPTED:
                    return
                if result.failure is not None:
                    inspection.give_up(target, result.failure, passes=is_transient(result.failure))
                elif not inspection.take(target):
                    inspection.store_parent(image)

    def _bake_alone(self, definition: Definition, name: str) -> BakeResult:
        """Bake all targets of a definition without `--set` and without events."""
        file = self.folder / f"{name}.json"
        write_whole(file, definition.to_json().encode())
        call = replace(self._call_of(file), targets=tuple(each.name for each in definition.targets), overrides=())
        return self.builder.bake(replace(call, load=False), lambda _: None, stop=self.stop)

    def _bake(self, work: _Work) -> BakeResult:
        targets = tuple(work.rest)
        # What --set changes is not what the plan says, and need not be where it says.
        listed = self.inspection.targets(targets) if self.inspection and not self.call.overrides else {}
        work.listed = {each.name: each for each in listed.values()}
        # Steps that see the mirrors set the times of what they write, and the list reports what they left.
        sets = {node.name for node in self.plan.nodes if MIRRORS_TARGET in node.build.references}
        work.as_built = sets & {*listed} & {*self.publications} - work.rewritten
        linked = linked_nodes(self.plan, targets, work.references)
        definition = run_definition(
            self.plan,
            targets,
            work.references,
            publications={k: replace(each, rewrites=k not in work.as_built) for k, each in self.publications.items()},
            labels=self.labels,
            copies=self.copies,
            loads=self.call.load and self.builder.docker.driver != "docker",
            others=listed.values(),
        )
        file = self.folder / f"{next(self._numbers)}-{targets[0]}.json"
        write_whole(file, definition.to_json().encode())
        overrides = matching(self.call.overrides, {*targets, *linked})
        if self.call.no_cache:
            # What is only linked was built in this run, and what ran by this call: its newest result is taken.
            overrides = (*overrides, *(f"{target}.no-cache=true" for target in targets if target not in work.ran))
        if work.without_cache:
            overrides = (*overrides, "*.cache-from=")
        helpers = tuple(work.listed)
        call = replace(self._call_of(file), targets=(*targets, *helpers), helpers=helpers, overrides=overrides)
        raw = file.with_suffix(".jsonl")
        work.began = self.clock()
        plain = PlainProgress(targets[0])
        with contextlib.closing(TargetLogs(self.log_file, self.call.mask)) as logs:
            others = (*linked, MIRRORS_TARGET, *helpers)
            events = StepEvents(targets, others, logs.write, self._titles(targets))

            def take(event: Status | Text) -> None:
                now = self.clock()
                for line in plain.take(event) if self.progress else ():
                    # Output without a reader ends no build.
                    with contextlib.suppress(OSError):
                        print(inert(self.call.mask.text(line)), file=self.progress, flush=True)
                for each in events.take(event, now):
                    work.last[getattr(each, "target", "")] = now
                    work.emit(each)

            result = self.builder.bake(call, take, log=raw, stop=self.stop)
        # A log that cannot be kept fails no build.
        with self._lock, contextlib.suppress(OSError), raw.open("rb") as lines, append_to(self.logs / RAW_LOG) as log:
            shutil.copyfileobj(lines, log)
        self._settle(work, result)
        return result

    def _titles(self, targets: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        nodes = [node for node in map(self.plan.targets.__getitem__, targets) if isinstance(node, Node)]
        project = Workspace(root=self.call.root)
        found = {}
        for node in nodes:
            folder = self.copies.context.get(node.name, node.folder)
            found[node.name] = node.generated or project.read(f"{folder}/{node.dockerfile.rpartition('/')[2]}")
        return {name: titles(text) for name, text in found.items() if text is not None}

    def _settle(self, work: _Work, result: BakeResult) -> None:
        """End the targets that were built and keep their promises; what was pushed is accepted under its key."""
        built = {target: digest for target in work.rest if (digest := self._digest(result, target)) is not None}
        work.repeats = False
        work.ran.update(built)
        for target, digest in built.items():
            try:
                if self._is_repeated(work, result, target):
                    work.repeats = True
                    continue
                if failure := self._broken(target, digest):
                    work.end(target, self._outcome(work, result.steps, target, failure))
                    continue
                reference = self.accept(target, digest) if digest else ""
            except WrongResult as problem:
                failure = Failure(kind=FailureKind.CONTENT, message=str(problem), target=target)
                work.end(target, self._outcome(work, result.steps, target, failure))
                continue
            except Exception as problem:
                # Others of this bake are published too.
                work.refused[target] = self.explain(problem)
                continue
            work.end(target, replace(self._outcome(work, result.steps, target, None), reference=reference))

    def _is_repeated(self, work: _Work, result: BakeResult, target: str) -> bool:
        """Whether a node that was built is baked once more: for its list, or for the times of its files."""
        found = work.listed.get(inventory_name(target))
        if self.inspection is None or found is None:
            return False
        if result.failure is not None and not result.steps.exported(found.name):
            unlisted = not self.inspection.is_listed(target)
        else:
            unlisted = self.inspection.take(found)
        if not unlisted and target in work.as_built and self.inspection.may_be_newer(target):
            work.rewritten.add(target)
            return True
        return unlisted and not self.stop.requested

    def _broken(self, target: str, digest: str) -> Failure | None:
        """Return why a target that was built may not be used, None if it may."""
        if self.inspection is None:
            return None
        name = self.publications[target].name if digest else ""
        return self.inspection.node_failure(target, Reference.parse(name).with_digest(digest) if name else None)

    def _digest(self, result: BakeResult, target: str) -> str | None:
        """Return the digest of what was pushed for a target, empty for one that is not pushed, None if not built."""
        publication = self.publications.get(target)
        if publication is None:
            return "" if result.failure is None or result.steps.exported(target) else None
        digest = result.published.get(publication.name)
        return digest or (result.digests.get(target) if result.failure is None else None)

    def _outcome(self, work: _Work, steps: Snapshot, target: str, failure: Failure | None) -> TargetOutcome:
        own = [vertex for vertex in steps.vertexes if vertex.owner == target and vertex.kind in _COUNTED]
        done = [vertex for vertex in own if vertex.completed is not None and not vertex.error]
        end = work.last.get(target) if len(work.targets) > 1 else None
        return TargetOutcome(
            started=work.began,
            seconds=(end or self.clock()) - work.began,
            steps=len(done),
            cached=sum(vertex.cached for vertex in done),
            attempts=work.attempts,
            failure=_located(failure, self.plan.targets[target]),
        )


@dataclass(kw_only=True, slots=True)
class _Work:
    """The state of one call of `BakeWorker.bake`: `rest` is what is neither ready nor failed.

    `listed` are the targets of the last bake that list nodes, by name. `as_built` are nodes that it pushes without a
    new time for any file, `rewritten` those that turned out to need one; `repeats`: it is done again for these, or for
    a list, from the results of what `ran`.
    """

    targets: tuple[str, ...]
    built: Mapping[str, str]
    references: Mapping[str, str]
    emit: Emit
    clock: Callable[[], float]
    rest: list[str] = field(default_factory=list)
    outcomes: dict[str, TargetOutcome] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    attempts: int = 0
    without_cache: bool = False
    repeats: bool = False
    ran: set[str] = field(default_factory=set)
    as_built: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    listed: Mapping[str, Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rest.extend(self.targets)

    def end(self, target: str, outcome: TargetOutcome) -> None:
        self.rest.remove(target)
        self.outcomes[target] = outcome

    def report_retry(self, state: tenacity.RetryCallState, attempts: int) -> None:
        """Emit that a retry follows."""
        failure = state.outcome.result() if state.outcome else None
        assert failure is not None
        wait = state.next_action.sleep if state.next_action else 0.0
        target = failure.target if failure.target in self.rest else self.rest[0]
        why = failure.message.strip().splitlines()[0] if failure.message.strip() else str(failure.kind)
        attempt = state.attempt_number + 1
        self.emit(Retried(at=self.clock(), target=target, attempt=attempt, of=attempts, wait=wait, why=why))


def matching(overrides: Collection[str], targets: Collection[str]) -> tuple[str, ...]:
    """Return the values of `--set` that name one of some targets: bake refuses one that names none."""
    return tuple(
        each
        for each in overrides
        if any(fnmatchcase(target, each.partition("=")[0].split(".")[0]) for target in targets)
    )


def _located(failure: Failure | None, target: Node | ImageTarget) -> Failure | None:
    """Return a failure in a generated Dockerfile with the place in the project that the line comes from."""
    if failure is None or not failure.file or failure.kind is FailureKind.CONTENT:
        return failure
    place = target.place(failure.line) if isinstance(target, Node) and target.generated else None
    return replace(failure, file=place.file, line=place.line or 0) if place else failure


def _not_pushed(work: _Work) -> Failure | None:
    """Return why a bake that succeeded did not publish all its targets, None if it did."""
    if not work.rest:
        return None
    target = work.rest[0]
    message = work.refused.pop(target, "bake succeeded but reported no pushed digest for this target")
    return Failure(kind=FailureKind.PUSH, message=message, target=target)
