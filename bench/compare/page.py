"""Results become sections of `docs/benchmarks.md`; pure: the same document, the same bytes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compare.about import heading
from compare.results import Run, goals, of, ratio, read_runs
from compare.scenarios import BARE, COMPILED, WAYS, Part


def section(document: Mapping[str, Any], parts: Sequence[Part], title: str) -> str:
    """Return the section of a benchmark of images: the method, the goals, and a table for each scenario."""
    runs = read_runs(document)
    lines = [f"## {title}", "", *heading(document), ""]
    lines += [f"- **{way}**: {words}" for way, words in WAYS.items()]
    lines += ["", *_how(document), ""]
    if document["kind"] == "full":
        lines += ["| Goal | Target | Result | |", "|---|---|---|---|"]
        for goal in goals(runs, COMPILED, BARE):
            met = "met" if goal.met else "not measured" if goal.found is None else "**not met**"
            lines.append(f"| {goal.words} | {goal.wanted} | {goal.found or '–'} | {met} |")
        lines.append("")
    for part in parts:
        if any(run.part == part.name for run in runs):
            lines += [f"### When {part.title}", "", *_table(runs, part), ""]
    lines += _stored(runs, parts)
    return "\n".join(lines).rstrip() + "\n"


def summary(document: Mapping[str, Any], part: Part) -> str:
    """Return the README's summary of the full benchmark: seconds by scenario, with the machine."""
    runs, machine = read_runs(document), document["machine"]
    lines = [
        "Eight images (Debian 12 and 13, for CPU and GPU, with two sets of packages), each with a library compiled "
        "from source (UCX, in place of MPI), pushed to a registry. Wall time in seconds, the median of repeated runs. "
        f"Measured on {document['date'][:10]} at commit {document['commit'][:12]} on {machine['cores']} cores and "
        f"{machine['memory'] / 2**30:.0f} GiB by `make bench`: "
        "[method, all figures, and missed goals](docs/benchmarks.md).",
        "",
        "| Scenario | A Dockerfile per image, one by one | The same in one plain bake | `buildsys bake` | Speed-up |",
        "|---|---:|---:|---:|---:|",
    ]
    for scenario in part.scenarios:
        found = {way: of(runs, part.name, scenario.name, way) for way in "abd"}
        against = ratio(runs, part.name, scenario.name, "b", "d")
        if against is None:
            continue
        cells = [_seconds(statistics.median(run.seconds for run in each)) if each else "–" for each in found.values()]
        lines.append(f"| {scenario.title} | {' | '.join(cells)} | {against:.1f} times |")
    compiles = {way: max((run.compiles for run in of(runs, part.name, "cold", way)), default=0) for way in "abd"}
    lines.append(f"| compiles of a cold build | {' | '.join(map(str, compiles.values()))} | |")
    return "\n".join(lines)


def _how(document: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Each way has its own engine and registry, of the same version, so that none reuses the results of "
        "another; the others are idle during a measurement. The ways take turns, starting with a different way "
        "in each round. All push to a registry on loopback, and bytes are counted between "
        "engine and registry. Wheels and sources come from a server on the machine, packages from its mirror. a and b "
        "use everything that one Dockerfile per image allows: a separate registry cache with `mode=max` for "
        "each image, cache mounts for packages and wheels, and CUDA in a separate stage, identical "
        "in every Dockerfile and added by `COPY --link`, since in the images of Azure ML it is in the "
        "base image. Their Dockerfiles use the same scripts as the layers, in the order of those "
        "images: packages, Miniconda, MPI."
    )
    yield ""
    if document["kind"] == "long":
        yield "MPI is the complete Open MPI, from Debian's source package."
        return
    yield (
        "UCX, compiled from Debian's source package, replaces MPI, whose compile takes too long to repeat "
        "(Open MPI: see the long run). A prefix of NumPy and SciPy wheels of similar size replaces Miniconda, whose "
        "installer was not available. Scenarios run in the order of the table, each "
        "in the state that the previous one left. Processor seconds "
        "are those of dockerd, containerd and all processes in containers. Disk is the largest increase of used "
        "space on the file system. For the scenario that is stopped at half, the run after the stop is "
        "measured."
    )
    if document["kind"] == "quick":
        yield ""
        yield (
            "Omitted, in addition to the ways a and c: Debian 13, the compile, an added stack, a moved base image, a "
            "stopped run, and repetition."
        )


def _table(runs: Sequence[Run], part: Part) -> Iterator[str]:
    yield "| Scenario | Way | Seconds | Ratio to d | Processor seconds | RUN (compiles) | Pulled | Pushed | Disk |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for scenario in part.scenarios:
        for way in WAYS:
            found = of(runs, part.name, scenario.name, way)
            if not found:
                continue
            against = ratio(runs, part.name, scenario.name, way, "d")
            failed = sum(run.failed for run in found)
            cells = [
                scenario.title + (f" (failed {failed} times before)" if failed else ""),
                way,
                _spread([run.seconds for run in found]),
                f"{against:.1f}" if against and way != "d" else "",
                f"{statistics.median(run.engine for run in found):.0f}",
                f"{max(run.runs for run in found)} ({max(run.compiles for run in found)})",
                _megabytes(statistics.median(run.pulled for run in found)),
                _megabytes(statistics.median(run.pushed for run in found)),
                _megabytes(max(run.disk for run in found)),
            ]
            yield f"| {' | '.join(cells)} |"


def _stored(runs: Sequence[Run], parts: Sequence[Part]) -> Iterator[str]:
    rows = [run for part in parts for way in WAYS for run in of(runs, part.name, "cold", way) if run.sum]
    if not rows:
        return
    titles = {part.name: part.title for part in parts}
    yield "### What is stored after a cold build"
    yield ""
    yield "| When | Way | Sum of the images | Unique layers | Share | Registry with caches and nodes |"
    yield "|---|---|---:|---:|---:|---:|"
    for run in rows:
        sizes = [_megabytes(run.sum), _megabytes(run.unique), f"{run.unique / run.sum:.2f}", _megabytes(run.registry)]
        yield f"| {titles[run.part]} | {run.way} | {' | '.join(sizes)} |"


def _seconds(value: float, like: float | None = None) -> str:
    """Return about three digits, with as many decimals as `like` needs."""
    size = value if like is None else like
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    if len(values) == 1:
        return _seconds(middle)
    return f"{_seconds(middle)} ({_seconds(min(values), middle)} to {_seconds(max(values), middle)})"


def _megabytes(size: float) -> str:
    return "0" if size == 0 else "< 1 MB" if size < 1e6 else f"{size / 1e6:,.0f} MB"
