"""What counts of the caller's environment: names of images, mirrors and parents, values of secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from buildsys.errors import Diagnostic, InvalidInput, enumerated
from buildsys.names import MIRRORS_SECRET, NODES, SETTINGS_FILE, secret_variable, tag_problem
from buildsys.oci.reference import LONGEST_REPOSITORY, prefix_problem, registry_prefix
from buildsys.plan.plan import Plan
from buildsys.project.variables import COPY_TO
from buildsys.project.workspace import Workspace
from buildsys.resolve.node import Node
from buildsys.texts import shown

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


def check_names(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raise `InvalidInput` for every variable that gives images names which no registry takes."""
    if diagnostics := [*_registry(plan, environ), *_copies(plan, environ), *_tag(environ)]:
        raise InvalidInput(diagnostics)


def check_tag(environ: Mapping[str, str]) -> None:
    """Raise `InvalidInput` for a `BUILDSYS_TAG` that no image can have, or that buildsys moves itself."""
    if diagnostics := [*_tag(environ)]:
        raise InvalidInput(diagnostics)


def ignored_tag(plan: Plan, targets: Collection[str], environ: Mapping[str, str]) -> str:
    """Return that a `BUILDSYS_TAG` does not apply, empty if it does: who sets it may count on other tags to stay."""
    fixed = [image.stack for image in plan.stacks if image.name in targets and image.tags]
    if not fixed or not environ.get("BUILDSYS_TAG"):
        return ""
    return f"`BUILDSYS_TAG` is set, and is no tag of stacks with `tags`, which move: {enumerated(dict.fromkeys(fixed))}"


def _registry(plan: Plan, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    variable = "BUILDSYS_REGISTRY"
    prefix = environ.get(variable)
    if prefix and (problem := prefix_problem(prefix)):
        yield Diagnostic(message=_of(variable, prefix, problem[0]), hint=problem[1])
        return
    yield from _too_long(plan, prefix or plan.registry, f"`{variable}`" if prefix else "`registry`")


def _too_long(plan: Plan, prefix: str, where: str) -> Iterator[Diagnostic]:
    longest = max((NODES, *(stack.repository for stack in plan.stacks)), key=len)
    if (size := len(f"{prefix}/{longest}")) > LONGEST_REPOSITORY:
        message = f"with {where} the name `…/{longest}` has {size} characters, expected at most {LONGEST_REPOSITORY}"
        location = next((stack.location for stack in plan.stacks if stack.repository == longest), None)
        yield Diagnostic(message=message, location=location, hint="shorten the path of the registry, or the name")


def _copies(plan: Plan, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    given = environ.get(COPY_TO)
    declared = () if environ.get("BUILDSYS_REGISTRY") else plan.copies
    for prefix in declared if given is None else given.split():
        if problem := prefix_problem(prefix):
            yield Diagnostic(message=_of(COPY_TO, prefix, problem[0]), hint=problem[1])
        elif registry_prefix(prefix) is None:
            hint = "write it like `registry.example.com/images`"
            yield Diagnostic(message=_of(COPY_TO, prefix, "names no registry"), hint=hint)
        elif prefix == (environ.get("BUILDSYS_REGISTRY") or plan.registry):
            hint = "remove it: what is published is there already"
            yield Diagnostic(message=_of(COPY_TO, prefix, "is the registry that is copied from"), hint=hint)
        else:
            yield from _too_long(plan, prefix, f"`{'registry' if given is None else COPY_TO}`")


def _tag(environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    given = environ.get("BUILDSYS_TAG")
    if given is None or not (problem := tag_problem(given)):
        return
    near = re.sub(r"[^A-Za-z0-9_.-]+", "-", given).strip(".-")[:128]
    hint = f"set it to `{near}`" if near and not tag_problem(near) else "set it to a tag such as `v1`"
    yield Diagnostic(message=f"`BUILDSYS_TAG`: {problem}", hint=hint)


def _of(variable: str, value: str, problem: str) -> str:
    """Return the message about a variable; a value with `@` may hold a password and is not quoted."""
    if "@" in value or len(value) > LONGEST_REPOSITORY:
        return f"`{variable}` {problem}"
    return f"`{variable}` is `{shown(value)}` and {problem}"


def secret_values(nodes: Iterable[Node], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the secrets of nodes; `environ` has them, and the credentials of mirrors.

    Raises `InvalidInput` for each secret without a value, and each RUN that would not get the credentials of mirrors.
    """
    nodes = tuple(nodes)
    if diagnostics := [*_without_value(nodes, environ), *_without_credentials(nodes, environ)]:
        raise InvalidInput(diagnostics)
    ids = {each for node in nodes for each in node.build.mounted}
    return {secret_variable(each): environ.get(secret_variable(each), "") for each in sorted(ids)}


def missing_secret(secret: str, what: str) -> Diagnostic:
    """Return the error that a secret has no value; `what` mounts it."""
    message = f"{what} mounts the secret `{secret}`, which has no value"
    hint = (
        f"set `{secret_variable(secret)}`, name a file or variable under `secrets` in {SETTINGS_FILE}, or add "
        f"`--secret id={secret},src=<file>`"
    )
    return Diagnostic(message=message, hint=hint)


def _without_value(nodes: Iterable[Node], environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    for node in nodes:
        for secret in node.build.secrets:
            if not environ.get(secret_variable(secret.id)):
                what = f"layer `{node.build.layer}` ({secret.description})"
                found = missing_secret(secret.id, what)
                yield Diagnostic(message=found.message, location=secret.location, hint=found.hint)


def _without_credentials(nodes: Iterable[Node], environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    for node in nodes if environ.get(MIRRORS_VARIABLE) else ():
        for location in node.build.uncredentialed:
            message = "this RUN mounts the mirrors, and not the secret with their credentials, which the settings have"
            hint = f"add `--mount=type=secret,id={MIRRORS_SECRET}` to it"
            yield Diagnostic(message=message, location=location, hint=hint)
