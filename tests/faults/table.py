"""The table of `docs/reliability.md`: one row for each case, out of the stories that the suite saw.

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
from tests.integration.support import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
KEPT = ROOT / ".buildsys" / "faults.jsonl"
COMMAND = "BUILDSYS_WRITE_TABLE=1 make test-full"
_BEGIN = "<!-- made by tests/faults, not by hand -->"
_END = "<!-- end -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the table; `case` is the name of its test, which stays where the words change."""

    case: str
    commit: str
    day: str
    group: str
    fault: str
    did: str
    published: str
    then: str


def row(case: str, group: str, fault: str, story: Story, *, commit: str, day: str) -> Row:
    """Say in words what a story was."""
    first, after = story.first, story.after
    again = f", {first.retries} tries again" if first.retries > 1 else ", 1 try again" if first.retries else ""
    end = "did not end, was killed" if first.code is None else f"exit {first.code}" if first.code >= 0 else "killed"
    moved = sum(after.tags[stack] != story.before[stack] for stack in STACKS)
    # A run that ended well was seen to have moved all that there was to move, be it few.
    moved = len(STACKS) if first.code == 0 else moved
    tags = {0: "tags the old ones", len(STACKS): "tags the new ones"}.get(moved, f"{moved} of {len(STACKS)} tags new")
    executed = f"{len(story.second.runs)} of {len(NODES)} RUN steps" if story.second.runs else "no RUN step"
    return Row(
        case=case,
        commit=commit,
        day=day,
        group=group,
        fault=fault,
        did=f"{end} after {first.seconds:.0f} s{again}",
        published=f"{len(after.nodes)} of {len(NODES)} nodes, {len(after.stacks)} of {len(STACKS)} images; {tags}",
        then=f"{executed}, exit {story.second.code}",
    )


def machine() -> str:
    """Say on what it was measured, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Linux {kernel}, Python {platform.python_version()}"


def text_of(rows: Iterable[Row], *, machine: str) -> str:
    """Return the table as Markdown, with where it comes from."""
    lines = [f"Measured on {machine}, by `{COMMAND}`.", ""]
    groups: dict[str, list[Row]] = {}
    for each in rows:
        groups.setdefault(each.group, []).append(each)
    for group, members in sorted(groups.items()):
        lines += [f"### {group}", "", "| Fault | What buildsys did | Published afterwards | Next run | Seen |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {each.fault} | {each.did} | {each.published} | {each.then} | {each.day}, `{each.commit}` |"
            for each in members
        ]
        lines += [""]
    return "\n".join(lines)


def merged(known: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Return the known rows with the new ones in the places of those of the same case, the others after them."""
    return list(({each.case: each for each in known} | {each.case: each for each in new}).values())


def placed(document: str, table: str) -> str:
    """Return the document with its table replaced."""
    head, found, rest = document.partition(_BEGIN)
    _, closed, tail = rest.partition(_END)
    if not found or not closed:
        raise ValueError(f"the document lacks `{_BEGIN}` or `{_END}`")
    return f"{head}{_BEGIN}\n\n{table}\n{_END}{tail}"


def commit() -> str:
    """Return the commit that is looked at, and whether it was changed."""
    words = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def write(rows: Iterable[Row], document: Path = DOCUMENT, kept: Path = KEPT) -> None:
    """Put the rows into the document, and those that are kept from other runs."""
    known = [Row(**json.loads(line)) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
    whole = merged(known, rows)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in whole), encoding="utf-8")
    table = text_of(whole, machine=machine())
    document.write_text(placed(document.read_text(encoding="utf-8"), table), encoding="utf-8")
