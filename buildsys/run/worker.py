"""One bake of a run: its file, its process, the tries again, and what became of each of its targets."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import tenacity

from buildsys.bake.targets import (
    MIRRORS_TARGET,
    NO_COPIES,
    Copies,
    Publication,
    base_images_definition,
    linked_nodes,
    run_definition,
)
from buildsys.buildkit.docker import Docker
from buildsys.buildkit.failure import Failure, FailureKind, is_transient
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult, run_bake
from buildsys.buildkit.progress import Status, StepKind, Text
from buildsys.buildkit.vertices import Snapshot, executed_runs
from buildsys.buildkit.words import BuildkitWords
from buildsys.events.events import Retried
from buildsys.oci.http import RegistryProblem
from buildsys.plan.plan import Plan
from buildsys.project.state import append_to
from buildsys.project.workspace import Workspace, write_whole
from buildsys.resolve.node import Node
from buildsys.run.executor import Emit, TargetOutcome
from buildsys.run.step_events import StepEvents
from buildsys.run.step_titles import titles

RAW_LOG = "bake.jsonl"
_COUNTED = frozenset({StepKind.RUN, StepKind.FILE})
# A blob that an imported cache names and its registry has no more: seen only when the step's content is wanted.
_LOST = re.compile(r"not found|unexpected status|failed to (load|fetch|copy)|blob unknown", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeWorker:
    """What all bakes of a run share.

    `folder` is where their files go, `logs` where what they say goes; `call` is a bake without files and targets.
    `existing` maps target to reference for what is not made in this run. `linked`: nodes are taken by links all the
    same, so that BuildKit's caches are those that a plain bake of the whole file looks for. `accept` publishes what was
    pushed for a target, by its digest, and returns its reference; it raises `RegistryProblem`.
    """

    plan: Plan
    docker: Docker
    call: BakeCall
    folder: Path
    logs: Path
    stop: Stop
    retries: int
    publications: Mapping[str, Publication] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    existing: Mapping[str, str] = field(default_factory=dict)
    copies: Copies = NO_COPIES
    accept: Callable[[str, str], str] = lambda _target, _digest: ""
    say: Callable[[str], None] | None = None
    caches: bool = False
    linked: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def log_file(self, target: str) -> Path:
        """Return the file that holds everything that a target's steps said."""
        return self.logs / f"{target}.log"

    def make(self, targets: tuple[str, ...], made: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        """Bake targets and return what became of each; `made` maps what was made in this run to its reference.

        What may pass is tried again, with waits that grow, and only for the targets that are not made yet.
        """
        published = {target: reference for target, reference in made.items() if reference}
        references = {} if self.linked else {**self.existing, **published}
        work = _Work(targets=targets, made=made, references=references, emit=emit)
        for target in targets:
            with contextlib.suppress(OSError):
                self.log_file(target).unlink()
        attempts = self.retries + 1
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential_jitter(initial=1, max=30, jitter=1),
            retry=tenacity.retry_if_result(lambda failure: failure is not None and not self.stop.requested),
            sleep=self.stop.wait,
            before_sleep=lambda state: work.again(state, attempts),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        failure = retrying(self._attempt, work)
        for target in tuple(work.rest):
            kept = failure or Failure(kind=FailureKind.INTERRUPTED, message="interrupted")
            work.end(target, TargetOutcome(failure=replace(kept, target=target)))
        return work.results

    def prefetch_base_images(self, targets: Collection[str]) -> None:
        """Let the engine fetch the images that targets stand on, before any of them is baked.

        Where a bake links to what another one made, BuildKit 0.25 finds it only if the image below was in its store
        before: while a third bake held an image that was new, each bake that linked made the steps on it again (seen
        in 6 of 6 trials; with this in none). What goes wrong here shows again in the bakes themselves.
        """
        references = {} if self.linked else self.existing
        definition = base_images_definition(self.plan, targets, references)
        if len(targets) < 2 or not definition.targets:
            return
        file = self.folder / "base-images.json"
        write_whole(file, definition.to_json().encode())
        path = str(file.relative_to(self.call.root))
        names = tuple(each.name for each in definition.targets)
        call = replace(self.call, files=(path,), targets=names, overrides=(), no_cache=False, load=False)
        run_bake(self.docker, call, lambda _: None, stop=self.stop)

    def _attempt(self, work: _Work) -> Failure | None:
        """Bake what is left until it is made or has failed for good; return a failure that may pass."""
        work.attempts += 1
        while work.rest:
            result = self._bake(work)
            if not work.rest:
                # All of it was made before whatever went wrong then.
                return None
            failure = result.failure or _not_taken(work)
            if failure is None or failure.kind is FailureKind.INTERRUPTED:
                return None
            if self.caches and not work.without_cache and _is_lost_cache(failure):
                work.without_cache = True
                return failure
            if is_transient(failure):
                return failure
            if failure.target in work.rest:
                work.end(failure.target, self._result(work, result.steps, failure.target, failure))
            elif len(work.rest) == 1 or failure.kind is FailureKind.INVALID:
                for target in tuple(work.rest):
                    work.end(target, self._result(work, result.steps, target, replace(failure, target=target)))
            else:
                # Nothing names the one that failed: each shows for itself.
                for target in tuple(work.rest):
                    work.end(target, self.make((target,), work.made, work.emit)[target])
        return None

    def _bake(self, work: _Work) -> BakeResult:
        targets = tuple(work.rest)
        linked = linked_nodes(self.plan, targets, work.references)
        definition = run_definition(
            self.plan,
            targets,
            work.references,
            publications=self.publications,
            labels=self.labels,
            copies=self.copies,
        )
        file = self.folder / f"{next(self.numbers)}-{targets[0]}.json"
        write_whole(file, definition.to_json().encode())
        overrides = matching(self.call.overrides, {*targets, *linked})
        if self.call.no_cache:
            # Of what is only linked, the newest result is taken: it was made in this run.
            overrides = (*overrides, *(f"{target}.no-cache=true" for target in targets))
        if work.without_cache:
            overrides = (*overrides, "*.cache-from=")
        path = str(file.relative_to(self.call.root))
        call = replace(self.call, files=(path,), targets=targets, overrides=overrides, no_cache=False)
        work.began = time.time()
        words, say = BuildkitWords(targets[0]), self.say
        events = StepEvents(targets, (*linked, MIRRORS_TARGET), self._log, self._titles(targets))

        def take(event: Status | Text) -> None:
            now = time.time()
            if say is not None:
                for line in words.take(event):
                    say(self.call.mask.text(line))
            for each in events.take(event, now):
                work.last[each.target if hasattr(each, "target") else ""] = now
                work.emit(each)

        raw = file.with_suffix(".jsonl")
        result = run_bake(self.docker, call, take, log=raw, stop=self.stop)
        # A log that cannot be kept fails no build.
        with self.lock, contextlib.suppress(OSError), raw.open("rb") as said, append_to(self.logs / RAW_LOG) as log:
            shutil.copyfileobj(said, log)
        self._settle(work, result)
        return result

    def _titles(self, targets: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        nodes = [node for node in map(self.plan.targets.__getitem__, targets) if isinstance(node, Node)]
        project = Workspace(root=self.call.root)
        found = {}
        for node in nodes:
            folder = self.copies.context.get(node.name, node.folder)
            found[node.name] = project.read(f"{folder}/{node.dockerfile.rpartition('/')[2]}")
        return {name: titles(text) for name, text in found.items() if text is not None}

    def _log(self, target: str, text: str) -> None:
        path = self.log_file(target)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with append_to(path) as file:
                file.write(self.call.mask.text(text).encode(errors="replace"))

    def _settle(self, work: _Work, result: BakeResult) -> None:
        """Take what was built out of what is left; what was pushed is accepted under its key."""
        built = {target: digest for target in work.rest if (digest := self._built(result, target)) is not None}
        for target, digest in built.items():
            try:
                reference = self.accept(target, digest) if digest else ""
            except RegistryProblem as problem:
                work.wrong[target] = str(problem)
                continue
            work.end(target, replace(self._result(work, result.steps, target, None), reference=reference))

    def _built(self, result: BakeResult, target: str) -> str | None:
        """Return the digest of what was pushed for a target, empty for one that is not pushed, None if not built."""
        publication = self.publications.get(target)
        if publication is None:
            return "" if result.failure is None or _exported(result.steps, target) else None
        digest = result.published.get(publication.name)
        return digest or (result.digests.get(target) if result.failure is None else None)

    def _result(self, work: _Work, steps: Snapshot, target: str, failure: Failure | None) -> TargetOutcome:
        own = [vertex for vertex in steps.vertexes if vertex.owner == target and vertex.kind in _COUNTED]
        done = [vertex for vertex in own if vertex.completed is not None and not vertex.error]
        end = work.last.get(target) if len(work.targets) > 1 else None
        return TargetOutcome(
            started=work.began,
            seconds=(end or time.time()) - work.began,
            steps=len(done),
            cached=sum(vertex.cached for vertex in done),
            attempts=work.attempts,
            failure=failure,
            runs=frozenset(vertex.digest for vertex in executed_runs(steps)),
        )


@dataclass(slots=True)
class _Work:
    """The state of one call of `make`."""

    targets: tuple[str, ...]
    made: Mapping[str, str]
    references: Mapping[str, str]
    emit: Emit
    rest: list[str] = field(default_factory=list)
    results: dict[str, TargetOutcome] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    attempts: int = 0
    without_cache: bool = False

    def __post_init__(self) -> None:
        self.rest.extend(self.targets)

    def end(self, target: str, result: TargetOutcome) -> None:
        self.rest.remove(target)
        self.results[target] = result

    def again(self, state: tenacity.RetryCallState, attempts: int) -> None:
        """Tell of a try to come."""
        failure = state.outcome.result() if state.outcome else None
        assert failure is not None
        wait = state.next_action.sleep if state.next_action else 0.0
        target = failure.target if failure.target in self.rest else self.rest[0]
        why = failure.message.strip().splitlines()[0] if failure.message.strip() else str(failure.kind)
        self.emit(
            Retried(at=time.time(), target=target, attempt=state.attempt_number + 1, of=attempts, wait=wait, why=why)
        )


def matching(overrides: Collection[str], targets: Collection[str]) -> tuple[str, ...]:
    """Return the values of `--set` that name one of some targets: bake refuses one that names none."""
    return tuple(
        each
        for each in overrides
        if any(fnmatchcase(target, each.partition("=")[0].split(".")[0]) for target in targets)
    )


def _exported(steps: Snapshot, target: str) -> bool:
    """Whether a target of a bake that failed was put into the engine's store all the same."""
    return any(
        vertex.kind is StepKind.EXPORT and vertex.owner == target and vertex.completed is not None and not vertex.error
        for vertex in steps.vertexes
    )


def _not_taken(work: _Work) -> Failure | None:
    """Return why a bake that ended well did not make all its targets, None if it did."""
    if not work.rest:
        return None
    target = work.rest[0]
    words = work.wrong.pop(target, "nothing says that it was pushed")
    return Failure(kind=FailureKind.PUSH, message=words, target=target)


def _is_lost_cache(failure: Failure) -> bool:
    kinds = (FailureKind.COMMAND, FailureKind.CHECKSUM, FailureKind.INVALID, FailureKind.INTERRUPTED)
    return failure.kind not in kinds and bool(_LOST.search(failure.message))
