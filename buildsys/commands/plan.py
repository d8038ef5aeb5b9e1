"""Which plan and bake file follow from what is on disk, and which targets a command line means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from buildsys.bake.assembly import problems
from buildsys.bake.targets import BAKE_FILE, plan_definition
from buildsys.config.catalog import load
from buildsys.config.lockfile import Lock, overlaid, parse_lock
from buildsys.config.model import Catalog, Contents
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.names import LOCK_FILE, OVERLAY_FILE
from buildsys.plan.budget import planned_excess
from buildsys.plan.keys import without_files
from buildsys.plan.limits import too_long
from buildsys.plan.plan import Plan
from buildsys.plan.plan import plan as plan_of
from buildsys.plan.selection import select, stack_named
from buildsys.plan.sources import source_problems
from buildsys.plan.support import with_support
from buildsys.project.files import is_there
from buildsys.project.workspace import Workspace
from buildsys.resolve.nodes import resolve
from buildsys.run.contexts import contents_of
from buildsys.run.variables import check_names
from buildsys.values import dataclass

# The files that bake reads without `-f` (docker/buildx, `bake.defaultFilenames`), apart from the one written here.
_ALSO_READ = (
    *("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"),
    *("docker-bake.json", "docker-bake.override.json", "docker-bake.override.hcl"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, its bake file's text, the files of its contexts, and whether the file on disk was changed by it."""

    plan: Plan
    text: str
    contents: Contents
    written: bool


def make_plan(
    tree: Mapping[str, str],
    *,
    overlay: bool = False,
    locking: bool = False,
    change: Callable[[Catalog], Catalog] = lambda catalog: catalog,
) -> Plan:
    """Return the plan of a tree; with `overlay` base images of this machine take the place of others.

    `change` may put other stacks in the place of those that are declared. While `locking`, the lock may lack checksums.
    """
    catalog = change(load(tree))
    lock = parse_lock(tree[LOCK_FILE]) if LOCK_FILE in tree else Lock()
    if overlay and OVERLAY_FILE in tree:
        lock = overlaid(lock, parse_lock(tree[OVERLAY_FILE], OVERLAY_FILE))
    plan = plan_of(catalog, resolve(catalog), lock, locking=locking)
    if diagnostics := (*too_long(plan), *problems(plan.stacks)):
        raise InvalidInput(diagnostics)
    return plan


def usable_plan(workspace: Workspace, environ: Mapping[str, str]) -> tuple[Plan, Contents]:
    """Return the plan of a project and the files of its contexts; raises `InvalidInput` for what no bake could use."""
    plan = make_plan(workspace.tree())
    check_names(plan, environ)
    contents = contents_of(workspace, plan)
    found = (*without_files(plan, contents), *source_problems(plan, contents), *planned_excess(plan, plan.stacks))
    if found:
        raise InvalidInput(found)
    return plan, contents


def write_plan(workspace: Workspace, environ: Mapping[str, str], *, check: bool) -> Planned:
    """Plan and write the bake file; with `check` write nothing and raise `Differs` if it is not up to date.

    Raises `InvalidInput`, and writes nothing, for what no bake could use.
    """
    plan, contents = usable_plan(workspace, environ)
    text = plan_definition(plan).to_hcl()
    if check:
        workspace.check(BAKE_FILE, text, remedy="buildsys plan")
    return Planned(plan=plan, text=text, contents=contents, written=not check and workspace.write(BAKE_FILE, text))


def files_beside(workspace: Workspace) -> Iterator[Diagnostic]:
    """Yield a warning for each file that plain `docker buildx bake` merges with the bake file."""
    for name in _ALSO_READ:
        if is_there(workspace.root / name):
            message = f"plain `docker buildx bake` also reads `{name}`, and merges its targets"
            yield Diagnostic(
                message=message, location=Location(file=name), hint=f"run `docker buildx bake -f {BAKE_FILE}`"
            )


def schemas(workspace: Workspace | None, *, check: bool) -> Mapping[str, str]:
    """Return the JSON Schemas by file name; with a workspace write them to `schemas/`, or only check them there."""
    from buildsys.config.catalog import SCHEMAS
    from buildsys.records.schema import json_schema

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


def chosen_targets(
    plan: Plan, words: Sequence[str], *, everything: bool, today: date
) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
    """Return the targets to bake, and why others are left out: words mean them, whatever the day.

    Without words all are meant that are not deprecated and have support.
    """
    return with_support(plan, today) if everything or not words else (select(plan, words), ())
