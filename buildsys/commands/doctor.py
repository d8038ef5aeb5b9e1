"""Which checks of a machine pass, and how to fix those that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from enum import StrEnum

from buildsys.errors import ExitCode
from buildsys.values import dataclass

OLDEST_ENGINE = (28, 0)
OLDEST_BUILDX = (0, 29)
# Before it bake has no `--progress rawjson`, so nothing of what happens can be reported.
FIRST_USABLE_BUILDX = (0, 13)
# Before it an engine does not build with BuildKit unless it is asked to.
FIRST_USABLE_ENGINE = (23, 0)
# A CUDA image with compilers takes about 8 GB, and its build cache as much again.
WANTED_FREE = 20_000_000_000
NEEDED_FREE = 2_000_000_000
_NEWER_BUILDX = (
    ((0, 31), "a bake file can be shut off from the environment"),
    ((0, 35), "memory and processors of a step can be bounded"),
    ((0, 37), "a target's push waits for everything built on it"),
)
_SHOWN_PARENTS = 3


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: what was found, and the fix unless the state is ok."""

    name: str
    state: State
    found: str
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An answer, or the reason why there is none, with its fix."""

    value: str = ""
    problem: str = ""
    fix: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentFound:
    """A parent image of the plan; `problem` is empty if its registry has it, `built_here` if this machine built it."""

    name: str
    problem: str = ""
    built_here: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """The facts about a machine; an empty text or None means that something is missing or was not looked up.

    `elsewhere`: the engine runs on another machine. `free` is in bytes, for the folder `store`. `registry` is the
    prefix that images are pushed to; `registry_problem` is empty if it answers. `diagnostics`: there is a project, and
    its files have errors.
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
    project: Found = field(default_factory=Found)
    diagnostics: bool = False
    bake_file: Found | None = None
    parents: tuple[ParentFound, ...] = ()


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """Return the exit code: a warning is not a failure."""
    return ExitCode.UNAVAILABLE if any(each.state is State.ERROR for each in checks) else ExitCode.DONE


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return one check for each requirement of a bake, in the order in which a bake needs them."""
    return tuple(_checks(facts))


def _checks(facts: Facts) -> Iterator[Check]:
    yield _present("docker", facts.client)
    # Without the client nothing behind it was looked up, and one error is enough.
    if not facts.client.problem:
        yield _buildx(facts.buildx)
        yield _engine(facts)
        # A consequence of a problem that is reported is not reported again.
        if not facts.buildx.problem:
            yield _present("builder", facts.driver)
        if facts.driver.value:
            yield _store(facts)
    yield _registry(facts)
    if not facts.client.problem and not facts.engine.problem:
        yield _disk(facts)
    yield _present("git", facts.git, lacking=State.WARNING)
    yield _present("project", facts.project, lacking=State.ERROR if facts.diagnostics else State.WARNING)
    if facts.bake_file is not None:
        # `buildsys bake` runs the sources as they are, so only plain `docker buildx bake` gets the old file.
        yield _present("bake file", facts.bake_file, lacking=State.WARNING)
    if facts.parents:
        yield _parents(facts.parents)


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
        return Check(name="buildx", state=State.ERROR, found=f"{found.value} is too old", fix=fix)
    if version < OLDEST_BUILDX:
        return Check(name="buildx", state=State.WARNING, found=f"{found.value} is not tested", fix=fix)
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
        return Check(name="engine", state=State.ERROR, found=f"{found.value} is too old", fix=fix)
    if version < OLDEST_ENGINE:
        return Check(name="engine", state=State.WARNING, found=f"{found.value} is not tested", fix=fix)
    return _present("engine", found)


def _store(facts: Facts) -> Check:
    name = "image store"
    if facts.driver.value != "docker":
        if facts.registry:
            return Check(name=name, state=State.OK, found=f"the registry, since the driver is `{facts.driver.value}`")
        return Check(
            name=name,
            state=State.WARNING,
            found=f"a builder with driver `{facts.driver.value}` keeps no images between bakes",
            fix="set `BUILDSYS_REGISTRY` to a registry; one on loopback is enough",
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
        return Check(name=name, state=State.OK, found="no registry is set: images stay in the engine's store")
    if not facts.registry_problem:
        return Check(name=name, state=State.OK, found=f"`{facts.registry}` is reachable")
    state = State.WARNING if facts.wants_login else State.ERROR
    return Check(name=name, state=state, found=facts.registry_problem, fix=facts.registry_fix)


def _disk(facts: Facts) -> Check:
    name = "disk"
    if facts.free is None:
        where = "on another machine" if facts.elsewhere else "not visible from this machine"
        return Check(name=name, state=State.OK, found=f"the engine's store is {where}")
    found = f"{facts.free / 1e9:.0f} GB free for `{facts.store}`"
    if facts.free >= WANTED_FREE:
        return Check(name=name, state=State.OK, found=found)
    state = State.WARNING if facts.free >= NEEDED_FREE else State.ERROR
    fix = "`docker buildx prune` removes the oldest build cache, `docker image prune` untagged images"
    return Check(name=name, state=state, found=f"{found}, one GPU image needs up to 16", fix=fix)


def _parents(parents: Sequence[ParentFound]) -> Check:
    name = "parents"
    here = sum(each.built_here and not each.problem for each in parents)
    note = f" ({here} built on this machine)" if here else ""
    lacking: dict[str, list[str]] = {}
    for each in sorted(parents, key=lambda each: each.name):
        if each.problem:
            lacking.setdefault(each.problem, []).append(each.name)
    missing = sum(map(len, lacking.values()))
    found = f"{len(parents) - missing} of {len(parents)} are available{note}"
    if not missing:
        return Check(name=name, state=State.OK, found=found)
    problems = [f"{_some(names)}: {problem}" for problem, names in lacking.items()]
    return Check(
        name=name,
        state=State.ERROR if missing == len(parents) else State.WARNING,
        found="; ".join([found, *problems]),
        fix="name a mirror under `parents` in `buildsys.settings.yaml`, or an image of this machine in "
        "`buildsys.lock.local`",
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN_PARENTS])
    more = len(names) - _SHOWN_PARENTS
    return f"not {shown}" + (f" and {more} more" if more > 0 else "")


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, (0,) if it has none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
