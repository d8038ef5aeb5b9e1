"""When each target of a run was worked on, what it waited for, when nothing ran: as the measures of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from buildsys.events.model import UNFINISHED, Attempt, RunModel, Step, Target
from buildsys.report.html.figures import Busy
from buildsys.report.text import format_seconds
from buildsys.values import dataclass

ROW = 26
BAR = 16
HEAD = 54
LANES = 3
# A step narrower than this part of the run would not be seen; it is in the details.
LEAST_STEP = 0.0008
LEAST_WIDTH = 0.0015
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MARKS = {"made": "✓", "reused": "↺", "failed": "✗", "blocked": "⊘", "not reached": "·", UNFINISHED: "…"}
FAMILIES = {
    "run": "run",
    "file": "file",
    "export": "push",
    "push": "push",
    "cache-export": "push",
    "resolve": "pull",
    "source": "pull",
    "cache-import": "pull",
    "auth": "pull",
}


def outcome_class(outcome: str) -> str:
    """Return the class that colours an outcome; an unknown one has the colour of what was not reached."""
    return f"is-{outcome.replace(' ', '-')}" if outcome in MARKS else "is-not-reached"


def mark(outcome: str) -> str:
    """Return the sign of an outcome, so that colour is never all there is."""
    return MARKS.get(outcome, "·")


def step_class(step: Step) -> str:
    """Return the class that colours a step by what it does."""
    return "step-error" if step.error else f"step-{FAMILIES.get(step.kind, 'other')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A rectangle: `kind` is its class; `x` and `width` are per cent of the width, `y` and `height` pixels."""

    kind: str
    title: str
    x: str
    width: str
    y: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A time on the axis; `text` is empty where it would not fit."""

    x: str
    text: str


# x1, x2, y1, y2.
Line = tuple[str, str, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A target's attempts, its steps upon them, the waits between; `critical` if it is on the critical path."""

    target: Target
    top: int
    attempts: tuple[Bar, ...]
    steps: tuple[Bar, ...]
    waits: tuple[Line, ...]
    critical: Bar | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The picture: `area` is the path of the number of targets at work, at most `most`; `idle` is when nothing ran."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    idle: tuple[Bar, ...]
    links: tuple[Line, ...]
    area: str
    most: int
    height: int
    head: int = HEAD
    row: int = ROW


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    """Turns times into places along the width, in per cent."""

    began: float
    whole: float

    def share(self, moment: float) -> float:
        return min(max((moment - self.began) / self.whole, 0.0), 1.0)

    def at(self, moment: float) -> str:
        return f"{100 * self.share(moment):.3f}%"

    def bar(self, start: float, end: float, *, kind: str, title: str, y: float, height: float) -> Bar:
        width = f"{100 * max(self.share(end) - self.share(start), LEAST_WIDTH):.3f}%"
        return Bar(kind=kind, title=title, x=self.at(start), width=width, y=y, height=height)


def draw_timeline(run: RunModel, stretches: Sequence[Busy], path: frozenset[str]) -> Timeline:
    """Draw when each target was worked on: rows by first start; `path` are the names on the critical path."""
    targets = sorted(
        (each for each in run.targets.values() if each.attempts), key=lambda each: each.attempts[0].started
    )
    scale = _Scale(began=run.began, whole=run.seconds or 1.0)
    height = len(targets) * ROW
    return Timeline(
        rows=tuple(_row(each, number * ROW, scale, critical=each.name in path) for number, each in enumerate(targets)),
        ticks=tuple(_ticks(scale)),
        idle=tuple(_idle(each, scale, height) for each in stretches if not each.targets),
        links=tuple(_links(targets, path, scale)),
        area=_area(stretches, scale.whole),
        most=max((each.targets for each in stretches), default=0),
        height=height,
    )


def _idle(stretch: Busy, scale: _Scale, height: int) -> Bar:
    start, end = scale.began + stretch.start, scale.began + stretch.end
    title = f"nothing ran for {format_seconds(stretch.seconds)}"
    return scale.bar(start, end, kind="idle", title=title, y=0, height=height)


def _row(target: Target, top: int, scale: _Scale, *, critical: bool) -> Row:
    y = top + (ROW - BAR) / 2
    first, last = target.attempts[0], target.attempts[-1]
    middle = y + BAR / 2
    return Row(
        target=target,
        top=top,
        attempts=tuple(_attempt(target, each, y, scale) for each in target.attempts),
        steps=tuple(_steps(target, y, scale)),
        waits=tuple(
            (scale.at(earlier.ended), scale.at(later.started), middle, middle)
            for earlier, later in pairwise(target.attempts)
        ),
        critical=scale.bar(
            first.started, last.ended, kind="critical", title="critical path", y=y + BAR + 1.5, height=2.5
        )
        if critical
        else None,
    )


def _attempt(target: Target, attempt: Attempt, y: float, scale: _Scale) -> Bar:
    failed = attempt.why or (target.outcome == "failed" and attempt is target.attempts[-1])
    title = f"{target.title}, attempt {attempt.number}: {format_seconds(attempt.seconds)}"
    return scale.bar(
        attempt.started,
        attempt.ended,
        kind=f"attempt {'is-failed' if failed else outcome_class(target.outcome)}",
        title=f"{title}; {attempt.why}" if attempt.why else title,
        y=y,
        height=BAR,
    )


def _steps(target: Target, y: float, scale: _Scale) -> list[Bar]:
    drawn = [each for each in target.steps if not each.cached and each.seconds > LEAST_STEP * scale.whole]
    return [
        scale.bar(
            step.started,
            step.completed,
            kind=f"step {step_class(step)}",
            title=f"{step.name} · {format_seconds(step.seconds)}",
            y=y + 2 + number * (BAR - 4) / len(lanes),
            # Lanes that lie below each other have a gap between them.
            height=max(1.0, (BAR - 4) / len(lanes) - (0.5 if len(lanes) > 1 else 0)),
        )
        for lanes in _bundles(drawn)
        for number, lane in enumerate(lanes)
        for step in lane
    ]


def _bundles(steps: Sequence[Step]) -> list[list[list[Step]]]:
    """Gather steps that ran at once and put them below each other, in as few lanes as will do.

    A lane too many goes into the last. Steps come in the order of their starts; a step that ran alone has all the room.
    """
    bundles: list[list[list[Step]]] = []
    end = float("-inf")
    for step in steps:
        if step.started >= end:
            bundles.append([])
        lanes = bundles[-1]
        free = next((lane for lane in lanes if lane[-1].completed <= step.started), None)
        if free is not None:
            free.append(step)
        elif len(lanes) < LANES:
            lanes.append([step])
        else:
            lanes[-1].append(step)
        end = max(end, step.completed)
    return bundles


def _links(targets: Sequence[Target], path: frozenset[str], scale: _Scale) -> list[Line]:
    """Return the lines from each row of the critical path to the next of it."""
    known = [(number * ROW + ROW / 2, each) for number, each in enumerate(targets) if each.name in path]
    lines: list[Line] = []
    for (above, earlier), (below, later) in pairwise(known):
        x1, x2 = scale.at(earlier.attempts[-1].ended), scale.at(later.attempts[0].started)
        lines += [(x1, x2, above, above), (x2, x2, above, below)]
    return lines


def _ticks(scale: _Scale) -> list[Tick]:
    whole = scale.whole
    step = next((each for each in TICKS if whole / each <= 10), 86400 * max(1, round(whole / 864000)))
    times = [number * step for number in range(int(whole / step) + 1)]
    return [Tick(x=scale.at(scale.began + at), text=_clock(at) if at < 0.97 * whole else "") for at in times]


def _clock(at: float) -> str:
    minutes, seconds = divmod(round(at), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}" if at >= 60 else f"{at:g} s"


def _area(stretches: Sequence[Busy], whole: float) -> str:
    """Return the number of targets at work as an area over time, 10000 wide and 100 high."""
    most = max((each.targets for each in stretches), default=0) or 1
    words = ["M0 100"]
    for each in stretches:
        y = 100 - 100 * each.targets / most
        words.append(f"L{10000 * each.start / whole:.1f} {y:.1f}L{10000 * each.end / whole:.1f} {y:.1f}")
    return "".join([*words, "L10000 100Z"])
