"""The end of a run as a person reads it: what was built, what is missing and why, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from buildsys.events.events import BLOCKED, FAILED, MADE, NOT_REACHED, REUSED
from buildsys.events.model import IMAGE, RunModel, Target
from buildsys.report.console import Screen, columns
from buildsys.report.outcomes import copies_lines, failure_lines, failure_place, outcome_word, tests_words
from buildsys.report.text import (
    Marks,
    clean,
    cut,
    format_count,
    format_duration,
    format_retries,
    format_size,
    marks_for,
)

if TYPE_CHECKING:
    from buildsys.run.warm import WarmReport

# More images than this are counted, not listed; all are in the report.
_LISTED = 24
_NAMED = 6
_NOTES = 6
_OUTPUT_LINES = 8
_NOTE_WIDTH = 440


def show_summary(run: RunModel, screen: Screen, *, report: str = "", command: str = "") -> None:
    """Write what became of a run; `report` is the file with all of it, `command` what resumes it after a stop."""
    marks = marks_for(screen.stream.encoding or "utf-8")
    _show_images(run, screen)
    notes = [note for note in run.notes if note.about != "stop"]
    for note in notes[:_NOTES]:
        screen.line(f"{screen.styled('note', 'bold')}    {note.about}: {cut(clean(note.text), _NOTE_WIDTH, marks.cut)}")
    if len(notes) > _NOTES:
        screen.line(f"        and {format_count(len(notes) - _NOTES, 'note')} more, all in the events and the report")
    screen.line(f" {marks.dot} ".join(counts(run, lambda text: screen.styled(text, "bad"))))
    for each in run.ended_as(FAILED):
        screen.line()
        _show_failed(each, run, screen, marks)
    _show_rest(run, screen, command)
    if report:
        screen.line(f"report: {report}")


def _show_images(run: RunModel, screen: Screen) -> None:
    images = [each for outcome in (MADE, REUSED) for each in run.ended_as(outcome, IMAGE)]
    if 0 < len(images) <= _LISTED:
        for line in columns(map(_image_row, images), indent=""):
            screen.line(line)


def _image_row(target: Target) -> tuple[str, ...]:
    end = target.ended
    assert end
    layers = format_count(len(end.layers), "layer") if end.layers else ""
    name = end.tags[0] if end.tags else end.reference.partition("@")[0]
    seconds = f"{format_duration(end.seconds):>5}" if end.outcome == MADE else ""
    return (f"{outcome_word(end.outcome):<6}", target.title, seconds, format_size(end.size), layers, name)


def counts(run: RunModel, failing: Callable[[str], str] = str) -> list[str]:
    """Return what a run came to, in a few words each; those of what is missing are written by `failing`."""
    built, reused = _counted(run, MADE), _counted(run, REUSED)
    if not built and not run.missing:
        words = [f"nothing to do: {f'{reused} up to date' if reused else 'no targets'}"]
    else:
        words = [f"built {built or 'nothing'}"]
        if reused:
            words.append(f"reused {reused}")
    for outcome in (FAILED, BLOCKED, NOT_REACHED):
        if counted := _counted(run, outcome):
            words.append(failing(f"{outcome} {counted}"))
    words.append(f"{format_count(run.runs, 'RUN step')} executed")
    steps, cached = run.build_steps
    if steps:
        words.append(f"{100 * cached // steps} % of the steps from cache")
    if run.tests:
        words.append(tests_words(run.tests))
    if run.tags and run.tags[-1].tags:
        words.append(f"{format_count(len(run.tags[-1].tags), 'tag')} moved")
    if run.retries:
        words.append(format_retries(run.retries))
    if run.done is not None:
        seconds = run.done.seconds
        words.append(format_duration(seconds) if seconds >= 60 else f"{seconds:.1f} s")
    return words


def _counted(run: RunModel, outcome: str) -> str:
    counts = ((len(run.ended_as(outcome, kind)), kind) for kind in (IMAGE, "node"))
    return ", ".join(format_count(number, kind) for number, kind in counts if number)


def _show_failed(target: Target, run: RunModel, screen: Screen, marks: Marks) -> None:
    end = target.ended
    assert end
    place = failure_place(end)
    title = f"{marks.failed} {target.title}"
    screen.line(f"{screen.styled(title, 'bad')}{'  ' if place else ''}{place}")
    for line in failure_lines(end.failure, most=_OUTPUT_LINES) if end.failure else ():
        screen.line(f"    {line}")
    blocked = [each.title for each in run.blocked_by(target.name)]
    if blocked:
        screen.line(f"  blocks  {_names(blocked)}")
    if end.alone:
        screen.line(f"  rerun   {end.alone}")
    if end.log:
        screen.line(f"  log     {end.log}")


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _show_rest(run: RunModel, screen: Screen, command: str) -> None:
    stopped = run.done is not None and run.done.signal
    if run.missing:
        screen.line()
    if run.tags:
        _show_tags(run, screen, stopped=bool(stopped))
    for copies in run.copies:
        for line in copies_lines(copies):
            screen.line(line)
    if stopped:
        resume = f" to resume: {command}" if command else " to resume"
        screen.line(f"interrupted; finished targets are kept. Run the same command{resume}")
    elif run.ended_as(NOT_REACHED) or run.ended_as(BLOCKED):
        screen.line("run `buildsys bake --failed` to build what is missing")


def _show_tags(run: RunModel, screen: Screen, *, stopped: bool) -> None:
    tags = run.tags[-1]
    moved = format_count(len(tags.tags), "tag")
    if tags.failed:
        screen.line(f"{moved} moved; the registry did not take those of {_names(tags.failed)}. The next run moves them")
    if tags.missing:
        missing = sum(each.is_image for each in run.missing)
        images = sum(each.is_image and each.ended is not None for each in run.targets.values())
        hint = "" if tags.tags or stopped else " (--tags-on partial tags the rest)"
        screen.line(
            f"{f'{moved} moved' if tags.tags else 'nothing was tagged'}: {missing} of {format_count(images, 'image')}"
            f" {'is' if missing == 1 else 'are'} missing{hint}"
        )


def show_warmth(warmth: WarmReport, screen: Screen) -> None:
    """Write what a second look found: what would still be built, and which caches do not answer."""
    for name, why in warmth.cold.items():
        screen.line(f"{screen.styled('cold', 'bad')}  {name}  {why}")
    for name, why in warmth.dead.items():
        screen.line(f"{screen.styled('dead', 'bad')}  the cache of {name}: {why}")
    if warmth.unprobed:
        screen.line(f"note  {warmth.unprobed}")
    alive = warmth.probed - len(warmth.dead)
    probed = f", {alive} of {format_count(warmth.probed, 'cache')} answer" if warmth.probed else ""
    reused = len(warmth.targets) - len(warmth.cold)
    screen.line(f"{reused} of {format_count(len(warmth.targets), 'target')} would be reused{probed}")
