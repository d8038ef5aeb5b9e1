"""What people and programs read about images in use: new epochs, the history of tags, what was promoted."""

from __future__ import annotations

from typing import Any

from buildsys.commands.query import Freshened
from buildsys.report.console import Screen, columns
from buildsys.report.documents import changes_document, lock_document
from buildsys.report.tables import show_lock
from buildsys.report.text import format_count, format_remaining


def show_fresh(found: Freshened, screen: Screen) -> None:
    """Write the entries that moved, each node that this rebuilds with its time, and the counts."""
    show_lock(found.entries, screen)
    nodes = [each for each in found.changes if each.kind == "node"]
    images = [each for each in found.changes if each.kind == "image"]
    for line in columns([("build", each.title, _time(found.seconds.get(each.target))) for each in nodes]):
        screen.line(line)
    compiled = sum(node.name in {each.target for each in nodes} for node in found.plan.nodes if node.recipe.prefix)
    verb = "changes" if len(images) == 1 else "change"
    time = format_remaining(found.left.seconds, whole=found.left.whole).removesuffix(" left") if found.left else ""
    screen.line(
        f"{format_count(len(nodes), 'node')} to rebuild{f' ({time})' if time else ''}, "
        f"{format_count(compiled, 'artifact') if compiled else 'no artifact'} among them; "
        f"{len(images)} of {format_count(len(found.plan.stacks), 'image')} {verb}"
    )


def fresh_document(found: Freshened) -> dict[str, Any]:
    """Return the JSON document of `fresh`."""
    return {
        "entries": lock_document(found.entries),
        "changes": changes_document(found.changes),
        "seconds": {each.target: found.seconds.get(each.target) for each in found.changes if each.kind == "node"},
        "estimate": found.left.seconds if found.left else None,
    }


def _time(seconds: float | None) -> str:
    return format_remaining(seconds, whole=True).removesuffix(" left") if seconds else ""
