"""A project, a builder and a registry in memory: everything that a run needs, without docker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildsys.buildkit.failure import Failure
from buildsys.buildkit.invocation import Builder
from buildsys.commands.plan import make_plan
from buildsys.events.events import Event, Noted, TargetEnded, TargetPlanned
from buildsys.events.journal import Journal
from buildsys.oci.reference import Reference
from buildsys.plan.plan import Plan
from buildsys.project.run_folder import RunFolder
from buildsys.project.state import State
from buildsys.project.workspace import Workspace
from buildsys.run.decision import Decision, Selection, decide_published, selection_of
from buildsys.run.executor import RunOutcome
from buildsys.run.index import annotations_of
from buildsys.run.local import bake_locally
from buildsys.run.publish import Published, publish
from buildsys.run.session import RunContext, RunOptions, Session
from buildsys.run.store import Store, incoming_tag
from tests.support.builder import Ending, FakeBuilder, PatientStop
from tests.support.graphs import write_project
from tests.support.image_registry import FakeRegistry

PREFIX = "r.example.com/ml"


@dataclass
class Recorder:
    """Keeps all events."""

    events: list[Event]

    def take(self, event: Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        """Know that time has passed."""

    def close(self) -> None:
        """Know that there is no more."""


@dataclass
class World:
    """The graph as a project at `root`; nodes are called by their layers, as in the graph."""

    root: Path
    graph: str
    environ: dict[str, str] = field(default_factory=dict)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    builder: FakeBuilder = field(default_factory=FakeBuilder)
    stop: PatientStop = field(default_factory=PatientStop)
    events: list[Event] = field(default_factory=list)
    _selection: Selection | None = None

    def __post_init__(self) -> None:
        write_project(self.root, self.graph)
        self.builder.push = self.push
        self.builder.listing = self.listing

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)

    @property
    def store(self) -> Store:
        return Store(registry=self.registry, prefix=PREFIX)

    @property
    def plan(self) -> Plan:
        return self.selection.plan

    @property
    def selection(self) -> Selection:
        if self._selection is None:
            self._selection = selection_of(self.workspace, make_plan(self.workspace.tree()), ())
        return self._selection

    @property
    def layers(self) -> Mapping[str, str]:
        """The name in the graph of each target."""
        return {node.name: node.recipe.layer for node in self.plan.nodes} | {
            stack.name: stack.stack for stack in self.plan.stacks
        }

    def target(self, name: str) -> str:
        """Return the target of a name in the graph."""
        return next(target for target, layer in self.layers.items() if layer == name)

    def declare(self, stack: str, fields: str) -> None:
        """Add fields to a stack."""
        file = self.root / "stacks.yaml"
        self._selection = None
        text = file.read_text(encoding="utf-8").replace(f"  {stack}: {{", f"  {stack}: {{{fields}, ", 1)
        file.write_text(text, encoding="utf-8")

    def edit(self, layer: str) -> None:
        """Change what a layer builds."""
        file = self.root / "layers" / layer / "Dockerfile"
        self._selection = None
        file.write_text(file.read_text(encoding="utf-8").replace("RUN ", "RUN true && ", 1), encoding="utf-8")

    def undo(self, layer: str) -> None:
        """Take the last edit of a layer back."""
        file = self.root / "layers" / layer / "Dockerfile"
        self._selection = None
        file.write_text(file.read_text(encoding="utf-8").replace("RUN true && ", "RUN ", 1), encoding="utf-8")

    def fails(self, **endings: Ending | list[Ending]) -> None:
        """Let the next bakes of layers end so."""
        for name, ending in endings.items():
            self.builder.endings[self.target(name)] = ending if isinstance(ending, list) else [ending]

    def failing(self, name: str, failure: Failure) -> Failure:
        """Return a failure that names its target."""
        return replace(failure, target=self.target(name))

    def location(self, name: str) -> Reference:
        """Return where a target is under its key, an image apart from the index of its stack."""
        return self.store.location(self.plan.targets[self.target(name)], self.selection.keys)

    def index(self, stack: str) -> Reference:
        """Return where the index of a stack is under its key."""
        return self.store.index(self.plan.indexes[stack][0].repository, self.selection.keys.indexes[stack].key)

    def push(self, target: str) -> tuple[str, str] | None:
        """Publish a target as an engine does: to the tag of what is not checked yet."""
        if target not in self.plan.targets:
            return None
        name, keyed = self.layers[target], self.selection.keys.of(target)
        reference = self.location(name).with_tag(incoming_tag(target))
        return str(reference), self.registry.push(reference, f"{name} {keyed.key}", annotations_of(keyed))

    def listing(self, node: str) -> bytes:
        """Return what the step prints of a node that keeps its promises."""
        layer = self.layers[node]
        paths = (f"opt/{layer}", f"opt/{layer}/file") if layer not in ("system", "tools") else ("etc",)
        found = {path: "f 644 0 0 7" if path.endswith("file") else "d 755 0 0 4096" for path in ("opt", *paths)}
        return b"".join(f"E{words} {path}\0\0".encode() for path, words in found.items()) + b"Z"

    def exists(self, name: str) -> bool:
        """Whether a node, or the index of a stack, is in the registry under its key."""
        location = self.index(name) if name in self.plan.indexes else self.location(name)
        return (location.name, location.target) in self.registry.manifests_by_name

    def session(self, **options: Any) -> Session:
        self.events = []
        journal = Journal(Recorder(self.events), [], RunFolder(state=State(self.root), number=1))
        return Session(
            workspace=self.workspace,
            context=RunContext(environ=self.environ, clock=lambda: 5.0),
            options=RunOptions(**{"keep_going": True, "jobs": 1, "retries": 5, **options}),
            journal=journal,
            stop=self.stop,
            find_builder=self.find_builder,
        )

    def find_builder(self) -> Builder:
        return self.builder

    def publish(self, *names: str, tag: bool = True, **options: Any) -> Published:
        """Publish targets, all images if none is named; forget the bakes before."""
        self.builder.calls.clear()
        self.builder.texts.clear()
        self.registry.written.clear()
        plan = self.plan
        targets = tuple(map(self.target, names)) or tuple(stack.name for stack in plan.stacks)
        return publish(self.session(**options), self.store, plan, targets, tag=tag)

    def bake(self, *names: str, images: Mapping[str, tuple[str, ...]] | None = None, **options: Any) -> RunOutcome:
        """Bake targets into the engine's own store, all images if none is named."""
        self.builder.calls.clear()
        self.builder.texts.clear()
        plan = self.plan
        targets = tuple(map(self.target, names)) or tuple(stack.name for stack in plan.stacks)
        return bake_locally(self.session(**options), plan, targets, lambda: images or {})

    def decide(self, *names: str, verify: bool = False) -> Decision:
        """Return what publishing targets would do."""
        targets = tuple(map(self.target, names))
        return decide_published(self.workspace, self.store, self.plan, targets, self.environ, verify=verify)

    def actions(self, decision: Decision) -> dict[str, str]:
        """Return the action of each target by its name in the graph."""
        return {self.layers[name]: str(action.word) for name, action in decision.actions.items()}

    @property
    def baked(self) -> list[str]:
        """What was baked, by name in the graph, bake by bake."""
        return [" ".join(sorted(self.layers[target] for target in targets)) for targets in self.builder.baked]

    @property
    def outcomes(self) -> dict[str, str]:
        """How each target ended that was not merely reused, by its name in the graph."""
        ends = [event for event in self.events if isinstance(event, TargetEnded)]
        return {self.layers[end.target]: str(end.outcome) for end in ends if end.outcome != "reused"}

    @property
    def reasons(self) -> dict[str, str]:
        """Why each target is built, by its name in the graph."""
        plans = [event for event in self.events if isinstance(event, TargetPlanned)]
        return {self.layers[event.name]: event.reason for event in plans if event.action == "build"}

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Noted)]


class TwoPlatforms(World):
    """The stack `one` for two platforms; each target is called by its own name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        both = "[linux/amd64, linux/arm64]"
        stack = f"one: {{description: an image, platforms: {both}, layers: [system, a]}}"
        (self.root / "stacks.yaml").write_text(f"registry: {PREFIX}\nstacks:\n  {stack}\n", encoding="utf-8")
        for layer in ("system", "tools", "a"):
            with (self.root / "layers" / layer / "layer.yaml").open("a", encoding="utf-8") as file:
                file.write(f"platforms: {both}\n")

    @property
    def layers(self) -> dict[str, str]:
        return {name: name for name in self.plan.targets}

    def listing(self, node: str) -> bytes:
        return super().listing(node.removesuffix("-arm64"))

    def push(self, target: str) -> tuple[str, str] | None:
        if target in self.plan.targets:
            self.registry.config = {"architecture": self.plan.targets[target].platform.partition("/")[2]}
        return super().push(target)
