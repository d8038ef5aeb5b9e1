"""How the command line ends: every error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path

from buildsys.errors import BuildsysError


def run() -> None:
    """Run the command line and end the process with its exit code."""
    collect_rarely()
    from buildsys.cli.app import app

    try:
        app(prog_name="buildsys")
    except BuildsysError as error:
        from buildsys.project.settings import mask_near
        from buildsys.report.console import Screen, show_error

        show_error(error, _files(error), Screen(sys.stderr, os.environ), mask_near(_directory(), os.environ))
        sys.exit(int(error.exit_code))
    except BrokenPipeError:
        # The reader has seen enough; Python would report the closed pipe once more when it ends.
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


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
