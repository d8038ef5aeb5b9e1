"""A run on a terminal: ended targets stay above, running ones are a few lines below; owns rich."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    FAILED,
    MADE,
    PASSED,
    REUSED,
    Event,
    ImageTested,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
)
from buildsys.report.outcomes import failure_output, failure_place, step_words, tests_words
from buildsys.report.plain import OUTPUT_LINES, Lines, line_writer
from buildsys.report.status import Running, RunStatus, foremost
from buildsys.report.text import (
    clean,
    cut,
    cut_middle,
    cut_start,
    format_count,
    format_duration,
    format_size,
    marks_for,
)
from buildsys.switches import has_cursor, in_ci, wants_colour
from buildsys.texts import inert

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from buildsys.events.journal import Listener

_WIDEST = 100
_NARROW = 60
_ROWS = 8
_OTHER_ROWS = 4
_TIME = 7
_SIZE = 7
_REDRAW_SECONDS = 0.1


class Quiet:
    """Shows nothing."""

    def take(self, event: Event) -> None:
        """Take the next event."""

    def tick(self) -> None:
        """Let time pass."""

    def close(self) -> None:
        """End."""


def listener(
    stream: TextIO, *, quiet: bool, verbose: bool, environ: Mapping[str, str], clock: Callable[[], float]
) -> Listener:
    """Return the listener that shows a run on a stream: a live area on a terminal with a reader, else plain lines.

    `clock` gives seconds since 1970. A terminal of a CI job is a log like any other.
    """
    if quiet:
        return Quiet()
    if stream.isatty() and has_cursor(environ) and not in_ci(environ):
        return Live(console_on(stream, environ), clock=clock, verbose=verbose)
    return Lines(line_writer(stream), clock=clock, verbose=verbose, marks=marks_for(stream.encoding))


def console_on(stream: TextIO, environ: Mapping[str, str]) -> Console:
    """Return a console that writes to a terminal; with NO_COLOR it has no styles at all, as other screens."""
    # Late: it takes longer than `buildsys --version` may.
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        color_system="auto" if wants_colour(environ) else None,
        _environ=environ,
    )


class Live:
    """Takes a run's events and keeps a small area at the end of a terminal; the rest of the screen stays as it was.

    It redraws at an event and at each `tick`, never by itself, and takes the terminal's size each time. It erases only
    what it drew: lines of the area that a narrower window has folded stay above, once.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float], verbose: bool = False) -> None:
        from rich.live import Live as Area

        self._console = console
        self._clock = clock
        self._verbose = verbose
        self._marks = marks_for(console.encoding)
        self._status = RunStatus()
        self._drawn = 0.0
        self._area = Area(
            self,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def take(self, event: Event) -> None:
        """Take the next event."""
        self._status.take(event)
        if isinstance(event, RunEnded):
            self.close()
        elif not isinstance(event, RunBegan | TargetPlanned):
            self._start()
            self._report(event)
            self._draw(at_once=False)

    def tick(self) -> None:
        """Let time pass: call it about once a second."""
        if not self._status.model.done:
            self._start()
            self._draw(at_once=True)

    def close(self) -> None:
        """Take the live area away; what has ended stays."""
        self._area.stop()

    def _start(self) -> None:
        if self._area.is_started or not (self._status.model.work or self._status.running(self._clock())):
            return
        self._area.start()
        # A run that is killed must not leave a terminal without its cursor.
        self._console.show_cursor(True)

    def _draw(self, *, at_once: bool) -> None:
        if self._area.is_started and (at_once or self._clock() - self._drawn >= _REDRAW_SECONDS):
            self._area.refresh()

    def _report(self, event: Event) -> None:
        match event:
            case Retried():
                wait = f", retry in {event.wait:.0f} s ({event.attempt} of {event.of})"
                self._above(self._marks.again, "yellow", self._title(event.target, clean(event.why) + wait))
            case TargetEnded():
                self._end(event)
            case StepEnded() if self._verbose and event.kind == StepKind.RUN:
                words = "cached" if event.cached else format_duration(event.completed - event.started)
                step = step_words(event.name, event.kind)
                text = self._title(event.target, f"{words:>{_TIME}}  {step}")
                self._above(self._marks.dot, "", text, style="dim")
            case Noted():
                self._above("!", "yellow", f"{event.about}: {clean(event.text)}")
            case ImageTested():
                mark, colour = (self._marks.failed, "bold red") if event.failed else ("!", "yellow")
                # An image whose tests were skipped is not a good one.
                mark, colour = (self._marks.done, "green") if event.state == PASSED else (mark, colour)
                self._above(mark, colour, self._title(event.target, f" {tests_words([event])}"))
            case TagsMoved() if event.tags:
                self._above(self._marks.done, "green", f"{format_count(len(event.tags), 'tag')} moved")
            case _:
                pass

    def _end(self, event: TargetEnded) -> None:
        target = self._status.model.targets[event.target]
        time = f"{format_duration(event.seconds):>{_TIME}}"
        if event.outcome == MADE:
            size = f"  {format_size(event.size):>{_SIZE}}" if self._width >= _NARROW else ""
            self._above(self._marks.done, "green", self._title(event.target, f"{time}{size}"))
        elif event.outcome == REUSED:
            if self._verbose or target.is_work:
                self._above(self._marks.done, "green", self._title(event.target, " reused"))
        elif (stopped := target.stopped_after) is not None:
            text = self._title(event.target, f"{format_duration(stopped):>{_TIME}}  stopped")
            self._above(self._marks.stopped, "yellow", text)
        elif event.outcome == FAILED:
            blocks = len(self._status.model.users(event.target))
            words = f"  blocks {format_count(blocks, 'target')}" if blocks else ""
            self._above(self._marks.failed, "bold red", self._title(event.target, f"{time}{words}"))
            output = failure_output(event.failure, most=OUTPUT_LINES) if event.failure else ()
            for line in filter(None, (failure_place(event), *output)):
                self._above(" ", "", f"  {line}")

    def _above(self, mark: str, colour: str, text: str, *, style: str = "") -> None:
        """Write a line that stays; a long one becomes several, so that nothing of it is lost."""
        from rich.text import Text

        line = self._safe(f" {mark} {text}".rstrip())
        if len(line) > self._width:
            line = textwrap.fill(
                line, self._width, subsequent_indent=" " * 5, break_long_words=False, break_on_hyphens=False
            )
        shown = Text(line, style=style)
        if colour:
            shown.stylize(colour, 1, 1 + len(mark))
        self._console.print(shown, soft_wrap=True)

    @property
    def _width(self) -> int:
        # The last column stays empty: a full line lets some terminals begin another.
        return min(self._console.size.width, _WIDEST) - 1

    def _title(self, target: str, rest: str) -> str:
        room = self._width - 3 - 1 - _TIME
        if self._width >= _NARROW:
            room -= 2 + _SIZE
        title = self._status.title(target)
        width = max(1, min(max(self._status.longest_title, len(title)), room))
        return f"{cut_middle(title, width, self._marks.cut):<{width}} {rest}"

    def __rich__(self) -> Text:
        """Return the live area as it is now; rich asks whenever it draws, so what is printed above draws it too."""
        from rich.text import Text

        now = self._drawn = self._clock()
        width = self._width
        rows = max(1, min(_ROWS, self._console.size.height - _OTHER_ROWS))
        running = self._status.running(now)
        shown = foremost(running, rows)
        title = max((self._status.longest_title, *(len(each.title) for each in shown)))
        lines = [self._row(each, now, width, title) for each in shown]
        if len(running) > len(shown):
            lines.append(f"   and {len(running) - len(shown)} more")
        text = Text(no_wrap=True, overflow="crop")
        if self._status.model.work:
            text.append(self._safe(self._head(now, width)), style="bold")
        for line in lines:
            text.append("\n" if text else "")
            text.append(self._safe(cut(line, width, self._marks.cut)))
        return text

    def _head(self, now: float, width: int) -> str:
        dot = f" {self._marks.dot} "
        parts = self._status.progress(now)
        work = self._status.model.work
        images = sum(each.is_image for each in work)
        what = format_count(images, "image") if images else format_count(len(work), "node")
        # On a narrow terminal the figures are worth more than their subject, and the first of them most.
        line = dot.join([f" baking {what}", *parts])
        while len(line) > width and parts:
            line = f" {dot.join(parts)}"
            parts.pop()
        return cut(line, width, self._marks.cut)

    def _row(self, each: Running, now: float, width: int, title: int) -> str:
        again = each.again is not None
        mark = self._marks.again if again else " "
        time = f"in {max(0.0, (each.again or now) - now):.0f} s" if again else format_duration(now - each.since)
        room = max(1, width - 3 - 1 - _TIME)
        if width < _NARROW:
            return f" {mark} {cut_middle(each.title, room, self._marks.cut):<{room}} {time:>{_TIME}}"
        title = min(title, room * 3 // 5)
        step = room - title - 2
        words = cut(each.step, step, self._marks.cut)
        if again:
            words = cut_start(each.step, step - 7, self._marks.cut) + ", retry"
        return f" {mark} {cut_middle(each.title, title, self._marks.cut):<{title}}  {words:<{step}} {time:>{_TIME}}"

    def _safe(self, text: str) -> str:
        encoding = self._console.encoding
        return inert(text).encode(encoding, "replace").decode(encoding)
