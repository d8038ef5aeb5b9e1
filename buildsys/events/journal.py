"""Events go to a listener, to the model of the run and to files; at the end the history is updated."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from buildsys.errors import BuildsysError
from buildsys.events.events import Event, RunEnded, StepEnded, TargetPlanned, line_of
from buildsys.events.history import History, after, read_history, text_of
from buildsys.events.model import RunModel
from buildsys.masks import Mask
from buildsys.names import STATE_FOLDER
from buildsys.project.run_folder import BEFORE, EVENTS, REPORT, RunFolder, open_run
from buildsys.project.state import State, written
from buildsys.project.workspace import Workspace

HISTORY_FILE = f"{STATE_FOLDER}/history.json"
# Names, all of them from the project or from BuildKit, stay unmasked: a password may be a part of a name by chance.
_NAMES = (
    *("target", "needs", "blocked_by", "missing", "failed", "layer", "kind", "outcome", "action"),
    *("digest", "reference", "tags", "file", "log", "alone"),
)
_HISTORY_LIMIT = 64 << 20


class Listener(Protocol):
    """Receives events in their order, one at a time."""

    def take(self, event: Event) -> None:
        """Take the next event."""

    def tick(self) -> None:
        """Let time pass: called about once a second."""

    def close(self) -> None:
        """End, however the run ended; may be called again."""


class Journal:
    """Takes the events of one run from any thread; everything kept and shown of them is masked."""

    def __init__(self, listener: Listener, files: Sequence[IO[str]], run: RunFolder, mask: Mask | None = None) -> None:
        self.model = RunModel()
        self.run = run
        self._listener: Listener | None = listener
        self._files = list(files)
        self._mask = mask or Mask()
        self._lock = threading.RLock()
        self._executed: dict[str, float] = {}

    def add(self, file: IO[str]) -> None:
        """Write the events from now on to one more file."""
        self._files.append(file)

    def emit(self, event: Event) -> None:
        """Take an event; a file that cannot be written any more is given up, the run is not."""
        # The name of a step is its text.
        names = (*_NAMES, "name", "title") if isinstance(event, TargetPlanned) else _NAMES
        event = self._mask.value(event, keep=names)
        with self._lock:
            if isinstance(event, StepEnded) and self._is_known(event):
                return
            self.model.take(event)
            self._show(lambda listener: listener.take(event))
            for file in tuple(self._files):
                try:
                    file.write(line_of(event) + "\n")
                    file.flush()
                except OSError:
                    self._files.remove(file)
                    _close(file)

    def _is_known(self, event: StepEnded) -> bool:
        """Return whether another bake has reported this execution: BuildKit shows it to every bake that shares it."""
        before = self._executed.get(event.digest)
        if not event.error:
            self._executed[event.digest] = event.completed
        return before is not None and event.started <= before

    def end(self, code: int, seconds: float, signal: int) -> None:
        """Emit the end of the run, with the counts of its events."""
        self.emit(
            RunEnded(
                at=time.time(),
                exit_code=code,
                seconds=seconds,
                runs=self.model.runs,
                retries=self.model.retries,
                signal=signal,
            )
        )
        self.model.close()

    def tick(self) -> None:
        """Let time pass for the listener."""
        with self._lock:
            self._show(lambda listener: listener.tick())

    def close(self) -> None:
        """End the listener and close the files; what they cannot write is lost."""
        with self._lock:
            self._show(lambda listener: listener.close())
            for file in self._files:
                _close(file)
            self._files.clear()

    def _show(self, call: Callable[[Listener], None]) -> None:
        """Call the listener; one that cannot write any more is given up, the run is not."""
        try:
            if self._listener is not None:
                call(self._listener)
        except OSError:
            self._listener = None


def _close(file: IO[str]) -> None:
    """Close a file; what its disk cannot take is lost."""
    with contextlib.suppress(OSError):
        file.close()


@contextlib.contextmanager
def open_journal(workspace: Workspace, listener: Listener, mask: Mask, extra: Path | None = None) -> Iterator[Journal]:
    """Yield the journal of a run; its events are in the run's own folder, and in `extra` if that is given. What
    `mask` hides is in none of them.

    `.buildsys/events.jsonl` has those of the run that began last, `.buildsys/events-before.jsonl` those of the one
    before. Raises `Unavailable` if a file cannot be begun, `InvalidInput` for symlinks in the state folder and for
    anything but a file in the place of one that a run writes there.
    """
    state = State(workspace.root)
    state.check(HISTORY_FILE, *(f"{STATE_FOLDER}/{name}" for name in (EVENTS, BEFORE, REPORT)))
    began = time.time()
    with open_run(state) as run:
        journal = Journal(listener, [state.begin(run.file(EVENTS))], run, mask)
        run.show(EVENTS)
        try:
            if extra is not None:
                journal.add(_begin(extra))
            yield journal
        finally:
            journal.close()
            # A history that cannot be written, or something else in the place of its file, ends no run.
            with contextlib.suppress(BuildsysError):
                run.show(EVENTS)
                remember(workspace, journal.model, began)


def _begin(path: Path) -> IO[str]:
    """Return a file that a person names, which may be a pipe that something reads already."""
    with written(path):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        os.set_blocking(file, True)
        return os.fdopen(file, "w", encoding="utf-8")


def history_of(workspace: Workspace) -> History:
    """Return what earlier runs recorded."""
    data = State(workspace.root).read(HISTORY_FILE, limit=_HISTORY_LIMIT)
    return read_history(None if data is None else data.decode(errors="replace"))


def remember(workspace: Workspace, run: RunModel, began: float) -> None:
    """Add a run to the history, which another run may have changed since this one began."""
    state = State(workspace.root)
    with state.locked():
        history = after(history_of(workspace), run, began=began, ended=time.time())
        state.write(HISTORY_FILE, text_of(history).encode())
