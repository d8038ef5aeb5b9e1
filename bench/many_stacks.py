#!/usr/bin/env python3
"""Four hundred trivial stacks in one bake: `buildsys bake --all`, and plain `docker buildx bake` of the same file.

Each on an engine that is empty, on the docker driver. Plain bake gets ten minutes, and its result is reported. Does its
own set-up, and writes its section of the page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from catalog import project

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from compare.about import about, heading, write_section
from compare.emptied import Emptied, emptied

LIMIT = 600
RESULTS = Path(__file__).parent / "results" / "many-stacks.json"
BUILDSYS = Path(sys.executable).with_name("buildsys")
COUNT = ["docker", "image", "ls", "--quiet", "--filter", "reference=buildsys/*"]


def tried(engine: Emptied, words: list[str], folder: Path, more: Mapping[str, str]) -> dict[str, object]:
    """Empty the engine and run a command; return how it ended and how many images there are then."""
    engine.empty()
    environment = {**engine.environment, **more}
    began = time.monotonic()
    log = folder.parent / "bake.log"
    with log.open("wb") as output:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code: int | None = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = None
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    seconds = time.monotonic() - began
    there = subprocess.run(COUNT, env=environment, capture_output=True, text=True, check=False).stdout.split()
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    words_of_end = next((line for line in reversed(lines) if "ERROR" in line or "error" in line), "")
    return {"code": code, "seconds": seconds, "images": len(there), "words": words_of_end[:300]}


def ended(found: Mapping[str, object]) -> str:
    """Return the result of a run as text."""
    if found["code"] is None:
        return f"stopped after {LIMIT // 60} minutes"
    if found["code"] == 0:
        return "done"
    return f"failed with {found['code']}: `{found['words']}`".replace("|", "\\|")


def section(document: Mapping[str, object]) -> str:
    """Return the section of the page; pure."""
    found = document["found"]
    assert isinstance(found, dict)
    lines = [
        f"## {document['stacks']} stacks in one bake",
        "",
        *heading(document),
        "",
        "Trivial layers with real RUN steps, six per stack; an empty engine, the docker driver, no push.",
        "",
        "| Command | Seconds | Images | Result |",
        "|---|---:|---:|---|",
    ]
    for title, name in (("`buildsys bake --all`", "ours"), ("plain `docker buildx bake`", "plain")):
        lines.append(f"| {title} | {found[name]['seconds']:.0f} | {found[name]['images']} | {ended(found[name])} |")
    return "\n".join(lines)


def main() -> None:
    """Try both, and write the results and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stacks", type=int, default=400)
    parser.add_argument("--name", default="bench", help="the engine's name")
    parser.add_argument("--output", type=Path, help="another file for the results; the page is not changed")
    asked = parser.parse_args()
    with emptied(asked.name, "many") as engine:
        names = [f"{kind}-{release}" for kind in ("linux", "tools") for release in (1, 2)]
        parent = f"{engine.reference}@{engine.digest}"
        lock = "version: 1\nparents:\n" + "".join(
            f"  {name}:\n    reference: {engine.reference}\n    digest: {engine.digest}\n" for name in names
        )
        files = project(asked.stacks, releases=2, artifacts=8, versions=2)
        folder = engine.write({**files, "buildsys.lock.local": lock})
        document = about(["bench/many_stacks.py", *sys.argv[1:]], engine.environment)
        began = time.monotonic()
        subprocess.run([str(BUILDSYS), "plan"], cwd=folder, env=engine.environment, check=True, capture_output=True)
        variables = {f"BUILDSYS_PARENT_{name.upper().replace('-', '_')}": parent for name in names}
        bare = {"BUILDSYS_REGISTRY": "buildsys"}
        found = {
            "ours": tried(engine, [str(BUILDSYS), "bake", "--all", "--quiet"], folder, bare),
            "plain": tried(engine, ["docker", "buildx", "bake"], folder, {**bare, **variables}),
        }
        document |= {"stacks": asked.stacks, "found": found, "seconds": time.monotonic() - began}
    for name, each in found.items():
        print(f"{name}: {each['seconds']:.0f} s, {each['images']} images, {ended(each)}")
    path = asked.output or RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not asked.output:
        write_section("many-stacks", "many_stacks.py", section(document))


if __name__ == "__main__":
    main()
