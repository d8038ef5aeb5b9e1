"""Whether the machine that builds has room for another bake: its free disk, its memory, how many targets it bears."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildsys.buildkit.docker import Docker
from buildsys.run.scheduler import Limits, Task

# Engines lose sessions when hundreds of targets are live: docker/buildx#3810, moby/buildkit#6422. The docker driver
# loses jobs first; on kubernetes pods are small.
_MOST_TARGETS = {"docker": 48, "docker-container": 64, "remote": 64, "kubernetes": 32}
MOST_TARGETS = 64
# A bake process takes 60 MB; fewer would leave sleeping and downloading steps waiting.
_JOBS = 32
# Of processor time that a bake takes beside its steps, in the client and here (buildx 0.29: 14 s for 27 bakes).
_START_SECONDS = 0.5


def limits_for(docker: Docker | None, *, jobs: int | None, targets: int | None) -> Limits:
    """Return how much may go on at once on a builder, None for a run that needs none; at most 64 targets."""
    driver = docker.driver if docker else ""
    most = min(targets or _MOST_TARGETS.get(driver, MOST_TARGETS), MOST_TARGETS)
    memory = docker.memory if docker and docker.memory and _on_this_engine(docker) else None
    start = _START_SECONDS / (os.cpu_count() or 1)
    return Limits(jobs=min(jobs or _JOBS, most), targets=most, memory=memory, start=start)


def _on_this_engine(docker: Docker) -> bool:
    return docker.driver in ("docker", "docker-container")


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """The disk of a builder: `folder` is on it, None where this machine cannot see it; `floor` in bytes stays free."""

    folder: Path | None
    floor: int

    def shortage(self, live: Collection[Task]) -> str:
        """Return why nothing more may be started beside what is live, empty if it may."""
        if self.folder is None:
            return ""
        free = shutil.disk_usage(self.folder).free
        left = free - sum(task.disk for task in live)
        if left >= self.floor:
            return ""
        asked = f", of which what runs may take {(free - left) / 1e9:.1f} GB" if left < free else ""
        return (
            f"the builder's disk has {free / 1e9:.1f} GB free{asked}, and {self.floor / 1e9:.1f} GB are to stay free"
            " (--min-free): nothing more is started"
        )


def disk_of(docker: Docker, *, floor: int) -> Disk:
    """Return the disk of a builder; that of another machine cannot be seen."""
    folder = Path(docker.root) if docker.root else None
    here = folder is not None and docker.host == platform.node() and _on_this_engine(docker) and folder.is_dir()
    return Disk(folder=folder if here else None, floor=floor)


def live_tasks(tasks: Mapping[str, Task], names: Collection[str]) -> tuple[Task, ...]:
    """Return the tasks of these names."""
    return tuple(tasks[name] for name in names)
