#!/usr/bin/env python3
"""Runs tests of this checkout against buildsys at another revision, and prints what they assert there.

A test of a fault must fail at the revision that has the fault, and for that fault: `test_on_revision.py 20c28a2
tests/blackbox/test_git.py` shows each assertion that fails. Ends with 0 if every test failed by an assertion of its
own, with 1 if one passed, was skipped, or broke for another reason such as an import.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Make a worktree of the revision with the tests of this checkout, run them there, report, remove it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("revision")
    parser.add_argument("tests", nargs="+", help="files or names of tests, as pytest takes them")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="buildsys-revision-"))
    tree = folder / "tree"
    git = ["git", "-C", str(ROOT), "worktree"]
    try:
        if subprocess.run([*git, "add", "--quiet", "--detach", str(tree), arguments.revision], check=False).returncode:
            return 2
        for name in ("tests", "tools"):
            shutil.rmtree(tree / name)
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        # The tests' own settings go with them: markers, options.
        shutil.copy(ROOT / "pyproject.toml", tree)
        for name in (".venv", "buildsys.lock.local", "buildsys.settings.yaml"):
            if (ROOT / name).exists():
                (tree / name).symlink_to(ROOT / name)
        results = folder / "results.xml"
        words = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-r", "", f"--junit-xml={results}"]
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*words, *arguments.tests], cwd=tree, env=environment, check=False, capture_output=True)
        if not results.is_file():
            sys.stdout.buffer.write(done.stdout + done.stderr)
            return 2
        return report(results)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def report(results: Path) -> int:
    """Print each test with the assertion that failed, and return the exit code."""
    wrong = total = 0
    for case in ElementTree.parse(results).iter("testcase"):
        total += 1
        name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
        failure = case.find("failure")
        message = failure.get("message", "") if failure is not None else ""
        asserted = message.startswith(("AssertionError", "assert ", "Failed: DID NOT RAISE"))
        if failure is None:
            other = next((child.tag for child in case if child.tag in ("error", "skipped")), "")
            message = f"{other}: {case.find(other).get('message', '')}" if other else "passed"  # type: ignore[union-attr]
        wrong += not asserted
        print(f"{'fails' if asserted else 'WRONG'}  {name}\n       " + "\n       ".join(message.splitlines()[:12]))
    print(f"{total - wrong} of {total} tests fail there by an assertion of their own")
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    sys.exit(main())
