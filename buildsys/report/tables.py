"""Answers of the commands that ask, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildsys.commands.lock import Change
from buildsys.commands.query import Explanation
from buildsys.plan.actions import Difference, format_difference, short
from buildsys.plan.diff import Changed, ChangeKind
from buildsys.plan.plan import Plan
from buildsys.report.console import Screen, columns


def show_explanation(found: Explanation, screen: Screen) -> None:
    """Write what there is to say of a node or stack."""
    screen.line(f"{screen.styled(found.title, 'bold')}  {found.target}")
    screen.line(f"key       {found.key}")
    screen.line(f"{found.action.word:<9} {found.action.reason}")
    for word, names in (("stands on", found.below), ("used by", found.users)):
        if names:
            screen.line(f"{word:<9} {', '.join(names)}")
    screen.line("inputs")
    for line in columns((name, short(value)) for name, value in found.inputs.items()):
        screen.line(line)


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


def show_why(stack: str, layer: str, path: Sequence[tuple[str, str]], screen: Screen) -> None:
    """Write the way by which a layer comes into a stack."""
    if not path:
        screen.line(f"`{stack}` does not have the layer `{layer}`")
    for index, (name, reason) in enumerate(path):
        screen.line(f"{'  ' * index}{name}  {reason}")


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "is new"
    if difference.name == "dockerfile":
        return "its Dockerfile changed"
    if difference.name.startswith(("file ", "folder ")):
        word = "is new" if difference.before is None else "is gone" if difference.after is None else "changed"
        kind, _, path = difference.name.partition(" ")
        return f"{path if kind == 'file' else path.partition(' ')[2]} {word}"
    return format_difference(difference)


def _reason(plan: Plan, each: Changed) -> str:
    if each.cause is None:
        return ""
    titles = {node.name: node.title for node in plan.nodes}
    what = _difference(each.difference)
    return what if each.cause == each.target else f"{titles.get(each.cause, each.cause)}: {what}"


def show_changes(plan: Plan, changes: Sequence[Changed], screen: Screen) -> None:
    """Write what differs, and how much it is."""
    for line in columns((each.change, each.kind, each.title, _reason(plan, each)) for each in changes):
        screen.line(line)
    nodes = sum(each.kind == "node" for each in changes)
    screen.line(f"{nodes} nodes and {len(changes) - nodes} images differ" if changes else "nothing differs")


def show_affected(plan: Plan, stacks: Sequence[Changed], screen: Screen, *, why: bool) -> None:
    """Write the images that are not what they were; with `why` the input that is the reason."""
    for line in columns(((each.title, _reason(plan, each)) if why else (each.title,) for each in stacks), indent=""):
        screen.line(line)
    screen.line(f"{len(stacks)} of {len(plan.stacks)} images")


def everything(plan: Plan) -> list[Changed]:
    """Return every image as changed, for where nothing can be compared."""
    return [
        Changed(target=stack.name, title=stack.stack, kind="image", change=ChangeKind.ADDED) for stack in plan.stacks
    ]


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


def show_lock(changes: Sequence[Change], screen: Screen, *, nothing: str = "nothing moved") -> None:
    """Write what moved from what to what, and what is worth knowing of the rest."""
    rows = []
    for each in changes:
        if each.before != each.after or each.note:
            moved = f"{short(each.before)} → {short(each.after)}" if each.before != each.after else short(each.after)
            rows.append((each.name, moved, each.note))
    for line in columns(rows):
        screen.line(line)
    if not any(each.before != each.after for each in changes):
        screen.line(nothing)


def lock_document(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return entries of the lock for JSON."""
    return [{"name": c.name, "before": c.before, "after": c.after, "note": c.note or None} for c in changes]
