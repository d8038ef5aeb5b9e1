"""A builder that builds every target at once, but for those that a test lets fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult
from buildsys.buildkit.progress import Status, Text
from buildsys.buildkit.vertices import Snapshot

DOCKER = Docker(
    command=("docker",),
    buildx=("docker-buildx",),
    buildx_version="0.29.1",
    engine_version="28.5.2",
    builder="default",
    driver="docker",
    containerd_store=True,
    bake_flags=frozenset(),
    platforms=("linux/amd64",),
    # Nothing is run, so nothing is emulated.
    native=("linux/amd64", "linux/arm64"),
)
FAILING_RUN = Failure(kind=FailureKind.COMMAND, message='process "make" did not complete successfully: exit code: 2')
BROKEN_CONNECTION = Failure(kind=FailureKind.TRANSIENT, message="no active session")
# What becomes of a target in one bake: None is success.
Ending = Failure | Callable[[], Failure | None] | None


class PatientStop(Stop):
    """A stop whose waits take no time; `waits` are those that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


@dataclass
class FakeBuilder:
    """Takes the endings of each target from `endings`, bake by bake, and builds it where there are none left.

    `push` publishes what was built and returns its reference and digest; a bake ends at its first failure. `listing` is
    what the step prints that lists a node, None where it writes nothing.
    """

    endings: dict[str, list[Ending]] = field(default_factory=dict)
    push: Callable[[str], tuple[str, str] | None] = lambda _target: None
    listing: Callable[[str], bytes | None] = lambda _node: b"Z"
    docker: Docker = DOCKER
    platforms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calls: list[BakeCall] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def bake(
        self, call: BakeCall, on_event: Callable[[Status | Text], None], *, stop: Stop, log: Path | None = None
    ) -> BakeResult:
        self.calls.append(call)
        self.texts.append((call.root / call.files[0]).read_text(encoding="utf-8"))
        published: dict[str, str] = {}
        for target in call.targets:
            ending = self.endings[target].pop(0) if self.endings.get(target) else None
            failure = ending() if callable(ending) else ending
            if failure is None and target in call.helpers:
                self._list(call, target)
                continue
            if failure is not None:
                return BakeResult(exit_code=1, seconds=0, steps=Snapshot(), failure=failure, published=published)
            if pushed := self.push(target):
                published[pushed[0]] = pushed[1]
        return BakeResult(exit_code=0, seconds=0, steps=Snapshot(), published=published)

    def _list(self, call: BakeCall, target: str) -> None:
        """Write the list of a node where its target says."""
        raw = self.listing(target.removeprefix("_inventory_"))
        (output,) = json.loads(self.texts[-1])["target"][target]["output"]
        if raw is not None:
            folder = call.root / output.removeprefix("type=local,dest=")
            folder.mkdir()
            (folder / "inventory").write_bytes(raw)

    def print(self, call: BakeCall) -> dict[str, Any]:
        return {"target": {target: {"tags": [f"tag-of/{target}:1"]} for target in call.targets}}

    def sizes(self, references: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        return {reference: (f"sha256:{reference}", 7) for reference in references}

    def image_platforms(self, reference: str) -> tuple[str, ...]:
        return self.platforms.get(reference, ())

    @property
    def baked(self) -> list[tuple[str, ...]]:
        """The targets of each bake, without those that list nodes."""
        found = (tuple(target for target in call.targets if target not in call.helpers) for call in self.calls)
        return [targets for targets in found if not targets[0].startswith("base-image-")]
