#!/usr/bin/env python3
"""Sets up what the tests need, runs them, ends what it started, and says what could not run and why."""

from __future__ import annotations

import argparse
import subprocess
import sys

from engine_instance import say
from engine_network import describe
from ground import ROOT, Failure, prepare

# These tests are independent of each other, and most of their time is the start of Python.
PARALLEL = ("tests/project", "tests/blackbox")
# Messages when the outside network is unavailable for a moment: a test that fails with one of them, and no other,
# is rerun, and pytest reports how often.
PASSING_TROUBLE = (
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "failed to lookup address information",
    "Failed to fetch",
    "Connection timed out",
    "Read timed out",
    "connection reset by peer",
)


def run(words: list[str], environment: dict[str, str] | None = None) -> int:
    """Run a command in the project's root and return its exit code."""
    say(f"$ {' '.join(words)}")
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Run the checks, then the tests on a real engine where there can be one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--full", action="store_true", help="the long suites too")
    parser.add_argument("--only", nargs="+", metavar="PATH", help="these tests instead of all")
    parser.add_argument("--strict", action="store_true", help="a missing engine, node or npm is a failure, not a skip")
    arguments = parser.parse_args()
    pytest = [sys.executable, "-m", "pytest"]
    if not arguments.only and run(["make", "check"]):
        return 1
    # The seeds are printed; a finding of the second is repeated by `tools/fuzz.py --replay SEED:INDEX`.
    fuzz = [sys.executable, "tools/fuzz.py", "--seconds", "30"]
    if not arguments.only and (run([*fuzz, "--seed", "1"]) or run(fuzz)):
        return 1
    missing = None
    ground = None
    try:
        ground = prepare(tests=True)
    except Failure as failure:
        missing = f"{failure}\nhint: {failure.hint}" if failure.hint else str(failure)
    chosen = arguments.only or [*PARALLEL, "tests/integration", "tests/faults"]
    marks = [] if arguments.full else ["-m", "not long"]
    strict = ["--require-tools"] if arguments.strict else []
    try:
        if ground is None:
            # What needs no engine runs all the same.
            code = run([*pytest, "tests", "-m", "not engine and not registry and not long", *strict, "--durations=5"])
            code = code or (5 if arguments.strict else 0)
        else:
            for note in ground.notes:
                say(note)
            again = [word for words in PASSING_TROUBLE for word in ("--only-rerun", words)]
            options = [*marks, "--require-engine", *strict, "--durations=10"]
            # What breaks off there is the test itself: one that fails now and then has found something.
            faults = [path for path in chosen if "tests/faults" in path]
            parallel = [path for path in chosen if path.startswith(PARALLEL)]
            others = [path for path in chosen if path not in (*faults, *parallel)]
            code = 0
            if parallel:
                code = run([*pytest, *parallel, *options, "-n", "auto"], ground.environment)
            if others:
                # In a long outage, no test waits for what the ones before it did not get.
                again = ["--reruns", "2", "--reruns-delay", "10", "--max-suite-reruns", "6", *again]
                again += ["-n", "2", "--dist", "loadfile"]
                code = run([*pytest, *others, *options, *again], ground.environment) or code
            if faults:
                code = run([*pytest, *faults, *options], ground.environment) or code
            if code and ground.started:
                say(describe(ground.started))
    finally:
        if ground:
            ground.end()
    if missing:
        say(f"not run: the tests on a real engine and registry, because {missing}")
    if not arguments.full:
        say("not run: the long suites (source compiles, pipelines, kills, most faults); `make test-full` runs them")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
