#!/usr/bin/env python3
"""A cold bake of shipped images compared with its lower bounds: the longest path, and all the work over all the cores.

The images of the debian family that need nothing but Debian's and Python's packages are baked to a registry on an
engine that holds nothing. What bounds the wall time is the longest chain of needs by the seconds that its targets took
in this very run, pushes counted, or the processor time of engine and clients over the cores, whichever is larger. Does
its own set-up, and writes its section of the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from buildsys.events.events import MADE, TargetEnded, TargetPlanned, read_lines
from compare.about import ROOT, about, heading, write_section
from compare.emptied import emptied
from compare.measure import Command, processor_seconds, run
from engine_daemons import engine_pid, own_pid
from private_engine import bootstrap

STACKS = ("debian12", "debian13", "debian12-cuda13.0", "debian13-cuda13.0", "debian12-mpi4py", "debian13-mpi4py")
GOAL = 1.25
RESULTS = Path(__file__).parent / "results" / "family.json"
BUILDSYS = Path(sys.executable).with_name("buildsys")
SOURCES = ("environments", "files", "layers", "schemas", "stacks.yaml", "buildsys.lock", "buildsys.settings.yaml")


def longest_path(needs: Mapping[str, Sequence[str]], seconds: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """Return the seconds of the longest chain of needs, and its targets from the first on; what took none counts 0."""
    known: dict[str, tuple[float, tuple[str, ...]]] = {}

    def until(name: str) -> tuple[float, tuple[str, ...]]:
        if name not in known:
            before = max((until(need) for need in needs.get(name, ())), default=(0.0, ()))
            known[name] = (before[0] + seconds.get(name, 0.0), (*before[1], name))
        return known[name]

    return max((until(name) for name in needs), default=(0.0, ()))


def section(document: Mapping[str, Any]) -> str:
    """Return the page's section."""
    bound = max(document["path"], document["work"])
    ratio = document["wall"] / bound
    state = "met" if ratio <= GOAL else "not met"
    path = " → ".join(f"`{name}`" for name in document["targets"])
    lines = [
        "## A cold bake compared with its lower bounds",
        "",
        *heading(document),
        "",
        f"{len(document['stacks'])} images of the debian family ({document['nodes']} nodes), cold, to a registry: "
        f"{document['wall']:.0f} s. The longest path takes {document['path']:.0f} s, summed over its targets "
        f"({path}), all work {document['work']:.0f} s of {document['machine']['cores']} cores. "
        f"That is **{ratio:.2f} times** the larger of the two; the goal of {GOAL} is {state}.",
        "",
        "The seconds of a target include its push, and delays by targets that ran at the same time, so the path is an",
        "upper bound of its time alone.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure once, and write the results and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", default="bench", help="the engine's name")
    parser.add_argument("--output", type=Path, help="another file for the results; the page is not changed")
    asked = parser.parse_args()
    with emptied(asked.name, "family") as engine:
        overlay = engine.folder.with_suffix(".lock")
        bootstrap(engine.instance, ["debian:12", "debian:13"], overlay, again=False)
        shutil.rmtree(engine.folder, ignore_errors=True)
        engine.folder.mkdir(parents=True)
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, engine.folder / name)
            elif source.exists():
                shutil.copy(source, engine.folder / name)
        shutil.copy(overlay, engine.folder / "buildsys.lock.local")
        prefix = f"{engine.environment['BUILDSYS_REGISTRY'].partition('/')[0]}/family{int(time.time())}"
        environment = {**engine.environment, "BUILDSYS_REGISTRY": prefix}
        engine.empty()
        document = about(["bench/family.py", *sys.argv[1:]], engine.environment)
        containerd = own_pid(
            engine.instance.containerd_pid_file, engine.instance.sockets / "exec/containerd/containerd.toml"
        )
        roots = [pid for pid in (engine_pid(engine.instance), containerd) if pid]
        words = (str(BUILDSYS), "bake", "--push", "--keep-going", *STACKS)
        log = engine.folder / "bake.log"
        before, began = processor_seconds(roots), time.monotonic()
        code, client = run(Command(words=words, folder=engine.folder, environment=environment, log=log))
        wall = time.monotonic() - began
        work = processor_seconds(roots) - before + client
        if code:
            sys.exit(log.read_text(encoding="utf-8")[-3000:])
        events = list(read_lines((engine.folder / ".buildsys/events.jsonl").read_text("utf-8").splitlines()))
    seconds = {e.target: e.seconds for e in events if isinstance(e, TargetEnded) and e.outcome == MADE}
    needs = {e.name: e.needs for e in events if isinstance(e, TargetPlanned)}
    path, targets = longest_path(needs, seconds)
    document |= {
        "stacks": STACKS,
        "nodes": len(seconds) - len(STACKS),
        "wall": wall,
        "path": path,
        "targets": targets,
        "work": work / (os.cpu_count() or 1),
        "made": seconds,
        "seconds": wall,
    }
    print(f"{wall:.0f} s; longest path {path:.0f} s, work {document['work']:.0f} s over the cores")
    file = asked.output or RESULTS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not asked.output:
        write_section("family", "family.py", section(document))


if __name__ == "__main__":
    main()
