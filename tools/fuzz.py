#!/usr/bin/env python3
"""Reads mutated projects as the command line does, and reports each that ends in anything but a plan or a message.

A mutant goes through the checks of `plan`, the keys, the bake file, the settings and the printed error. A finding is
a traceback, a crash, more than 5 s of processor time or 500 MB, a place that is missing or not in the file, or a
message said twice.
Mutants depend on seed and index alone: `--replay SEED:INDEX` writes the files of one, with less in them where
that gives the same finding. Ends with 1 if there is any finding.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import functools
import gc
import io
import json
import mmap
import os
import re
import resource
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from buildsys.bake.targets import plan_definition
from buildsys.cli.boundary import collect_rarely
from buildsys.commands.plan import usable_plan
from buildsys.config import catalog
from buildsys.dockerfile.ignore import ignored, rule_problems
from buildsys.errors import BuildsysError, Diagnostic
from buildsys.masks import Mask
from buildsys.plan import keys
from buildsys.plan.keys import keys_of
from buildsys.project import settings
from buildsys.project.settings import mask_of, read_settings
from buildsys.project.workspace import Workspace
from buildsys.recipes import layers
from buildsys.recipes.recipe import Layer
from buildsys.records.source import Source, read
from buildsys.report.console import Screen, show_error
from fuzz_projects import ROOT, projects
from mutations import SETTINGS, Files, Mutant, mutant

MOST_SECONDS, MOST_MEMORY = 5.0, 500 << 20
# What a worker may allocate before Python raises MemoryError: the machine has other work.
_ADDRESSES = 3 << 30
# Without an answer; on a busy machine a worker may get little time.
_SILENCE = 900.0
_REPORT = ROOT / "docs" / "reliability.md"
_MARKS = "<!-- written by tools/fuzz.py, do not edit -->", "<!-- end of the mutated input -->"
# These have no place in a file: something is missing, or said by the environment.
_PLACELESS = re.compile(r"`(ca|files)` names `.*`, which (is not a f|contains the complete project)|`BUILDSYS_")
_MOST_KNOWN = 100
# What settings may depend on.
_OF_SETTINGS = {SETTINGS, "mirrors/use"}
_LONGEST_OUTPUT = 100 * 5_000
_HEADER = struct.Struct("q")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How one mutant ended: `plan`, `refused`, or the kind of a finding with what it is."""

    index: int
    kind: str
    what: str = ""
    seconds: float = 0.0
    memory: int = 0


@dataclass(kw_only=True, slots=True)
class Tally:
    """What all mutants came to."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, 0)
    memory: int = 0

    def add(self, ending: Ending, seed: int) -> None:
        """Count a mutant; a finding that is new is printed."""
        self.counts[ending.kind] += 1
        self.slowest = max(self.slowest, (ending.seconds, ending.index))
        self.memory = max(self.memory, ending.memory)
        if ending.kind not in ("plan", "refused"):
            indexes = self.findings.setdefault((ending.kind, ending.what), [])
            indexes.append(ending.index)
            if len(indexes) == 1:
                print(f"finding {seed}:{ending.index}: {ending.kind}: {ending.what}", flush=True)


class Ground:
    """The projects on disk: a mutant's files replace those of its project, and are put back after it."""

    def __init__(self, folder: Path, given: Sequence[Files]) -> None:
        self.given = given
        self.roots = [folder / str(number) for number in range(len(given))]
        for root, files in zip(self.roots, given, strict=True):
            for path, data in files.items():
                _put(root / path, data)
        self.masks = {root: mask_of(root, {}) for root in self.roots}

    @contextlib.contextmanager
    def of(self, changed: Mutant) -> Iterator[Path]:
        """Yield the root of a project that has what is changed."""
        root = self.roots[changed.project]
        for path, data in changed.changed.items():
            _put(root / path, data)
        try:
            yield root
        finally:
            for path in changed.changed:
                _put(root / path, self.given[changed.project][path])


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def look(root: Path, environ: Mapping[str, str] = MappingProxyType({}), mask: Mask | None = None) -> tuple[str, str]:
    """Return how a project ends in an environment: the kind, and what is found.

    Settings whose `mask` is known were read before.
    """
    workspace = Workspace(root=root)
    errors: list[BuildsysError] = []
    objection = ""
    for part in (_plan, _settings) if mask is None else (_plan,):
        try:
            part(workspace, environ)
        except BuildsysError as error:
            errors.append(error)
        except BaseException as error:
            return "traceback", f"{type(error).__name__} at {_place(error)}"
    try:
        for each in errors:
            objection = objection or _objection(each, workspace, mask)
    except BaseException as error:
        return "traceback", f"{type(error).__name__} at {_place(error)} in the printed error"
    if objection:
        kind, _, what = objection.partition(": ")
        return kind, what
    return ("refused", "") if errors else ("plan", "")


def _plan(workspace: Workspace, environ: Mapping[str, str]) -> None:
    plan, contents = usable_plan(workspace, environ)
    keys_of(plan, contents)
    plan_definition(plan).to_hcl().encode()


def _settings(workspace: Workspace, environ: Mapping[str, str]) -> None:
    del environ
    read_settings(workspace.root, {"PATH": os.environ["PATH"]})


def _objection(error: BuildsysError, workspace: Workspace, mask: Mask | None) -> str:
    """Print an error as the command line does, and return what is wrong with its messages, empty if nothing is."""
    texts: dict[str, str] = {}
    for each in error.diagnostics():
        # The lines of settings are not shown.
        if each.location and each.location.file not in (*texts, SETTINGS):
            with contextlib.suppress(BuildsysError):
                texts[each.location.file] = workspace.read(each.location.file) or ""
    screen = io.StringIO()
    show_error(error, texts, Screen(screen, {}), mask or mask_of(workspace.root, {}))
    screen.getvalue().encode()
    if len(screen.getvalue()) > _LONGEST_OUTPUT:
        return f"long: the printed error has {len(screen.getvalue())} characters"
    said = collections.Counter((each.message, str(each.location)) for each in error.diagnostics())
    if twice := [message for (message, _), count in said.items() if count > 1]:
        return f"twice: {_shape(twice[0])}"
    return next(filter(None, (_wrong(each, texts) for each in error.diagnostics())), "")


def _wrong(each: Diagnostic, texts: Mapping[str, str]) -> str:
    if each.location is None:
        return "" if _PLACELESS.match(each.message) else f"no place: {_shape(each.message)}"
    text = texts.get(each.location.file)
    if text is None:
        return ""
    lines = _lines(text)
    line, column = each.location.line, each.location.column
    if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1) and (line, column) != (1, 1):
        return f"wrong place: {_shape(each.message)}"
    return ""


@functools.lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return text.split("\n")


def _shape(message: str) -> str:
    """Return a message without what it quotes: it names the kind of a finding."""
    return re.sub(r"`[^`]*`|\d+|'[^']*'", "…", message)[:200].replace("\n", " ")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if "/buildsys/" in each.filename] or frames
    chosen = own[-1]
    return f"{chosen.filename.rpartition('/buildsys/')[2]}:{chosen.lineno} {chosen.name}"


def examine(ground: Ground, seed: int, index: int) -> Ending:
    """Return how the mutant of an index ends."""
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    changed = mutant(ground.given, seed, index)
    with ground.of(changed) as root:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        kind, what = look(root, changed.environ, None if changed.changed.keys() & _OF_SETTINGS else ground.masks[root])
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if memory > MOST_MEMORY and kind in ("plan", "refused"):
        kind, what = "memory", "more than 500 MB"
    return Ending(index=index, kind=kind, what=what, seconds=round(seconds, 4), memory=memory)


def remember_unchanged() -> None:
    """Let what was read before come from memory: most files of a mutant are those of its project."""
    catalog.read = settings.read = functools.lru_cache(maxsize=64)(read)  # type: ignore[attr-defined]
    rules = functools.lru_cache(maxsize=64)(lambda text, path: tuple(rule_problems(text, path)))
    catalog.rule_problems = rules  # type: ignore[attr-defined, assignment]
    catalog.ignored = keys.ignored = functools.lru_cache(maxsize=64)(ignored)  # type: ignore[attr-defined]
    known: dict[tuple[str, ...], Layer | None] = {}

    def load_layer(name: str, source: Source, tree: Mapping[str, str], diagnostics: list[Diagnostic]) -> Layer | None:
        texts = [text for path, text in tree.items() if path.startswith(f"layers/{name}/") and "Dockerfile" in path]
        key = (name, tree[source.file], *texts)
        if key in known:
            return known[key]
        layer = layers.load_layer(name, source, tree, diagnostics)
        if layer and len(known) < _MOST_KNOWN:
            known[key] = layer
        return layer

    catalog.load_layer = load_layer  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A process that examines each `step`-th index; `at` holds the index that it is at."""

    process: int
    pipe: int
    at: mmap.mmap
    log: Path
    step: int


def start(folder: Path, name: str, seed: int, indexes: range) -> Worker:
    """Fork a worker."""
    reading, writing = os.pipe()
    at = mmap.mmap(-1, _HEADER.size)
    log = folder / f"{name}.log"
    process = os.fork()
    if process:
        os.close(writing)
        return Worker(process=process, pipe=reading, at=at, log=log, step=indexes.step)
    code = 1
    try:
        os.close(reading)
        _work(folder / name, log, seed, indexes, at, writing)
        code = 0
    finally:
        os._exit(code)


def _work(folder: Path, log: Path, seed: int, indexes: range, at: mmap.mmap, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A warning of Python would be printed between the lines of a command.
    warnings.simplefilter("error")
    with log.open("w") as stacks:
        faulthandler.enable(stacks)
        # Then the timer ends the process, whatever it is in.
        faulthandler.register(signal.SIGPROF, stacks, chain=True)
        ground = Ground(folder, projects())
        gc.freeze()
        for index in indexes:
            at[:] = _HEADER.pack(index)
            try:
                ending = examine(ground, seed, index)
            except BaseException:
                traceback.print_exc(file=stacks)
                raise
            line = [index, ending.kind, ending.what, ending.seconds, ending.memory]
            os.write(writing, json.dumps(line).encode() + b"\n")
            # What texts that are kept between mutants hold is not to count for a later one.
            if ending.memory > MOST_MEMORY // 2:
                return


def fuzz(seed: int, first: int, count: int | None, seconds: float | None, workers: int) -> Tally:
    """Examine mutants, as many or as long as said."""
    tally, began = Tally(), time.monotonic()
    end = first + (count if count is not None else 1 << 40)
    # In memory where the system has such a place: most of the time would be that of opening files.
    place = next(filter(os.path.isdir, ["/dev/shm"]), None)
    with (
        tempfile.TemporaryDirectory(prefix="buildsys-fuzz-", dir=place) as name,
        selectors.DefaultSelector() as selector,
    ):
        folder = Path(name)
        running: dict[int, tuple[Worker, bytearray, str]] = {}
        heard: dict[int, float] = {}

        def begin(slot: str, at: int) -> None:
            if at < end:
                worker = start(folder, slot, seed, range(at, end, workers))
                selector.register(worker.pipe, selectors.EVENT_READ)
                running[worker.pipe] = worker, bytearray(), slot
                heard[worker.pipe] = time.monotonic()

        for number in range(workers):
            begin(str(number), first + number)
        said = time.monotonic()
        while running:
            for key, _ in selector.select(1):
                pipe = key.fd
                worker, held, slot = running[pipe]
                heard[pipe] = time.monotonic()
                if data := os.read(pipe, 1 << 16):
                    held += data
                    *lines, rest = held.split(b"\n")
                    held[:] = rest
                    for line in lines:
                        index, kind, what, used, memory = json.loads(line)
                        tally.add(Ending(index=index, kind=kind, what=what, seconds=used, memory=memory), seed)
                    continue
                selector.unregister(pipe)
                os.close(pipe)
                del running[pipe]
                at = _HEADER.unpack(worker.at[:])[0]
                if ending := _end_of(worker, at):
                    tally.add(ending, seed)
                if seconds is None or time.monotonic() - began < seconds:
                    begin(slot, at + worker.step)
            now = time.monotonic()
            for pipe, (worker, _, _) in running.items():
                if now - heard[pipe] > _SILENCE or (seconds is not None and now - began > seconds):
                    os.kill(worker.process, signal.SIGKILL if now - heard[pipe] > _SILENCE else signal.SIGTERM)
            if now - said > 30:
                said = now
                print(_progress(tally, now - began), file=sys.stderr, flush=True)
    return tally


def _end_of(worker: Worker, at: int) -> Ending | None:
    """Wait for a worker that ended, and return the finding if it did not end by itself."""
    _, status = os.waitpid(worker.process, 0)
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        last = worker.log.read_text(errors="replace").rstrip().rpartition("\n")[2]
        return Ending(index=at, kind="crash", what=f"exit code {code}, {last}") if code else None
    number = os.WTERMSIG(status)
    if number == signal.SIGTERM:
        return None
    stack = worker.log.read_text(errors="replace")
    found = re.search(r'File "[^"]*/buildsys/([^"]*)", line (\d+) in (\S+)', stack)
    where = f"{found[1]}:{found[2]} {found[3]}" if found else "an unknown place"
    if number == signal.SIGPROF:
        return Ending(index=at, kind="slow", what=f"more than {MOST_SECONDS:.0f} s at {where}", seconds=MOST_SECONDS)
    kind = "hang" if number == signal.SIGKILL else "crash"
    return Ending(index=at, kind=kind, what=f"{signal.Signals(number).name} at {where}")


def _progress(tally: Tally, seconds: float) -> str:
    done = tally.counts.total()
    counts = ", ".join(f"{count} {kind}" for kind, count in tally.counts.most_common())
    return (
        f"{done} mutants in {seconds:.0f} s ({done / max(seconds, 0.1):.0f}/s): {counts}; "
        f"slowest {tally.slowest[0]:.2f} s (index {tally.slowest[1]}), largest {tally.memory / 1e6:.0f} MB"
    )


def replay(seed: int, index: int, folder: Path) -> int:
    """Write the project of a mutant, with as little of the changed files as gives the same finding."""
    found = mutant(projects(), seed, index)
    shutil.rmtree(folder, ignore_errors=True)
    ground = Ground(folder, [projects()[found.project]])
    for path, data in found.changed.items():
        _put(ground.roots[0] / path, data)
    ending = look(ground.roots[0], found.environ)
    if ending[0] not in ("plan", "refused"):
        for path in found.changed:
            _reduce(ground.roots[0], path, ending, found.environ)
    print(f"{found.how}: {ending[0]} {ending[1]}\nwritten to {ground.roots[0]}: {', '.join(found.changed)} changed")
    return int(ending[0] not in ("plan", "refused"))


def _reduce(root: Path, path: str, ending: tuple[str, str], environ: Mapping[str, str]) -> None:
    """Leave out of a file what does not matter for how its project ends: half of it, then less at a time."""
    if not (root / path).exists():
        return
    lines = (root / path).read_bytes().splitlines(keepends=True)
    size = len(lines) // 2
    while size:
        for first in range(0, len(lines), size):
            _put(root / path, b"".join([*lines[:first], *lines[first + size :]]))
            if look(root, environ) == ending:
                del lines[first : first + size]
                break
        else:
            size //= 2
    _put(root / path, b"".join(lines))


def record(tally: Tally, seed: int, seconds: float, workers: int) -> None:
    """Write a run into the documentation."""
    text = _REPORT.read_text(encoding="utf-8")
    head, _, rest = text.partition(_MARKS[0])
    tail = rest.partition(_MARKS[1])[2]
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = f"{os.cpu_count()} cores, {memory:.0f} GB, Linux {os.uname().release}, Python {sys.version.split()[0]}"
    rows = [
        ("Mutants", f"{tally.counts.total():,}"),
        ("Seed", str(seed)),
        ("Commit", f"`{commit}`"),
        ("Date", time.strftime("%Y-%m-%d")),
        ("Machine", f"{machine}, {workers} processes"),
        ("Duration", f"{seconds / 60:.0f} minutes, {tally.counts.total() / seconds:.0f} mutants a second"),
        ("Planned", f"{tally.counts['plan']:,}"),
        ("Refused with messages", f"{tally.counts['refused']:,}"),
        ("Findings", str(sum(map(len, tally.findings.values())))),
        ("Slowest", f"{tally.slowest[0]:.2f} s of processor time (index {tally.slowest[1]})"),
        ("Largest memory", f"{tally.memory / 1e6:.0f} MB"),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in [("Run", ""), ("---", "---"), *rows])
    _REPORT.write_text(f"{head}{_MARKS[0]}\n\n{table}\n{_MARKS[1]}{tail}", encoding="utf-8")


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="default: a random one")
    parser.add_argument("--count", type=int, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, help="the first index")
    parser.add_argument("--seconds", type=float, help="how long, in place of how many")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help=f"record the run in {_REPORT.relative_to(ROOT)}")
    parser.add_argument("--replay", metavar="SEED:INDEX", help="write the files of this mutant")
    parser.add_argument("--into", type=Path, default=Path("mutant"), help="the folder for --replay")
    given = parser.parse_args()
    if given.replay:
        seed, _, index = given.replay.partition(":")
        return replay(int(seed), int(index), given.into)
    count = given.count if given.count or given.seconds else 10_000
    print(f"seed {given.seed}", flush=True)
    collect_rarely()
    remember_unchanged()
    began = time.monotonic()
    tally = fuzz(given.seed, given.first, count, given.seconds, given.workers)
    seconds = time.monotonic() - began
    print(_progress(tally, seconds))
    for (kind, what), indexes in sorted(tally.findings.items()):
        print(f"{len(indexes)} × {kind}: {what}; first {given.seed}:{indexes[0]}")
    if given.write:
        record(tally, given.seed, seconds, given.workers)
    return int(bool(tally.findings))


if __name__ == "__main__":
    sys.exit(main())
