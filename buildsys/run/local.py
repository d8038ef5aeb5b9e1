"""A run into the engine's own store: what it has stays, nodes that a registry has are used, the rest is made."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import image_sizes
from buildsys.buildkit.interrupt import Stop
from buildsys.errors import BuildsysError, Unavailable
from buildsys.events.events import Noted
from buildsys.events.journal import Journal, history_of
from buildsys.names import KEY_LABEL
from buildsys.plan.actions import needed
from buildsys.plan.keys import Keys, keys_of
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace, named_prefix
from buildsys.run.contexts import contents_of
from buildsys.run.decision import Decision, decide_local, without_cache
from buildsys.run.executor import Emit, RunOutcome, TargetOutcome
from buildsys.run.options import RunOptions
from buildsys.run.session import begin, check_definition, execute, making_for, tell_excess, tell_targets
from buildsys.run.store import open_store
from buildsys.run.tasks import tasks_of
from buildsys.run.worker import BakeWorker


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBake:
    """A bake that can be run: what it will do, how, and what bake itself makes of the tags of targets."""

    decision: Decision
    making: BakeWorker
    tags: Mapping[str, tuple[str, ...]]


def prepare(
    workspace: Workspace,
    docker: Docker,
    made: Plan,
    targets: tuple[str, ...],
    options: RunOptions,
    journal: Journal,
    stop: Stop,
    environ: Mapping[str, str],
    environment: Mapping[str, str],
    images: Mapping[str, tuple[str, ...]],
) -> PreparedBake:
    """Decide, and let bake itself resolve the definition; nothing is built.

    `environment` is what bakes get besides the caller's own; `images` maps key to the names of the images that the
    engine's own store has under it.

    Raises `InvalidInput` for a definition that reads or writes outside of the project.
    """
    begin(journal, options, docker, "")
    found, problem = decision_for(workspace, docker, made, targets, options, environ, images)
    if problem:
        journal.emit(Noted(at=time.time(), about="registry", text=problem))
    making = making_for(workspace, docker, found, options, stop, environment, run_folder=journal.run)
    # What --set changes is no longer what the key says.
    if not options.overrides:
        keyed = found.keys.stacks
        making = replace(making, labels={stack.name: {KEY_LABEL: keyed[stack.name].key} for stack in made.stacks})
    tell_excess(journal, workspace, found, linked=True)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            # To fetch what nodes stand on takes seconds, and touches nothing of the project.
            checked = pool.submit(check_definition, making, made, found.built)
            making.prefetch_base_images(found.nodes_to_build)
            tags = checked.result()
    except BuildsysError:
        shutil.rmtree(making.folder, ignore_errors=True)
        raise
    return PreparedBake(decision=found, making=replace(making, existing=found.existing), tags=tags)


def decision_for(
    workspace: Workspace,
    docker: Docker,
    made: Plan,
    targets: tuple[str, ...],
    options: RunOptions,
    environ: Mapping[str, str],
    images: Mapping[str, tuple[str, ...]],
) -> tuple[Decision, str]:
    """Return what a run would do, and why nothing is taken from the registry where that is so."""
    contents = contents_of(workspace, made)
    keys = keys_of(made, contents)
    found = decide_local(made, keys, contents, targets, {}, {}, environ)
    if options.no_cache:
        return without_cache(found), ""
    if options.overrides:
        return found, ""
    there = _there(keys, found.tags, images) if docker.driver == "docker" else {}
    published, problem = _published(workspace, made, keys, targets, there, environ)
    return decide_local(made, keys, contents, targets, there, published, environ), problem


def _there(keys: Keys, tags: Mapping[str, tuple[str, ...]], images: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the stacks whose image is in the engine's own store, under their key and with all their tags."""
    return {
        name: names[0] for name, names in tags.items() if names and {*names} <= {*images.get(keys.stacks[name].key, ())}
    }


def _published(
    workspace: Workspace,
    made: Plan,
    keys: Keys,
    targets: tuple[str, ...],
    there: Mapping[str, str],
    environ: Mapping[str, str],
) -> tuple[Mapping[str, str], str]:
    """Return the nodes that the registry has, if one is named and answers: they need not be built to be used."""
    if named_prefix(workspace, environ) is None:
        return {}, ""
    nodes = {node.name for node in made.nodes}
    wanted = needed(made, there, targets) & nodes
    try:
        with open_store(workspace, environ, attempts=1) as store:
            return store.existing(made, keys, wanted).references, ""
    except Unavailable as problem:
        return {}, f"nothing is taken from it: {problem}"


def bake(workspace: Workspace, prepared: PreparedBake, options: RunOptions, journal: Journal, stop: Stop) -> RunOutcome:
    """Run a prepared bake and return what became of every target, also where it failed or was stopped."""
    decision, making = prepared.decision, prepared.making
    history = history_of(workspace)
    tell_targets(journal, decision, history)
    tasks = tasks_of(decision.plan, decision.actions, history, frozenset())
    local = _Local(prepared, making)
    return execute(tasks, local.make, journal, stop, options, making.docker, making, decision.plan, push=False)


@dataclass(frozen=True, slots=True)
class _Local:
    prepared: PreparedBake
    making: BakeWorker

    def make(self, targets: tuple[str, ...], made: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
        """Bake targets, and look at the sizes of the images that the engine now has."""
        results = self.making.make(targets, made, emit)
        tags = self.prepared.tags
        done = [name for name, result in results.items() if result.failure is None and tags.get(name)]
        sizes: Mapping[str, tuple[str, int]] = MappingProxyType({})
        if done and self.making.docker.driver == "docker":
            sizes = image_sizes(self.making.docker, [tags[name][0] for name in done])
        found = {}
        for name, result in results.items():
            names = tags.get(name, ())
            identity, size = sizes.get(names[0], ("", None)) if names else ("", None)
            found[name] = replace(result, reference=identity, size=size, tags=names) if name in done else result
        return found
