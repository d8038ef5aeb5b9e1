"""The streams of this process as screens."""

from __future__ import annotations

import os
import sys

from buildsys.report.console import Screen


def output() -> Screen:
    """Return the screen of results."""
    return Screen(sys.stdout, os.environ)


def diagnostics() -> Screen:
    """Return the screen of warnings and notes."""
    return Screen(sys.stderr, os.environ)
