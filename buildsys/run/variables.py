"""Which bake variables differ on this machine, and which the caller's environment may not set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.names import MIRRORS_SECRET, secret_variable
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace

if TYPE_CHECKING:
    # A run that builds nothing does not wait for it.
    from buildsys.project.settings import Settings

MIRRORS_VARIABLE = secret_variable(MIRRORS_SECRET)
# BuildKit's own variable for rules that replace sources (docs of moby/buildkit, "Reproducing the pinned dependencies").
MIRRORS = "BUILDSYS_MIRRORS"
SOURCE_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"


def bake_environment(plan: Plan, workspace: Workspace, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the bake variables that differ on this machine: mirrors, and parents that were bootstrapped here.

    What the caller's environment sets is left to it, except parents: a key covers the one that the lock names; and the
    credentials of mirrors, which are those of the settings. Raises `InvalidInput` for an environment that would build
    something else. The mirrors' folder is written as a side effect.
    """
    from buildsys.project.mirrors import write_mirrors

    settings, found = _checked(plan, workspace, environ)
    kept = {name: value for name, value in sorted(found.items()) if name not in environ or name == MIRRORS_VARIABLE}
    return {**kept, MIRRORS: write_mirrors(settings, workspace.root)}


def check_environment(plan: Plan, workspace: Workspace, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what `bake_environment` adds to any environment; write nothing. Raises `InvalidInput` as that does."""
    return _checked(plan, workspace, environ)[1]


def _checked(plan: Plan, workspace: Workspace, environ: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """Return the settings and the bake variables that they change, after checks of the caller's environment."""
    from buildsys.project.mirrors import CONTEXT, mirrored_variables, mirrors_secret, refuse_cache
    from buildsys.project.settings import read_settings

    settings = read_settings(workspace.root, environ)
    refuse_cache(settings, environ)
    origins = dict(plan.origins)
    parents = {parent.variable: parent.reference for parent in plan.parents if parent.locked.local}
    remote = {parent.variable: parent.reference for parent in plan.parents if not parent.locked.local}
    found = {**mirrored_variables(settings, origins=origins, parents=remote), **parents}
    if diagnostics := tuple(_other_sources(plan, found, environ)):
        raise InvalidInput(diagnostics)
    found[MIRRORS_VARIABLE] = mirrors_secret(settings)
    given = environ.get(MIRRORS, "")
    if given not in ("", CONTEXT):
        message = f"`{MIRRORS}` is `{given}` in the environment, and no key covers the files there"
        hint = f"run `unset {MIRRORS}`; name mirrors in buildsys.settings.yaml"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    return settings, found


def _other_sources(plan: Plan, found: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Yield an error for each variable of the environment with which a bake would build on other images."""
    for parent in plan.parents:
        name, digest = parent.variable, parent.locked.digest
        reference = found.get(name, parent.reference)
        given = environ.get(name, reference)
        # What has the locked digest is the same image, whichever registry it comes from.
        if given != reference and not (digest and given.endswith(f"@{digest}")):
            message = f"`{name}` is `{given}` in the environment, and the lock names `{reference}`"
            hint = f"run `unset {name}`; to change the parent for every user, run `buildsys lock --update`"
            yield Diagnostic(message=message, hint=hint)
    if environ.get(SOURCE_POLICY):
        message = f"`{SOURCE_POLICY}` is set, and may replace inputs that keys name"
        yield Diagnostic(message=message, hint=f"run `unset {SOURCE_POLICY}`")
