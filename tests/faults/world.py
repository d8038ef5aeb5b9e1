"""Project, engine, registry, proxy and witness together, and the one story of every case.

A new version of the project is baked while something goes wrong. What the registry has afterwards is read by the
witness. Then the same is baked again with nothing wrong, on an engine that knows nothing, and the witness reads again.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine_daemons import is_running
from tests.faults.engines import instance_of
from tests.faults.proxy import Proxy
from tests.faults.rules import Rule
from tests.faults.witness import Witness
from tests.faults.workload import NODES, STACKS, Ended, Project, expected_files
from tests.support.commands import PRIVATE_ENGINE, OwnEngine, run

PREFIX = "x"
ALL = frozenset(NODES.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What of a version the registry has under its keys, and what the public tags point to."""

    nodes: frozenset[str]
    stacks: frozenset[str]
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """One case from its beginning to its good end; `met` counts the requests that met a fault."""

    first: Ended
    met: int
    after: Published
    before: dict[str, str]
    second: Ended


@dataclass(slots=True)
class World:
    """What a case happens in; `last` are the public tags of the last version that was published whole."""

    engine: OwnEngine
    proxy: Proxy
    witness: Witness
    project: Project
    last: dict[str, str] = field(default_factory=dict)
    sound: bool = False
    _keys: Mapping[str, str] | None = None
    _old: set[tuple[str, str]] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, engine: OwnEngine, proxy: Proxy, folder: Path) -> World:
        """Put it together: everything goes through the proxy, the parent too."""
        overlay = engine.overlay.read_text(encoding="utf-8").replace(engine.registry, proxy.address)
        environment = {**engine.environment, "BUILDSYS_REGISTRY": f"{proxy.address}/{PREFIX}"}
        project = Project(folder=folder, environment=environment, overlay=overlay)
        return cls(engine=engine, proxy=proxy, witness=Witness(address=engine.registry), project=project)

    def prepare(self) -> None:
        """End all faults, start what was killed, and have a version published whole."""
        self.mend()
        if not self.sound:
            self.next_version()
            done = self.project.bake()
            assert done.code == 0, done.output
            assert sorted(done.runs) == sorted(ALL), done.output
            self.right()

    def mend(self) -> None:
        """End all faults, and start what was killed."""
        self.proxy.restore()
        self.project.extra = {}
        self.start()

    def start(self) -> None:
        """Start what does not run of engine and registry."""
        if is_running(instance_of(self.engine.name)):
            return
        done = run(sys.executable, PRIVATE_ENGINE, "start", "--name", self.engine.name)
        assert done.code == 0, done.stderr

    def public(self) -> dict[str, str]:
        """Return what the public tags point to."""
        return {stack: self.witness.digest(f"{PREFIX}/{stack}", "latest") for stack in STACKS}

    def published(self) -> Published:
        """Return what of the present version is published; everything that has a tag must be whole."""
        self.all_whole()
        keys = self.keys()
        return Published(
            nodes=frozenset(name for name in ALL if self.witness.manifest(f"{PREFIX}/nodes", keys[name])),
            stacks=frozenset(name for name in STACKS if self.witness.manifest(f"{PREFIX}/{name}", f"key-{keys[name]}")),
            tags=self.public(),
        )

    def all_whole(self) -> None:
        """Every tag of this version and every tag that moves names a manifest whose blobs are complete."""
        old = self._old
        wrong = [
            each
            for repository in self.witness.repositories(PREFIX)
            for tag in self.witness.tags(repository)
            if (repository, tag) not in old
            for each in self.witness.lacking(repository, tag)
        ]
        assert not wrong, wrong

    def keys(self) -> Mapping[str, str]:
        """Return the keys of the present version."""
        if self._keys is None:
            self._keys = self.project.planned().keys
        return self._keys

    def right(self, *, settled: bool = True) -> Published:
        """The present version is published, whole, tagged, and has in it what it should; remember it as the last.

        Two bakes on two engines make two images of one key, both right: unless `settled` a tag may name either.
        """
        found = self.published()
        assert (found.nodes, found.stacks) == (ALL, frozenset(STACKS))
        keys = self.keys()
        for stack in STACKS:
            repository = f"{PREFIX}/{stack}"
            assert not settled or found.tags[stack] == self.witness.digest(repository, f"key-{keys[stack]}"), stack
            files = self.witness.files(repository, "latest", r"etc/built/\w+|opt/\w+/built")
            assert files == expected_files(stack, self.project.texts), stack
        self.last = found.tags
        self.sound = True
        return found

    def next_version(self, *layers: str) -> None:
        """Write a version of the project in which some layers, or all, were never built."""
        self.sound = False
        self._keys = None
        # What is under the key of another version was looked at when that was the present one, and does not move.
        self._old = {
            (repository, tag)
            for repository in self.witness.repositories(PREFIX)
            for tag in self.witness.tags(repository)
            if re.fullmatch(r"(key-)?[0-9a-f]{64}", tag)
        }
        self.project.write(f"v{next(self._numbers)}", *layers)

    def suffer(
        self,
        *rules: Rule,
        during: Callable[[World], Ended] | None = None,
        settled: bool = True,
    ) -> Story:
        """Bake a new version under these rules, or as `during` does it; judge; bake again without; judge."""
        self.next_version()
        self.proxy.meet(*rules)
        return self.recover(during(self) if during else self.project.bake(), settled=settled)

    def recover(self, first: Ended, *, partly: bool = False, settled: bool = True) -> Story:
        """Judge what a run left, run again with nothing wrong on an engine that knows nothing, and judge that.

        With `partly` the fault met the move of the tags itself: each is the old or the new one.
        """
        met = self.proxy.met()
        self.mend()
        before = self.last
        after = self.right(settled=settled) if first.code == 0 else self.published()
        self.sound = False
        if first.code != 0 and not partly:
            assert after.tags == before, f"public tags moved\n{first.output}"
        missing = ALL - after.nodes
        planned = self.project.planned()
        assert planned.keys == self.keys()
        assert planned.build == missing | (STACKS.keys() - after.stacks)
        self.engine.reset()
        second = self.project.bake()
        assert second.code == 0, second.output
        assert sorted(second.runs) == sorted(missing), second.output
        self.right()
        return Story(first=first, met=met, after=after, before=before, second=second)
