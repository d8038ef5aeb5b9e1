"""How the command line ends: every error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from buildsys.errors import Bug, BuildsysError, ExitCode, Unavailable, unforeseen

if TYPE_CHECKING:
    # Only an error needs them.
    from buildsys.masks import Mask
    from buildsys.report.console import Screen


class Watched:
    """A stream that records whether a write failed: an `OSError` may be about any file.

    A reader that has gone has seen enough: from then on everything goes nowhere. What an encoding does not have is
    written as `?`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False

    def write(self, text: str) -> int:
        """Write as the stream does."""
        with self._watching():
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                return self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush as the stream does."""
        with self._watching():
            self._stream.flush()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            _discard(self._stream)
        except OSError:
            self.lost = True
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run() -> None:
    """Run the command line and end the process with its exit code."""
    collect_rarely()
    from buildsys.cli.app import app

    watched = Watched(sys.stdout), Watched(sys.stderr)
    sys.stdout, sys.stderr = watched
    try:
        app(prog_name="buildsys")
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))
    except Exception as error:
        if isinstance(error, OSError) and any(stream.lost for stream in watched):
            end_without_output(error)
        _end_with(error)


def end_without_output(error: OSError) -> NoReturn:
    """End where stdout or stderr took no more, such as on a full disk."""
    _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        # The reader has seen enough.
        sys.exit(0)
    _end_with(Unavailable(f"the output cannot be written: {error.strerror}"))


def _end_with(error: Exception) -> NoReturn:
    from buildsys.project.settings import mask_near
    from buildsys.report.console import Screen, show_error

    found = unforeseen(error)
    mask = mask_near(_directory(), os.environ)
    try:
        screen = Screen(sys.stderr, os.environ)
        if isinstance(found, Bug):
            found.hint = _report(error, mask, screen)
        show_error(found, _files(found), screen, mask)
    except OSError:
        # The exit code stays, though its reason is lost.
        _discard(sys.stderr)
    sys.exit(int(found.exit_code))


def _report(error: Exception, mask: Mask, screen: Screen) -> str:
    """Keep the traceback of a bug, or print it where no disk takes it, and return what to do with it."""
    from buildsys.names import STATE_FOLDER
    from buildsys.project.bugs import BUG_FILE, keep_traceback, traceback_of
    from buildsys.project.state import State
    from buildsys.project.workspace import find_workspace

    path = ""
    if not os.environ.get("BUILDSYS_DEBUG"):
        state = None
        with contextlib.suppress(BuildsysError):
            state = State(find_workspace(_directory()).root)
        path = keep_traceback(error, mask, state, f"{STATE_FOLDER}/{BUG_FILE}")
    if not path:
        screen.line(traceback_of(error, mask))
    return f"report it with the traceback{f' in `{path}`' if path else ' above'}"


def _discard(stream: TextIO) -> None:
    """Let what is still to be written go nowhere: Python would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def collect_rarely() -> None:
    """Let Python look for garbage less often: a plan is many small objects that all stay.

    To plan and render 3,000 stacks took 3.9 s of processor time with Python's own thresholds, and 2.4 s with these.
    """
    gc.set_threshold(100_000, 20, 20)


def _files(error: BuildsysError) -> dict[str, str]:
    """Return the texts of the files that the diagnostics of an error point to, as far as they can be read."""
    from buildsys.names import SETTINGS_FILE
    from buildsys.project.workspace import find_workspace

    names = {diagnostic.location.file for diagnostic in error.diagnostics() if diagnostic.location}
    # A line of settings may be anything but an address that can be recognised and masked.
    names -= {SETTINGS_FILE, os.environ.get("BUILDSYS_SETTINGS")}
    found = {}
    try:
        workspace = find_workspace(_directory())
    except BuildsysError:
        return {}
    for name in names:
        # What a project may not read is not shown either.
        with contextlib.suppress(BuildsysError):
            found[name] = workspace.read(name) or ""
    return found


def _directory() -> Path | None:
    words = sys.argv[1:]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word in ("-C", "--directory"):
            return Path(after)
        for start in ("--directory=", "-C"):
            if word.startswith(start):
                return Path(word.removeprefix(start))
    return None
