"""What makes a selection fully reusable: every node published, every cache in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from buildsys.errors import InvalidInput
from buildsys.events.journal import history_of
from buildsys.oci.http import RegistryProblem
from buildsys.oci.reference import Reference
from buildsys.plan.actions import ActionKind
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.resolve.graph import closure
from buildsys.resolve.node import Node
from buildsys.run.decision import Decision, decide_published
from buildsys.run.executor import RunOutcome
from buildsys.run.scheduler import tasks_of
from buildsys.run.session import Publishing, Session, execute, open_worker
from buildsys.run.store import Store
from buildsys.switches import writes_caches
from buildsys.values import dataclass

CACHE = "BUILDSYS_CACHE"


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmReport:
    """What a second plan found: `cold` maps target to why it would be built; `dead` maps node to what is wrong.

    `probed` is the number of cache references that were looked up; `unprobed` says why caches could not be looked up.
    """

    targets: tuple[str, ...]
    cold: Mapping[str, str]
    dead: Mapping[str, str]
    probed: int
    unprobed: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything exists."""
        return not self.cold and not self.dead


def targets_of(plan: Plan, chosen: tuple[str, ...], *, stacks: bool) -> tuple[str, ...]:
    """Return what is warmed for the targets chosen: all nodes that they need, and with `stacks` they themselves."""
    found = closure(plan.needs, chosen)
    return tuple(name for name, each in plan.targets.items() if name in found and (stacks or isinstance(each, Node)))


def look(
    workspace: Workspace, store: Store, plan: Plan, targets: tuple[str, ...], environ: Mapping[str, str]
) -> WarmReport:
    """Plan a second time and look up every cache reference; return what of a selection is missing."""
    decision = decide_published(workspace, store, plan, targets, environ, verify=True)
    cold = {name: decision.actions[name].reason for name in targets if decision.actions[name].word is ActionKind.BUILD}
    nodes = [node.name for node in plan.nodes if node.name in targets]
    references, unprobed = cache_references(nodes, environ)
    return WarmReport(
        targets=targets, cold=cold, dead=_dead(store, references), probed=len(references), unprobed=unprobed
    )


def cache_references(nodes: list[str], environ: Mapping[str, str]) -> tuple[dict[str, Reference], str]:
    """Return where BuildKit's cache of each node is; where it cannot be looked up, why."""
    cache = environ.get(CACHE, "")
    if not cache:
        return {}, ""
    if cache.startswith("type="):
        return {}, f"a cache of `{cache.partition(',')[0]}` cannot be checked from this machine"
    try:
        return {node: Reference.parse(f"{cache}:{node}") for node in nodes}, ""
    except InvalidInput as error:
        return {}, str(error)


def _dead(store: Store, references: Mapping[str, Reference]) -> dict[str, str]:
    """Return the caches without a manifest, or without a blob that it names."""
    found = {}
    for node, reference in references.items():
        try:
            if store.registry.head(reference) is None:
                found[node] = f"`{reference}` is missing"
            elif missing := store.missing(reference):
                found[node] = f"`{reference}` lacks {missing[0]}"
        except RegistryProblem as problem:
            found[node] = str(problem)
    return found


def fill_caches(session: Session, store: Store, decision: Decision, environment: Mapping[str, str]) -> RunOutcome:
    """Write the missing caches of published nodes; return how each ended.

    Their steps run again only on an engine that does not know them.
    """
    plan, targets = decision.plan, decision.selection.targets
    references, _ = cache_references([node.name for node in plan.nodes if node.name in targets], session.environ)
    dead = _dead(store, references)
    if not dead or session.stop.requested or not writes_caches(session.environ):
        return RunOutcome()
    for node, why in dead.items():
        session.note("cache", f"{node}: {why}; rewriting it")
    actions = {
        name: replace(action, word=ActionKind.BUILD if name in dead else ActionKind.SKIP)
        for name, action in decision.actions.items()
    }
    tasks = tasks_of(plan, actions, history_of(session.workspace), frozenset())
    publishing = Publishing(linked=True)
    with open_worker(session, session.find_builder(), decision, environment, publishing, baked=dead) as worker:
        worker.prefetch_base_images([task.name for task in tasks])
        return execute(session, plan, tasks, worker.bake, worker, push=True)
