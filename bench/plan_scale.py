#!/usr/bin/env python3
"""Time and memory of plan, keys, rendering and look-ups for 100 to 10,000 stacks, and of `bake --print` beside it.

Each measurement runs in its own process. Look-ups ask a real registry on loopback; bake only prints, so no
engine builds anything. Does its own set-up, and writes its section of the page and the curve. With `--against` nothing
is written: another revision runs in the same rounds, without an engine, and the processor time of both is compared.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog import project
from start_up import Registry, tree_of

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from compare.about import ROOT, about, write_section
from compare.curve import picture
from compare.emptied import running
from compare.scale import ACROSS, FAMILY, LIMIT, TITLE, UP, lines_of, section

SIZES = (100, 300, 1000, 3000, 10000)
ROUNDS = 3
ROUNDS_UP_TO = 1000
ONE_TIMES = 5
RESULTS = Path(__file__).parent / "results" / "plan-scale.json"
CURVE = ROOT / "docs" / "plan-scale.svg"
STEPS = ("plan", "keys", "render", "lookup")
WHOLE, SOME, ONE = "whole.hcl", "family.json", "one.json"


def measure(stacks: int, folder: Path) -> dict[str, Any]:
    """Plan a generated project in this process, write what bake is to read, and return what it took."""
    from buildsys.bake.targets import Publication, plan_definition, run_definition
    from buildsys.cli.boundary import collect_rarely
    from buildsys.commands.plan import make_plan
    from buildsys.oci.client import Registry
    from buildsys.plan.keys import folders_of, keys_of
    from buildsys.project.workspace import Workspace
    from buildsys.run.store import Store, annotations_of, incoming_tag

    for path, text in project(stacks).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    workspace = Workspace(root=folder)
    collect_rarely()
    marks = [now()]
    plan = make_plan(workspace.tree())
    marks.append(now())
    keys = keys_of(plan, workspace.contents(folders_of(plan)))
    marks.append(now())
    text = plan_definition(plan).to_hcl()
    marks.append(now())
    with Registry() as registry:
        store = Store(registry=registry, prefix=os.environ["BUILDSYS_REGISTRY"])
        existing = store.existing(plan, keys).references
        marks.append(now())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if existing:
        sys.exit(f"error: a registry that is empty has {next(iter(existing))}")
    # What `buildsys bake --push` gives to bake for the node with the most needs: they exist, and it is published.
    node = max(plan.nodes, key=lambda each: (len(each.below), each.name))
    references = {name: f"{store.prefix}/nodes@sha256:{keys.nodes[name].key}" for name in node.below}
    keyed = keys.nodes[node.name]
    incoming = store.node(keyed.key).with_tag(incoming_tag(node.name))
    publication = Publication(name=str(incoming), annotations=annotations_of(keyed))
    spent = []
    for _ in range(ONE_TIMES):
        began = time.monotonic()
        one = run_definition(plan, [node.name], references, publications={node.name: publication}).to_json()
        spent.append(time.monotonic() - began)
    some = run_definition(plan, [each.name for each in plan.stacks[:FAMILY]], {}).to_json()
    for name, each in ((WHOLE, text), (SOME, some), (ONE, one)):
        (folder / name).write_text(each, encoding="utf-8")
    walls, processors = (
        dict(zip(STEPS, map(operator.sub, clock[1:], clock), strict=True)) for clock in zip(*marks, strict=True)
    )
    return {
        **walls,
        "total": sum(walls.values()),
        "processor": {**processors, "total": sum(processors.values())},
        "memory": memory,
        "nodes": len(plan.nodes),
        "asked": len(plan.nodes) + len(plan.stacks),
        "whole_bytes": len(text),
        "one_bytes": len(one),
        "one_render": statistics.median(spent),
        "family_targets": [each.name for each in plan.stacks[:FAMILY]],
        "one_targets": [node.name],
    }


def now() -> tuple[float, float]:
    """Return the seconds that have passed, and those that this process and its threads had a processor."""
    return time.monotonic(), time.process_time()


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """How `bake --print` went: its exit code, none where it was stopped at the limit, and its words at the end.

    MiB and processor seconds are those of docker and its plugin; of one that was stopped they are not known.
    """

    seconds: float
    processor: float
    code: int | None
    memory: float
    words: str


def printed(file: str, targets: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Printed:
    """Let bake read a file and print what it would do, of all or of some targets; stop it at the limit."""
    words = ["docker", "buildx", "bake", "--file", file, "--print", *targets]
    stopped = threading.Event()
    with (folder / "bake.log").open("w+", encoding="utf-8", errors="replace") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )

        def stop() -> None:
            stopped.set()
            # The plugin is a child of docker's.
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(LIMIT, stop)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        last = next((line.strip() for line in reversed(log.readlines()) if line.strip()), "")
    code = None if stopped.is_set() else process.returncode
    return Printed(
        seconds=seconds,
        processor=used.ru_utime + used.ru_stime,
        code=code,
        memory=used.ru_maxrss / 1024,
        words="" if code == 0 else last[:300],
    )


def one_round(stacks: int, environment: Mapping[str, str], *, whole: bool) -> dict[str, Any]:
    """Measure once, in processes of their own; `whole` lets bake read the whole file too."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(stacks), "--folder", name],
            env=dict(environment),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        asked = [("one", ONE, found.pop("one_targets")), ("family", SOME, found.pop("family_targets"))]
        asked += [("whole", WHOLE, [])] if whole else []
        return found | {key: asdict(printed(file, targets, folder, environment)) for key, file, targets in asked}


def compared(revision: str, stacks: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median processor seconds of each step, of this tree and of a revision; each round runs both."""
    samples: dict[str, list[dict[str, float]]] = {"this": [], revision: []}
    with tempfile.TemporaryDirectory() as name, tree_of(revision, Path(name)) as other, Registry(()) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{registry.server_address[1]}/start-up"
        for number in range(rounds):
            for tree, root in (("this", ROOT), (revision, other)):
                folder = Path(name) / f"{number}-{tree}"
                folder.mkdir()
                environment = {**os.environ, "PYTHONPATH": str(root), "BUILDSYS_REGISTRY": address}
                words = [str(root / "bench" / "plan_scale.py"), "--measure", str(stacks), "--folder", str(folder)]
                done = subprocess.run(
                    [sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                samples[tree].append(json.loads(done.stdout)["processor"])
        registry.shutdown()
    mine, others = samples.values()
    return {
        step: (statistics.median(each[step] for each in mine), statistics.median(each[step] for each in others))
        for step in (*STEPS, "total")
    }


def main() -> None:
    """Measure each size, and write the results, the page and the curve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", default="bench", help="the engine's name")
    parser.add_argument("--output", type=Path, help="another file for the results; page and diagram are not changed")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many stacks")
    parser.add_argument("--against", metavar="REV", help="compare with this revision, at 1,000 stacks or `--sizes`")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.folder)))
        return
    if asked.against:
        for stacks in (1000,) if asked.sizes == SIZES else asked.sizes:
            for step, (mine, other) in compared(asked.against, stacks, asked.rounds).items():
                print(f"{stacks:6} stacks {step:7} {mine:7.3f} s, {asked.against} {other:7.3f} s: {mine / other:5.2f}")
        return
    with running(asked.name) as (_, environment):
        document = about(["bench/plan_scale.py", *sys.argv[1:]], environment)
        began, stopped = time.monotonic(), None
        runs: dict[int, list[dict[str, Any]]] = {stacks: [] for stacks in sorted(asked.sizes)}
        for turn in range(ROUNDS):
            for stacks in [each for each in runs if turn == 0 or each <= ROUNDS_UP_TO]:
                # What bake does not end with here, it will not with more.
                whole = stopped is None or stacks < stopped
                measurement = one_round(stacks, environment, whole=whole)
                runs[stacks].append(measurement)
                if whole and measurement["whole"]["code"] is None:
                    stopped = stacks
                words = ", ".join(f"{step} {measurement[step]:.2f} s" for step in (*STEPS, "total"))
                print(f"{stacks:6} stacks: {words}, bake --print {measurement.get('whole')}", flush=True)
        sizes = [{"stacks": stacks, "runs": each} for stacks, each in runs.items()]
        document |= {"sizes": sizes, "seconds": time.monotonic() - began}
    path = asked.output or RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not asked.output:
        CURVE.write_text(picture(TITLE, ACROSS, UP, lines_of(document)), encoding="utf-8")
        write_section("plan-scale", "plan_scale.py", section(document))


if __name__ == "__main__":
    main()
