"""How a run begins: what is told first, what its bakes share, and the loop with the limits of the builder."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping

from buildsys.bake.targets import flat_definition, linked_nodes
from buildsys.buildkit.docker import Docker
from buildsys.buildkit.entitlements import check_paths
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, print_bake
from buildsys.errors import BuildsysError, InvalidInput
from buildsys.events.events import REUSED, Noted, RunBegan, TargetEnded, TargetPlanned
from buildsys.events.history import History
from buildsys.events.journal import Journal
from buildsys.plan.actions import BUILD, SKIP
from buildsys.plan.limits import excess
from buildsys.plan.plan import Plan
from buildsys.project.run_folder import RunFolder
from buildsys.project.settings import mask_of
from buildsys.project.workspace import Workspace, write_whole
from buildsys.run.builder_room import disk_of, limits_for, live_tasks
from buildsys.run.contexts import copy_contexts
from buildsys.run.decision import Decision
from buildsys.run.executor import DebugInfo, Hooks, Make, RunOutcome, run
from buildsys.run.options import RunOptions
from buildsys.run.scheduler import Schedule, Task
from buildsys.run.tasks import NODE
from buildsys.run.worker import BakeWorker, matching

# bake reads a file in a time that grows with the square of its targets (docker/buildx, linear scans for names).
_PRINTED_AT_ONCE = 250


def begin(journal: Journal, options: RunOptions, docker: Docker | None, registry: str) -> None:
    """Report what runs where."""
    limits = limits_for(docker, jobs=options.jobs, targets=options.max_targets)
    journal.emit(
        RunBegan(
            at=time.time(),
            command=options.command,
            driver=docker.driver if docker else "",
            builder=docker.builder if docker else "",
            registry=registry,
            jobs=limits.jobs,
            max_targets=limits.targets,
        )
    )


def tell_targets(journal: Journal, decision: Decision, history: History, *, again: bool = False) -> None:
    """Tell all that is made and all that exists and is used; `again`: only what is made now after all."""
    nodes = {node.name: node for node in decision.plan.nodes}
    stacks = {stack.name: stack for stack in decision.plan.stacks}
    reused = set(decision.reused)
    for name, action in decision.actions.items():
        if action.word == SKIP or (action.word != BUILD and (again or name not in reused)):
            continue
        node = nodes.get(name)
        journal.emit(
            TargetPlanned(
                at=time.time(),
                name=name,
                title=node.title if node else stacks[name].stack,
                kind="node" if node else "image",
                layer=node.recipe.layer if node else "",
                action=action.word,
                reason=action.reason,
                needs=node.below if node else tuple(dict.fromkeys(stacks[name].below)),
                estimate=history.seconds.get(name),
            )
        )
    for name in () if again else decision.reused:
        tags = decision.tags.get(name, ())
        reference = decision.existing[name]
        journal.emit(TargetEnded(at=time.time(), target=name, outcome=REUSED, reference=reference, tags=tags))


def tell_excess(journal: Journal, workspace: Workspace, decision: Decision, *, linked: bool) -> None:
    """Tell what is slow or risky in a run; raises `InvalidInput` for what no bake can bear."""
    texts = {name: text for name, text in workspace.tree().items() if "Dockerfile" in name}
    found = excess(decision.plan, decision.built, decision.existing, texts, linked=linked)
    if found.diagnostics:
        raise InvalidInput(found.diagnostics)
    for text in found.warnings:
        journal.emit(Noted(at=time.time(), about="limits", text=text))


def making_for(
    workspace: Workspace,
    docker: Docker,
    decision: Decision,
    options: RunOptions,
    stop: Stop,
    environment: Mapping[str, str],
    *,
    run_folder: RunFolder,
    linked: bool = False,
) -> BakeWorker:
    """Return what the bakes of a run share; its folder is the run's own, so that two runs do not meet in it.

    The contexts of all nodes that are built are copied into it, with `linked` also of those that they link to. Raises
    `InvalidInput` for a file that is no longer what its key says.
    """
    call = BakeCall(
        root=workspace.root,
        overrides=options.overrides,
        environment=environment,
        load=options.load,
        no_cache=options.no_cache,
        mask=mask_of(workspace.root),
    )
    folder = run_folder.work()
    plan, built = decision.plan, decision.nodes_to_build
    names = {*linked_nodes(plan, decision.targets, {}), *built} if linked or options.linked else {*built}
    nodes = [node for node in plan.nodes if node.name in names]
    try:
        copies = copy_contexts(workspace, nodes, decision.contents, folder / "contexts")
    except BuildsysError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return BakeWorker(
        plan=plan,
        copies=copies,
        docker=docker,
        call=call,
        folder=folder,
        logs=run_folder.logs(),
        stop=stop,
        retries=options.retries,
        say=_say if options.docker_progress else None,
        caches=bool(os.environ.get("BUILDSYS_CACHE")),
    )


def _say(line: str) -> None:
    # Nobody may read any more, which ends no build.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def check_definition(making: BakeWorker, plan: Plan, targets: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Let bake resolve targets, and return their tags; raises `InvalidInput` if they touch what lies outside.

    Links lead nowhere in what is resolved: what they would add is checked as a target of its own.
    """
    tags: dict[str, tuple[str, ...]] = {}
    for first in range(0, len(targets), _PRINTED_AT_ONCE):
        some = targets[first : first + _PRINTED_AT_ONCE]
        file = making.folder / f"check-{first}.json"
        write_whole(file, flat_definition(plan, some, making.labels).to_json().encode())
        call = BakeCall(
            root=making.call.root,
            files=(str(file.relative_to(making.call.root)),),
            targets=some,
            overrides=matching(making.call.overrides, some),
            environment=making.call.environment,
            mask=making.call.mask,
        )
        definition = print_bake(making.docker, call)
        if diagnostics := check_paths(definition, making.call.root):
            raise InvalidInput(diagnostics)
        tags |= {name: tuple(fields.get("tags") or ()) for name, fields in definition["target"].items()}
    return tags


def execute(
    tasks: tuple[Task, ...],
    make: Make,
    journal: Journal,
    stop: Stop,
    options: RunOptions,
    docker: Docker | None,
    making: BakeWorker | None,
    plan: Plan,
    *,
    push: bool,
) -> RunOutcome:
    """Make tasks within the limits of the builder, and return what became of them."""
    limits = limits_for(docker, jobs=options.jobs, targets=options.max_targets)
    schedule = Schedule(tasks, limits)
    disk = disk_of(docker, floor=options.min_free) if docker else None
    if docker and disk and disk.folder is None and options.min_free:
        text = f"the disk of the builder `{docker.builder}` cannot be seen from here"
        journal.emit(Noted(at=time.time(), about="disk", text=text))
    folders = {node.name: node.folder for node in plan.nodes}
    kinds = {task.name: task for task in tasks}
    words = "buildsys bake --push" if push else "buildsys bake"
    if docker and docker.chosen:
        words += f" --builder {shlex.quote(docker.chosen)}"

    def room(targets: tuple[str, ...]) -> str:
        if disk is None or all(kinds[target].kind != NODE and push for target in targets):
            return ""
        return disk.shortage(live_tasks(kinds, schedule.live))

    def debug(target: str) -> DebugInfo:
        log = making.log_file(target) if making else None
        return DebugInfo(
            folder=folders.get(target, ""),
            log=str(log.relative_to(making.call.root)) if making and log and log.exists() else "",
            alone=f"{words} {target}",
        )

    hooks = Hooks(emit=journal.emit, tick=journal.tick, room=room, debug=debug)
    try:
        return run(schedule, make, hooks, stop, jobs=limits.jobs, keep_going=options.keep_going)
    finally:
        if making is not None:
            shutil.rmtree(making.folder, ignore_errors=True)
