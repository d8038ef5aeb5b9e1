"""What a pull request affects, how a run ended and which tests failed, as Markdown for comments and job summaries.

All texts of the project and of builds are in code spans or fences: a comment is written with the rights of a job, and
no name, link, image or markup of a file may act in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from buildsys.events.events import FAILED, MADE, TestState
from buildsys.events.model import RunModel, Target
from buildsys.plan.actions import format_difference, own_reason
from buildsys.plan.diff import Changed, ChangeKind
from buildsys.plan.plan import Plan
from buildsys.report.outcomes import copies_lines, failure_lines, failure_place, outcome_word
from buildsys.report.summary import counts
from buildsys.report.tables import estimate_words
from buildsys.report.tested import summary_line
from buildsys.report.text import clean, cut, format_count, format_duration, format_size

if TYPE_CHECKING:
    from buildsys.commands.affected import Affected
    from buildsys.image_tests.suite import ImageResult
    from buildsys.run.scheduler import Left

COMMENT = "<!-- buildsys affected -->"
"""The first line of a comment, by which a job finds its own."""
# A comment has 65,536 characters, a job summary 1 MiB.
_ROWS, _CAUSES, _FAILURES, _OUTPUT = 50, 3, 20, 30
_LONGEST = 200
_TICKS = re.compile("`+")


def code(text: str) -> str:
    """Return a text as a code span."""
    found = cut(clean(text), _LONGEST, "…")
    ticks = "`" * (max(map(len, _TICKS.findall(found)), default=0) + 1)
    space = " " if found.startswith("`") or found.endswith("`") else ""
    return f"{ticks}{space}{found}{space}{ticks}" if found else ""


def _cell(text: str) -> str:
    """Return a text as a code span in a table, in which no text has the character that ends a cell."""
    return code(text.replace("|", "¦"))


def _fence(lines: Iterable[str]) -> list[str]:
    shown = [cut(clean(line), _LONGEST, "…") for line in lines]
    ticks = "`" * max(3, *(len(found) + 1 for line in shown for found in _TICKS.findall(line)), 0)
    return [f"{ticks}text", *shown, ticks]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], what: str) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    yield from (f"| {' | '.join(row)} |" for row in rows[:_ROWS])
    if len(rows) > _ROWS:
        yield f"\n… and {format_count(len(rows) - _ROWS, what)} more"


def affected_comment(found: Affected, left: Left | None) -> str:
    """Return a comment on a pull request: what it rebuilds, how long that takes, and the inputs that are the reason."""
    lines = [COMMENT, _sentence(found, left), ""]
    if found.note:
        lines += [code(found.note), ""]
    reasons: dict[str, str] = {}
    for each in found.images:
        reasons.setdefault(each.stack, _why(found.plan, each))
    if reasons:
        rows = [(_cell(stack), _cell(why)) for stack, why in reasons.items()]
        lines += [*_table(("image", "why"), rows, "image"), ""]
    if found.nodes:
        rows = [(_cell(each.title), _cell(_why(found.plan, each))) for each in found.nodes]
        lines += [f"<details><summary>{format_count(len(found.nodes), 'node')} to build</summary>", ""]
        lines += [*_table(("node", "why"), rows, "node"), "", "</details>", ""]
    for names, words in ((found.removed, "no longer declared"), (found.others, "deprecated or without support")):
        if names:
            more = f" and {len(names) - _CAUSES} more" if len(names) > _CAUSES else ""
            lines.append(f"{words}: {', '.join(map(code, names[:_CAUSES]))}{more}")
    return "\n".join(lines).rstrip() + "\n"


def _sentence(found: Affected, left: Left | None) -> str:
    built = len(found.stacks) - len(found.moved)
    text = f"This pull request rebuilds **{built or 'none'} of {len(found.plan.indexes)} images**"
    if built and (time := estimate_words(left)):
        text += f", {time}"
    causes = list(dict.fromkeys(_why(found.plan, each) for each in found.built))
    if causes:
        more = f" and {len(causes) - _CAUSES} more" if len(causes) > _CAUSES else ""
        text += f", because {', '.join(map(code, causes[:_CAUSES]))}{more}"
    if found.moved:
        text += f"; of {format_count(len(found.moved), 'image')} only tags move"
    return f"{text}."


def _why(plan: Plan, each: Changed) -> str:
    """Return the input that makes a target differ, as a person finds it in the change."""
    if each.change == ChangeKind.TAGS and each.difference:
        return f"not rebuilt, {format_difference(each.difference)}"
    cause = plan.targets[each.cause or each.target]
    return own_reason(cause, each.difference) if each.difference else f"{cause.title} is new"


def run_summary(run: RunModel, command: str) -> str:
    """Return a job summary of a run: what was built and why, and what failed with its last output."""
    lines = [f"### {code(command)}", "", f"**{' · '.join(counts(run))}**", ""]
    for each in run.ended_as(FAILED)[:_FAILURES]:
        lines += _failed(each, run)
    images = [each for each in run.targets.values() if each.is_image and each.ended]
    if images:
        lines += [
            *_table(("image", "", "time", "size", "published as"), [_image(each) for each in images], "image"),
            "",
        ]
    built = run.ended_as(MADE, "node")
    if built:
        rows = [(_cell(each.title), format_duration(each.seconds), _cell(each.plan.reason)) for each in built]
        lines += [f"<details><summary>{format_count(len(built), 'node')} built</summary>", ""]
        lines += [*_table(("node", "time", "why"), rows, "node"), "", "</details>", ""]
    lines += [f"- {code(line)}" for copies in run.copies for line in copies_lines(copies)]
    lines += [f"- {note.about}: {code(note.text)}" for note in run.notes[:_CAUSES]]
    return "\n".join(lines).rstrip() + "\n\n"


def _failed(target: Target, run: RunModel) -> list[str]:
    end = target.ended
    assert end
    blocked = run.blocked_by(target.name)
    place = failure_place(end)
    words = [f"failed: **{code(target.title)}**", code(place) if place else ""]
    words.append(f"blocks {format_count(len(blocked), 'target')}" if blocked else "")
    output = failure_lines(end.failure, most=_OUTPUT) if end.failure else ()
    return [" · ".join(filter(None, words)), "", *(_fence(output) if output else ()), ""]


def _image(target: Target) -> tuple[str, ...]:
    end = target.ended
    assert end
    time = format_duration(end.seconds) if end.outcome == MADE else ""
    name = end.tags[0] if end.tags else end.reference
    return (_cell(target.title), outcome_word(end.outcome), time, format_size(end.size), _cell(name))


def summary_of_tests(results: Sequence[ImageResult], command: str) -> str:
    """Return a job summary of tests: their number, and each that failed with its last output."""
    failed = [each for result in results for each in result.results if each.state is TestState.FAILED]
    lines = [f"### {code(command)}", "", f"**{summary_line(results)}**", ""]
    for each in failed[:_FAILURES]:
        lines += [f"failed: **{code(each.test.stack)}** · {code(each.test.layer)} · {code(each.test.title)}", ""]
        lines += [*_fence([each.problem, *each.output.splitlines()[-_OUTPUT:]]), ""]
    return "\n".join(lines).rstrip() + "\n\n"
