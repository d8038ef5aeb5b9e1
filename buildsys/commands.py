"""The use cases: each a short straight line from what is on disk to a value for the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildsys.errors import InvalidInput, Mistake
from buildsys.key import Contents, at_their_stacks, folders_of, without_files
from buildsys.load import load
from buildsys.lock import LOCK_FILE, OVERLAY_FILE, Lock, overlaid, parse_lock
from buildsys.model import Catalog
from buildsys.names import registry_prefix
from buildsys.nodes import resolve
from buildsys.plan import Plan, plan
from buildsys.render import BAKE_FILE, render
from buildsys.selection import select, stack_named
from buildsys.source import read
from buildsys.workspace import STACKS_FILE, Workspace

# BuildKit's own variable for rules that replace sources (docs of moby/buildkit, "Reproducing the pinned dependencies").
SOURCE_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, its bake file's text, and whether the file on disk was changed by it."""

    plan: Plan
    text: str
    written: bool


def make_plan(
    tree: Mapping[str, str], *, overlay: bool = False, change: Callable[[Catalog], Catalog] = lambda catalog: catalog
) -> Plan:
    """Return the plan of a tree; with `overlay` parents that were made on this machine take the place of others.

    `change` may put other stacks in the place of those that are declared.
    """
    catalog = change(load(tree))
    lock = parse_lock(tree[LOCK_FILE]) if LOCK_FILE in tree else Lock()
    if overlay and OVERLAY_FILE in tree:
        lock = overlaid(lock, parse_lock(tree[OVERLAY_FILE], OVERLAY_FILE))
    return plan(catalog, resolve(catalog), lock)


def contents_of(workspace: Workspace, made: Plan, folders: Iterable[str] | None = None) -> Contents:
    """Return the files that the builds of a plan read, or those of some of its folders.

    Raises `InvalidInput` for what leads out of the project or cannot be read, where a parameter names it at its stack.
    """
    try:
        return workspace.contents(folders_of(made) if folders is None else folders)
    except InvalidInput as error:
        raise InvalidInput(at_their_stacks(made, error.mistakes())) from error


def write_plan(workspace: Workspace, *, check: bool) -> Planned:
    """Plan and write the bake file; with `check` write nothing and raise `Differs` if it is not up to date.

    Raises `InvalidInput`, and writes nothing, for what no bake could use.
    """
    made = make_plan(workspace.tree())
    given = sorted({path for node in made.nodes for _, path in node.folders})
    if mistakes := tuple(without_files(made, contents_of(workspace, made, given))):
        raise InvalidInput(mistakes)
    text = render(made)
    if check:
        workspace.check(BAKE_FILE, text, remedy="buildsys plan")
    return Planned(plan=made, text=text, written=not check and workspace.write(BAKE_FILE, text))


def schemas(workspace: Workspace | None, *, check: bool) -> Mapping[str, str]:
    """Return the JSON Schemas by file name; with a workspace write them to `schemas/`, or only check them there."""
    from buildsys.schema import FILES, json_schema

    found = {f"{name}.schema.json": json_schema(name) for name in FILES}
    for name, text in found.items() if workspace else ():
        assert workspace is not None
        if check:
            workspace.check(f"schemas/{name}", text, remedy="buildsys schema --write")
        else:
            workspace.write(f"schemas/{name}", text)
    return found


def single_stack(workspace: Workspace, name: str) -> tuple[Plan, str]:
    """Return the plan and the target of a stack."""
    made = make_plan(workspace.tree())
    return made, stack_named(made, name)


def chosen_targets(made: Plan, words: Sequence[str], *, everything: bool) -> tuple[str, ...]:
    """Return the targets to bake; `everything` and words exclude each other."""
    if everything and words:
        message = "`--all` and names exclude each other"
        raise InvalidInput([Mistake(message=message, hint="leave one of them out")])
    return select(made, ["default"] if everything else words)


def bake_environment(made: Plan, workspace: Workspace, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the bake variables that differ on this machine: mirrors, and parents that were bootstrapped here.

    What the caller's environment sets is left to it, except parents: a key covers the one that the lock names. Raises
    `InvalidInput` for an environment that would build something else. The mirrors' folder is written as a side effect.
    """
    from buildsys.mirrors import mirrored_variables, refuse_cache, write_mirrors
    from buildsys.settings import read_settings

    settings = read_settings(workspace.root, environ)
    refuse_cache(settings, environ)
    origins = dict(made.origins)
    parents = {parent.variable: parent.reference for parent in made.parents if parent.locked.local}
    remote = {parent.variable: parent.reference for parent in made.parents if not parent.locked.local}
    found = {**mirrored_variables(settings, origins=origins, parents=remote), **parents}
    if mistakes := tuple(_other_sources(made, found, environ)):
        raise InvalidInput(mistakes)
    found["BUILDSYS_MIRRORS"] = write_mirrors(settings, workspace.root)
    given = environ.get("BUILDSYS_MIRRORS", found["BUILDSYS_MIRRORS"])
    if given != found["BUILDSYS_MIRRORS"]:
        message = f"BUILDSYS_MIRRORS is `{given}` in the environment, and no key covers what builds would find there"
        hint = "run `unset BUILDSYS_MIRRORS`; buildsys.settings.yaml says which mirrors builds use"
        raise InvalidInput([Mistake(message=message, hint=hint)])
    return {name: value for name, value in sorted(found.items()) if name not in environ}


def _other_sources(made: Plan, found: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Yield a mistake for each variable of the environment with which a bake would build on other images."""
    for parent in made.parents:
        name, digest = parent.variable, parent.locked.digest
        reference = found.get(name, parent.reference)
        given = environ.get(name, reference)
        # What has the locked digest is the same image, whichever registry it comes from.
        if given != reference and not (digest and given.endswith(f"@{digest}")):
            message = f"{name} is `{given}` in the environment, and the lock names `{reference}`"
            hint = f"run `unset {name}`; `buildsys lock --update` moves a parent for everybody"
            yield Mistake(message=message, hint=hint)
    if environ.get(SOURCE_POLICY):
        message = f"{SOURCE_POLICY} is set, and may replace what keys name by something else"
        yield Mistake(message=message, hint=f"run `unset {SOURCE_POLICY}`")


def named_prefix(workspace: Workspace, environ: Mapping[str, str]) -> str | None:
    """Return the registry and repository prefix that images go to, None if that is no registry."""
    declared = read(workspace.read(STACKS_FILE) or "", STACKS_FILE).text(("registry",)) or "buildsys"
    return registry_prefix(environ.get("BUILDSYS_REGISTRY") or declared)
