"""The page of a run, made from its events and written beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from buildsys.errors import BuildsysError, Diagnostic, InvalidInput
from buildsys.events.events import Event, read_lines
from buildsys.project.run_folder import BEFORE, EVENTS, REPORT, RunFolder
from buildsys.project.state import State
from buildsys.project.workspace import STATE_FOLDER, Workspace, write_whole

EVENTS_FILE = f"{STATE_FOLDER}/{EVENTS}"
REPORT_FILE = f"{STATE_FOLDER}/{REPORT}"
_EVENTS_LIMIT = 256 << 20


def write_report(workspace: Workspace, events: Path | None, output: Path | None) -> str:
    """Write the page of a run, by default the last one, and return its path as a person would type it.

    Raises `InvalidInput` if there are no events to make it of.
    """
    from buildsys.report.html.page import page

    state = State(workspace.root)
    found = _given(events) if events else _own(state, EVENTS_FILE)
    if not found:
        shown = events or EVENTS_FILE
        raise InvalidInput(
            [Diagnostic(message=f"`{shown}` holds no events of a run", hint="run `buildsys bake` first")]
        )
    # What came before is known of the last run only.
    before = _own(state, f"{STATE_FOLDER}/{BEFORE}") if events is None else ()
    text = page(found, before).encode()
    if output:
        write_whole(output, text)
        return str(output)
    state.write(REPORT_FILE, text)
    return REPORT_FILE


def write_page(run: RunFolder, events: Sequence[Event]) -> str:
    """Write the page of a run into its folder, and return its path as a person would type it.

    Raises `Unavailable` where the disk does not take it, `InvalidInput` for a symlink in its place.
    """
    from buildsys.report.html.page import page

    # The page of a run that was is better than none.
    try:
        before = _own(run.state, run.file(BEFORE))
    except BuildsysError:
        before = ()
    run.state.write(run.file(REPORT), page(events, before).encode())
    run.show(REPORT)
    return run.file(REPORT)


def _own(state: State, name: str) -> tuple[Event, ...]:
    """Return the events of a run that was recorded here, none if there are none."""
    data = state.read(name, limit=_EVENTS_LIMIT)
    return tuple(read_lines(io.StringIO((data or b"").decode(errors="replace"))))


def _given(path: Path) -> tuple[Event, ...]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return tuple(read_lines(file))
    except OSError:
        return ()
