"""Runs for the tests of reports: a plan and what happens to it, as the events that a bake would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    REUSED,
    Event,
    FolderSize,
    ImageLayer,
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

BEGAN = 1_790_000_000.0


@dataclass(kw_only=True, slots=True)
class Story:
    """Gathers events, at seconds since the run began; `events()` sorts them as they would have been written."""

    said: list[Event] = field(default_factory=list)

    def began(self, command: str = "buildsys bake --all --push -k") -> None:
        self.said.append(
            RunBegan(
                at=BEGAN,
                command=command,
                driver="docker-container",
                builder="ci",
                registry="127.0.0.1:5000/ml",
                jobs=2,
                max_targets=16,
            )
        )

    def planned(
        self, name: str, *needs: str, layer: str = "", action: str = "build", title: str = "", reason: str = ""
    ) -> None:
        self.said.append(
            TargetPlanned(
                at=BEGAN + 0.2,
                name=name,
                title=title or name,
                kind="node" if layer else "image",
                layer=layer,
                action=action,
                reason=reason or f"layers/{layer or name}/Dockerfile changed since the last key",
                needs=needs,
                estimate=40.0 if layer else None,
            )
        )

    def started(self, target: str, at: float, attempt: int = 1) -> None:
        self.said.append(TargetStarted(at=BEGAN + at, target=target, attempt=attempt))

    def step(
        self, target: str, name: str, kind: str, start: float, end: float, *, cached: bool = False, error: str = ""
    ) -> None:
        digest = f"sha256:{target}-{name}"
        self.said.append(StepBegan(at=BEGAN + start, target=target, digest=digest, name=name, kind=kind))
        self.said.append(
            StepEnded(
                at=BEGAN + end,
                target=target,
                digest=digest,
                name=name,
                kind=kind,
                started=BEGAN + start,
                completed=BEGAN + end,
                cached=cached,
                error=error,
            )
        )

    def retried(self, target: str, at: float, attempt: int, wait: float, why: str) -> None:
        self.said.append(Retried(at=BEGAN + at, target=target, attempt=attempt, of=5, wait=wait, why=why))

    def ended(self, target: str, at: float, outcome: str = MADE, **facts: object) -> None:
        first = next((e for e in self.said if isinstance(e, TargetStarted) and e.target == target), None)
        end = TargetEnded(
            at=BEGAN + at,
            target=target,
            outcome=outcome,
            started=first.at if first else None,
            seconds=BEGAN + at - first.at if first else 0.0,
        )
        self.said.append(replace(end, **facts))  # type: ignore[arg-type]

    def worked(self, target: str, start: float, end: float, *layers: ImageLayer, **facts: object) -> None:
        """A target that is built in one attempt of four steps."""
        self.started(target, start)
        long = end - start
        self.step(target, "resolve image config for docker.io/library/debian:12", "resolve", start, start + 0.05 * long)
        self.step(target, "[1/3] FROM base", "source", start + 0.05 * long, start + 0.06 * long, cached=True)
        self.step(target, f"[2/3] RUN make {target}", "run", start + 0.06 * long, start + 0.8 * long)
        self.step(target, "[3/3] COPY --link --from=build /out /", "file", start + 0.8 * long, start + 0.84 * long)
        self.step(target, "exporting to image", "export", start + 0.84 * long, end)
        said = {
            "reference": f"127.0.0.1:5000/ml/nodes@sha256:{target}",
            "size": sum(each.size for each in layers) or 42_000_000,
            **facts,
        }
        self.ended(target, end, MADE, layers=layers, steps=3, cached=1, attempts=1, **said)

    def events(self) -> list[Event]:
        return sorted(self.said, key=lambda event: event.at)


def blob(layer: str, size: int, number: int = 0) -> ImageLayer:
    return ImageLayer(digest=f"sha256:{layer}{number}", size=size, layer=layer)


BASE = (ImageLayer(digest="sha256:parent", size=48_000_000), blob("debian-os", 61_000_000), blob("git", 22_000_000))
CONDA, MPI, CUDA = blob("miniconda", 98_000_000), blob("openmpi", 31_000_000), blob("cuda-runtime", 640_000_000)


def eventful(*, ended: bool = True) -> list[Event]:
    """Twelve targets: one is retried, one fails and blocks two images, two are reused, the rest are built."""
    story = Story()
    story.began()
    story.planned("debian-os-12", layer="debian-os", title="debian-os 12", reason="parent debian:12 moved")
    story.planned("git-debian-12", "debian-os-12", layer="git", title="git on debian-os 12", reason="base changed")
    story.planned("toolchain-12", layer="toolchain", action="reuse", title="toolchain 12", reason="present")
    story.planned("miniconda", layer="miniconda", action="reuse", title="miniconda py312_24.9.2-0")
    story.planned("openmpi-4_1_4", "toolchain-12", layer="openmpi", title="openmpi 4.1.4 on debian 12")
    story.planned("ucx-1_9_0", "toolchain-12", layer="ucx", title="ucx 1.9.0 on debian 12")
    story.planned("cuda-12_4", "toolchain-12", layer="cuda-runtime", title="cuda-runtime 12.4 from wheels")
    story.planned("cpu", "git-debian-12", "miniconda", title="openmpi-less-debian12")
    story.planned("cpu-mpi", "git-debian-12", "miniconda", "openmpi-4_1_4", title="openmpi4.1.4-debian12")
    story.planned("gpu-mpi", "git-debian-12", "miniconda", "openmpi-4_1_4", "cuda-12_4", title="openmpi4.1.4-cuda12.4")
    story.planned("rdma", "git-debian-12", "openmpi-4_1_4", "ucx-1_9_0", title="openmpi4.1.4-rdma-debian12")
    story.planned("gpu-rdma", "git-debian-12", "cuda-12_4", "ucx-1_9_0", title="openmpi4.1.4-cuda12.4-rdma")
    for name, layers in (("toolchain-12", ()), ("miniconda", (CONDA,))):
        reference = f"127.0.0.1:5000/ml/nodes@sha256:{name}"
        story.ended(name, 0.8, REUSED, reference=reference, size=98_000_000, layers=layers)
    story.started("debian-os-12", 1.0)
    story.step("debian-os-12", "[1/2] FROM docker.io/library/debian:12", "source", 1.1, 3.0)
    story.retried("debian-os-12", 6.0, 1, 4.0, "registry said 503")
    story.started("ucx-1_9_0", 1.2)
    story.step("ucx-1_9_0", "[build 2/3] RUN ./configure && make", "run", 1.4, 5.0, error="exit code: 1")
    story.ended(
        "ucx-1_9_0",
        5.2,
        FAILED,
        steps=2,
        attempts=1,
        file="layers/ucx/Dockerfile",
        alone="buildsys bake ucx-1_9_0",
        log=".buildsys/logs/ucx-1_9_0.log",
        failure=Failure(
            kind=FailureKind.COMMAND,
            message='process "/bin/sh -c ./configure && make" did not complete successfully: exit code: 1',
            target="ucx-1_9_0",
            step="[build 2/3] RUN ./configure && make",
            file="Dockerfile",
            line=14,
            source=("RUN ./configure --prefix=/opt/ucx \\", " && make -j2 install"),
            command="./configure && make",
            status=1,
            last_words=("checking rdma/rdma_cma.h usability... no", "configure: error: rdma/rdma_cma.h not found"),
        ),
    )
    for name in ("rdma", "gpu-rdma"):
        story.ended(name, 5.3, BLOCKED, blocked_by="ucx-1_9_0")
    story.started("debian-os-12", 10.0, attempt=2)
    story.step("debian-os-12", "[2/2] RUN apt-get install --yes ca-certificates", "run", 10.2, 31.0)
    story.step("debian-os-12", "pushing layers", "push", 31.0, 35.0)
    story.ended(
        "debian-os-12",
        35.0,
        size=109_000_000,
        layers=(replace(BASE[0], layer="debian-os"), BASE[1]),
        unpacked=250_000_000,
        folders=(FolderSize(path="usr/lib", size=130_000_000), FolderSize(path="usr/share", size=90_000_000)),
        steps=2,
        attempts=2,
    )
    story.worked("cuda-12_4", 12.0, 64.0)
    story.worked("git-debian-12", 35.5, 52.0, replace(BASE[0], layer="debian-os"), *BASE[1:])
    story.worked("openmpi-4_1_4", 52.5, 171.0)
    story.worked("cpu", 66.0, 70.0, *BASE, CONDA, tags=("127.0.0.1:5000/ml/cpu:1.2", "127.0.0.1:5000/ml/cpu:latest"))
    if ended:
        story.worked("cpu-mpi", 174.0, 178.0, *BASE, CONDA, MPI)
        story.worked("gpu-mpi", 174.5, 183.0, *BASE, CONDA, MPI, CUDA)
        story.said.append(Noted(at=BEGAN + 90, about="cache", text="ml/cache:debian12 does not exist: a cold build"))
        story.said.append(TagsMoved(at=BEGAN + 184, missing=("rdma", "gpu-rdma")))
        story.said.append(RunEnded(at=BEGAN + 185, exit_code=1, seconds=185.0, runs=6, retries=1))
    return story.events()


def before() -> list[Event]:
    """The run before the eventful one: the same targets, all of them built, Open MPI quicker."""
    faster: list[Event] = []
    for event in eventful():
        if isinstance(event, TargetEnded) and event.outcome in (FAILED, BLOCKED):
            event = replace(event, outcome=MADE, failure=None, blocked_by="")
        if isinstance(event, TargetEnded | StepEnded) and event.target == "openmpi-4_1_4":
            event = replace(event, at=min(event.at, BEGAN + 120))
        if isinstance(event, RunEnded):
            event = replace(event, exit_code=0, seconds=134.0)
        if isinstance(event, Noted | TagsMoved):
            continue
        faster.append(replace(event, at=event.at - 86_400))
    return faster


def many(images: int, nodes: int = 60) -> list[Event]:
    """A run of that many images on nodes of three depths, two hundred at a time."""
    story = Story()
    story.began()
    names: list[str] = []
    for number in range(nodes):
        needs = [f"node-{number // 4}"] if number >= 4 else []
        story.planned(f"node-{number}", *needs, layer=f"layer-{number % 7}")
        story.worked(f"node-{number}", 1 + number * 3, 1 + number * 3 + 9)
        names.append(f"node-{number}")
    for number in range(images):
        needs = [names[(number * step + step) % nodes] for step in (1, 3, 7, 11)]
        story.planned(f"image-{number}", *needs)
        start = nodes * 3 + 10 + number * 0.5
        blobs = [blob(f"layer-{each % 7}", 3_000_000 + each, each) for each in range(number % 5, 12)]
        story.worked(f"image-{number}", start, start + 6, *blobs)
    end = nodes * 3 + 20 + images * 0.5
    story.said.append(RunEnded(at=BEGAN + end, exit_code=0, seconds=end, runs=nodes))
    return story.events()


def of(*targets: tuple[str, Sequence[str], float, float]) -> list[Event]:
    """Targets as name, needs, start and end in seconds, in a run of a hundred seconds."""
    story = Story()
    story.began()
    for name, needs, start, end in targets:
        story.planned(name, *needs, layer="layer")
        if end > start:
            story.worked(name, start, end)
    story.said.append(RunEnded(at=BEGAN + 100, exit_code=0, seconds=100.0))
    return story.events()
