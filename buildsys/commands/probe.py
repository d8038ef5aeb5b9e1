"""Which facts about this machine, its registries and the project `doctor` judges; a failure is a fact too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildsys.buildkit.docker import (
    answer_of,
    beginning,
    buildx_of,
    check_engine,
    client_command,
    docker_information,
    has_containerd_store,
    inspect_builder,
)
from buildsys.commands.doctor import Facts, Found, ParentFound
from buildsys.errors import BuildsysError, Differs, InvalidInput
from buildsys.oci.bounds import Bounds
from buildsys.oci.client import Registry, ask_many
from buildsys.oci.http import RegistryProblem, Retries, Unauthorized
from buildsys.oci.reference import Descriptor, Reference, prefix_problem
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import Settings, read_settings
from buildsys.project.workspace import Workspace, find_workspace
from buildsys.run.store import registry_of

if TYPE_CHECKING:
    from buildsys.plan.plan import Plan

_CLIENT = re.compile(r"Docker version (\d[^\s,]*)")


def look(
    environ: Mapping[str, str], *, registry: str = "", builder: str | None = None, directory: Path | None = None
) -> Facts:
    """Return what is found on the machine; raises nothing for what is wrong with it.

    `registry` is a repository prefix, empty if none is named; `directory` is another project than the nearest.
    """
    # A person waits: one attempt and a short time are enough to find out whether a registry answers.
    with registry_of(
        _settings(directory, environ),
        environ,
        bounds=Bounds(connect=5.0, answer=10.0),
        retries=Retries(attempts=1),
    ) as client:
        facts = _with_registry(_machine(builder, environ), client, registry)
        return _with_project(facts, client, directory, environ)


def _settings(directory: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the project, empty ones if they cannot be read, which `_with_project` reports."""
    try:
        return read_settings(find_workspace(directory).root, environ)
    except (InvalidInput, OSError):
        return Settings()


def _machine(builder: str | None, environ: Mapping[str, str]) -> Facts:
    git = _asked("git", lambda: (answer_of(("git", "--version")).stdout.split() or [""])[-1])
    if git.problem:
        git = replace(git, fix="install git: images are labelled with the commit of their sources")
    command: list[str] = []

    def ask_client() -> str:
        command.extend(client_command())
        return answer_of((*command, "--version")).stdout.strip()

    client = _asked("docker --version", ask_client)
    if client.problem:
        return Facts(client=client, git=git)
    version = _CLIENT.match(client.value)
    if version is None:
        first, _, _ = client.value.partition("\n")
        problem = f"`docker` is {beginning(first)}, which is not Docker"
        return Facts(client=Found(problem=problem, fix="install Docker Engine 28 or later with buildx"), git=git)
    information: dict[str, Any] = {}

    def ask_engine() -> str:
        information.update(docker_information(command))
        check_engine(information)
        return str(information["ServerVersion"])

    engine = _asked("docker info", ask_engine)
    endpoint = (*command, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    address = _asked("docker context inspect", lambda: answer_of(endpoint).stdout.strip()).value
    elsewhere = not address.startswith(("unix://", "npipe://"))
    store = None if elsewhere else _local_store(information)
    return Facts(
        client=Found(value=version[1]),
        buildx=_asked("docker buildx version", lambda: buildx_of(command, information, environ)[1]),
        driver=_asked("docker buildx inspect", lambda: inspect_builder((*command, "buildx"), builder)[0]),
        engine=engine,
        git=git,
        containerd_store=has_containerd_store(information),
        elsewhere=elsewhere,
        store=str(store or ""),
        free=shutil.disk_usage(store).free if store else None,
    )


def _local_store(information: Mapping[str, Any]) -> Path | None:
    """Return the engine's data root if this machine has it: that of an engine in a virtual machine is inside."""
    root = Path(str(information.get("DockerRootDir") or "/nowhere"))
    try:
        return root if root.is_dir() else None
    except OSError:
        return None


def _asked(what: str, ask: Callable[[], str]) -> Found:
    try:
        value = ask()
    except BuildsysError as error:
        return Found(problem=error.message, fix=error.hint)
    if not value:
        return Found(problem=f"`{what}` prints nothing", fix=f"run `{what}` and read its messages")
    return Found(value=value)


def _with_registry(facts: Facts, client: Registry, prefix: str) -> Facts:
    """Add what is wrong with the registry, what to do, and whether only a login is missing.

    The image that is looked up need not exist: that it is missing is an answer too.
    """
    if not prefix:
        return facts
    facts = replace(facts, registry=prefix)
    if found := prefix_problem(prefix):
        return replace(facts, registry_problem=f"`{prefix}` {found[0]}", registry_fix=found[1])
    try:
        client.head(Reference.parse(f"{prefix}/doctor"))
    except Unauthorized as problem:
        return replace(facts, registry_problem=problem.message, registry_fix=problem.hint, wants_login=True)
    except RegistryProblem as problem:
        fix = problem.hint or "start it, or set `BUILDSYS_REGISTRY` to a different one"
        return replace(facts, registry_problem=problem.message, registry_fix=fix)
    return facts


def _with_project(facts: Facts, client: Registry, directory: Path | None, environ: Mapping[str, str]) -> Facts:
    try:
        workspace = find_workspace(directory)
    except InvalidInput as error:
        diagnostic = error.diagnostics()[0]
        return replace(facts, project=Found(problem=diagnostic.message, fix=diagnostic.hint))
    # Late: what plans is not needed where there is no project.
    from buildsys.commands.plan import make_plan

    try:
        plan = make_plan(workspace.tree(), overlay=True)
        settings = read_settings(workspace.root, environ)
    except (InvalidInput, OSError) as error:
        return replace(facts, project=_unreadable(error), diagnostics=True)
    return replace(
        facts,
        project=Found(value=str(workspace.root)),
        bake_file=_bake_file(workspace),
        parents=_parents(plan, settings, client, environ),
    )


def _unreadable(error: InvalidInput | OSError) -> Found:
    if isinstance(error, OSError):
        return Found(problem=f"`{error.filename}` cannot be read: {error.strerror}", fix="check its owner and mode")
    first, *others = error.diagnostics()
    location = f"{first.location}: " if first.location else ""
    more = f", and {len(others)} more" if others else ""
    return Found(
        problem=f"{location}{first.message}{more}", fix="run `buildsys plan` to list all of them with their lines"
    )


def _bake_file(workspace: Workspace) -> Found:
    from buildsys.commands.plan import files_beside, write_plan

    try:
        write_plan(workspace, {}, check=True)
    except Differs as error:
        return Found(problem=error.message, fix=error.hint)
    except InvalidInput as error:
        # Without the overlay there is no plan.
        return _unreadable(error)
    if beside := next(files_beside(workspace), None):
        return Found(problem=beside.message, fix=beside.hint)
    return Found(value="up to date")


def _parents(plan: Plan, settings: Settings, client: Registry, environ: Mapping[str, str]) -> tuple[ParentFound, ...]:
    """Return the parent images, looked up where a bake on this machine pulls them from."""
    wanted: dict[str, Reference] = {}
    wrong: dict[str, str] = {}
    for parent in plan.parents:
        usual = parent.reference if parent.locked.local else mirrored_reference(parent.reference, settings)
        reference = environ.get(parent.variable) or usual
        try:
            wanted[parent.name] = Reference.parse(reference)
        except InvalidInput as error:
            wrong[parent.name] = error.message
    answers = ask_many(wanted.values(), client.head)
    return tuple(
        ParentFound(
            name=parent.name,
            problem=wrong.get(parent.name) or _lack(wanted[parent.name], answers[wanted[parent.name]]),
            built_here=parent.locked.local,
        )
        for parent in plan.parents
    )


def _lack(reference: Reference, answer: Descriptor | RegistryProblem | None) -> str:
    if answer is None:
        return f"registry `{reference.host}` does not have it"
    return answer.message if isinstance(answer, RegistryProblem) else ""
