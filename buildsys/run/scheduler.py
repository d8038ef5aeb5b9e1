"""Which targets are started next, of those whose needs exist, and what a failure blocks: the ready queue of a run."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from buildsys.events.history import History
from buildsys.plan.actions import Action, ActionKind
from buildsys.plan.plan import Plan
from buildsys.values import dataclass

NODE, ASSEMBLE, COMPOSE = "node", "assemble", "compose"
# Without a recorded or declared duration: a node runs something, an image is put together.
_NODE_SECONDS = 30.0
IMAGE_SECONDS = 1.0
# So much work is lost when a different task in the same bake fails.
_LIGHT_SECONDS = 20.0

# What shares a bake ends with its longest task: it may wait so long, or this part of its own duration.
_WAIT_SECONDS, _WAIT = 2.0, 0.5
# To start bakes may take this part of their own duration.
_STARTING = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A target to build.

    `needs` are tasks of the same run. `seconds` is its expected duration. A light task (an assembly, a node that was
    recorded as short) may share a bake with others of its `kind` that take about as long; after a failure in it they
    are baked once more. `memory` and `disk` are in bytes, 0 for little.
    """

    name: str
    kind: str
    needs: tuple[str, ...] = ()
    seconds: float = 0.0
    light: bool = False
    memory: int = 0
    disk: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may run at once: `jobs` bakes, `targets` in them, `memory` bytes as tasks declare them; None: unknown.

    `batch` targets at most are in one bake. `start` is what the start of one takes, in seconds of the whole machine.
    """

    jobs: int
    targets: int
    batch: int = 48
    memory: int | None = None
    start: float = 1.0


class Schedule:
    """A run's state: each task waits, is live, is done, has failed or is blocked.

    Tasks are given in an order in which they can be built. The one with the longest remaining path goes first, so that
    the end of the run does not wait for what could have begun early.
    """

    def __init__(self, tasks: Iterable[Task], limits: Limits) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._limits = limits
        self._above: dict[str, list[str]] = {name: [] for name in self._tasks}
        for task in self._tasks.values():
            for need in dict.fromkeys(task.needs):
                self._above[need].append(task.name)
        self._remaining: dict[str, float] = {}
        for name, task in reversed(self._tasks.items()):
            self._remaining[name] = task.seconds + max((self._remaining[each] for each in self._above[name]), default=0)
        self._open = {name: len(set(task.needs)) for name, task in self._tasks.items()}
        rank = {name: number for number, name in enumerate(self._tasks)}
        order = sorted(self._tasks, key=lambda name: (-self._remaining[name], rank[name]))
        self._places = {name: place for place, name in enumerate(order)}
        # Always in that order. A heap would give its first only, and which others share its bake is decided by all.
        self._ready = [name for name in order if self._open[name] == 0]
        self._batches: dict[str, frozenset[str]] = {}
        self._blocked: dict[str, str] = {}
        self._ended: set[str] = set()

    @property
    def live(self) -> frozenset[str]:
        """What was taken and has not ended."""
        return frozenset(self._batches)

    @property
    def blocked(self) -> Mapping[str, str]:
        """What cannot be built, and the failed task that it needs."""
        return MappingProxyType(self._blocked)

    @property
    def waiting(self) -> tuple[str, ...]:
        """What was neither taken nor blocked, in build order."""
        return tuple(
            name
            for name in self._tasks
            if name not in self._batches and name not in self._ended and name not in self._blocked
        )

    def task(self, name: str) -> Task:
        """Return a task by its name."""
        return self._tasks[name]

    def take(self, has_room: Callable[[Task], bool] = lambda _task: True) -> tuple[str, ...]:
        """Take what is to be started now as one bake; nothing if the limits leave no room or nothing is ready.

        A task for which there is no room now waits, and others go before it.
        """
        if len(set(self._batches.values())) >= self._limits.jobs:
            return ()
        room = self._limits.targets - len(self._batches)
        if room < 1:
            return ()
        first = next((name for name in self._ready if self._fits(name) and has_room(self._tasks[name])), None)
        if first is None:
            return ()
        taken = self._sharing(first)[:room]
        batch = frozenset(taken)
        for name in taken:
            del self._ready[bisect_left(self._ready, self._places[name], key=self._places.__getitem__)]
        self._batches.update(dict.fromkeys(taken, batch))
        return taken

    def _sharing(self, first: str) -> tuple[str, ...]:
        """Return a task with those that share its bake: as few as the cost of starting bakes allows."""
        if not self._tasks[first].light:
            return (first,)
        others = [n for n in self._ready if n != first and self._are_alike(first, n)]
        live = {batch for batch in self._batches.values() if any(self._are_alike(first, name) for name in batch)}
        bakes = _STARTING * self._tasks[first].seconds // self._limits.start - len(live)
        size = math.ceil((1 + len(others)) / max(1.0, bakes))
        return (first, *others[: min(size, self._limits.batch) - 1])

    def _are_alike(self, name: str, other: str) -> bool:
        one, two = self._tasks[name], self._tasks[other]
        shorter, longer = sorted((one.seconds, two.seconds))
        return one.kind == two.kind and two.light and longer - shorter <= max(_WAIT_SECONDS, _WAIT * shorter)

    def _fits(self, name: str) -> bool:
        # What is heavier than the whole builder still runs, alone.
        if self._limits.memory is None or not self._batches:
            return True
        taken = sum(self._tasks[each].memory for each in self._batches)
        return taken + self._tasks[name].memory <= self._limits.memory

    def finish(self, name: str) -> None:
        """Record that a taken task was built."""
        del self._batches[name]
        self._ended.add(name)
        for each in self._above[name]:
            self._open[each] -= 1
            # What is blocked needs something that never succeeds, so it never gets here.
            if self._open[each] == 0:
                insort(self._ready, each, key=self._places.__getitem__)

    def fail(self, name: str) -> tuple[str, ...]:
        """Record that a taken task failed; return what is blocked by it and was not before, in build order."""
        del self._batches[name]
        self._ended.add(name)
        found, waiting = set[str](), [name]
        while waiting:
            for each in self._above[waiting.pop()]:
                if each not in found and each not in self._blocked:
                    found.add(each)
                    waiting.append(each)
        self._blocked.update(dict.fromkeys((each for each in self._tasks if each in found), name))
        return tuple(each for each in self._tasks if each in found)

    def give_back(self, name: str) -> None:
        """Give back a taken task that was neither built nor failed, because the run was stopped."""
        del self._batches[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """How long work takes in seconds; if it is not `whole`, the time of some targets is not known."""

    seconds: float
    whole: bool


def duration(seconds: Mapping[str, float], needs: Mapping[str, Iterable[str]], jobs: int) -> float:
    """Return the seconds of the longest path, or of all the work shared by the jobs; given in build order."""
    ends: dict[str, float] = {}
    for name, own in seconds.items():
        ends[name] = own + max((ends[need] for need in needs[name] if need in ends), default=0.0)
    path = max(ends.values(), default=0.0)
    return max(path, sum(seconds.values()) / jobs) if jobs else path


def estimate_of(plan: Plan, actions: Mapping[str, Action], history: History) -> Left | None:
    """Return how long everything that is built takes at once; None if the time of no node is known."""
    built = [name for name, action in actions.items() if action.word is ActionKind.BUILD]
    return left_of(plan, built, known_seconds(plan, history))


def known_seconds(plan: Plan, history: History) -> Mapping[str, float]:
    """Return how long nodes take, by earlier runs or else by their layers; a node without a known time is left out."""
    seconds = {node.name: history.seconds.get(node.name) or node.build.weight.minutes * 60.0 for node in plan.nodes}
    return {name: each for name, each in seconds.items() if each}


def left_of(plan: Plan, built: Sequence[str], seconds: Mapping[str, float]) -> Left | None:
    """Return how long some targets take at once, in build order; None if the time of no node among them is known."""
    images = {each.name for each in plan.stacks}
    known = {**seconds, **dict.fromkeys(images, IMAGE_SECONDS)}
    if not any(name in known for name in built if name not in images):
        return None
    times = {name: known.get(name, 0.0) for name in built}
    return Left(seconds=duration(times, plan.needs, 0), whole=all(name in known for name in built))


def tasks_of(plan: Plan, actions: Mapping[str, Action], history: History, composed: frozenset[str]) -> tuple[Task, ...]:
    """Return the tasks for everything that is built, in build order; `composed` are the stacks that need no engine."""
    built = {name for name, action in actions.items() if action.word is ActionKind.BUILD}
    tasks = []
    for node in plan.nodes:
        if node.name not in built:
            continue
        weight = node.build.weight
        known = history.seconds.get(node.name)
        declared = weight.minutes * 60.0 if weight.minutes else None
        tasks.append(
            Task(
                name=node.name,
                kind=NODE,
                needs=tuple(need for need in plan.needs[node.name] if need in built),
                seconds=known or declared or _NODE_SECONDS,
                light=known is not None and known < _LIGHT_SECONDS and not (weight.memory or weight.disk),
                memory=weight.memory,
                disk=weight.disk,
            )
        )
    for stack in plan.stacks:
        if stack.name in built:
            kind = COMPOSE if stack.name in composed else ASSEMBLE
            needs = tuple(need for need in dict.fromkeys(plan.needs[stack.name]) if need in built)
            # What was recorded of an image that shared its bake depends on how many did.
            known = history.seconds.get(stack.name) if kind == COMPOSE else None
            seconds = known or IMAGE_SECONDS
            tasks.append(Task(name=stack.name, kind=kind, needs=needs, seconds=seconds, light=kind == ASSEMBLE))
    return tuple(tasks)
