#!/usr/bin/env python3
"""A second `buildsys bake --all --push` of 100 stacks against plain `docker buildx bake` with nothing to do.

Needs an engine and a registry on loopback (`eval "$(python3 tools/private_engine.py env)"`) with a Debian parent in it
(`buildsys.lock.local`). Both run in turn; the medians and the ratio pair by pair are printed.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from catalog import project

STACKS = 100
ROUNDS = 7
ROOT = Path(__file__).parents[1]
BUILDSYS = Path(sys.executable).with_name("buildsys")


def timed(words: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Run a command to its good end and return its seconds."""
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def main() -> None:
    """Bake once each way, then time both with nothing to do."""
    overlay = (ROOT / "buildsys.lock.local").read_text(encoding="utf-8")
    found = re.search(r"debian-12:\n    reference: (\S+)\n    digest: (\S+)", overlay)
    if not found:
        sys.exit("no bootstrapped Debian parent: run `python3 tools/private_engine.py bootstrap debian:12`")
    parent = f"{found[1]}@{found[2]}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in project(STACKS, releases=2, artifacts=8, versions=2).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        lock = "version: 1\nparents:\n" + "".join(
            f"  {kind}-{release}: {{reference: {found[1]}, digest: {found[2]!r}}}\n"
            for kind in ("linux", "tools")
            for release in (1, 2)
        )
        (folder / "buildsys.lock.local").write_text(lock, encoding="utf-8")
        variables = {f"BUILDSYS_PARENT_{kind}_{n}": parent for kind in ("LINUX", "TOOLS") for n in (1, 2)}
        environment = {**os.environ, **variables}
        timed([str(BUILDSYS), "plan", "--offline"], folder, environment)
        ours, plain = [str(BUILDSYS), "bake", "--all", "--push"], ["docker", "buildx", "bake"]
        print(f"first: buildsys {timed(ours, folder, environment):.1f} s", flush=True)
        print(f"first: plain bake {timed(plain, folder, environment):.1f} s", flush=True)
        pairs = [(timed(ours, folder, environment), timed(plain, folder, environment)) for _ in range(ROUNDS)]
    first, second = zip(*pairs, strict=True)
    ratios = [b / a for a, b in pairs]
    print(
        f"nothing to do, {STACKS} stacks, {ROUNDS} rounds: buildsys {statistics.median(first):.2f} s, "
        f"plain bake {statistics.median(second):.2f} s, ratio {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
