"""Whether what was found on a machine is enough to bake, and what to do where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from buildsys.errors import ExitCode

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
_SHOWN_PARENTS = 3


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
class ParentFound:
    """A parent image that the plan names: `problem` is empty where its registry has it."""

    name: str
    problem: str = ""
    made_here: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What was found on the machine; the empty text and None stand for what is absent or was not asked.

    `elsewhere` says that the engine runs on another machine. `free` is in bytes, for the folder `store`.
    `registry` is the prefix that images are pushed to; `registry_problem` is empty where it answers.
    `mistakes` says that there is a project and that its own files are what is wrong with it.
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
    """Return what the process ends with: a warning is no failure."""
    return ExitCode.UNAVAILABLE if any(each.state is State.ERROR for each in checks) else ExitCode.DONE


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return one check for each thing that a bake needs, in the order in which they are needed."""
    return tuple(_checks(facts))


def _checks(facts: Facts) -> Iterator[Check]:
    yield _present("docker", facts.client)
    # Without the client nothing behind it was asked, and one error says it all.
    if not facts.client.problem:
        yield _buildx(facts.buildx)
        yield _engine(facts)
        # What follows from a problem that is told already is not told again.
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


def _parents(parents: Sequence[ParentFound]) -> Check:
    name = "parents"
    here = sum(each.made_here and not each.problem for each in parents)
    note = f" ({here} made on this machine)" if here else ""
    lacking: dict[str, list[str]] = {}
    for each in sorted(parents, key=lambda each: each.name):
        if each.problem:
            lacking.setdefault(each.problem, []).append(each.name)
    missing = sum(map(len, lacking.values()))
    found = f"{len(parents) - missing} of {len(parents)} can be had{note}"
    if not missing:
        return Check(name=name, state=State.OK, found=found)
    told = [f"{_some(names)}: {problem}" for problem, names in lacking.items()]
    return Check(
        name=name,
        state=State.ERROR if missing == len(parents) else State.WARNING,
        found="; ".join([found, *told]),
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
