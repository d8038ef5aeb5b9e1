"""Keeps the traceback of a bug of buildsys, so that a person reads one line and can report all of it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback

from buildsys import __version__
from buildsys.errors import BuildsysError
from buildsys.masks import Mask
from buildsys.project.state import State

BUG_FILE = "bug.txt"


def traceback_of(error: BaseException, mask: Mask) -> str:
    """Return what a report of a bug needs, without credentials."""
    versions = f"version {__version__}, Python {platform.python_version()}, {sys.platform}"
    return mask.text(f"{versions}\n{''.join(traceback.format_exception(error))}")


def keep_traceback(error: BaseException, mask: Mask, state: State | None, name: str) -> str:
    """Write the traceback of an error to a file of the state, else to one of its own, and return where it is.

    Returns an empty text where no disk takes it.
    """
    data = traceback_of(error, mask).encode("utf-8", "backslashreplace")
    try:
        if state is not None:
            state.write(name, data)
            return name
    except (BuildsysError, OSError):
        pass
    try:
        handle, path = tempfile.mkstemp(prefix="buildsys-bug-", suffix=".txt")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError:
        return ""
    return path
