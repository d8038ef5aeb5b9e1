"""Measurements as a document, and what they amount to: medians, ratios, goals; pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One measurement, as in the document; sizes in bytes, times in seconds.

    `runs` are the RUN steps executed, `distinct` those that differ, `again` those that a stopped run had executed
    before; `sum`, `unique` and `registry` say what is stored afterwards; `failed` counts the tries before this one.
    """

    part: str
    scenario: str
    way: str
    round: int
    seconds: float
    engine: float
    client: float
    pulled: int
    pushed: int
    requests: int
    disk: int
    runs: int
    distinct: int
    compiles: int = 0
    again: int = 0
    sum: int = 0
    unique: int = 0
    registry: int = 0
    failed: int = 0


def read_runs(document: Mapping[str, Any]) -> tuple[Run, ...]:
    """Return the measurements of a document."""
    return tuple(Run(**each) for each in document["runs"])


def of(runs: Iterable[Run], part: str, scenario: str, way: str) -> tuple[Run, ...]:
    """Return the measurements of one way in one scenario."""
    return tuple(run for run in runs if (run.part, run.scenario, run.way) == (part, scenario, way))


def median(runs: Sequence[Run], what: Callable[[Run], float] = lambda run: run.seconds) -> float | None:
    """Return the median over rounds, None where nothing was measured."""
    return statistics.median(map(what, runs)) if runs else None


def ratio(runs: Sequence[Run], part: str, scenario: str, slow: str, fast: str) -> float | None:
    """Return how many times faster `fast` was than `slow`: the median over rounds, each with its like."""
    pairs = {run.round: run for run in of(runs, part, scenario, slow)}
    found = [pairs[run.round].seconds / run.seconds for run in of(runs, part, scenario, fast) if run.round in pairs]
    return statistics.median(found) if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A goal of the benchmark: `found` is None where it was not measured."""

    words: str
    wanted: str
    found: str | None
    met: bool


def goals(runs: Sequence[Run], part: str, resumed: str) -> tuple[Goal, ...]:
    """Return all goals; `part` is the workload that they are asked of, `resumed` the one that was stopped."""
    executed = [run for run in runs if run.way == "d" and run.scenario == "cold"]
    fix, bump = of(runs, part, "fix", "d"), of(runs, part, "bump", "d")
    emptied, resume = of(runs, part, "emptied", "d"), of(runs, resumed, "resume", "d")
    cold = of(runs, part, "cold", "d")
    return (
        _at_least("cold: d against a", 3.5, ratio(runs, part, "cold", "a", "d")),
        _at_least("cold: d against b", 2.5, ratio(runs, part, "cold", "b", "d")),
        _at_least("nothing changed, empty engine: d against b", 20.0, ratio(runs, part, "emptied", "b", "d")),
        _at_least("the same, with b pushed by plain `--push`", 20.0, ratio(runs, part, "unpacked", "b", "d")),
        _exactly("nothing changed, empty engine: layer bytes that d pulled", 0, emptied, lambda run: run.pulled),
        _at_least("one package fixed: d against b", 15.0, ratio(runs, part, "fix", "b", "d")),
        _exactly("one package fixed: compiles of d", 0, fix, lambda run: run.compiles),
        _exactly("Miniconda's stand-in updated: RUN steps of d", 1, bump, lambda run: run.runs),
        _exactly("resumed: RUN steps that d executed twice", 0, resume, lambda run: run.again),
        _share(
            "cold: executed / distinct RUN steps of d", 1.0, executed, lambda run: run.runs, lambda run: run.distinct
        ),
        _share("cold: stored / sum of the images, d", 0.4, cold, lambda run: run.unique, lambda run: run.sum),
    )


def _at_least(words: str, wanted: float, found: float | None) -> Goal:
    text = None if found is None else f"{found:.1f} times"
    return Goal(words=words, wanted=f"at least {wanted:g} times", found=text, met=found is not None and found >= wanted)


def _exactly(words: str, wanted: int, runs: Sequence[Run], what: Callable[[Run], int]) -> Goal:
    worst = max(map(what, runs), default=None)
    found = None if worst is None else str(worst)
    return Goal(words=words, wanted=str(wanted), found=found, met=worst is not None and worst <= wanted)


def _share(
    words: str, wanted: float, runs: Sequence[Run], what: Callable[[Run], int], whole: Callable[[Run], int]
) -> Goal:
    found = max((what(run) / whole(run) for run in runs if whole(run)), default=None)
    text = None if found is None else f"{found:.2f}"
    return Goal(words=words, wanted=f"at most {wanted:.2f}", found=text, met=found is not None and found <= wanted)
