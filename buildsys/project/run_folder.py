"""The folder of one run below `.buildsys/runs/`: its own while it lasts, kept for some runs more, then removed.

It is locked as long as its process lives, so another run knows whether the copies in it are still read. What readers
look for, such as `.buildsys/events.jsonl`, is a second name of a file of the last run: a hard link, which is replaced
at once and which no commit can hold. A symlink would be the only one below `.buildsys/` that is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from buildsys.names import STATE_FOLDER
from buildsys.project.state import State, written
from buildsys.values import dataclass

RUNS = f"{STATE_FOLDER}/runs"
# Files of a run, and of the last run in `.buildsys/` itself.
EVENTS, BEFORE, REPORT = "events.jsonl", "events-before.jsonl", "report.html"
# What is kept of runs that have ended: so many, and so many bytes of all but the newest of them.
KEPT_RUNS = 10
KEPT_BYTES = 1 << 30
_NUMBER = re.compile(r"[0-9]{1,9}")
_LOCK, _LOGS, _WORK = "lock", "logs", "work-"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """The folder of an active run; `number` is higher than that of every run that began before it."""

    state: State
    number: int

    def file(self, name: str) -> str:
        """Return the name of one of the run's files, relative to the project."""
        return f"{RUNS}/{self.number}/{name}"

    def logs(self) -> Path:
        """Return the folder of its logs."""
        return self.state.folder(self.file(_LOGS))

    def work(self) -> Path:
        """Return a new folder for bake files and copies of contexts, which is removed at the end of the run."""
        folder = self.state.folder(f"{RUNS}/{self.number}")
        with written(folder):
            return Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))

    def show(self, name: str) -> None:
        """Give one of its files its name in `.buildsys/` too, unless another run has begun since."""
        with self.state.locked():
            if self.number == max(_numbers(self.state), default=0):
                self.state.link(self.file(name), f"{STATE_FOLDER}/{name}")


@contextlib.contextmanager
def open_run(state: State) -> Iterator[RunFolder]:
    """Yield a new folder for a run, with the events of the run before; folders of runs that have ended are cleaned.

    Raises `Unavailable` if it cannot be written, `InvalidInput` for symlinks on the way.
    """
    with contextlib.ExitStack() as stack:
        with state.locked():
            _clean(state)
            run = RunFolder(state=state, number=max(_numbers(state), default=0) + 1)
            stack.callback(os.close, _hold(state.file(run.file(_LOCK))))
            state.link(f"{STATE_FOLDER}/{EVENTS}", run.file(BEFORE))
            state.link(run.file(BEFORE), f"{STATE_FOLDER}/{BEFORE}")
        stack.callback(_remove_work, state.root / RUNS / str(run.number))
        yield run


def _numbers(state: State) -> list[int]:
    """Return the numbers of all runs that have a folder, in no order."""
    folder = state.folder(RUNS)
    with written(folder):
        return [int(each.name) for each in folder.iterdir() if _NUMBER.fullmatch(each.name)]


def _hold(path: Path) -> int:
    """Return a new file that is locked until it is closed, by this process or by its end."""
    with written(path):
        file = os.open(path, _FLAGS | os.O_CREAT, 0o644)
    # Where a file system has no locks, others take every run for an active one.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _clean(state: State) -> None:
    """Remove the copies of runs whose process has ended, and all files of the oldest."""
    kept, size = 0, 0
    for number in sorted(_numbers(state), reverse=True):
        folder = state.root / RUNS / str(number)
        if _is_live(folder):
            continue
        _remove_work(folder)
        kept, size = kept + 1, size + _bytes_of(folder)
        # This run is one more.
        if kept >= KEPT_RUNS or (kept > 1 and size > KEPT_BYTES):
            shutil.rmtree(folder, ignore_errors=True)


def _is_live(folder: Path) -> bool:
    """Whether a run's process may still be there; a folder without its lock was left between two instructions."""
    if folder.is_symlink() or not folder.is_dir():
        return True
    try:
        file = os.open(folder / _LOCK, _FLAGS)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _remove_work(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.name.startswith(_WORK):
                shutil.rmtree(each, ignore_errors=True)


def _bytes_of(folder: Path) -> int:
    found = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(above, name)).st_size  # noqa: PTH118
    return found
