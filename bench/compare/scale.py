"""The section and the diagram about planning at scale."""

from __future__ import annotations

import functools
import itertools
import operator
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from compare.about import heading
from compare.curve import INK, Line, growth

LIMIT = 120
FAMILY = 100
TITLE = "From 100 to 10,000 stacks: time to plan, and time for bake to read the file"
ACROSS, UP = "stacks", "seconds"
# The same hues in the order of the tables, dark enough for text on white.
OWN = {
    "plan": ("load and plan", "#0969da"),
    "keys": ("keys", "#8250df"),
    "render": ("render", "#9a6700"),
    "lookup": ("look-ups", "#1a7f37"),
    "total": ("all four", INK),
}
BAKE = {
    "whole": ("bake --print: whole file", "#cf222e"),
    "family": (f"bake --print: {FAMILY} stacks", "#bf3989"),
    "one": ("bake --print: one node", "#bc4c00"),
}


def middle(size: Mapping[str, Any], *path: str) -> float:
    """Return the median of a figure over the rounds of a size."""
    values: list[float] = [functools.reduce(operator.getitem, path, run) for run in size["runs"]]
    return statistics.median(values)


def shown(seconds: float) -> str:
    """Return seconds with as many digits as they deserve."""
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def ending(size: Mapping[str, Any], file: str) -> str:
    """Return how `bake --print` of a file ended at a size: seconds and MiB, or why there are none."""
    last = next((run[file] for run in size["runs"] if file in run and run[file]["code"] != 0), None)
    if last is None and all(file in run for run in size["runs"]):
        return f"{shown(middle(size, file, 'seconds'))} s, {middle(size, file, 'memory'):.0f} MiB"
    if last is None:
        return "not run, as a smaller one did not finish"
    words = f": `{last['words']}`".replace("|", "\\|") if last["words"] else ""
    if last["code"] is None:
        return f"not finished within {LIMIT} s; last output{words}" if words else f"not finished within {LIMIT} s"
    return f"failed with {last['code']}{words}"


def points_of(document: Mapping[str, Any], name: str, *, processor: bool = False) -> tuple[tuple[int, float], ...]:
    """Return by size the seconds of a step, or those that bake takes for a file if it succeeded each time.

    With `processor` those in which it had one.
    """
    if name in OWN:
        path = ("processor", name) if processor else (name,)
        return tuple((size["stacks"], middle(size, *path)) for size in document["sizes"])
    return tuple(
        (size["stacks"], middle(size, name, "processor" if processor else "seconds"))
        for size in document["sizes"]
        if all(name in run and run[name]["code"] == 0 for run in size["runs"])
    )


def lines_of(document: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return the lines of the picture."""
    found = []
    for name, (title, colour) in {**OWN, **BAKE}.items():
        stopped = (
            size["stacks"]
            for size in document["sizes"]
            if name in BAKE and any(name in run and run[name]["code"] is None for run in size["runs"])
        )
        beyond = next(stopped, None)
        line = Line(
            title=f"{title}, > {LIMIT} s" if beyond else title,
            colour=colour,
            points=points_of(document, name),
            beyond=(beyond, float(LIMIT)) if beyond else None,
            broad=name in ("total", "whole"),
        )
        if line.drawn:
            found.append(line)
    return tuple(found)


def section(document: Mapping[str, Any]) -> str:
    """Return the page's section."""
    return "\n".join(_section(document))


def _section(document: Mapping[str, Any]) -> Iterator[str]:
    sizes = document["sizes"]
    yield from ("## Planning at scale", "", *heading(document), "")
    yield (
        "A catalog generated from a seed: six layers per stack, two of the system in one of 6 releases and four of 24 "
        "artifacts in one of 40 versions each. Every round runs in its own process; medians of "
        f"{max(len(size['runs']) for size in sizes)} rounds, above "
        f"{max((size['stacks'] for size in sizes if len(size['runs']) > 1), default=0):,} stacks one. "
        "Look-ups are HEAD requests for the key of every node and stack, eight at a time, to an empty docker-registry "
        "on loopback, which answers 404. Memory is the peak of the process after all four steps."
    )
    yield from ("", "![Seconds by number of stacks, both logarithmic](plan-scale.svg)", "")
    yield "| Stacks | Nodes | Load and plan | Keys | Render | Look-ups (asked) | All four (processor) | Memory | File |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for size in sizes:
        plan, keys, render, lookup, total = (f"{shown(middle(size, step))} s" for step in OWN)
        processor = shown(middle(size, "processor", "total"))
        yield (
            f"| {size['stacks']:,} | {middle(size, 'nodes'):,.0f} | {plan} | {keys} | {render} "
            f"| {lookup} ({middle(size, 'asked'):,.0f}) | {total} ({processor} s) | {middle(size, 'memory'):.0f} MiB "
            f"| {middle(size, 'whole_bytes') / 1e6:.1f} MB |"
        )
    yield ""
    yield (
        "`docker buildx bake --print`, which reads a file and builds nothing, for three files: the whole file; a file "
        f"with {FAMILY} of its stacks and everything they link to; the file that `buildsys bake --push` passes to bake "
        f"for a single node. The time limit is {LIMIT} s."
    )
    yield from (
        "",
        f"| Stacks | The whole file | {FAMILY} stacks of it | One node (size of its file, time to write it) |",
    )
    yield "|---:|---:|---:|---:|"
    for size in sizes:
        small = f"{middle(size, 'one_bytes') / 1e3:.1f} kB, {middle(size, 'one_render') * 1000:.0f} ms"
        whole, some, one = (ending(size, file) for file in BAKE)
        yield f"| {size['stacks']:,} | {whole} | {some} | {one} ({small}) |"
    yield ""
    yield (
        "Growth of processor time, which depends less on other load, as the exponent between neighbouring sizes: "
        "1 is linear in the number of stacks, 2 quadratic."
    )
    titles = [title for title, _ in (*OWN.values(), BAKE["whole"])]
    yield from ("", f"| Stacks | {' | '.join(titles)} |")
    yield f"|---|{'---:|' * len(titles)}"
    found = [growth(points_of(document, name, processor=True)) for name in (*OWN, "whole")]
    names = [size["stacks"] for size in sizes]
    for pair in itertools.pairwise(names):
        cells = [f"{each[pair]:.2f}" if pair in each else "–" for each in found]
        yield f"| {pair[0]:,} to {pair[1]:,} | {' | '.join(cells)} |"
