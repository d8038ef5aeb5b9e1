"""Which keys the sources as they are, and other revisions of them, have; with them what a clean-up keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.fleet.history import HISTORY, TAG, Archive, read
from buildsys.fleet.needs import Roots
from buildsys.names import CUSTOM_SUFFIX, NODES, OVERLAY_FILE
from buildsys.oci.artifacts import find_artifact
from buildsys.oci.client import ListedRegistry, in_threads
from buildsys.plan.keys import Keys, folders_of, keys_of
from buildsys.plan.plan import Plan
from buildsys.project.revision import open_revision
from buildsys.project.workspace import Workspace
from buildsys.run.contexts import contents_of

MakePlan = Callable[[Mapping[str, str]], Plan]


def source_roots(
    workspace: Workspace, revisions: Iterable[str], environ: Mapping[str, str], make_plan: MakePlan
) -> tuple[Roots, frozenset[str]]:
    """Return what the sources as they are and some revisions of them keep, and the repositories that they publish to.

    `make_plan` returns the plan of a tree. Raises what `open_revision` raises, and `InvalidInput` for a revision that
    cannot be planned.
    """
    tree = workspace.tree()
    plan = make_plan(tree)
    found = [(plan, keys_of(plan, contents_of(workspace, plan)))]
    # Base images of this machine are the same ones whatever the revision.
    overlay = {OVERLAY_FILE: tree[OVERLAY_FILE]} if OVERLAY_FILE in tree else {}
    found += [
        _planned_at(workspace, each, environ, lambda other: make_plan({**other, **overlay})) for each in revisions
    ]
    keys = {each.key for _, own in found for each in (*own.nodes.values(), *own.stacks.values(), *own.indexes.values())}
    images = [image for one, _ in found for image in one.stacks]
    repositories = {NODES, *(each.repository for each in images), *(f"{each.stack}{CUSTOM_SUFFIX}" for each in images)}
    targets = {name for one, _ in found for name in one.targets}
    return Roots(keys=frozenset(keys), targets=frozenset(targets)), frozenset(repositories)


def with_history(roots: Roots, registry: ListedRegistry, prefix: str, since: float) -> Roots:
    """Return roots with what public tags of all stacks named since a time, and may have to name again.

    The stacks need not exist in the sources. Raises `RegistryProblem` and `UnreadableHistory`.
    """
    nodes = Archive(registry=registry, prefix=prefix).nodes
    places = [nodes.with_tag(tag) for tag in registry.tags(nodes) if tag.startswith(TAG)]
    found = in_threads(lambda place: find_artifact(registry, place, HISTORY), places)
    named = (read(raw).named_since(since) for raw in found if raw is not None)
    return replace(roots, digests=roots.digests.union(*named))


def _planned_at(
    workspace: Workspace, revision: str, environ: Mapping[str, str], make_plan: MakePlan
) -> tuple[Plan, Keys]:
    with open_revision(workspace.root, revision, environ) as other:
        try:
            plan = make_plan(other.tree())
            return plan, keys_of(plan, other.contents(folders_of(plan)))
        except InvalidInput as error:
            message = f"the project of `{revision}` cannot be planned: {error.diagnostics()[0].message}"
            raise InvalidInput([Diagnostic(message=message, hint="keep a revision that can be planned")]) from error
