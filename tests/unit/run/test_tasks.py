"""A decision as tasks: what may share a bake, and what is expected to take how long."""

from __future__ import annotations

from buildsys.commands.plan import make_plan
from buildsys.events.history import History
from buildsys.plan.actions import BUILD, REUSE, Action
from buildsys.run.scheduler import Task
from buildsys.run.tasks import ASSEMBLE, COMPOSE, tasks_of

SYSTEM = """\
description: a system
kind: system
licence: free
provides: [os]
parent: {name: linux, images: ["example.com/linux:1"]}
"""
TOOL = "description: a tool\nkind: artifact\nlicence: free\nprefix: /opt/%s\ntoolchain: {layer: tools}\n"
FILE = "FROM toolchain AS build\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
LOCK = f"  linux:\n    reference: example.com/linux:1\n    digest: sha256:{'1' * 64}\n"
TREE = {
    "layers/system/layer.yaml": SYSTEM,
    "layers/system/Dockerfile": "FROM base\nRUN true\n",
    "layers/tools/layer.yaml": SYSTEM.replace("kind: system", "kind: toolchain").replace("provides: [os]\n", ""),
    "layers/tools/Dockerfile": "FROM base\nRUN true\n",
    "layers/small/layer.yaml": TOOL % "small",
    "layers/small/Dockerfile": FILE,
    "layers/large/layer.yaml": TOOL % "large" + "weight: {memory: 2 GB}\n",
    "layers/large/Dockerfile": FILE,
    "layers/slow/layer.yaml": TOOL % "slow" + "weight: {minutes: 40}\n",
    "layers/slow/Dockerfile": FILE,
    "stacks.yaml": "registry: r\nstacks:\n  one: {description: an image, layers: [system, small, large, slow]}\n",
    "buildsys.lock": f"version: 1\nparents:\n{LOCK}",
}


def tasks(seconds: dict[str, float], *, composed: bool = False, reused: str = "") -> dict[str, Task]:
    """Return the tasks of the tree by layer, the stack's as `one`."""
    made = make_plan(TREE)
    layers = {node.name: node.recipe.layer for node in made.nodes}
    names = {layer: name for name, layer in layers.items()} | {"one": made.stacks[0].name}
    actions = {
        name: Action(target=name, word=REUSE if name == names.get(reused) else BUILD, reason="") for name in made.order
    }
    history = History(seconds={names[layer]: each for layer, each in seconds.items()})
    images = frozenset({made.stacks[0].name}) if composed else frozenset[str]()
    return {layers.get(task.name, "one"): task for task in tasks_of(made, actions, history, images)}


def test_only_what_was_recorded_as_short_and_declares_no_weight_may_share_a_bake() -> None:
    found = tasks({"system": 4, "small": 9, "large": 4, "slow": 90})
    assert {layer for layer, task in found.items() if task.light} == {"system", "small", "one"}
    assert {layer for layer, task in tasks({}).items() if task.light} == {"one"}


def test_seconds_are_those_recorded_then_those_declared() -> None:
    assert tasks({"slow": 90})["slow"].seconds == 90
    assert tasks({})["slow"].seconds == 2400
    assert tasks({})["large"].memory == 2 * 10**9


def test_image_that_is_assembled_counts_as_short_whatever_was_recorded_beside_others() -> None:
    assembled, composed = tasks({"one": 70})["one"], tasks({"one": 70}, composed=True)["one"]
    assert (assembled.kind, assembled.seconds, assembled.light) == (ASSEMBLE, 1.0, True)
    assert (composed.kind, composed.seconds, composed.light) == (COMPOSE, 70, False)


def test_what_exists_is_no_task_and_nothing_waits_for_it() -> None:
    found = tasks({}, reused="system")
    assert "system" not in found
    assert found["one"].needs == tuple(task.name for layer, task in found.items() if layer not in ("tools", "one"))
