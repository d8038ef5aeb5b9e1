"""The table of `docs/reliability.md`: one row for each case that the suite ran.

Rows are kept beside the project: a run of some cases replaces their rows alone, and each row names its commit.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.workload import NODES, STACKS
from tests.faults.world import Story
from tests.support.commands import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
KEPT = ROOT / ".buildsys" / "faults.jsonl"
COMMAND = "BUILDSYS_WRITE_TABLE=1 make test-full"
_BEGIN = "<!-- written by tests/faults, do not edit -->"
_END = "<!-- end -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the table; `case` is the name of its test, which stays the same if the wording changes."""

    case: str
    commit: str
    day: str
    group: str
    fault: str
    did: str
    published: str
    then: str


def row(case: str, group: str, fault: str, story: Story, *, commit: str, day: str) -> Row:
    """Return the row of a story."""
    first, after = story.first, story.after
    retries = f", {first.retries} retries" if first.retries > 1 else ", 1 retry" if first.retries else ""
    end = "did not end, was killed" if first.code is None else f"exit {first.code}" if first.code >= 0 else "killed"
    moved = sum(after.tags[stack] != story.before[stack] for stack in STACKS)
    # A successful run was checked to have moved every tag that changed, even if these are few.
    moved = len(STACKS) if first.code == 0 else moved
    tags = {0: "old tags", len(STACKS): "new tags"}.get(moved, f"{moved} of {len(STACKS)} tags new")
    executed = f"{len(story.second.runs)} of {len(NODES)} RUN steps" if story.second.runs else "no RUN step"
    return Row(
        case=case,
        commit=commit,
        day=day,
        group=group,
        fault=fault,
        did=f"{end} after {first.seconds:.0f} s{retries}",
        published=f"{len(after.nodes)} of {len(NODES)} nodes, {len(after.stacks)} of {len(STACKS)} images; {tags}",
        then=f"{executed}, exit {story.second.code}",
    )


def machine() -> str:
    """Return a description of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Linux {kernel}, Python {platform.python_version()}"


def text_of(rows: Iterable[Row], *, machine: str) -> str:
    """Return the table as Markdown, with the machine and the command."""
    lines = [f"Measured on {machine}, by `{COMMAND}`.", ""]
    groups: dict[str, list[Row]] = {}
    for each in rows:
        groups.setdefault(each.group, []).append(each)
    for group, members in sorted(groups.items()):
        lines += [f"### {group}", "", "| Fault | Result | Published afterwards | Next run | Date and commit |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {each.fault} | {each.did} | {each.published} | {each.then} | {each.day}, `{each.commit}` |"
            for each in members
        ]
        lines += [""]
    return "\n".join(lines)


def merged(known: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Return the known rows, each replaced by a new one of the same case, then the other new rows."""
    return list(({each.case: each for each in known} | {each.case: each for each in new}).values())


def placed(document: str, table: str) -> str:
    """Return the document with its table replaced."""
    head, found, rest = document.partition(_BEGIN)
    _, closed, tail = rest.partition(_END)
    if not found or not closed:
        raise ValueError(f"the document lacks `{_BEGIN}` or `{_END}`")
    return f"{head}{_BEGIN}\n\n{table}\n{_END}{tail}"


def commit() -> str:
    """Return the current commit, marked if the checkout differs from it."""
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def write(rows: Iterable[Row], document: Path = DOCUMENT, kept: Path = KEPT) -> None:
    """Write the rows, and those kept from other runs, to the document."""
    known = [Row(**json.loads(line)) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
    whole = merged(known, rows)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in whole), encoding="utf-8")
    table = text_of(whole, machine=machine())
    document.write_text(placed(document.read_text(encoding="utf-8"), table), encoding="utf-8")
