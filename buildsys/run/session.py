"""What one run is: what was asked for, what its bakes share, how it is reported, what the builder has room for."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from buildsys.bake.targets import Publication, flat_definition, linked_nodes
from buildsys.buildkit.disk import LOCAL_DRIVERS, Disk, disk_of
from buildsys.buildkit.interrupt import Stop
from buildsys.config.model import Contents
from buildsys.errors import Bug, Diagnostic, InvalidInput, unforeseen
from buildsys.events.events import Noted, Outcome, RunBegan, TargetEnded, TargetKind, TargetPlanned
from buildsys.events.history import History
from buildsys.events.journal import Journal
from buildsys.plan.limits import excess
from buildsys.plan.plan import Plan
from buildsys.plan.platforms import foreign_bases, running
from buildsys.project.revision import Origin
from buildsys.project.settings import mask_of
from buildsys.project.workspace import Workspace, write_whole
from buildsys.resolve.node import Node
from buildsys.run.compose import BlobOrigins, total_size
from buildsys.run.contexts import copy_contexts, copy_mirrors
from buildsys.run.decision import Decision
from buildsys.run.executor import Bake, DebugInfo, Hooks, RunOutcome, run
from buildsys.run.inspection import Inspection
from buildsys.run.scheduler import NODE, Limits, Schedule, Task
from buildsys.run.variables import secret_values
from buildsys.switches import emulates
from buildsys.values import dataclass

if TYPE_CHECKING:
    # A run that builds nothing does not wait for the modules that build.
    from buildsys.buildkit.docker import Docker
    from buildsys.buildkit.invocation import Builder
    from buildsys.run.worker import Accept, BakeWorker

# bake reads a file in a time that grows with the square of its targets (docker/buildx, linear scans for names).
_PRINTED_AT_ONCE = 250
# Engines lose sessions when hundreds of targets are live: docker/buildx#3810, moby/buildkit#6422. The docker driver
# loses jobs first; on kubernetes pods are small.
_MOST_TARGETS = {"docker": 48, "docker-container": 64, "remote": 64, "kubernetes": 32}
MOST_TARGETS = 64
# A bake process takes 60 MB; fewer would leave sleeping and downloading steps waiting.
_JOBS = 32
# Of processor time that a bake takes beside its steps, in the client and here (buildx 0.29: 14 s for 27 bakes).
_START_SECONDS = 0.5


FindOrigin = Callable[[Path, Mapping[str, str], Mapping[str, str], Contents], Origin]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """The process that a run is part of: its environment, its clock, where BuildKit's own progress is printed.

    `origin` returns where the project's sources are from, as `origin_of` does.
    """

    environ: Mapping[str, str]
    clock: Callable[[], float] = time.time
    origin: FindOrigin = lambda *_: Origin()
    progress: TextIO | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What a command line asks of a run.

    `verify` looks up the blobs of everything that exists. `jobs` and `max_targets` are None for what suits the builder;
    `min_free` is in bytes. `partial_tags` moves the tags of what exists though something is missing;
    `docker_progress` shows BuildKit's own progress. `linked` writes the BuildKit caches that a plain bake looks for,
    and fills the missing ones. `emulate` lets the builder emulate platforms. `command` is what was typed.
    """

    command: str = "buildsys bake"
    no_cache: bool = False
    load: bool = False
    verify: bool = False
    overrides: tuple[str, ...] = ()
    keep_going: bool = False
    jobs: int | None = None
    max_targets: int | None = None
    retries: int = 0
    min_free: int = 0
    partial_tags: bool = False
    docker_progress: bool = False
    linked: bool = False
    emulate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One run: its project, what was asked for, who listens and who may stop it.

    `find_builder` is called only where something must be built; it raises `Unavailable`.
    """

    workspace: Workspace
    context: RunContext
    options: RunOptions
    journal: Journal
    stop: Stop
    find_builder: Callable[[], Builder]

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of the caller."""
        return self.context.environ

    def note(self, about: str, text: str) -> None:
        """Emit something that does not fail the run and must be seen."""
        self.journal.emit(Noted(at=self.context.clock(), about=about, text=text))

    def explain(self, error: Exception) -> str:
        """Return what a person reads of an error that no module foresaw; the traceback of a bug is kept."""
        found = unforeseen(error)
        if not isinstance(found, Bug):
            return str(found)
        from buildsys.project.bugs import BUG_FILE, keep_traceback

        run = self.journal.run
        path = keep_traceback(error, mask_of(self.workspace.root, self.environ), run.state, run.file(BUG_FILE))
        return f"{found}\nreport it with the traceback in `{path}`" if path else str(found)

    def limits(self, docker: Docker | None) -> Limits:
        """Return how much may run at once on a builder, None for a run that needs none."""
        most = _MOST_TARGETS.get(docker.driver, MOST_TARGETS) if docker else MOST_TARGETS
        most = min(self.options.max_targets or most, MOST_TARGETS)
        memory = docker.memory if docker and docker.memory and docker.driver in LOCAL_DRIVERS else None
        start = _START_SECONDS / (os.cpu_count() or 1)
        return Limits(jobs=min(self.options.jobs or _JOBS, most), targets=most, memory=memory, start=start)


def begin(session: Session, docker: Docker | None, registry: str) -> None:
    """Report what runs where."""
    limits = session.limits(docker)
    session.journal.emit(
        RunBegan(
            at=session.context.clock(),
            command=session.options.command,
            driver=docker.driver if docker else "",
            builder=docker.builder if docker else "",
            registry=registry,
            jobs=limits.jobs,
            max_targets=limits.targets,
        )
    )


def report_targets(
    session: Session, decision: Decision, history: History, origins: BlobOrigins, *, repair: bool = False
) -> None:
    """Report what is built and what exists and is used, with its blobs; for a `repair` only what is built after all."""
    clock, plan = session.context.clock, decision.plan
    reused = () if repair else decision.reused
    for name in sorted({*decision.built, *reused}, key=plan.order.__getitem__):
        target, action = plan.targets[name], decision.actions[name]
        node = target if isinstance(target, Node) else None
        session.journal.emit(
            TargetPlanned(
                at=clock(),
                name=name,
                title=target.title,
                kind=TargetKind.NODE if node else TargetKind.IMAGE,
                layer=node.recipe.layer if node else "",
                action=action.word,
                reason=action.reason,
                needs=tuple(dict.fromkeys(plan.needs[name])),
                estimate=history.seconds.get(name),
            )
        )
    for name in reused:
        layers = origins.add(name, decision.layers[name]) if name in decision.layers else ()
        tags, reference = decision.tags.get(name, ()), decision.existing[name]
        ended = TargetEnded(at=clock(), target=name, outcome=Outcome.REUSED, reference=reference, tags=tags)
        session.journal.emit(replace(ended, size=total_size(layers), layers=layers))


def report_limits(session: Session, decision: Decision, *, linked: bool) -> None:
    """Report what is slow or risky in a run; raises `InvalidInput` for what no bake can do."""
    texts = {name: text for name, text in session.workspace.tree().items() if "Dockerfile" in name}
    found = excess(decision.plan, decision.built, decision.existing, texts, linked=linked)
    if found.diagnostics:
        raise InvalidInput(found.diagnostics)
    for text in found.warnings:
        session.note("limits", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Publishing:
    """How the bakes of a run publish: where each target is pushed, and who takes what was pushed.

    `linked`: nodes are linked to although they exist, see `BakeWorker`. `inspection` checks what nodes hold.
    """

    publications: Mapping[str, Publication] = field(default_factory=dict)
    accept: Accept = lambda _target, _digest: ""
    linked: bool = False
    inspection: Inspection | None = None


@contextlib.contextmanager
def open_worker(
    session: Session,
    builder: Builder,
    decision: Decision,
    environment: Mapping[str, str],
    publishing: Publishing,
    *,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    baked: Collection[str] | None = None,
) -> Iterator[BakeWorker]:
    """Yield what bakes the targets of a run; its folder is the run's own, so that two runs do not meet in it.

    The contexts of all nodes that are built are copied into it, where they are linked also of those that they link to,
    and the folder of mirrors; `baked` are the targets that are baked, by default those that the decision builds.
    Raises `InvalidInput` for a file that has changed since its key was computed, for secrets without a value and for
    parents of another platform, and `Unavailable` for emulation that was not asked for or cannot be.
    """
    from buildsys.buildkit.invocation import BakeCall
    from buildsys.run.worker import BakeWorker

    workspace, options, plan = session.workspace, session.options, decision.plan
    chosen = decision.built if baked is None else tuple(baked)
    names = {*chosen, *(linked_nodes(plan, chosen, {}) if publishing.linked else ())}
    nodes = [node for node in plan.nodes if node.name in names]
    secrets = secret_values(nodes, {**session.environ, **environment})
    _check_platforms(session, builder, plan, chosen, environment)
    folder = session.journal.run.work()
    if publishing.inspection is not None:
        publishing.inspection.begin(folder)
    try:
        call = BakeCall(
            root=workspace.root,
            overrides=options.overrides,
            environment={**copy_mirrors(workspace, environment, folder / "contexts"), **secrets},
            load=options.load,
            no_cache=options.no_cache,
            mask=mask_of(workspace.root, session.environ),
        )
        yield BakeWorker(
            plan=plan,
            builder=builder,
            call=call,
            folder=folder,
            logs=session.journal.run.logs(),
            stop=session.stop,
            retries=options.retries,
            clock=session.context.clock,
            publications=publishing.publications,
            accept=publishing.accept,
            explain=session.explain,
            linked=publishing.linked,
            labels=labels or {},
            existing=decision.existing,
            copies=copy_contexts(
                workspace, nodes, decision.selection.contents, folder / "contexts", timestamp=plan.timestamp
            ),
            progress=session.context.progress if options.docker_progress else None,
            caches=bool(session.environ.get("BUILDSYS_CACHE")),
            inspection=publishing.inspection,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_platforms(
    session: Session, builder: Builder, plan: Plan, chosen: Collection[str], environment: Mapping[str, str]
) -> None:
    """Refuse what a builder would build for another platform than it says, or emulate without being asked to."""
    from buildsys.buildkit.platforms import check_emulation

    def look(name: str) -> Collection[str]:
        parent = plan.parent(name)
        known = parent.locked.platforms
        return known or builder.image_platforms(environment.get(parent.variable, parent.reference))

    targets = [plan.targets[name] for name in chosen]
    if found := tuple(foreign_bases(targets, look)):
        raise InvalidInput(found)
    asked = session.options.emulate or emulates(session.environ)
    check_emulation(builder.docker, running(each for each in targets if isinstance(each, Node)), asked=asked)


def check_definition(worker: BakeWorker, targets: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Let bake resolve targets, and return their tags; raises `InvalidInput` if they touch what lies outside.

    Links lead nowhere in what is resolved: what they would add is checked as a target of its own.
    """
    from buildsys.buildkit.entitlements import check_paths
    from buildsys.buildkit.invocation import BakeCall
    from buildsys.run.worker import matching

    tags: dict[str, tuple[str, ...]] = {}
    for first in range(0, len(targets), _PRINTED_AT_ONCE):
        some = targets[first : first + _PRINTED_AT_ONCE]
        file = worker.folder / f"check-{first}.json"
        write_whole(file, flat_definition(worker.plan, some, worker.labels).to_json().encode())
        call = BakeCall(
            root=worker.call.root,
            files=(str(file.relative_to(worker.call.root)),),
            targets=some,
            overrides=matching(worker.call.overrides, some),
            environment=worker.call.environment,
            mask=worker.call.mask,
        )
        definition = worker.builder.print(call)
        if diagnostics := check_paths(definition, worker.call.root):
            raise InvalidInput(diagnostics)
        tags |= {name: tuple(fields.get("tags") or ()) for name, fields in definition["target"].items()}
    return tags


def execute(
    session: Session, plan: Plan, tasks: tuple[Task, ...], bake: Bake, worker: BakeWorker | None, *, push: bool
) -> RunOutcome:
    """Run tasks within the limits of the builder, and return how each ended; without `worker` no engine is needed."""
    docker = worker.builder.docker if worker else None
    limits = session.limits(docker)
    schedule = Schedule(tasks, limits)
    disk = disk_of(docker, floor=session.options.min_free) if docker else None
    if docker and disk and disk.folder is None and session.options.min_free:
        session.note("disk", f"the disk of the builder `{docker.builder}` is not visible from this machine")

    words = ["buildsys", "bake", *(["--push"] if push else [])]
    if docker and docker.chosen:
        words += ["--builder", docker.chosen]

    # Nodes of one layer have one weight.
    if never := {each.location: each for each in _never_fit(plan, tasks, limits, disk)}:
        raise InvalidInput(tuple(never.values()))

    def shortage(task: Task) -> str:
        if disk is None or (push and task.kind != NODE):
            return ""
        return disk.shortage([task.disk, *(schedule.task(name).disk for name in schedule.live)])

    def debug(target: str) -> DebugInfo:
        found = plan.targets[target]
        log = worker.log_file(target) if worker else None
        return DebugInfo(
            folder=found.folder if isinstance(found, Node) and not found.generated else "",
            log=str(log.relative_to(session.workspace.root)) if log and log.exists() else "",
            alone=shlex.join([*words, target]),
        )

    hooks = Hooks(
        emit=session.journal.emit,
        tick=session.journal.tick,
        shortage=shortage,
        debug=debug,
        explain=session.explain,
        clock=session.context.clock,
    )
    return run(schedule, bake, hooks, session.stop, jobs=limits.jobs, keep_going=session.options.keep_going)


def _never_fit(plan: Plan, tasks: tuple[Task, ...], limits: Limits, disk: Disk | None) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each task that needs more than the builder has while nothing else runs."""
    for task in tasks:
        target = plan.targets[task.name]
        if not isinstance(target, Node):
            continue
        if limits.memory is not None and task.memory > limits.memory:
            message = (
                f"`weight.memory` of `{task.name}` is {_gb(task.memory)}, and the builder has {_gb(limits.memory)}"
            )
            location = target.build.place("weight", "memory")
            yield Diagnostic(message=message, location=location, hint="lower it, or use a builder with more memory")
        if task.disk and disk is not None and disk.shortage([task.disk]):
            free = f"{_gb(disk.free)} free, and {_gb(disk.floor)} are kept free"
            message = f"`weight.disk` of `{task.name}` is {_gb(task.disk)}, and the builder's disk has {free}"
            location = target.build.place("weight", "disk")
            yield Diagnostic(message=message, location=location, hint="lower it, or run `docker buildx prune`")


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
