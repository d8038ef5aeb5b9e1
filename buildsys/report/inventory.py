"""What is in a node or image, as lines and as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from buildsys.inventory.document import document
from buildsys.report.console import Screen, columns
from buildsys.report.text import clean, format_count, format_size

if TYPE_CHECKING:
    from buildsys.commands.inventory import Filled, NodeContents

# A person reads the largest; the document has all.
_MOST_FOLDERS = 15


def show_contents(found: NodeContents, screen: Screen) -> None:
    """Write packages by kind, the largest folders, files that run as others, and files that differ at each build."""
    packages = found.inventory.packages
    counts = f"{format_count(len(found.inventory.entries), 'path')}, {format_count(len(packages), 'package')}"
    screen.line(f"{screen.styled(found.target, 'bold')}  {counts}, {format_size(found.sizes[''])}")
    for kind in dict.fromkeys(package.type for package in packages):
        screen.line(f"packages ({kind})")
        rows = [(each.name, each.version, each.licence) for each in packages if each.type == kind]
        _rows(rows, screen)
    largest = sorted(found.sizes.items(), key=lambda each: (-each[1], each[0]))[:_MOST_FOLDERS]
    screen.line("largest folders")
    _rows([(f"/{path}", format_size(size)) for path, size in largest], screen)
    if found.privileged:
        screen.line("set-user-ID and set-group-ID files")
        rows = [(f"/{each.path}", f"{each.mode:04o}", f"{each.user}:{each.group}") for each in found.privileged]
        _rows(rows, screen)
    if found.unstable:
        screen.line("files that differ from build to build")
        _rows([(f"/{each.path}", each.fix) for each in found.unstable], screen)


def _rows(rows: Sequence[Sequence[str]], screen: Screen) -> None:
    for line in columns([tuple(map(clean, row)) for row in rows]):
        screen.line(line)


def show_filled(filled: Filled, screen: Screen) -> None:
    """Write what became of one inventory that was missing."""
    result = f"not read: {filled.problem}" if filled.problem else f"stored, {format_count(filled.paths, 'path')}"
    screen.line(clean(f"{filled.node}: {result}"))


def contents_document(found: NodeContents) -> dict[str, Any]:
    """Return what `inventory --json` prints of one target; packages and paths are as in format version 1."""
    value = document(found.inventory)
    return {
        "target": found.target,
        "nodes": list(found.nodes),
        "packages": value["packages"],
        "paths": value["paths"],
        "sizes": dict(found.sizes),
        "privileged": [each.path for each in found.privileged],
        "unstable": [{"path": each.path, "fix": each.fix} for each in found.unstable],
    }


def filled_document(filled: Filled) -> dict[str, Any]:
    """Return what `inventory --fill --json` prints of one node."""
    return {"node": filled.node, "paths": filled.paths, "problem": filled.problem}
