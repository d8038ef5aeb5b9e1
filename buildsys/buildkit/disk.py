"""How much room the disk of a builder has, as far as this machine can see it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from buildsys.values import dataclass

if TYPE_CHECKING:
    # A run that builds nothing does not wait for it.
    from buildsys.buildkit.docker import Docker

LOCAL_DRIVERS = ("docker", "docker-container")


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """The disk of a builder: `folder` is on it, None where this machine cannot see it; `floor` in bytes stays free."""

    folder: Path | None
    floor: int

    @property
    def free(self) -> int:
        """The bytes that are free now, 0 where that is not known."""
        return shutil.disk_usage(self.folder).free if self.folder else 0

    def shortage(self, sizes: Iterable[int]) -> str:
        """Return why tasks that take so many bytes cannot run at once, empty if they can."""
        if self.folder is None:
            return ""
        free = self.free
        left = free - sum(sizes)
        if left >= self.floor:
            return ""
        reserved = f" (tasks may take {(free - left) / 1e9:.1f} GB of it)" if left < free else ""
        return (
            f"the builder's disk has {free / 1e9:.1f} GB free{reserved}, and {self.floor / 1e9:.1f} GB are to stay free"
            " (--min-free): nothing more is started"
        )


def disk_of(docker: Docker, *, floor: int) -> Disk:
    """Return the disk of a builder; that of another machine cannot be seen."""
    folder = Path(docker.root) if docker.root else None
    here = docker.host == platform.node() and docker.driver in LOCAL_DRIVERS
    return Disk(folder=folder if folder and here and folder.is_dir() else None, floor=floor)
