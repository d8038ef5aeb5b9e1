#!/usr/bin/env python3
"""A second `buildsys bake --all --push` against plain `docker buildx bake` with nothing to do.

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

SIZES = (40, 100)
ROUNDS = 5
# Plain bake of a hundred targets loses jobs now and then ("no such job", docker/buildx#3810).
PLAIN_TRIES = 6
ROOT = Path(__file__).parents[1]
BUILDSYS = Path(sys.executable).with_name("buildsys")


def timed(words: list[str], folder: Path, environment: dict[str, str], tries: int = 1) -> tuple[float | None, int]:
    """Run a command until it succeeds; return the seconds of that run, and the number of failures before it.

    A command that fails at its only try ends this program; one that fails at all of several gives None.
    """
    for failed in range(tries):
        began = time.monotonic()
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return time.monotonic() - began, failed
    if tries == 1:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return None, tries


def needed(words: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Run a command that must succeed, and return its seconds."""
    seconds, _ = timed(words, folder, environment)
    assert seconds is not None
    return seconds


def compare(stacks: int, found: re.Match[str]) -> None:
    """Bake once each way, then time both with nothing to do; if plain bake never succeeds, only buildsys."""
    parent = f"{found[1]}@{found[2]}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in project(stacks, releases=2, artifacts=8, versions=2).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        lock = "version: 1\nparents:\n" + "".join(
            f"  {kind}-{release}: {{reference: {found[1]}, digest: {found[2]!r}}}\n"
            for kind in ("linux", "tools")
            for release in (1, 2)
        )
        (folder / "buildsys.lock.local").write_text(lock, encoding="utf-8")
        variables = {f"BUILDSYS_PARENT_{kind}_{n}": parent for kind in ("LINUX", "TOOLS") for n in (1, 2)}
        prefix = f"{os.environ['BUILDSYS_REGISTRY']}-bench{stacks}"
        environment = {**os.environ, **variables, "BUILDSYS_REGISTRY": prefix}
        needed([str(BUILDSYS), "plan", "--offline"], folder, environment)
        ours, plain = [str(BUILDSYS), "bake", "--all", "--push"], ["docker", "buildx", "bake"]
        print(f"{stacks} stacks, first time: buildsys {needed(ours, folder, environment):.1f} s", flush=True)
        seconds, failed = timed(plain, folder, environment, PLAIN_TRIES)
        if seconds is None:
            mine = statistics.median(needed(ours, folder, environment) for _ in range(ROUNDS))
            print(
                f"{stacks} stacks: plain bake failed {failed} times of {failed}; nothing to do: buildsys {mine:.2f} s"
            )
            return
        print(f"{stacks} stacks, first time: plain bake {seconds:.1f} s, after {failed} that failed", flush=True)
        pairs, alone = [], []
        for _ in range(ROUNDS):
            mine = needed(ours, folder, environment)
            alone.append(mine)
            theirs, more = timed(plain, folder, environment, PLAIN_TRIES)
            failed += more
            if theirs is not None:
                pairs.append((mine, theirs))
    if not pairs:
        print(
            f"{stacks} stacks, nothing to do, {ROUNDS} rounds: buildsys {statistics.median(alone):.2f} s; "
            f"plain bake failed {failed} times of {failed}"
        )
        return
    first, second = zip(*pairs, strict=True)
    ratios = [b / a for a, b in pairs]
    print(
        f"{stacks} stacks, nothing to do, {len(pairs)} rounds: buildsys {statistics.median(first):.2f} s, "
        f"plain bake {statistics.median(second):.2f} s, ratio {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}); plain bake failed {failed} times as well"
    )


def main() -> None:
    """Compare for each size."""
    overlay = (ROOT / "buildsys.lock.local").read_text(encoding="utf-8")
    found = re.search(r"debian-12:\n    reference: (\S+)\n    digest: (\S+)", overlay)
    if not found:
        sys.exit("no bootstrapped Debian parent: run `python3 tools/private_engine.py bootstrap debian:12`")
    for stacks in SIZES:
        compare(stacks, found)


if __name__ == "__main__":
    main()
