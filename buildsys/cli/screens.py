"""The streams of this process as screens."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from buildsys.report.console import Screen, show_diagnostic

if TYPE_CHECKING:
    from buildsys.plan.plan import Plan


def output() -> Screen:
    """Return the screen of results."""
    return Screen(sys.stdout, os.environ)


def diagnostics() -> Screen:
    """Return the screen of warnings and notes."""
    return Screen(sys.stderr, os.environ)


def chosen_targets(plan: Plan, words: Sequence[str], *, everything: bool) -> tuple[str, ...]:
    """Return the targets that are meant, after writing what is left out because its support has ended."""
    from buildsys.commands import plan as plans

    targets, left_out = plans.chosen_targets(plan, words, everything=everything, today=date.today())
    for each in left_out:
        show_diagnostic(each, {}, diagnostics(), word="warning")
    return targets
