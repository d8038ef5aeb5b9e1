#!/usr/bin/env python3
"""Bakes a CPU and a GPU image on a fresh machine, tests them, and prints the images and the next steps."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from engine_instance import say
from ground import ROOT, Failure, prepare

BUILDSYS = Path(sys.executable).with_name("buildsys")
GROUP = "quickstart"
_FAILED = 1


def main() -> int:
    """Run all steps; a failure is reported in one message and becomes the exit code."""
    began = time.monotonic()
    try:
        ground = prepare(parents=("debian:12",))
    except Failure as failure:
        say(f"error: {failure}" + (f"\nhint: {failure.hint}" if failure.hint else ""))
        return failure.exit_code
    for note in ground.notes:
        say(note)

    def buildsys(*words: str) -> int:
        say(f"$ buildsys {' '.join(words)}")
        return subprocess.run([BUILDSYS, *words], cwd=ROOT, env=ground.environment, check=False).returncode

    code = buildsys("bake", GROUP)
    if code == _FAILED:
        say("a download of several hundred megabytes may have broken off: what failed is built once more")
        code = buildsys("bake", "--failed")
    if code := code or buildsys("test", GROUP, "--local"):
        return code
    use = 'eval "$(python3 tools/private_engine.py env)"   # this shell uses the private engine\n  '
    print(
        f"\nDone in {time.monotonic() - began:.0f} s. Try next:\n"
        f'  {use if ground.private else ""}export PATH="$PWD/.venv/bin:$PATH"\n'
        "  buildsys list                          # all stacks and groups\n"
        "  buildsys show debian12-cuda13.0        # what is in one, and where each value comes from\n"
        "  buildsys bake quickstart               # again: nothing is left to do\n"
        "  docker run --rm ${BUILDSYS_REGISTRY:-buildsys}/debian12 mpirun --version\n"
        '  eval "$(buildsys variables)"; docker buildx bake -f docker-bake.hcl quickstart   # the same without buildsys'
        + ("\n  make engine-stop                       # end the private engine" if ground.private else "")
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
