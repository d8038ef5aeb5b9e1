"""The time of a run as a picture: which target was worked on when, what it waited for, when nothing ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from buildsys.report.html.figures import Busy
from buildsys.report.html.markup import Markup, element, joined, seconds_text
from buildsys.report.html.run import UNFINISHED, Attempt, Run, Step, Target

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
    """The class that colours an outcome; an unknown one has the colour of what was not reached."""
    return f"is-{outcome.replace(' ', '-')}" if outcome in MARKS else "is-not-reached"


def mark(outcome: str) -> str:
    """The sign of an outcome, so that colour is never all there is."""
    return MARKS.get(outcome, "·")


def step_class(step: Step) -> str:
    """The class that colours a step by what it does."""
    return "step-error" if step.error else f"step-{FAMILIES.get(step.kind, 'other')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    """Turns times into places along the width, in per cent: the picture may be as wide as it likes."""

    began: float
    whole: float

    def share(self, moment: float) -> float:
        return min(max((moment - self.began) / self.whole, 0.0), 1.0)

    def at(self, moment: float) -> str:
        return f"{100 * self.share(moment):.3f}%"

    def width(self, start: float, end: float) -> str:
        return f"{100 * max(self.share(end) - self.share(start), LEAST_WIDTH):.3f}%"


def timeline(run: Run, stretches: Sequence[Busy], path: frozenset[str]) -> Markup:
    """Draw when each target was worked on: rows by first start; `path` are the names on the critical path."""
    rows = sorted((each for each in run.targets if each.attempts), key=lambda each: each.attempts[0].started)
    scale = _Scale(began=run.began, whole=run.seconds or 1.0)
    height = len(rows) * ROW
    ticks = _ticks(scale.whole)
    grid = [_upright("grid", scale.at(run.began + each), 0, height) for each in ticks]
    axis = [_upright("grid", scale.at(run.began + each), HEAD - 6, HEAD) for each in ticks]
    axis += [_tick(each, scale.at(run.began + each)) for each in ticks if each < 0.97 * scale.whole]
    bars = [_row(each, number * ROW, scale, critical=each.name in path) for number, each in enumerate(rows)]
    links = _links(rows, path, scale)
    return element(
        "div",
        element("div", "targets at work", class_="corner"),
        element("svg", _at_work(stretches, scale.whole), *axis, class_="axis", height=HEAD, aria_hidden="true"),
        element("div", *map(_label, rows), class_="labels"),
        element(
            "svg",
            *(_idle(each, run, scale, height) for each in stretches if not each.targets),
            *grid,
            *links,
            *bars,
            class_="bars",
            height=height,
            role="img",
            aria_label="When each target was worked on",
        ),
        class_="timeline",
    )


def _label(target: Target) -> Markup:
    return element(
        "button",
        element("span", mark(target.outcome), class_="mark", aria_hidden="true"),
        element("span", target.title, class_="name"),
        element("span", seconds_text(target.seconds), class_="number"),
        type="button",
        class_=f"row {outcome_class(target.outcome)}",
        data_target=target.name,
        title=f"{target.title}: {target.outcome}",
    )


def _idle(stretch: Busy, run: Run, scale: _Scale, height: int) -> Markup:
    return element(
        "rect",
        element("title", f"nothing ran for {seconds_text(stretch.seconds)}"),
        class_="idle",
        x=scale.at(run.began + stretch.start),
        width=scale.width(run.began + stretch.start, run.began + stretch.end),
        height=height,
    )


def _row(target: Target, top: float, scale: _Scale, *, critical: bool) -> Markup:
    bar = top + (ROW - BAR) / 2
    parts = [element("rect", class_="hit", y=top, width="100%", height=ROW)]
    parts += [_attempt(target, each, bar, scale) for each in target.attempts]
    for earlier, later in pairwise(target.attempts):
        x1, x2 = scale.at(earlier.ended), scale.at(later.started)
        parts.append(element("line", class_="wait", x1=x1, x2=x2, y1=bar + BAR / 2, y2=bar + BAR / 2))
    shown = [each for each in target.steps if not each.cached and each.seconds > LEAST_STEP * scale.whole]
    for lanes in _bundles(shown):
        tall = (BAR - 4) / len(lanes)
        for number, lane in enumerate(lanes):
            parts += [_step(each, bar + 2 + number * tall, tall - (len(lanes) > 1) * 0.5, scale) for each in lane]
    if critical:
        x, width = _span(scale, target.attempts[0].started, target.attempts[-1].ended)
        parts.append(element("rect", class_="critical", x=x, width=width, y=bar + BAR + 1.5, height=2.5, rx=1))
    return element("g", *parts, data_target=target.name)


def _attempt(target: Target, attempt: Attempt, top: float, scale: _Scale) -> Markup:
    failed = attempt.why or (target.outcome == "failed" and attempt is target.attempts[-1])
    told = f"{target.title}, attempt {attempt.number}: {seconds_text(attempt.seconds)}"
    x, width = _span(scale, attempt.started, attempt.ended)
    return element(
        "rect",
        element("title", f"{told}; {attempt.why}" if attempt.why else told),
        class_=f"attempt {'is-failed' if failed else outcome_class(target.outcome)}",
        x=x,
        width=width,
        y=top,
        height=BAR,
        rx=3,
    )


def _step(step: Step, top: float, height: float, scale: _Scale) -> Markup:
    x, width = _span(scale, step.started, step.completed)
    title = element("title", f"{step.name} · {seconds_text(step.seconds)}")
    return element(
        "rect", title, class_=f"step {step_class(step)}", x=x, width=width, y=top, height=max(1.0, height), rx=1.5
    )


def _span(scale: _Scale, start: float, end: float) -> tuple[str, str]:
    return scale.at(start), scale.width(start, end)


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


def _links(rows: Sequence[Target], path: frozenset[str], scale: _Scale) -> list[Markup]:
    """A line from each row of the critical path to the next of it."""
    known = [(number * ROW, each) for number, each in enumerate(rows) if each.name in path]
    lines = []
    for (above, earlier), (below, later) in pairwise(known):
        x1, x2 = scale.at(earlier.attempts[-1].ended), scale.at(later.attempts[0].started)
        y = above + ROW / 2
        lines += [element("line", class_="critical-link", x1=x1, x2=x2, y1=y, y2=y)]
        lines += [_upright("critical-link", x2, y, below + ROW / 2)]
    return lines


def _upright(kind: str, x: str, y1: float, y2: float) -> Markup:
    return element("line", class_=kind, x1=x, x2=x, y1=y1, y2=y2)


def _ticks(whole: float) -> list[float]:
    step = next((each for each in TICKS if whole / each <= 10), 86400 * max(1, round(whole / 864000)))
    return [number * step for number in range(int(whole / step) + 1)]


def _tick(at: float, x: str) -> Markup:
    minutes, seconds = divmod(round(at), 60)
    hours, minutes = divmod(minutes, 60)
    words = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}" if at >= 60 else f"{at:g} s"
    return element("text", words, class_="tick", x=x, y=HEAD - 10, text_anchor="middle" if at else None)


def _at_work(stretches: Sequence[Busy], whole: float) -> Markup:
    """The number of targets at work as an area over time, with its highest number written at the left."""
    most = max((each.targets for each in stretches), default=0)
    if not most:
        return Markup("")
    words = ["M0 100"]
    for each in stretches:
        y = 100 - 100 * each.targets / most
        words.append(f"L{10000 * each.start / whole:.1f} {y:.1f}L{10000 * each.end / whole:.1f} {y:.1f}")
    area = element(
        "svg",
        element("path", d="".join([*words, "L10000 100Z"])),
        viewBox="0 0 10000 100",
        preserveAspectRatio="none",
        width="100%",
        height=HEAD - 28,
        y=2,
        class_="at-work",
    )
    return joined(area, element("text", str(most), class_="tick most", x=4, y=14))
