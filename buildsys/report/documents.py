"""Plans and answers as JSON documents for programs; within a schema version fields are only added."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildsys.bake.hcl import Value, evaluate
from buildsys.bake.targets import BAKE_FILE, copied_names, defaults, image_target, node_target, public_names
from buildsys.errors import Diagnostic
from buildsys.names import PLATFORM
from buildsys.plan.actions import BUILD, REUSE, SKIP, Action
from buildsys.plan.keys import Keys
from buildsys.plan.plan import Plan
from buildsys.recipes.recipe import Healthcheck
from buildsys.recipes.template import fill
from buildsys.resolve.image import duration_text
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.node import ImageTarget, Node

if TYPE_CHECKING:
    # Only for annotations: a document of a plan does not wait for the modules of other commands.
    from buildsys.commands.lock import Change
    from buildsys.commands.query import Explanation
    from buildsys.plan.diff import Changed


SCHEMA_VERSION = 1
_SINGLE_SETTINGS = ("user", "workdir", "entrypoint", "command", "healthcheck")
# Halves of surrogate pairs, as names of files have them that are not UTF-8, and what a runner of CI jobs would obey.
_ESCAPED = re.compile(r"[\ud800-\udfff]|(?<=#)#(?=\w*\[)")


def text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text."""
    found = json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, ensure_ascii=False)
    return _ESCAPED.sub(lambda each: f"\\u{ord(each[0]):04x}", found)


def plan_document(
    plan: Plan,
    keys: Keys | None = None,
    actions: Mapping[str, Action] | None = None,
    warnings: Sequence[Diagnostic] = (),
) -> dict[str, Any]:
    """Return what `plan --json` prints: nodes in build order, stacks by name; the action for each, if known.

    `warnings` are added to those of the plan.
    """
    variables = defaults(plan)
    return {
        "bake_file": BAKE_FILE,
        "nodes": [{**_node(plan, node, variables), **_decided(node.name, keys, actions)} for node in plan.nodes],
        "stacks": [
            {
                **_planned_stack(plan, stack, variables),
                **_decided(stack.name, keys, actions),
                **({"index_key": keys.indexes[stack.stack].key} if keys else {}),
            }
            for stack in plan.stacks
        ],
        "groups": {name: list(members) for name, members in plan.groups.items()},
        "parents": [
            {
                "name": parent.name,
                "variable": parent.variable,
                "images": list(parent.images),
                "reference": parent.reference,
                "digest": parent.locked.digest,
            }
            for parent in plan.parents
        ],
        "variables": variables,
        "warnings": [warning.message for warning in (*plan.warnings, *warnings)],
        "accepted": [each.diagnostic.message for each in plan.unpinned if each.accepted],
        "summary": {
            "nodes": len(plan.nodes),
            "stacks": len(plan.indexes),
            "deprecated": sum(parts[0].deprecated is not None for parts in plan.indexes.values()),
            **_counts(actions or {}),
        },
    }


def _counts(actions: Mapping[str, Action]) -> dict[str, int]:
    words = [action.word for action in actions.values()]
    return {word: words.count(word) for word in (BUILD, REUSE, SKIP)} if words else {}


def _decided(target: str, keys: Keys | None, actions: Mapping[str, Action] | None) -> dict[str, Any]:
    if keys is None or actions is None:
        return {}
    action = actions[target]
    return {
        "key": keys.of(target).key,
        "action": action.word,
        "reason": action.reason,
        "reference": action.reference,
    }


def _node(plan: Plan, node: Node, variables: Mapping[str, str]) -> dict[str, Any]:
    target = node_target(plan, node)
    return {
        "name": node.name,
        "title": node.title,
        "layer": node.recipe.layer,
        "flavour": node.recipe.flavour or None,
        "kind": str(node.recipe.kind),
        "parameters": dict(node.parameters),
        "needs": list(node.below),
        "parent": node.parent.name if node.parent else None,
        "context": node.folder,
        "dockerfile": node.dockerfile,
        "args": _evaluated(target.args, variables),
        "contexts": _evaluated(target.contexts, variables),
        "packages": list(node.packages),
        "platforms": [node.platform],
    }


def _evaluated(values: Mapping[str, Value], variables: Mapping[str, str]) -> dict[str, str]:
    return {name: evaluate(value, variables) for name, value in values.items()}


def _planned_stack(plan: Plan, stack: ImageTarget, variables: Mapping[str, str]) -> dict[str, Any]:
    target = image_target(plan, stack, {})
    return {
        "name": stack.stack,
        "target": stack.name,
        "needs": list(stack.below),
        "parent": stack.parent.name,
        "repository": stack.repository,
        "tags": [evaluate(name, variables) for name in public_names(stack)],
        "contexts": _evaluated(target.contexts, variables),
        "dockerfile": evaluate(target.dockerfile_inline, variables),
        "platforms": [stack.platform],
        "deprecated": stack.deprecated,
        "supported_until": str(stack.support.until) if stack.support else None,
    }


def list_document(plan: Plan, stacks: Collection[str] | None = None) -> dict[str, Any]:
    """Return what `list --json` prints, of all stacks or of some."""
    variables = defaults(plan)
    chosen = [parts[0] for stack, parts in plan.indexes.items() if stacks is None or stack in stacks]
    return {
        "stacks": [stack_document(plan, each, variables) for each in chosen],
        "groups": {name: list(members) for name, members in plan.groups.items()},
        "families": [{"name": family.name, "description": family.description} for family in plan.families],
    }


def stack_document(plan: Plan, stack: ImageTarget, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return one stack as `list --json` has it."""
    config = stack.config
    parent = plan.parent(stack.parent.name)
    return {
        "name": stack.stack,
        "target": stack.name,
        "family": stack.family,
        "description": stack.description,
        "groups": list(stack.groups),
        "repository": stack.repository,
        "tags": [evaluate(name, variables) for name in public_names(stack)],
        "copies": list(copied_names(plan, stack)),
        "deprecated": stack.deprecated,
        "supported_until": str(stack.support.until) if stack.support else None,
        "parent_image": parent.images[0],
        "parent": parent.reference,
        "platforms": [each.platform for each in plan.indexes[stack.stack]],
        "layers": [
            {
                "name": each.name,
                "kind": str(each.recipe.kind),
                "parameters": {name: value for name, value in each.parameters.items() if name != PLATFORM},
                "origins": dict(each.origins),
                "why": each.why,
                **{name: list(values) for name, values in layer_contents(plan, stack, each).items()},
            }
            for each in stack.layers
        ],
        "environment": {variable.name: variable.shown for variable in stack.environment},
        "ports": list(config.ports),
        "user": config.user,
        "workdir": config.workdir,
        "entrypoint": _words(config.entrypoint),
        "command": _words(config.command),
        "healthcheck": _healthcheck(config.healthcheck),
        "labels": dict(config.labels),
        "settings_from": {
            "environment": {variable.name: list(variable.layers) for variable in stack.environment},
            "ports": {port: config.sources[f"port {port}"] for port in config.ports},
            "labels": {key: config.sources[f"label {key}"] for key in config.labels},
            **{name: config.sources.get(name) for name in _SINGLE_SETTINGS},
        },
    }


def layer_contents(plan: Plan, stack: ImageTarget, layer: LayerInstance) -> dict[str, tuple[str, ...]]:
    """Return what a layer brings into a stack, with the values that it has there, and its node if it has one."""
    node = next((each for each in _nodes(plan, stack) if each.recipe.layer == layer.name), None)
    recipe, values = layer.recipe, layer.parameters
    tests = (each for each in recipe.tests if each.when.holds(values))
    return {
        "node": (node.name,) if node else (),
        "prefix": recipe.prefix,
        "packages": node.packages if node else (),
        "files": tuple(each.place for each in recipe.files.values()),
        "run": recipe.run,
        "downloads": tuple(each.url for each in node.downloads) if node else (),
        "secrets": tuple(each.id for each in recipe.secrets),
        "tests": tuple(fill(each.run or each.http or "", values) for each in tests),
    }


def _nodes(plan: Plan, stack: ImageTarget) -> Iterator[Node]:
    """Yield the nodes that an image is assembled from: its artifacts, and each system node with the one below."""
    names = [*(name for _, name in stack.artifacts), *([stack.base] if stack.base else [])]
    while names:
        node = plan.targets[names.pop()]
        if isinstance(node, Node):
            yield node
            names += [node.base] if node.base and not node.recipe.prefix else []


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _healthcheck(healthcheck: Healthcheck | None) -> dict[str, Any] | None:
    if healthcheck is None:
        return None
    durations = {
        "interval": healthcheck.interval,
        "timeout": healthcheck.timeout,
        "start_period": healthcheck.start_period,
    }
    return {
        "command": list(healthcheck.command),
        **{name: None if value is None else duration_text(value) for name, value in durations.items()},
        "retries": healthcheck.retries,
    }


def explanation_document(found: Explanation) -> dict[str, Any]:
    """Return an explanation for JSON."""
    return {
        "name": found.target,
        "title": found.title,
        "key": found.key,
        "action": found.action.word,
        "reason": found.action.reason,
        "reference": found.action.reference,
        "needs": list(found.below),
        "used_by": list(found.users),
        "inputs": dict(found.inputs),
    }


def changes_document(changes: Sequence[Changed]) -> list[dict[str, Any]]:
    """Return differences for JSON."""
    return [
        {
            "name": each.title if each.kind == "image" else each.target,
            "target": each.target,
            "kind": each.kind,
            "change": each.change,
            "cause": each.cause,
            "input": each.difference.name if each.difference else None,
            "before": each.difference.before if each.difference else None,
            "after": each.difference.after if each.difference else None,
        }
        for each in changes
    ]


def lock_document(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return entries of the lock for JSON."""
    return [{"name": c.name, "before": c.before, "after": c.after, "note": c.note or None} for c in changes]
