"""How a run builds into the engine's own store: what it has stays, nodes that a registry has are used by reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import pull_image
from buildsys.buildkit.invocation import Builder
from buildsys.errors import Unavailable
from buildsys.events.journal import history_of
from buildsys.inventory.shelf import Shelf
from buildsys.names import KEY_LABEL
from buildsys.plan.actions import needed
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace, named_prefix
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import BlobOrigins
from buildsys.run.decision import Decision, Selection, decide_local, public_tags, selection_of, without_cache
from buildsys.run.executor import Emit, RunOutcome, TargetOutcome, with_contents
from buildsys.run.inspection import inspection_of, shelf_of
from buildsys.run.scheduler import tasks_of
from buildsys.run.session import (
    Publishing,
    RunOptions,
    Session,
    begin,
    check_definition,
    execute,
    open_worker,
    report_limits,
    report_targets,
)
from buildsys.run.store import Store, open_store
from buildsys.run.variables import bake_environment

# BuildKit 0.25 refuses to unpack what it rewrites: `exporter option "rewrite-timestamp" conflicts with "unpack"`.
_NOT_REWRITTEN = (
    "this builder cannot rewrite the times of files that it loads, so local images differ from published ones in them"
)
# The images of the engine's own store that carry a key, as key to names.
Images = Mapping[str, tuple[str, ...]]


def bake_locally(session: Session, plan: Plan, targets: tuple[str, ...], images: Callable[[], Images]) -> RunOutcome:
    """Build what the engine's own store lacks, and return how each target ended.

    `images` waits for what the store holds. Raises `InvalidInput` for a definition that reads or writes outside of the
    project.
    """
    # What is refused is refused before docker is waited for.
    environment = bake_environment(plan, session.workspace, session.environ)
    builder = session.find_builder()
    begin(session, builder.docker, "")
    selection = selection_of(session.workspace, plan, targets)
    loaded = images() if builder.docker.driver == "docker" else {}
    decision, problem = decision_for(session.workspace, selection, loaded, session.options, session.environ)
    if problem:
        session.note("registry", problem)
    if builder.docker.driver == "docker" and any(stack.name in decision.built for stack in plan.stacks):
        session.note("timestamps", _NOT_REWRITTEN)
    # What --set changes is no longer what the key says.
    keyed = () if session.options.overrides else plan.stacks
    labels = {stack.name: {KEY_LABEL: decision.keys.of(stack.name).key} for stack in keyed}
    report_limits(session, decision, linked=True)
    history = history_of(session.workspace)
    tasks = tasks_of(plan, decision.actions, history, frozenset())
    inspection = inspection_of(
        session.workspace,
        session.environ,
        selection,
        note=lambda text: session.note("inventory", text),
        open_shelf=lambda: _shelf(session),
    )
    publishing = Publishing(inspection=inspection)
    with open_worker(session, builder, decision, environment, publishing, labels=labels) as worker:
        with ThreadPoolExecutor(max_workers=1) as pool:
            # To fetch base images takes seconds, and touches nothing of the project.
            checked = pool.submit(check_definition, worker, decision.built)
            worker.prefetch_base_images(decision.nodes_to_build)
            tags = checked.result()

        def bake(built: tuple[str, ...], references: Mapping[str, str], emit: Emit) -> Mapping[str, TargetOutcome]:
            outcomes = _with_sizes(builder, worker.bake(built, references, emit), tags)
            return with_contents(outcomes, plan, lambda name: inspection.find(name, {}))

        report_targets(session, decision, history, BlobOrigins(plan=plan))
        return execute(session, plan, tasks, bake, worker, push=False)


def load_published(docker: Docker, store: Store, decision: Decision, environ: Mapping[str, str]) -> None:
    """Bring the images that a run was asked for from the registry into the engine's own store; raises `Unavailable`.

    One of several platforms has names of its own there, and comes by the tag of its key: the public tags are of the
    index, which does not move before all of its images exist.
    """
    names_of = public_tags(decision.plan, decision.selection.targets, {**environ, "BUILDSYS_REGISTRY": store.prefix})
    for target, names in sorted(names_of.items()):
        image = decision.plan.targets[target]
        if isinstance(image, ImageTarget) and image.is_part:
            reference = str(store.image(image.repository, decision.keys.of(target).key))
            pull_image(docker, reference, platform=image.platform, names=names)
        else:
            for name in names:
                pull_image(docker, name)


def _shelf(session: Session) -> Shelf | None:
    """Return where the inventories of published nodes are, None for a registry that does not answer."""
    with contextlib.suppress(Unavailable), open_store(session.workspace, session.environ, attempts=1) as store:
        return shelf_of(store)
    return None


def _with_sizes(
    builder: Builder, outcomes: Mapping[str, TargetOutcome], tags: Mapping[str, tuple[str, ...]]
) -> Mapping[str, TargetOutcome]:
    """Return outcomes with what the engine's own store says of the images that were built."""
    names = {name: tags[name] for name, each in outcomes.items() if each.failure is None and tags.get(name)}
    sizes = builder.sizes([each[0] for each in names.values()])
    found = dict(outcomes)
    for name, own in names.items():
        identity, size = sizes.get(own[0], ("", None))
        found[name] = replace(found[name], reference=identity, size=size, tags=own)
    return found


def decision_for(
    workspace: Workspace, selection: Selection, images: Images, options: RunOptions, environ: Mapping[str, str]
) -> tuple[Decision, str]:
    """Return what a run would do, and why nothing is taken from the registry where that is so."""
    found = decide_local(selection, {}, {}, environ)
    if options.no_cache:
        return without_cache(found), ""
    if options.overrides:
        return found, ""
    loaded = {
        name: names[0]
        for name, names in found.tags.items()
        if names and {*names} <= {*images.get(selection.keys.of(name).key, ())}
    }
    published, problem = _published(workspace, selection, loaded, environ)
    return decide_local(selection, loaded, published, environ), problem


def _published(
    workspace: Workspace, selection: Selection, loaded: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[Mapping[str, str], str]:
    """Return the nodes that the registry has, if one is named and answers: they need not be built to be used."""
    plan = selection.plan
    if named_prefix(workspace, environ) is None:
        return {}, ""
    nodes = needed(plan, loaded, selection.targets) & {node.name for node in plan.nodes}
    try:
        with open_store(workspace, environ, attempts=1) as store:
            return store.existing(plan, selection.keys, nodes).references, ""
    except Unavailable as problem:
        return {}, f"its nodes are not reused: {problem}"
