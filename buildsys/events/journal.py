"""Events go to whoever listens and to files; at the end what is worth remembering is remembered."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from buildsys.errors import BuildsysError, Unavailable
from buildsys.events.events import Event, RunEnded, StepEnded, TargetPlanned, line_of
from buildsys.events.history import History, after, read_history, text_of
from buildsys.events.summary import summarise
from buildsys.masks import Mask
from buildsys.project.run_folder import EVENTS, RunFolder, open_run
from buildsys.project.settings import mask_of
from buildsys.project.state import State
from buildsys.project.workspace import STATE_FOLDER, Workspace

HISTORY_FILE = f"{STATE_FOLDER}/history.json"
# What a run goes by, all of it from the project or from BuildKit: a password may be a part of a name by chance.
_NAMES = (
    *("target", "needs", "blocked_by", "missing", "failed", "layer", "kind", "outcome", "action"),
    *("digest", "reference", "tags", "file", "log", "alone"),
)
_HISTORY_LIMIT = 64 << 20


class Listener(Protocol):
    """Whoever wants to hear of events, in their order, one at a time."""

    def take(self, event: Event) -> None:
        """Take the next event."""

    def tick(self) -> None:
        """Know that time has passed: about once a second."""

    def close(self) -> None:
        """Know that there is no more."""


class Journal:
    """Takes the events of one run from any thread; what is kept and shown of them is masked."""

    def __init__(self, listener: Listener, files: Sequence[IO[str]], run: RunFolder, mask: Mask | None = None) -> None:
        self.events: list[Event] = []
        self.run = run
        self._listener: Listener | None = listener
        self._files = list(files)
        self._mask = mask or Mask()
        self._lock = threading.RLock()
        self._executed: dict[str, float] = {}

    def add(self, file: IO[str]) -> None:
        """Write what happens from now on to one more file."""
        self._files.append(file)

    def emit(self, event: Event) -> None:
        """Take an event; a file that takes no more is given up, the run is not."""
        # The name of a step is its text.
        names = (*_NAMES, "name", "title") if isinstance(event, TargetPlanned) else _NAMES
        event = self._mask.value(event, keep=names)
        with self._lock:
            if isinstance(event, StepEnded) and self._told_before(event):
                return
            self.events.append(event)
            self._show(lambda listener: listener.take(event))
            for file in tuple(self._files):
                try:
                    file.write(line_of(event) + "\n")
                    file.flush()
                except OSError:
                    self._files.remove(file)
                    _close(file)

    def _told_before(self, event: StepEnded) -> bool:
        """Whether this is an execution that another bake has told of: BuildKit shows it to all that share it."""
        before = self._executed.get(event.digest)
        if not event.error:
            self._executed[event.digest] = event.completed
        return before is not None and event.started <= before

    def end(self, code: int, seconds: float, signal: int) -> None:
        """Tell how the run ended, which counts what its events say."""
        found = summarise(self.events)
        self.emit(
            RunEnded(
                at=time.time(), exit_code=code, seconds=seconds, runs=found.runs, retries=found.retries, signal=signal
            )
        )

    def tick(self) -> None:
        """Tell the listener that time has passed."""
        with self._lock:
            self._show(lambda listener: listener.tick())

    def close(self) -> None:
        """Let the listener end, and close the files; what they do not take is lost."""
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
    """Close a file; what its disk does not take is lost."""
    with contextlib.suppress(OSError):
        file.close()


@contextlib.contextmanager
def open_journal(workspace: Workspace, listener: Listener, extra: Path | None = None) -> Iterator[Journal]:
    """Yield the journal of a run; its events are in the run's own folder, and in `extra` if that is given.

    Those of the last run that began are `.buildsys/events.jsonl` too, and those of the one before stay in
    `.buildsys/events-before.jsonl`. Raises `Unavailable` if a file cannot be begun,
    `InvalidInput` for symlinks in the state folder.
    """
    state = State(workspace.root)
    state.check()
    began = time.time()
    with open_run(state) as run:
        journal = Journal(listener, [state.begin(run.file(EVENTS))], run, mask_of(workspace.root))
        run.show(EVENTS)
        try:
            if extra is not None:
                journal.add(_begin(extra))
            yield journal
        finally:
            journal.close()
            # What cannot be remembered, or stands in the place of that file, ends no run.
            with contextlib.suppress(BuildsysError):
                run.show(EVENTS)
                remember(workspace, journal.events, began)


def _begin(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"`{error.filename}` cannot be written: {error.strerror}") from error


def history_of(workspace: Workspace) -> History:
    """Return what earlier runs recorded."""
    data = State(workspace.root).read(HISTORY_FILE, limit=_HISTORY_LIMIT)
    return read_history(None if data is None else data.decode(errors="replace"))


def remember(workspace: Workspace, events: Sequence[Event], began: float) -> None:
    """Add a run to the history, which another run may have changed since this one began."""
    state = State(workspace.root)
    with state.locked():
        history = after(history_of(workspace), events, began=began, ended=time.time())
        state.write(HISTORY_FILE, text_of(history).encode())
