"""The page of a run, made from its events and written beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from buildsys.errors import BuildsysError, Diagnostic, InvalidInput
from buildsys.events.events import Event, read_lines
from buildsys.events.journal import BEFORE_FILE, EVENTS_FILE
from buildsys.project.state import State
from buildsys.project.workspace import STATE_FOLDER, Workspace, write_whole

REPORT_FILE = f"{STATE_FOLDER}/report.html"
_EVENTS_LIMIT = 256 << 20


def write_report(workspace: Workspace, events: Path | None, output: Path | None) -> str:
    """Write the page of a run, by default the last one, and return its path as a person would type it.

    Raises `InvalidInput` if there are no events to make it of.
    """
    from buildsys.report.html.page import page

    found = _given(events) if events else _own(workspace, EVENTS_FILE)
    if not found:
        shown = events or EVENTS_FILE
        raise InvalidInput(
            [Diagnostic(message=f"`{shown}` holds no events of a run", hint="run `buildsys bake` first")]
        )
    # What came before is known of the last run only.
    before = _own(workspace, BEFORE_FILE) if events is None else ()
    text = page(found, before).encode()
    if output:
        write_whole(output, text)
        return str(output)
    State(workspace.root).write(REPORT_FILE, text)
    return REPORT_FILE


def write_page(workspace: Workspace, events: Sequence[Event]) -> str:
    """Write the page of the run that has just ended, and return its path as a person would type it.

    Raises `Unavailable` where the disk does not take it, `InvalidInput` for a symlink in its place.
    """
    from buildsys.report.html.page import page

    # The page of a run that was is better than none.
    try:
        before = _own(workspace, BEFORE_FILE)
    except BuildsysError:
        before = ()
    State(workspace.root).write(REPORT_FILE, page(events, before).encode())
    return REPORT_FILE


def _own(workspace: Workspace, name: str) -> tuple[Event, ...]:
    """Return the events of a run that was recorded here, none if there are none."""
    data = State(workspace.root).read(name, limit=_EVENTS_LIMIT)
    return tuple(read_lines(io.StringIO((data or b"").decode(errors="replace"))))


def _given(path: Path) -> tuple[Event, ...]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return tuple(read_lines(file))
    except OSError:
        return ()
