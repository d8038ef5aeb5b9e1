#!/usr/bin/env python3
"""Build the same eight images in four ways, in every relevant scenario, and write the measurements.

The program sets up its own engines and registries, and builds base images from packages. It needs root, and 45 GB of
disk for the complete run. Results go to `bench/results/`, and from there into `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from compare import page
from compare.about import README, about, write_section
from compare.results import Run
from compare.scenarios import EMPTY_ALL, KEEP, WAYS, Part, Scenario, chosen, full, long, quick
from compare.stored import stored
from compare.ways import ROOT, SHIPPED, Step, Way, way
from compare.wheels import fetch, fetch_sources
from machine_apt import Failure, read_debian_source
from machine_settings import write_settings
from private_engine import default_home

TRIES = 3
# What the engines and registries of all ways hold at the fullest, in GB.
ROOM = {"full": 45, "quick": 16, "long": 16}
RESULTS = Path(__file__).parent / "results"
TITLES = {
    "full": "Eight images, four ways",
    "quick": "Four images, two ways, in minutes",
    "long": "Open MPI, all of it",
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--quick", dest="kind", action="store_const", const="quick", help="a few minutes, see scenarios.py"
    )
    kind.add_argument("--long", dest="kind", action="store_const", const="long", help="all of Open MPI in every image")
    parser.set_defaults(kind="full")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENARIO", help="such as `cold` or `bare/fix`")
    parser.add_argument("--ways", default="".join(WAYS), help="some of abcd")
    parser.add_argument("--rounds", type=int, help="how often the short scenarios are run")
    parser.add_argument("--name", default="bench", help="the beginning of the engines' names")
    parser.add_argument("--page", action="store_true", help="write the page from existing results, and run nothing")
    parser.add_argument("--output", type=Path, help="another file for the results; the page is not changed")
    return parser.parse_args()


class Bench:
    """The measurements so far, written to the file after each."""

    def __init__(self, path: Path, document: dict[str, Any], ways: dict[str, Way]) -> None:
        self.path, self.document, self.ways = path, document, ways
        self.began = time.monotonic()
        self.runs: list[Run] = []

    def say(self, words: str) -> None:
        """Print the progress."""
        print(f"{time.monotonic() - self.began:6.0f} s  {words}", file=sys.stderr, flush=True)

    def add(self, run: Run) -> None:
        """Keep a measurement."""
        self.runs.append(run)
        self.document["runs"] = [dataclasses.asdict(each) for each in self.runs]
        self.document["seconds"] = round(time.monotonic() - self.began, 1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        self.say(
            f"{run.part}/{run.scenario} {run.way} round {run.round}: {run.seconds:.1f} s, {run.runs} RUN steps, "
            f"{run.pulled / 1e6:.0f} MB pulled, {run.pushed / 1e6:.0f} MB pushed"
        )

    def part(self, part: Part) -> None:
        """Do the scenarios of a part, the ways in turn, starting with a different way each round."""
        for each in self.ways.values():
            each.world = part.world
        for number, scenario in enumerate(part.scenarios):
            if number == 0:
                scenario = dataclasses.replace(scenario, before=EMPTY_ALL)
            for turn in range(scenario.rounds):
                order = [*scenario.ways[turn % len(scenario.ways) :], *scenario.ways[: turn % len(scenario.ways)]]
                for name in order:
                    self.add(self.one(part, scenario, self.ways[name], turn + 1))

    def one(self, part: Part, scenario: Scenario, built: Way, turn: int) -> Run:
        """Measure one way in one scenario once; failures are retried, and the page shows how many there were.

        A retry on an engine that is not emptied reuses results of the failed run, which favours a way that fails.
        """
        for failed in range(TRIES):
            if scenario.before != KEEP:
                built.empty(everything=scenario.before == EMPTY_ALL)
            if scenario.half:
                built.world = part.world
            elif turn == 1 and not failed:
                built.world = scenario.world(built.world)
                if scenario.moved:
                    built.move_parent("12")
            plan = built.write()
            before: list[Step] = []
            if scenario.half:
                halfway = built.commands(plan, cut=self.half(part, built))
                built.measure(halfway)
                before = built.executed(halfway)
            commands = built.commands(plan, unpack=scenario.unpack)
            cost = built.measure(commands)
            if cost.code == 0:
                break
            self.say(f"{part.name}/{scenario.name} {built.name}: failed with {cost.code}, see {commands[-1].log}")
        else:
            raise SystemExit(
                f"error: the way {built.name} failed {TRIES} times of {TRIES} in {part.name}/{scenario.name}"
            )
        steps = built.executed(commands)
        known = {step.digest for step in before}
        images = [f"{built.registry}/{stack.stack}:latest" for stack in plan.stacks]
        size = stored(images, built.instance.folder / "registry")
        return Run(
            part=part.name,
            scenario=scenario.name,
            way=built.name,
            round=turn,
            **{key: value for key, value in dataclasses.asdict(cost).items() if key != "code"},
            runs=len(steps),
            distinct=len({step.digest for step in steps}),
            compiles=sum(step.compiles for step in steps),
            again=sum(step.digest in known for step in steps),
            **dataclasses.asdict(size),
            failed=failed,
        )

    def half(self, part: Part, built: Way) -> float:
        """Return half of the seconds that the way took for the cold run of the same part."""
        cold = [run for run in self.runs if (run.part, run.scenario, run.way) == (part.name, "cold", built.name)]
        if not cold:
            raise SystemExit("error: a run that is stopped at half needs the scenario `cold` before it")
        return cold[0].seconds / 2


def write_page(kind: str, parts: Sequence[Part], path: Path) -> None:
    """Write the section of the page, and the figures of README, from the existing results."""
    document = json.loads(path.read_text(encoding="utf-8"))
    write_section(f"images-{kind}", "images.py", page.section(document, parts, TITLES[kind]))
    if kind == "full":
        write_section("figures", "images.py", page.summary(document, parts[0]), README)


def main() -> None:
    """Do what the command line asks."""
    asked = arguments()
    every = {"full": full, "quick": quick, "long": long}[asked.kind]()
    path = asked.output or RESULTS / f"images-{asked.kind}.json"
    if asked.page:
        write_page(asked.kind, every, path)
        return
    parts = chosen(every, asked.only, asked.ways, asked.rounds)
    if not parts:
        raise SystemExit("error: nothing of that name")
    write_settings(ROOT)
    home = default_home().expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(home).free) < ROOM[asked.kind] * 1e9:
        raise SystemExit(f"error: {ROOM[asked.kind]} GB of disk are needed in `{home}`, {free / 1e9:.0f} GB are free")
    with contextlib.ExitStack() as ends:
        names = sorted({name for part in parts for scenario in part.scenarios for name in scenario.ways})
        folder = ROOT / ".buildsys" / asked.name
        wheels = ROOT / ".buildsys" / "wheels"
        fetch(SHIPPED / "layers", wheels)
        fetch_sources(SHIPPED / "layers", wheels, read_debian_source().uri)
        ways = {name: ends.enter_context(way(name, asked.name, home, folder / name, wheels)) for name in names}
        command = ["bench/images.py", *sys.argv[1:]]
        bench = Bench(path, {**about(command, ways[names[0]].environment()), "kind": asked.kind}, ways)
        for part in parts:
            bench.part(part)
    if not asked.output:
        write_page(asked.kind, every, path)


def _ended(signal_number: int, _: object) -> None:
    """End as Ctrl-C does: the engines are ended too."""
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _ended)
    try:
        main()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
