"""Whether this machine can bake: what there is, whether it will do, and what to do where it does not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from buildsys.engine import (
    answer_of,
    buildx_version,
    client_command,
    engine_information,
    has_containerd_store,
    inspect_builder,
)
from buildsys.errors import BuildsysError, ExitCode, InvalidInput, Unavailable
from buildsys.registry import Registry
from buildsys.registry_credentials import Credentials, docker_config_dir, docker_credentials
from buildsys.registry_http import RegistryProblem, Retries, Unauthorized
from buildsys.registry_transport import Timeouts
from buildsys.registry_values import Reference

OLDEST_ENGINE = (28, 0)
OLDEST_BUILDX = (0, 29)
# Before it bake has no `--progress rawjson`, and nothing of what happens can be told.
FIRST_USABLE_BUILDX = (0, 13)
# Before it an engine does not build with BuildKit unless it is asked to.
FIRST_USABLE_ENGINE = (23, 0)
# A CUDA image with compilers takes about 8 GB, and its build cache as much again.
WANTED_FREE = 20_000_000_000
NEEDED_FREE = 2_000_000_000
_NEWER_BUILDX = (
    ((0, 31), "a bake file can be shut off from the environment"),
    ((0, 35), "memory and processors of a step can be bounded"),
    ((0, 37), "a target's push waits for all that is built on it"),
)


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do about it unless the state is ok."""

    name: str
    state: State
    found: str
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer, or the reason why there is none."""

    value: str = ""
    problem: str = ""
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What was found on the machine; the empty text and None stand for what is absent or was not asked.

    `elsewhere` says that the engine runs on another machine. `free` is in bytes, for the folder `store`.
    `registry` is the prefix that images are pushed to; `registry_problem` is empty where it answers.
    """

    client: Found = field(default_factory=Found)
    buildx: Found = field(default_factory=Found)
    driver: Found = field(default_factory=Found)
    engine: Found = field(default_factory=Found)
    git: Found = field(default_factory=Found)
    containerd_store: bool = False
    elsewhere: bool = False
    store: str = ""
    free: int | None = None
    registry: str = ""
    registry_problem: str = ""
    registry_fix: str | None = None
    wants_login: bool = False


def check(*, registry: str = "", builder: str | None = None) -> tuple[Check, ...]:
    """Look at this machine and judge it; never raises for what it finds. `registry` is a repository prefix."""
    return judge(look(registry=registry, builder=builder, credentials=docker_credentials(docker_config_dir())))


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """Return what the process ends with: a warning is no failure."""
    return ExitCode.UNAVAILABLE if any(each.state is State.ERROR for each in checks) else ExitCode.DONE


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return one check for each thing that a bake needs, in the order in which they are needed."""
    return tuple(_checks(facts))


def _checks(facts: Facts) -> Iterator[Check]:
    yield _present("docker", facts.client)
    if facts.client.problem:
        # Without the client nothing behind it was asked, and one error says it all.
        yield from (_registry(facts), _present("git", facts.git, lacking=State.WARNING))
        return
    yield _buildx(facts.buildx)
    yield _engine(facts)
    # What follows from a problem that is told already is not told again.
    if not facts.buildx.problem:
        yield _present("builder", facts.driver)
    if facts.driver.value:
        yield _store(facts)
    yield _registry(facts)
    if not facts.engine.problem:
        yield _disk(facts)
    yield _present("git", facts.git, lacking=State.WARNING)


def _present(name: str, found: Found, *, lacking: State = State.ERROR) -> Check:
    if found.problem:
        return Check(name=name, state=lacking, found=found.problem, fix=found.fix)
    return Check(name=name, state=State.OK, found=found.value)


def _buildx(found: Found) -> Check:
    if found.problem:
        return _present("buildx", found)
    version = numbers(found.value)
    fix = f"install buildx {_dotted(OLDEST_BUILDX)} or later"
    if version < FIRST_USABLE_BUILDX:
        return Check(name="buildx", state=State.ERROR, found=f"{found.value} is too old to bake with", fix=fix)
    if version < OLDEST_BUILDX:
        return Check(name="buildx", state=State.WARNING, found=f"{found.value} was never tried", fix=fix)
    newer = [f"{words} (from {_dotted(first)})" for first, words in _NEWER_BUILDX if version < first]
    return Check(
        name="buildx", state=State.OK, found="; newer: ".join([found.value, *([", ".join(newer)] if newer else [])])
    )


def _engine(facts: Facts) -> Check:
    found = facts.engine
    if found.problem:
        # A builder on Kubernetes or on another machine needs no engine here, but `test` runs images on one.
        lacking = State.WARNING if facts.driver.value in ("kubernetes", "remote") else State.ERROR
        return _present("engine", found, lacking=lacking)
    fix = f"install Docker Engine {OLDEST_ENGINE[0]} or later"
    version = numbers(found.value)
    if version < FIRST_USABLE_ENGINE:
        return Check(name="engine", state=State.ERROR, found=f"{found.value} is too old to bake with", fix=fix)
    if version < OLDEST_ENGINE:
        return Check(name="engine", state=State.WARNING, found=f"{found.value} was never tried", fix=fix)
    return _present("engine", found)


def _store(facts: Facts) -> Check:
    name = "image store"
    if facts.driver.value != "docker":
        if facts.registry:
            return Check(name=name, state=State.OK, found=f"the registry, since the driver is `{facts.driver.value}`")
        return Check(
            name=name,
            state=State.WARNING,
            found=f"a builder of driver `{facts.driver.value}` keeps no image where another bake finds it",
            fix="name a registry by `BUILDSYS_REGISTRY`; one on loopback will do",
        )
    if facts.containerd_store:
        return Check(name=name, state=State.OK, found="containerd")
    return Check(
        name=name,
        state=State.WARNING,
        found="the engine's old store: no shared cache, no images of several platforms",
        fix='put `"features": {"containerd-snapshotter": true}` into the engine\'s daemon.json and restart it',
    )


def _registry(facts: Facts) -> Check:
    name = "registry"
    if not facts.registry:
        return Check(name=name, state=State.OK, found="none named: images stay in the engine's own store")
    if not facts.registry_problem:
        return Check(name=name, state=State.OK, found=f"`{facts.registry}` answers")
    state = State.WARNING if facts.wants_login else State.ERROR
    return Check(name=name, state=state, found=facts.registry_problem, fix=facts.registry_fix)


def _disk(facts: Facts) -> Check:
    name = "disk"
    if facts.free is None:
        where = "on another machine" if facts.elsewhere else "in a place that cannot be seen from here"
        return Check(name=name, state=State.OK, found=f"the engine's store is {where}")
    found = f"{facts.free / 1e9:.0f} GB free for `{facts.store}`"
    if facts.free >= WANTED_FREE:
        return Check(name=name, state=State.OK, found=found)
    state = State.WARNING if facts.free >= NEEDED_FREE else State.ERROR
    fix = "`docker buildx prune` removes the oldest build cache, `docker image prune` what no tag names"
    return Check(name=name, state=state, found=f"{found}, one GPU image needs up to 16", fix=fix)


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, (0,) if it has none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def look(*, registry: str, builder: str | None, credentials: Credentials) -> Facts:
    """Ask the machine; what cannot be had becomes the problem in its place."""
    git = _found(lambda: _last_word(answer_of(("git", "--version")).stdout), "git", "install git")
    problem, fix, wants_login = _ask_registry(registry, credentials) if registry else ("", None, False)
    client = _found(lambda: " ".join(client_command()), "docker")
    common: dict[str, Any] = {
        "git": git,
        "registry": registry,
        "registry_problem": problem,
        "registry_fix": fix,
        "wants_login": wants_login,
    }
    if client.problem:
        return Facts(client=client, **common)
    command = client_command()
    version = _said(command, "version", "--format", "{{.Client.Version}}")
    information: dict[str, Any] = {}

    def ask_engine() -> str:
        information.update(engine_information(command, needed=True))
        return str(information["ServerVersion"])

    engine = _found(ask_engine, "engine")
    endpoint = _said(command, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    elsewhere = not endpoint.value.startswith(("unix://", "npipe://"))
    store = Path(str(information.get("DockerRootDir") or ""))
    visible = bool(information) and not elsewhere and store.is_dir()
    return Facts(
        client=version,
        buildx=_found(lambda: buildx_version(command), "buildx"),
        driver=_found(lambda: inspect_builder(command, builder)[0], "builder"),
        engine=engine,
        containerd_store=has_containerd_store(information),
        elsewhere=elsewhere,
        store=str(store) if visible else "",
        free=shutil.disk_usage(store).free if visible else None,
        **common,
    )


def _said(command: Sequence[str], *words: str) -> Found:
    return _found(lambda: answer_of((*command, *words)).stdout.strip(), f"docker {words[0]}")


def _found(ask: Callable[[], str], what: str, fix: str | None = None) -> Found:
    try:
        value = ask()
    except Unavailable as error:
        return Found(problem=error.message, fix=error.hint or fix)
    return Found(value=value) if value else Found(problem=f"`{what}` says nothing of itself", fix=fix)


def _last_word(text: str) -> str:
    return (text.split() or [""])[-1]


def _ask_registry(prefix: str, credentials: Credentials) -> tuple[str, str | None, bool]:
    """Return what is wrong with a registry, what to do, and whether it is only that nobody has logged in.

    It is asked for an image that need not exist: that it does not is an answer too.
    """
    try:
        reference = Reference.parse(f"{prefix.rstrip('/')}/doctor")
        # A person waits: one try and a short time are enough to tell whether it is there.
        with Registry(
            credentials=credentials, timeouts=Timeouts(connect=5.0, read=10.0), retries=Retries(attempts=1)
        ) as registry:
            registry.head(reference)
    except Unauthorized as problem:
        return problem.message, problem.hint, True
    except RegistryProblem as problem:
        return problem.message, problem.hint or "start it, or name another by `BUILDSYS_REGISTRY`", False
    except InvalidInput as error:
        return error.message, "`BUILDSYS_REGISTRY` is a host and a path, such as `registry.example.com/ml`", False
    except BuildsysError as error:
        return error.message, error.hint, False
    return "", None, False
