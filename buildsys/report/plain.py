"""A run as plain lines for pipes, logs and terminals that can do no more: what ends is told once, silence is broken."""

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
from buildsys.report.status import Left, Running, RunState, foremost
from buildsys.report.text import (
    Marks,
    clean,
    cut,
    cut_middle,
    cut_start,
    failure_words,
    format_count,
    format_duration,
    format_remaining,
    format_size,
    step_words,
)

WIDTH = 99
_WORD = 8
_TITLE = 48
_ROWS = 4
_INDENT = " " * (_WORD + 1)


class Lines:
    """Takes a run's events and writes lines of at most 99 columns.

    `clock` gives seconds since 1970, as events do. RUN steps, the start of images (which run nothing), and what was
    reused or is blocked are told only with `verbose`; the summary has them. After `heartbeat` seconds without a line
    `tick` tells what runs.
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
        self._state = RunState()
        self._opened = False
        self._last = clock()

    def take(self, event: Event) -> None:
        """Take the next event."""
        if not isinstance(event, RunBegan | TargetPlanned | RunEnded):
            self._open()
        self._state.take(event)
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
                self._row("again", event.target, cut_start(clean(event.why), room, self._marks.cut) + end)
            case TargetEnded():
                self._end(event)
            case Noted():
                self._wrapped("note", f"{event.about}: {clean(event.text)}")
            case TagsMoved() if event.tags or event.missing:
                missing = f", {format_count(len(event.missing), 'image')} missing" if event.missing else ""
                self._wrapped("tags", f"{len(event.tags) or 'none'} moved{missing}")
            case _:
                pass
        self.tick()

    def tick(self) -> None:
        """Let time pass: call it about once a second."""
        state = self._state
        now = self._clock()
        if state.ended or now - self._last < self._heartbeat:
            return
        running = state.running(now)
        if not state.total and not running:
            return
        self._open()
        shown = foremost(running, _ROWS)
        self._line(f"{'running':<{_WORD}} {f' {self._marks.dot} '.join(progress_parts(state, state.left(now)))}")
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
        state = self._state
        if state.total:
            reused = f", {format_count(state.reused, 'target')} reused" if state.reused else ""
            self._line(f"{baking_words(state)}{reused}")

    def _start(self, event: TargetStarted) -> None:
        again = event.attempt > 1
        if self._verbose or again or self._state.kind(event.target) != "image":
            self._row("start", event.target, f"attempt {event.attempt}" if again else "")

    def _step(self, event: StepEnded) -> None:
        words = step_words(event.name, event.kind)
        time = "cached" if event.cached else format_duration(event.completed - event.started)
        self._row("failed" if event.error else "ran", event.target, f"{time:>7}  {words}")

    def _end(self, event: TargetEnded) -> None:
        time = f"{format_duration(event.seconds):>7}"
        if event.outcome == MADE:
            cached = f"  {event.cached} of {event.steps} cached" if event.cached else ""
            self._row("done", event.target, f"{time}  {format_size(event.size):>7}{cached}")
        elif event.outcome == REUSED:
            if self._verbose or self._state.is_work(event.target):
                self._row("reused", event.target, "")
        elif event.outcome == BLOCKED:
            if self._verbose:
                self._row("blocked", event.target, f"by {self._state.title(event.blocked_by)}")
        elif (stopped := self._state.stopped_after(event)) is not None:
            self._row("stopped", event.target, f"{format_duration(stopped):>7}")
        elif event.outcome == FAILED:
            blocks = len(self._state.needing(event.target))
            self._row("failed", event.target, time + (f"  blocks {format_count(blocks, 'target')}" if blocks else ""))
            for words in failure_words(event):
                for line in _folded(words):
                    self._line(_INDENT + line)

    def _running(self, each: Running, now: float) -> None:
        if each.again is not None:
            self._line(f"{_INDENT}{self._padded(each.title)}  again in {max(0.0, each.again - now):.0f} s")
        else:
            self._line(f"{_INDENT}{self._padded(each.title)}  {format_duration(now - each.since):>7}  {each.step}")

    def _row(self, word: str, target: str, rest: str) -> None:
        rest = cut(rest, self._room(target), self._marks.cut)
        self._line(f"{word:<{_WORD}} {self._padded(self._state.title(target))}  {rest}")

    def _room(self, target: str) -> int:
        return WIDTH - len(_INDENT) - len(self._padded(self._state.title(target))) - 2

    def _padded(self, title: str) -> str:
        width = min(self._state.longest_title, _TITLE)
        return f"{cut_middle(title, _TITLE, self._marks.cut):<{width}}"

    def _wrapped(self, word: str, text: str) -> None:
        first, *others = _folded(text)
        self._line(f"{word:<{_WORD}} {first}")
        for line in others:
            self._line(_INDENT + line)

    def _line(self, text: str) -> None:
        self._last = self._clock()
        self._write(cut(text.rstrip(), WIDTH, self._marks.cut))


def line_writer(stream: TextIO) -> Callable[[str], None]:
    """Return what writes lines to a stream as far as it can carry them; a run goes on though nobody reads any more."""

    def write(line: str) -> None:
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            stream.flush()
        except OSError:
            # The stream keeps what it could not write and would fail with it once more when Python ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

    return write


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - len(_INDENT), break_on_hyphens=False) or [""]


def baking_words(state: RunState) -> str:
    """Return what a run makes: `baking 3 images and 4 nodes`."""
    nodes = state.total - state.images
    counts = [format_count(state.images, "image")] if state.images else []
    counts += [format_count(nodes, "node")] if nodes else []
    return f"baking {' and '.join(counts)}"


def progress_parts(state: RunState, left: Left | None) -> list[str]:
    """Return how far a run is, what matters most first; nothing of what nobody planned."""
    parts = [f"{state.done}/{state.total}"] if state.total else []
    if state.failed:
        parts.append(f"{state.failed} failed" + (f", {state.blocked} blocked" if state.blocked else ""))
    if left and (words := format_remaining(left.seconds, whole=left.whole)):
        parts.append(words)
    if state.retries:
        parts.append("1 retry" if state.retries == 1 else f"{state.retries} retries")
    return parts
