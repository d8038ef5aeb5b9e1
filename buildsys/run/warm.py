"""Warming: every node of a selection is published and in BuildKit's cache, and that it is so is proven at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.interrupt import Stop
from buildsys.errors import InvalidInput
from buildsys.events.events import Noted
from buildsys.events.journal import Journal, history_of
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.actions import BUILD
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import Node
from buildsys.run.decision import Decision, decide_published
from buildsys.run.executor import RunOutcome
from buildsys.run.options import RunOptions
from buildsys.run.session import execute, making_for
from buildsys.run.store import Store
from buildsys.run.tasks import tasks_of
from buildsys.switches import writes_caches

CACHE = "BUILDSYS_CACHE"


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmReport:
    """What a second look found: `cold` maps target to why it would be built; `dead` maps node to what is wrong.

    `probed` is the number of cache references that were asked for; `unprobed` says why caches could not be asked for.
    """

    targets: tuple[str, ...]
    cold: Mapping[str, str]
    dead: Mapping[str, str]
    probed: int
    unprobed: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return not self.cold and not self.dead


def targets_of(made: Plan, chosen: tuple[str, ...], *, stacks: bool) -> tuple[str, ...]:
    """Return what is warmed for the targets chosen: all nodes that they need, and with `stacks` they themselves."""
    found = closure(made.needs, chosen)
    return tuple(name for name, each in made.targets.items() if name in found and (stacks or isinstance(each, Node)))


def look(
    workspace: Workspace, store: Store, made: Plan, targets: tuple[str, ...], environ: Mapping[str, str]
) -> WarmReport:
    """Plan a second time, and ask for every cache reference: what of a selection is not there."""
    decision, _ = decide_published(workspace, store, made, targets, environ, verify=True)
    cold = {name: decision.actions[name].reason for name in targets if decision.actions[name].word == BUILD}
    nodes = [node.name for node in made.nodes if node.name in targets]
    references, unprobed = cache_references(nodes, environ)
    return WarmReport(
        targets=targets, cold=cold, dead=_dead(store, references), probed=len(references), unprobed=unprobed
    )


def cache_references(nodes: list[str], environ: Mapping[str, str]) -> tuple[dict[str, Reference], str]:
    """Return where BuildKit's cache of each node is; where that cannot be asked for, why."""
    cache = environ.get(CACHE, "")
    if not cache:
        return {}, ""
    if cache.startswith("type="):
        return {}, f"a cache of `{cache.partition(',')[0]}` cannot be asked for from here"
    try:
        return {node: Reference.parse(f"{cache}:{node}") for node in nodes}, ""
    except InvalidInput as error:
        return {}, str(error)


def _dead(store: Store, references: Mapping[str, Reference]) -> dict[str, str]:
    """Return the caches that are not there or not whole: a manifest, and every blob that it names."""
    found = {}
    for node, reference in references.items():
        try:
            if store.registry.head(reference) is None:
                found[node] = f"`{reference}` is not there"
            elif missing := store.missing(reference):
                found[node] = f"`{reference}` misses {missing[0]}"
        except RegistryProblem as problem:
            found[node] = str(problem)
    return found


def fill_caches(
    workspace: Workspace,
    store: Store,
    decision: Decision,
    options: RunOptions,
    find: Callable[[], Docker],
    journal: Journal,
    stop: Stop,
    environment: Mapping[str, str],
) -> RunOutcome:
    """Write the caches of nodes that are published while their cache is gone; return what became of them.

    Their steps run again only on an engine that does not know them.
    """
    nodes = [node.name for node in decision.plan.nodes if node.name in decision.targets]
    references, _ = cache_references(nodes, os.environ)
    dead = _dead(store, references)
    if not dead or stop.requested or not writes_caches(os.environ):
        return RunOutcome()
    for node, why in dead.items():
        journal.emit(Noted(at=time.time(), about="cache", text=f"{node}: {why}; written again"))
    docker = find()
    making = making_for(workspace, docker, decision, options, stop, environment, run_folder=journal.run, linked=True)
    making = replace(making, linked=True)
    actions = {
        name: replace(action, word=BUILD if name in dead else "leave") for name, action in decision.actions.items()
    }
    tasks = tasks_of(decision.plan, actions, history_of(workspace), frozenset())
    making.prefetch_base_images([task.name for task in tasks])
    return execute(tasks, making.make, journal, stop, options, docker, making, decision.plan, push=True)
