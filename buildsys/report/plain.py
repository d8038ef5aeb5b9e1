"""A run as plain lines, for pipes, logs and simple terminals: one line for each end, and a heartbeat in silence."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from typing import TextIO

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import (
    BLOCKED,
    FAILED,
    MADE,
    REUSED,
    Event,
    ImageTested,
    Noted,
    Retried,
    RunBegan,
    RunEnded,
    StepBegan,
    StepEnded,
    TagsMoved,
    TargetEnded,
    TargetPlanned,
    TargetStarted,
)
from buildsys.report.outcomes import failure_output, failure_place, step_words, tests_words
from buildsys.report.status import Running, RunStatus, foremost
from buildsys.report.text import Marks, clean, cut, cut_middle, cut_start, format_count, format_duration, format_size
from buildsys.texts import inert

WIDTH = 99
_WORD = 8
_TITLE = 48
_ROWS = 4
# The lines of output that are shown at once when a target fails; the summary has more.
OUTPUT_LINES = 3
_INDENT = " " * (_WORD + 1)


class Lines:
    """Takes a run's events and writes lines of at most 99 columns.

    `clock` gives seconds since 1970, as events do. RUN steps, the start of images (which run nothing), and targets that
    are reused or blocked are shown only with `verbose`; the summary has them. After `heartbeat` seconds without a line
    `tick` shows what runs.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float],
        heartbeat: float = 30.0,
        verbose: bool = False,
        marks: Marks | None = None,
    ) -> None:
        self._write = write
        self._clock = clock
        self._heartbeat = heartbeat
        self._verbose = verbose
        self._marks = marks or Marks()
        self._status = RunStatus()
        self._opened = False
        self._last = clock()

    def take(self, event: Event) -> None:
        """Take the next event."""
        if not isinstance(event, RunBegan | TargetPlanned | RunEnded):
            self._open()
        self._status.take(event)
        match event:
            case TargetStarted():
                self._start(event)
            case StepBegan() if self._verbose and event.kind == StepKind.RUN:
                self._row("step", event.target, step_words(event.name, event.kind))
            case StepEnded() if self._verbose and event.kind == StepKind.RUN:
                self._step(event)
            case Retried():
                end = f", in {event.wait:.0f} s ({event.attempt} of {event.of})"
                room = self._room(event.target) - len(end)
                self._row("retry", event.target, cut_start(clean(event.why), room, self._marks.cut) + end)
            case TargetEnded():
                self._end(event)
            case Noted():
                self._wrapped("note", f"{event.about}: {clean(event.text)}")
            case ImageTested():
                self._row("tested", event.target, tests_words([event]))
            case TagsMoved() if event.tags or event.missing:
                missing = f", {format_count(len(event.missing), 'image')} missing" if event.missing else ""
                self._wrapped("tags", f"{len(event.tags) or 'none'} moved{missing}")
            case _:
                pass
        self.tick()

    def tick(self) -> None:
        """Let time pass: call it about once a second."""
        status = self._status
        now = self._clock()
        if status.model.done or now - self._last < self._heartbeat:
            return
        running = status.running(now)
        if not status.model.work and not running:
            return
        self._open()
        shown = foremost(running, _ROWS)
        self._line(f"{'running':<{_WORD}} {f' {self._marks.dot} '.join(status.progress(now))}")
        for each in shown:
            self._running(each, now)
        if len(running) > len(shown):
            self._line(f"{_INDENT}and {len(running) - len(shown)} more")

    def close(self) -> None:
        """End; nothing is left to be written."""

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        if self._status.model.work:
            number = sum(each.plan.action == "reuse" for each in self._status.model.targets.values())
            reused = f", {format_count(number, 'target')} reused" if number else ""
            self._line(f"{self._status.heading()}{reused}")

    def _start(self, event: TargetStarted) -> None:
        again = event.attempt > 1
        if self._verbose or again or not self._status.model.targets[event.target].is_image:
            self._row("start", event.target, f"attempt {event.attempt}" if again else "")

    def _step(self, event: StepEnded) -> None:
        words = step_words(event.name, event.kind)
        time = "cached" if event.cached else format_duration(event.completed - event.started)
        self._row("failed" if event.error else "ran", event.target, f"{time:>7}  {words}")

    def _end(self, event: TargetEnded) -> None:
        target = self._status.model.targets[event.target]
        time = f"{format_duration(event.seconds):>7}"
        if event.outcome == MADE:
            cached = f"  {event.cached} of {event.steps} cached" if event.cached else ""
            self._row("done", event.target, f"{time}  {format_size(event.size):>7}{cached}")
        elif event.outcome == REUSED:
            if self._verbose or target.is_work:
                self._row("reused", event.target, "")
        elif event.outcome == BLOCKED:
            if self._verbose:
                self._row("blocked", event.target, f"by {self._status.title(event.blocked_by)}")
        elif (stopped := target.stopped_after) is not None:
            self._row("stopped", event.target, f"{format_duration(stopped):>7}")
        elif event.outcome == FAILED:
            self._failure(event, time)

    def _failure(self, event: TargetEnded, time: str) -> None:
        blocks = len(self._status.model.users(event.target))
        self._row("failed", event.target, time + (f"  blocks {format_count(blocks, 'target')}" if blocks else ""))
        output = failure_output(event.failure, most=OUTPUT_LINES) if event.failure else ()
        for words in filter(None, (failure_place(event), *output)):
            for line in _folded(words):
                self._line(_INDENT + line)

    def _running(self, each: Running, now: float) -> None:
        if each.again is not None:
            self._line(f"{_INDENT}{self._padded(each.title)}  retry in {max(0.0, each.again - now):.0f} s")
        else:
            self._line(f"{_INDENT}{self._padded(each.title)}  {format_duration(now - each.since):>7}  {each.step}")

    def _row(self, word: str, target: str, rest: str) -> None:
        rest = cut(rest, self._room(target), self._marks.cut)
        self._line(f"{word:<{_WORD}} {self._padded(self._status.title(target))}  {rest}")

    def _room(self, target: str) -> int:
        return WIDTH - len(_INDENT) - len(self._padded(self._status.title(target))) - 2

    def _padded(self, title: str) -> str:
        width = min(self._status.longest_title, _TITLE)
        return f"{cut_middle(title, _TITLE, self._marks.cut):<{width}}"

    def _wrapped(self, word: str, text: str) -> None:
        first, *others = _folded(text)
        self._line(f"{word:<{_WORD}} {first}")
        for line in others:
            self._line(_INDENT + line)

    def _line(self, text: str) -> None:
        self._last = self._clock()
        self._write(cut(inert(text.rstrip()), WIDTH, self._marks.cut))


def line_writer(stream: TextIO) -> Callable[[str], None]:
    """Return a writer of lines to a stream, in its encoding; a run continues when the reader has left."""

    def write(line: str) -> None:
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            stream.flush()
        except OSError:
            # The stream keeps the text that it could not write, and would fail with it again when Python ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

    return write


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - len(_INDENT), break_on_hyphens=False) or [""]
