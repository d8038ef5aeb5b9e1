#!/usr/bin/env python3
"""Overhead of `buildsys bake` over plain `docker buildx bake` of the same file: sixty targets, steps of five seconds.

Cold each time: the engine is emptied before. Both run in turn. Does its own set-up, and writes its section of the page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from compare.about import about, heading, write_section
from compare.emptied import Emptied, emptied

SYSTEMS, ARTIFACTS, STACKS = 4, 16, 40
SECONDS = 5
GOAL = 1.15
RESULTS = Path(__file__).parent / "results" / "overhead.json"
BUILDSYS = Path(sys.executable).with_name("buildsys")


def project(reference: str, digest: str) -> Mapping[str, str]:
    """Return a project of four systems, sixteen artifacts and forty stacks of them; each node sleeps."""
    known = ", ".join(str(number) for number in range(SYSTEMS))
    files = {
        "layers/system/layer.yaml": (
            "description: a system\nkind: system\nlicence: free\nprovides: [os]\n"
            'parent: {name: linux, images: ["example.com/linux:1"]}\n'
            f"parameters: {{number: {{description: which, default: 0, values: [{known}], label: true}}}}\n"
        ),
        "layers/system/Dockerfile": f"FROM base\nARG NUMBER\nRUN sleep {SECONDS}; echo $NUMBER >/etc/number\n",
        "layers/tools/layer.yaml": (
            "description: tools\nkind: toolchain\nlicence: free\n"
            'parent: {name: linux-tools, images: ["example.com/linux:1"]}\n'
        ),
        "layers/tools/Dockerfile": "FROM base\nRUN true\n",
        "mirrors/use": ":\n",
        "buildsys.lock.local": "version: 1\nparents:\n"
        + "".join(
            f"  {name}:\n    reference: {reference}\n    digest: {digest}\n" for name in ("linux", "linux-tools")
        ),
    }
    for number in range(ARTIFACTS):
        files[f"layers/tool{number}/layer.yaml"] = (
            f"description: a tool\nkind: artifact\nlicence: free\nprefix: /opt/tool{number}\nrequires: [os]\n"
            "toolchain: {layer: tools}\n"
        )
        files[f"layers/tool{number}/Dockerfile"] = (
            f"FROM toolchain AS build\nRUN sleep {SECONDS}; mkdir -p /artifact/opt/tool{number}; "
            f"echo {number} >/artifact/opt/tool{number}/number\nFROM scratch\nCOPY --from=build /artifact /\n"
        )
    for path in [each for each in files if each.endswith("/Dockerfile")]:
        files[f"{path.rpartition('/')[0]}/.dockerignore"] = "*\n"
    lines = ["registry: buildsys", "stacks:"]
    for number in range(STACKS):
        tools = ", ".join(f"tool{(number + step * 5) % ARTIFACTS}" for step in range(3))
        lines.append(
            f"  image{number}: {{description: an image, layers: [system: {{number: {number % SYSTEMS}}}, {tools}]}}"
        )
    files["stacks.yaml"] = "\n".join(lines) + "\n"
    return files


def timed(engine: Emptied, words: list[str], folder: Path, more: Mapping[str, str]) -> float:
    """Empty the engine, run a command that must succeed, and return its seconds."""
    engine.empty()
    began = time.monotonic()
    done = subprocess.run(
        words, cwd=folder, env={**engine.environment, **more}, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"error: {' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return seconds


def section(document: Mapping[str, object]) -> str:
    """Return the section of the page; pure."""
    pairs = document["pairs"]
    assert isinstance(pairs, list)
    ours, plain = zip(*pairs, strict=True)
    ratios = [mine / theirs for mine, theirs in pairs]
    middle = statistics.median(ratios)
    return "\n".join(
        [
            "## Overhead of `buildsys bake` over plain bake",
            "",
            *heading(document),
            "",
            f"{SYSTEMS} systems, {ARTIFACTS} artifacts, {STACKS} stacks and a toolchain; the step of each node is "
            f"`sleep {SECONDS}`. No push, an empty engine before each run, both in turn, {len(pairs)} rounds.",
            "",
            "| | Seconds |",
            "|---|---:|",
            f"| plain `docker buildx bake` | {statistics.median(plain):.1f} ({min(plain):.1f} to {max(plain):.1f}) |",
            f"| `buildsys bake --all` | {statistics.median(ours):.1f} ({min(ours):.1f} to {max(ours):.1f}) |",
            f"| ratio | {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
            f"| goal | at most {GOAL}: {'met' if middle <= GOAL else '**not met**'} |",
        ]
    )


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="bench", help="the engine's name")
    parser.add_argument("--output", type=Path, help="another file for the results; the page is not changed")
    asked = parser.parse_args()
    with emptied(asked.name, "overhead") as engine:
        folder = engine.write(project(engine.reference, engine.digest))
        document = about(["bench/overhead.py", *sys.argv[1:]], engine.environment)
        began = time.monotonic()
        subprocess.run([str(BUILDSYS), "plan"], cwd=folder, env=engine.environment, check=True, capture_output=True)
        parent = f"{engine.reference}@{engine.digest}"
        variables = {"BUILDSYS_PARENT_LINUX": parent, "BUILDSYS_PARENT_LINUX_TOOLS": parent}
        # Without a registry, as an engine's own store is the only memory then.
        bare = {"BUILDSYS_REGISTRY": "buildsys"}
        pairs = []
        for turn in range(asked.rounds):
            both: dict[str, float] = {}
            for name in ("ours", "plain") if turn % 2 == 0 else ("plain", "ours"):
                words = [str(BUILDSYS), "bake", "--all"] if name == "ours" else ["docker", "buildx", "bake"]
                both[name] = timed(engine, words, folder, bare if name == "ours" else {**bare, **variables})
            pairs.append((both["ours"], both["plain"]))
            print(f"round {turn + 1}: buildsys {both['ours']:.1f} s, plain {both['plain']:.1f} s", flush=True)
        document |= {"pairs": pairs, "seconds": time.monotonic() - began}
    path = asked.output or RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not asked.output:
        write_section("overhead", "overhead.py", section(document))


if __name__ == "__main__":
    main()
