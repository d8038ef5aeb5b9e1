"""How runs end, as a person reads it: each ending is a text file, kept byte for byte.

After an intended change: `UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden`, and read the difference.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.__main__ import main
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    NOT_REACHED,
    REUSED,
    Event,
    ImageLayer,
    ImagesCopied,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
)
from buildsys.events.model import run_model
from buildsys.report.console import Screen
from buildsys.report.summary import show_summary

SCREENS = Path(__file__).parent / "screens"
NODES = {
    "debian-os-12": "debian-os 12",
    "git-debian-os-12": "git on debian-os 12",
    "openmpi-4_1_4": "openmpi 4.1.4 on toolchain-debian 12",
    "ucx-1_9_0": "ucx 1.9.0 on toolchain-debian 12",
}
IMAGES = {"debian12": ("git-debian-os-12", "openmpi-4_1_4"), "debian12-ucx": ("git-debian-os-12", "ucx-1_9_0")}
BEGAN = RunBegan(at=0.0, command="buildsys bake --all --push", driver="docker", jobs=16, max_targets=48)
PREFIX = "registry.example.com/ml"


def planned(action: str) -> list[Event]:
    found: list[Event] = [BEGAN]
    for name, title in NODES.items():
        found.append(TargetPlanned(at=0.0, name=name, title=title, kind="node", layer="l", action=action))
    for name, needs in IMAGES.items():
        found.append(TargetPlanned(at=0.0, name=name, title=name, kind="image", action=action, needs=needs))
    return found


def run_step(target: str) -> StepEnded:
    return StepEnded(
        at=1.0, target=target, digest=f"sha256:{target}", name="RUN make", kind="run", started=0.0, completed=1.0
    )


def made(target: str, seconds: float) -> list[Event]:
    if target not in IMAGES:
        end = TargetEnded(at=1.0, target=target, outcome=MADE, started=0.0, seconds=seconds, steps=2, cached=0)
        return [run_step(target), end]
    layers = tuple(ImageLayer(digest=f"sha256:{n}", size=60_000_000, layer="") for n in range(4))
    reference = f"{PREFIX}/{target}@sha256:{'ab' * 32}"
    tags = (f"{PREFIX}/{target}:latest",)
    size = sum(layer.size for layer in layers)
    end = TargetEnded(
        at=1.0, target=target, outcome=MADE, seconds=seconds, reference=reference, size=size, layers=layers, tags=tags
    )
    return [end]


def done(code: int, seconds: float, signal: int = 0) -> RunEnded:
    return RunEnded(at=9.0, exit_code=code, seconds=seconds, signal=signal)


def success() -> list[Event]:
    ends = [event for target in (*NODES, *IMAGES) for event in made(target, 83.0)]
    tags = TagsMoved(at=8.0, tags=tuple(f"{PREFIX}/{name}:latest" for name in IMAGES))
    again = Retried(
        at=2.0, target="ucx-1_9_0", attempt=2, of=6, wait=1.3, why="failed to push: 503 Service Unavailable"
    )
    cache = Noted(at=3.0, about="cache", text="ucx-1_9_0: exporting cache to registry: 500 Internal Server Error")
    return [*planned("build"), again, cache, *ends, tags, done(0, 412.0)]


def failure() -> list[Event]:
    broken = Failure(
        kind=FailureKind.COMMAND,
        message='process "/bin/sh -c ./configure && make" did not complete successfully: exit code: 1',
        target="ucx-1_9_0",
        file="Dockerfile",
        line=14,
        command="./configure && make",
        status=1,
        last_words=("checking for rdma/rdma_cma.h... no", "configure: error: rdma/rdma_cma.h not found"),
    )
    failed = TargetEnded(
        at=2.0,
        target="ucx-1_9_0",
        outcome=FAILED,
        seconds=21.0,
        failure=broken,
        file="layers/ucx/Dockerfile",
        alone="buildsys bake --push ucx-1_9_0",
        log=".buildsys/logs/ucx-1_9_0.log",
    )
    good = [event for target in (*list(NODES)[:3], "debian12") for event in made(target, 83.0)]
    blocked = TargetEnded(at=2.0, target="debian12-ucx", outcome=BLOCKED, blocked_by="ucx-1_9_0")
    tags = TagsMoved(at=8.0, missing=("debian12-ucx",))
    return [*planned("build"), *good, failed, blocked, tags, done(1, 104.2)]


def tags_not_taken() -> list[Event]:
    ends = [event for target in (*NODES, *IMAGES) for event in made(target, 83.0)]
    tags = TagsMoved(at=8.0, tags=(f"{PREFIX}/debian12:latest",), failed=("debian12-ucx",))
    return [*planned("build"), *ends, tags, done(5, 412.0)]


def copies_missing() -> list[Event]:
    ends = [event for target in (*NODES, *IMAGES) for event in made(target, 83.0)]
    moved = TagsMoved(at=8.0, tags=tuple(f"{PREFIX}/{each}:latest" for each in IMAGES))
    other = "ghcr.io/example/ml"
    tags = tuple(f"{other}/{each}:latest" for each in IMAGES)
    good = ImagesCopied(at=9.0, registry=other, copied=tuple(IMAGES), tags=tags, sent=14, mounted=3, size=734_003_200)
    why = "registry `mirror.example.com` cannot be reached: connection refused"
    down = ImagesCopied(at=9.0, registry="mirror.example.com/ml", lacking=tuple(IMAGES), why=why)
    return [*planned("build"), *ends, moved, good, down, done(1, 412.0)]


def interrupt() -> list[Event]:
    good = [event for target in list(NODES)[:2] for event in made(target, 12.0)]
    rest = [TargetEnded(at=2.0, target=target, outcome=NOT_REACHED) for target in (*list(NODES)[2:], *IMAGES)]
    tags = TagsMoved(at=8.0, missing=tuple(IMAGES))
    stop = Noted(at=2.0, about="stop", text="what runs is ended; asked again, at once")
    return [*planned("build"), *good, stop, *rest, tags, done(130, 31.0, signal=2)]


def nothing_to_do() -> list[Event]:
    ends = [
        TargetEnded(
            at=0.0,
            target=name,
            outcome=REUSED,
            reference=f"{PREFIX}/{name}:key-1@sha256:{'ab' * 32}",
            tags=(f"{PREFIX}/{name}:latest",),
        )
        for name in IMAGES
    ]
    plans = [event for event in planned("reuse") if isinstance(event, TargetPlanned) and event.kind == "image"]
    return [BEGAN, *plans, *ends, TagsMoved(at=1.0), done(0, 0.8)]


def many() -> list[Event]:
    plans = [
        replace(event, name=f"image{number}", title=f"image{number}")
        for event in planned("build")
        if isinstance(event, TargetPlanned) and event.name == "debian12"
        for number in range(300)
    ]
    ends = [TargetEnded(at=1.0, target=event.name, outcome=MADE, seconds=1.0) for event in plans]
    return [BEGAN, *plans, *ends, done(0, 300.0)]


def kept(name: str, text: str) -> None:
    path = SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", [success, failure, tags_not_taken, copies_missing, interrupt, nothing_to_do, many])
def test_ending_is_the_kept_screen(ending: Callable[[], list[Event]]) -> None:
    stream = io.StringIO()
    show_summary(run_model(ending()), Screen(stream, {}), report=".buildsys/report.html", command=BEGAN.command)
    kept(ending.__name__.replace("_", "-"), stream.getvalue())


def test_screen_without_unicode_says_the_same() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    show_summary(run_model(failure()), Screen(stream, {}), command=BEGAN.command)
    stream.flush()
    kept("failure-ascii", buffer.getvalue().decode("ascii"))


def test_no_engine_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no docker on this PATH, and the real command line says so."""
    project = tmp_path / "project"
    shutil.copytree(Path(__file__).parent / "one-stack" / "project", project)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BUILDSYS_REGISTRY", "buildsys")
    monkeypatch.setattr(sys, "argv", ["buildsys", "-C", str(project), "bake", "--all"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    kept("no-engine", f"{told.out}{told.err}ended with {ended.value.code}\n")
