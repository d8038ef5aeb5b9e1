"""Checks the tests of the runner: each patch in tests/mutants breaks one rule, and a unit test must notice.

A patch is a unified diff below a line `Rule:` and a line `Tests:`. Its hunks are found by their text, which must occur
exactly once, so it survives edits elsewhere in its file; `--refresh` writes the patches for the lines of today, with as
little context as finds their places.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
PATCHES = ROOT / "tests" / "mutants"
# What tests of the runner read.
COPIED = ("buildsys", "tests", "layers", "files", "stacks.yaml", "buildsys.lock", "pyproject.toml")
_NOTICED, _PASSED = 1, 0
_SECONDS = 300


class Stale(Exception):
    """A patch that does not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One patch: the rule that it breaks, the tests that must notice, its file, and texts with what replaces them."""

    name: str
    rule: str
    tests: tuple[str, ...]
    file: str
    edits: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, name: str, text: str) -> Mutant:
        """Return the mutant of a patch file."""
        head, _, diff = text.partition("\n--- a/")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        first, *lines = diff.splitlines()
        edits = []
        for hunk in "\n".join(lines[1:]).split("\n@@ "):
            # An editor may have taken the space of an empty line.
            body = [line or " " for line in hunk.split("\n")[1:]]
            old = "".join(f"{line[1:]}\n" for line in body if line[0] in " -")
            new = "".join(f"{line[1:]}\n" for line in body if line[0] in " +")
            edits.append((old, new))
        return cls(name=name, rule=fields["Rule"], tests=tuple(fields["Tests"].split()), file=first, edits=tuple(edits))

    def apply(self, text: str) -> str:
        """Return a file's text with the rule broken; raises `Stale` unless each edit fits in one place."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise Stale(f"{self.name}: {text.count(old)} places of {self.file} look like\n{old}")
            text = text.replace(old, new)
        return text

    def patch(self, text: str) -> str:
        """Return the patch for a file's text as it is now, with no more context than finds its place."""
        broken = self.apply(text)
        before, after = text.splitlines(keepends=True), broken.splitlines(keepends=True)
        head = f"Rule: {self.rule}\nTests: {' '.join(self.tests)}\n\n"
        for context in itertools.count():
            lines = difflib.unified_diff(before, after, f"a/{self.file}", f"b/{self.file}", n=context)
            patch = head + "".join(lines)
            with contextlib.suppress(Stale):
                if Mutant.parse(self.name, patch).apply(text) == broken:
                    return patch
        raise AssertionError  # With the whole file as context every edit has one place.


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a mutant was noticed, and by which test; else what happened."""

    mutant: Mutant
    noticed: bool
    found: str


def mutants(folder: Path = PATCHES) -> tuple[Mutant, ...]:
    """Return all mutants, by name."""
    return tuple(Mutant.parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.patch")))


def refresh(folder: Path = PATCHES, root: Path = ROOT) -> None:
    """Write each patch for its file as it is now; raises `Stale`."""
    for mutant in mutants(folder):
        text = (root / mutant.file).read_text(encoding="utf-8")
        (folder / f"{mutant.name}.patch").write_text(mutant.patch(text), encoding="utf-8")


def run_tests(tree: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Return the exit code of pytest on a copy of the tree, and the first test that failed or its last line."""
    # A patch may keep size and second of a file, by which Python recognises its compiled copy.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _NOTICED, f"no end in {_SECONDS} seconds"
    failed = re.search(r"^(?:FAILED|ERROR) \S+?::(\S+)", done.stdout, re.MULTILINE)
    last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1:]
    return done.returncode, failed[1] if failed else "".join(last)


def try_mutant(mutant: Mutant, tree: Path) -> Verdict:
    """Run the tests of a mutant in a copy of the tree, which is as before afterwards."""
    path = tree / mutant.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.apply(text), encoding="utf-8")
        code, found = run_tests(tree, mutant.tests)
    except Stale as error:
        return Verdict(mutant=mutant, noticed=False, found=f"does not apply: {error}")
    finally:
        path.write_text(text, encoding="utf-8")
    # Another code than that of failed tests is a patch that breaks more than a rule.
    found = (
        found if code == _NOTICED else "no test noticed" if code == _PASSED else f"pytest ended with {code}: {found}"
    )
    return Verdict(mutant=mutant, noticed=code == _NOTICED, found=found)


def verdicts(chosen: Sequence[Mutant], trees: Sequence[Path]) -> Iterator[Verdict]:
    """Yield the verdicts in the order of the mutants, with one process for each copy of the tree."""
    free: SimpleQueue[Path] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judged(mutant: Mutant) -> Verdict:
        tree = free.get()
        try:
            return try_mutant(mutant, tree)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(max_workers=len(trees)) as pool:
        yield from pool.map(judged, chosen)


def copy_tree(target: Path) -> Path:
    """Copy what tests read to a new folder and return it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignored, symlinks=True)
        elif (ROOT / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def main() -> int:
    """Print a line for each mutant; return 1 if one was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of names; all mutants if none is given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--refresh", action="store_true", help="only write the patches for today's lines")
    options = parser.parse_args()
    if options.refresh:
        refresh()
        return 0
    chosen = [each for each in mutants() if not options.names or each.name.startswith(tuple(options.names))]
    with tempfile.TemporaryDirectory(prefix="buildsys-mutants-") as folder:
        trees = [copy_tree(Path(folder) / str(number)) for number in range(max(1, min(options.jobs, len(chosen))))]
        code, found = run_tests(trees[0], sorted({test for each in chosen for test in each.tests}))
        if code != _PASSED:
            print(f"the tests fail without any mutant: {found}")
            return 1
        missed = 0
        for verdict in verdicts(chosen, trees):
            missed += not verdict.noticed
            word = "noticed" if verdict.noticed else "MISSED "
            print(f"{word}  {verdict.mutant.name:<34} {verdict.mutant.rule}\n{'':>9}{verdict.found}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mutants were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
