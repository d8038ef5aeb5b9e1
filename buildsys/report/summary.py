"""The end of a run as a person reads it: what was made, what is missing and why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.events.events import BLOCKED, FAILED, MADE, NOT_REACHED, REUSED
from buildsys.events.summary import IMAGE, Ended, Summary
from buildsys.report.console import Screen, columns
from buildsys.report.text import Marks, clean, cut, format_count, format_duration, format_size, marks_for

if TYPE_CHECKING:
    from buildsys.run.warm import WarmReport

# More images than this are counted, not listed; all are in the report.
_LISTED = 24
_NAMED = 6
_NOTES = 6
_LAST_WORDS = 8
_WIDTH = 110


def show_summary(summary: Summary, screen: Screen, *, report: str = "", command: str = "") -> None:
    """Write what a run came to; `report` is the file with the whole story, `command` what goes on after a stop."""
    marks = marks_for(screen.stream.encoding or "utf-8")
    _show_images(summary, screen)
    notes = [note for note in summary.notes if note.about != "stop"]
    for note in notes[:_NOTES]:
        screen.line(f"{screen.styled('note', 'bold')}    {note.about}: {cut(clean(note.text), 4 * _WIDTH, marks.cut)}")
    if len(notes) > _NOTES:
        screen.line(f"        and {format_count(len(notes) - _NOTES, 'note')} more, all in the events and the report")
    _show_counts(summary, screen, marks)
    for each in summary.those(FAILED):
        screen.line()
        _show_failed(each, summary, screen, marks)
    _show_rest(summary, screen, command)
    if report:
        screen.line(f"report: {report}")


def _show_images(summary: Summary, screen: Screen) -> None:
    images = [each for word in (MADE, REUSED) for each in summary.those(word, IMAGE)]
    if 0 < len(images) <= _LISTED:
        for line in columns([_image_row(each) for each in images], indent=""):
            screen.line(line)


def _image_row(each: Ended) -> tuple[str, ...]:
    end = each.end
    layers = format_count(len(end.layers), "layer") if end.layers else ""
    name = end.tags[0] if end.tags else end.reference.partition("@")[0]
    seconds = f"{format_duration(end.seconds):>5}" if end.outcome == MADE else ""
    return (f"{end.outcome:<6}", each.plan.title, seconds, format_size(end.size), layers, name)


def _show_counts(summary: Summary, screen: Screen, marks: Marks) -> None:
    made, reused = _counted(summary, MADE), _counted(summary, REUSED)
    if not made and not summary.unfinished:
        words = [f"nothing to do: {reused or 'nothing'} there already"]
    else:
        words = [f"made {made or 'nothing'}"]
        if reused:
            words.append(f"reused {reused}")
    for word, what in ((FAILED, "failed"), (BLOCKED, "blocked"), (NOT_REACHED, "not reached")):
        if counted := _counted(summary, word):
            words.append(screen.styled(f"{what} {counted}", "bad"))
    words.append(f"{format_count(summary.runs, 'RUN step')} executed")
    if summary.steps:
        words.append(f"{100 * summary.cached // summary.steps} % of the steps from cache")
    if summary.tags is not None and summary.tags.tags:
        words.append(f"{format_count(len(summary.tags.tags), 'tag')} moved")
    if summary.retries:
        words.append("1 try again" if summary.retries == 1 else f"{summary.retries} tries again")
    if summary.done is not None:
        seconds = summary.done.seconds
        words.append(format_duration(seconds) if seconds >= 60 else f"{seconds:.1f} s")
    screen.line(f" {marks.dot} ".join(words))


def _counted(summary: Summary, outcome: str) -> str:
    images, nodes = len(summary.those(outcome, IMAGE)), len(summary.those(outcome, "node"))
    words = [format_count(number, word) for number, word in ((images, "image"), (nodes, "node")) if number]
    return ", ".join(words)


def _show_failed(each: Ended, summary: Summary, screen: Screen, marks: Marks) -> None:
    end, failure = each.end, each.end.failure
    where = end.file
    if where and failure is not None and failure.line:
        where = f"{where}:{failure.line}"
    title = f"{marks.failed} {each.plan.title}"
    screen.line(f"{screen.styled(title, 'bad')}{'  ' if where else ''}{where}")
    if failure is not None:
        for line in failure_lines(failure):
            screen.line(f"    {line}")
    blocked = [other.plan.title for other in summary.blocked_by(each.plan.name)]
    if blocked:
        screen.line(f"  blocks  {_names(blocked)}")
    if end.alone:
        screen.line(f"  alone   {end.alone}")
    if end.log:
        screen.line(f"  log     {end.log}")


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def failure_lines(failure: Failure) -> list[str]:
    """Return what is told of a failure: the command with its status, its last words, or BuildKit's."""
    if failure.checksum is not None:
        found = failure.checksum
        first = f"the checksum of {found.url} is not what was declared"
        return [first, f"expected {found.expected}", f"found    {found.found}"]
    lines = []
    if failure.kind is FailureKind.COMMAND and (command := clean(failure.command)):
        lines.append(f"$ {cut(command, _WIDTH, '...')}")
    if failure.last_words:
        lines += [clean(line) for line in failure.last_words[-_LAST_WORDS:]]
    else:
        lines += [clean(line) for line in failure.message.splitlines() if line.strip()][:_LAST_WORDS]
    if failure.status is not None:
        lines.append(f"ended with {failure.status}")
    return lines


def _show_rest(summary: Summary, screen: Screen, command: str) -> None:
    missing = [each for each in summary.unfinished if each.plan.kind == IMAGE]
    tags = summary.tags
    images = [each for each in summary.ended if each.plan.kind == IMAGE]
    if summary.unfinished:
        screen.line()
    if tags is not None and tags.failed:
        moved = format_count(len(tags.tags), "tag")
        screen.line(f"{moved} moved, those of {_names(tags.failed)} could not be: the next run moves them")
    if tags is not None and tags.missing:
        verb = "is" if len(missing) == 1 else "are"
        so = f"{format_count(len(tags.tags), 'tag')} moved" if tags.tags else "Nothing was tagged"
        stopped = summary.done is not None and summary.done.signal
        hint = "" if tags.tags or stopped else " (--tags-on partial tags the rest)"
        screen.line(f"{so}: {len(missing)} of {format_count(len(images), 'image')} {verb} missing{hint}")
    if summary.done is not None and summary.done.signal:
        screen.line(f"interrupted: what is made stays, and the same command goes on from there: {command}".rstrip(": "))
    elif summary.those(NOT_REACHED) or summary.those(BLOCKED):
        screen.line("`buildsys bake --failed` goes on with what is missing")


def show_warmth(warmth: WarmReport, screen: Screen) -> None:
    """Write what a second look found: what would still be built, and which caches are dead."""
    for name, why in warmth.cold.items():
        screen.line(f"{screen.styled('cold', 'bad')}  {name}  {why}")
    for name, why in warmth.dead.items():
        screen.line(f"{screen.styled('dead', 'bad')}  the cache of {name}: {why}")
    if warmth.unprobed:
        screen.line(f"note  {warmth.unprobed}")
    alive = warmth.probed - len(warmth.dead)
    probed = f", {alive} of {format_count(warmth.probed, 'cache')} answer" if warmth.probed else ""
    there = len(warmth.targets) - len(warmth.cold)
    screen.line(f"{there} of {format_count(len(warmth.targets), 'target')} would be reused{probed}")
