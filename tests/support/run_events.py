"""A small run as events, for the tests of what a person sees of one: 3 images, 4 nodes to build and one reused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    REUSED,
    Event,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepBegan,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
    TargetStarted,
)

BEGIN = 1_000_000.0
MAKE = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors set -eu; make -j2 && make install"
APT = "RUN apt-get install --yes --no-install-recommends git openssh-client ca-certificates curl wget xz-utils"


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


class Taker(Protocol):
    def take(self, event: Event) -> None: ...

    def tick(self) -> None: ...


def feed(taker: Taker, clock: Clock, events: Iterable[Event], *, until: float | None = None) -> None:
    """Hand over events at their times, with a tick each second between them, as a run loop does."""
    for event in events:
        pass_time(taker, clock, event.at)
        taker.take(event)
    if until is not None:
        pass_time(taker, clock, BEGIN + until)


def pass_time(taker: Taker, clock: Clock, until: float) -> None:
    while clock.now + 1 <= until:
        clock.now += 1
        taker.tick()
    clock.now = until


def node(name: str, title: str, *needs: str, seconds: float | None = None, action: str = "build") -> TargetPlanned:
    return TargetPlanned(
        at=BEGIN, name=name, title=title, kind="node", layer="l", action=action, needs=needs, estimate=seconds
    )


def image(name: str, *needs: str) -> TargetPlanned:
    return TargetPlanned(at=BEGIN, name=name, title=name, kind="image", action="build", needs=needs, estimate=1.0)


def start(at: float, target: str, attempt: int = 1) -> TargetStarted:
    return TargetStarted(at=BEGIN + at, target=target, attempt=attempt)


def step(at: float, target: str, name: str = MAKE, *, digest: str = "", kind: str = StepKind.RUN) -> StepBegan:
    return StepBegan(at=BEGIN + at, target=target, digest=digest or target, name=name, kind=kind)


def ended_step(began: StepBegan, seconds: float, *, cached: bool = False, error: str = "") -> StepEnded:
    return StepEnded(
        at=began.at + seconds,
        target=began.target,
        digest=began.digest,
        name=began.name,
        kind=began.kind,
        started=began.at,
        completed=began.at + seconds,
        cached=cached,
        error=error,
    )


def made(at: float, target: str, seconds: float, size: int | None = 412_000_000, cached: int = 0) -> TargetEnded:
    return TargetEnded(
        at=BEGIN + at,
        target=target,
        outcome=MADE,
        started=BEGIN + at - seconds,
        seconds=seconds,
        size=size,
        steps=4,
        cached=cached,
        attempts=1,
    )


def failed(at: float, target: str, seconds: float, failure: Failure, file: str = "") -> TargetEnded:
    began = BEGIN + at - seconds
    return TargetEnded(
        at=BEGIN + at, target=target, outcome=FAILED, started=began, seconds=seconds, failure=failure, file=file
    )


def blocked(at: float, target: str, by: str) -> TargetEnded:
    return TargetEnded(at=BEGIN + at, target=target, outcome=BLOCKED, blocked_by=by)


HEADER_MISSING = Failure(
    kind=FailureKind.COMMAND,
    message="process did not complete",
    target="ucx",
    file="Dockerfile",
    line=14,
    last_words=(
        "checking for rdma_create_id... no",
        "",
        "\x1b[31mconfigure: error:\x1b[0m rdma/rdma_cma.h not found",
        "make: *** [all] Error 1",
    ),
    status=2,
)
UCX_FAILS = failed(24, "ucx", 22, HEADER_MISSING, "layers/ucx/Dockerfile")
RETRY = Retried(
    at=BEGIN + 22, target="git", attempt=2, of=5, wait=4.0, why="registry said 503\nfor registry.example.com/ml"
)
_APT_STEP = step(1, "debian", APT, digest="sha256:apt")
_MAKE_STEP = step(3, "openmpi")

PLAN: tuple[Event, ...] = (
    RunBegan(at=BEGIN, command="buildsys bake --all --push", jobs=2, max_targets=8),
    node("debian", "debian-os 12", seconds=20),
    node("toolchain", "toolchain-debian 12", action="reuse"),
    node("git", "git on debian 12", "debian", seconds=15),
    node("openmpi", "openmpi 4.1.4 on debian 12", "toolchain", seconds=200),
    node("ucx", "ucx 1.9.0 on debian 12", "toolchain", seconds=60),
    node("nccl", "nccl 2.7.8", "toolchain", action="leave"),
    image("plain12", "git"),
    image("mpi12", "git", "openmpi"),
    image("ucx12", "git", "openmpi", "ucx"),
)
FIRST_HALF: tuple[Event, ...] = (
    *PLAN,
    TargetEnded(at=BEGIN, target="toolchain", outcome=REUSED),
    start(1, "debian"),
    _APT_STEP,
    start(2, "openmpi"),
    start(2, "ucx"),
    _MAKE_STEP,
    step(3, "ucx", "RUN ./configure --prefix=/opt/ucx"),
    made(18, "debian", 17, 61_400_000),
    start(18, "git"),
    RETRY,
)
SECOND_HALF: tuple[Event, ...] = (
    UCX_FAILS,
    blocked(24, "ucx12", "ucx"),
    start(26, "git", 2),
    made(40, "git", 14, 88_000, cached=3),
    start(40, "plain12"),
    made(41, "plain12", 0.6, 130_000_000),
    Noted(at=BEGIN + 41, about="cache", text="registry.example.com/cache:git could not be written"),
    ended_step(_MAKE_STEP, 200),
    made(205, "openmpi", 203, 1_240_000_000),
    start(205, "mpi12"),
    made(206, "mpi12", 1, None),
    TagsMoved(at=BEGIN + 207, tags=(), missing=("ucx12",)),
)
END = RunEnded(at=BEGIN + 207, exit_code=1, seconds=207, runs=5, retries=1)
INTERRUPTED: tuple[Event, ...] = (
    TargetEnded(at=BEGIN + 25, target="openmpi", outcome=NOT_REACHED),
    failed(25, "git", 7, Failure(kind=FailureKind.INTERRUPTED, message="interrupted")),
    TargetEnded(at=BEGIN + 25, target="mpi12", outcome=NOT_REACHED),
    RunEnded(at=BEGIN + 25, exit_code=130, seconds=25, signal=2),
)
