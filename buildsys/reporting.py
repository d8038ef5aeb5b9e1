"""The page of a run, made from its events and written beside them."""

from __future__ import annotations

from pathlib import Path

from buildsys.errors import InvalidInput, Mistake
from buildsys.events import Event, read_lines
from buildsys.journal import BEFORE_FILE, EVENTS_FILE
from buildsys.workspace import STATE_FOLDER, Workspace, write_whole

REPORT_FILE = f"{STATE_FOLDER}/report.html"


def write_report(workspace: Workspace, events: Path | None, output: Path | None) -> str:
    """Write the page of a run, by default the last one, and return its path as a person would type it.

    Raises `InvalidInput` if there are no events to make it of.
    """
    from buildsys.report_html import page

    source = events or workspace.root / EVENTS_FILE
    found = _events(source)
    if not found:
        shown = events or EVENTS_FILE
        raise InvalidInput([Mistake(message=f"`{shown}` holds no events of a run", hint="run `buildsys bake` first")])
    # What came before is known of the last run only.
    before = _events(workspace.root / BEFORE_FILE) if events is None else ()
    target = output or workspace.root / REPORT_FILE
    write_whole(target, page(found, before).encode())
    return str(output) if output else REPORT_FILE


def _events(path: Path) -> tuple[Event, ...]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return tuple(read_lines(file))
    except OSError:
        return ()
