"""What a decision leaves to do, as tasks of the ready queue: how long, how heavy, with what it may share a bake."""

from __future__ import annotations

from collections.abc import Mapping

from buildsys.events.history import History
from buildsys.plan.actions import BUILD, Action
from buildsys.plan.plan import Plan
from buildsys.run.scheduler import Task

NODE, ASSEMBLE, COMPOSE = "node", "assemble", "compose"
# What nobody has recorded or declared: a node runs something, an image is put together.
_NODE_SECONDS = 30.0
_IMAGE_SECONDS = 1.0
# So much work is lost when another one in the same bake fails.
_LIGHT_SECONDS = 20.0


def tasks_of(plan: Plan, actions: Mapping[str, Action], history: History, composed: frozenset[str]) -> tuple[Task, ...]:
    """Return the tasks for all that is built, in build order; `composed` are the stacks that need no engine."""
    built = {name for name, action in actions.items() if action.word == BUILD}
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
                needs=tuple(need for need in node.below if need in built),
                seconds=known or declared or _NODE_SECONDS,
                light=known is not None and known < _LIGHT_SECONDS and not (weight.memory or weight.disk),
                memory=weight.memory,
                disk=weight.disk,
            )
        )
    for stack in plan.stacks:
        if stack.name in built:
            kind = COMPOSE if stack.name in composed else ASSEMBLE
            needs = tuple(need for need in dict.fromkeys(stack.below) if need in built)
            # What one that shared its bake was recorded with tells how many did.
            known = history.seconds.get(stack.name) if kind == COMPOSE else None
            seconds = known or _IMAGE_SECONDS
            tasks.append(Task(name=stack.name, kind=kind, needs=needs, seconds=seconds, light=kind == ASSEMBLE))
    return tuple(tasks)
