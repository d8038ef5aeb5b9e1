"""Which plan and bake file follow from what is on disk, and which targets a command line means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from buildsys.bake.assembly import problems
from buildsys.bake.targets import BAKE_FILE, plan_definition
from buildsys.config.catalog import load
from buildsys.config.lockfile import Lock, overlaid, parse_lock
from buildsys.config.model import Catalog
from buildsys.errors import InvalidInput
from buildsys.names import LOCK_FILE, OVERLAY_FILE
from buildsys.plan.keys import without_files
from buildsys.plan.plan import Plan
from buildsys.plan.plan import plan as plan_of
from buildsys.plan.selection import select, stack_named
from buildsys.project.workspace import Workspace
from buildsys.resolve.nodes import resolve
from buildsys.run.contexts import contents_of
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, its bake file's text, and whether the file on disk was changed by it."""

    plan: Plan
    text: str
    written: bool


def make_plan(
    tree: Mapping[str, str], *, overlay: bool = False, change: Callable[[Catalog], Catalog] = lambda catalog: catalog
) -> Plan:
    """Return the plan of a tree; with `overlay` base images of this machine take the place of others.

    `change` may put other stacks in the place of those that are declared.
    """
    catalog = change(load(tree))
    lock = parse_lock(tree[LOCK_FILE]) if LOCK_FILE in tree else Lock()
    if overlay and OVERLAY_FILE in tree:
        lock = overlaid(lock, parse_lock(tree[OVERLAY_FILE], OVERLAY_FILE))
    plan = plan_of(catalog, resolve(catalog), lock)
    if diagnostics := tuple(problems(plan.stacks)):
        raise InvalidInput(diagnostics)
    return plan


def write_plan(workspace: Workspace, *, check: bool) -> Planned:
    """Plan and write the bake file; with `check` write nothing and raise `Differs` if it is not up to date.

    Raises `InvalidInput`, and writes nothing, for what no bake could use.
    """
    plan = make_plan(workspace.tree())
    given = sorted({path for node in plan.nodes for _, path in node.folders})
    if diagnostics := tuple(without_files(plan, contents_of(workspace, plan, given))):
        raise InvalidInput(diagnostics)
    text = plan_definition(plan).to_hcl()
    if check:
        workspace.check(BAKE_FILE, text, remedy="buildsys plan")
    return Planned(plan=plan, text=text, written=not check and workspace.write(BAKE_FILE, text))


def schemas(workspace: Workspace | None, *, check: bool) -> Mapping[str, str]:
    """Return the JSON Schemas by file name; with a workspace write them to `schemas/`, or only check them there."""
    from buildsys.config.catalog import SCHEMAS
    from buildsys.config.schema import json_schema

    found = {f"{name}.schema.json": json_schema(record) for name, record in SCHEMAS.items()}
    for name, text in found.items() if workspace else ():
        assert workspace is not None
        if check:
            workspace.check(f"schemas/{name}", text, remedy="buildsys schema --write")
        else:
            workspace.write(f"schemas/{name}", text)
    return found


def single_stack(workspace: Workspace, name: str) -> tuple[Plan, str]:
    """Return the plan and the target of a stack."""
    plan = make_plan(workspace.tree())
    return plan, stack_named(plan, name)


def chosen_targets(plan: Plan, words: Sequence[str], *, everything: bool) -> tuple[str, ...]:
    """Return the targets to bake: what words mean, or all but the deprecated ones."""
    return select(plan, ["default"] if everything else words)
