"""The graph of a run as a picture: what needs what, left to right, with what became of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildsys.report.html.layout import layered
from buildsys.report.html.markup import Markup, element, seconds_text
from buildsys.report.html.run import Target
from buildsys.report.html.timeline import mark, outcome_class
from buildsys.report.text import cut_middle

MARGIN = 12
# From here on boxes have one line, so that the picture can still be scrolled with a purpose.
LARGE = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """The measures of a picture in pixels, and how many letters of a title fit."""

    width: int
    height: int
    across: int
    down: int
    letters: int

    def corner(self, position: tuple[int, float]) -> tuple[float, float]:
        return MARGIN + position[0] * self.across, MARGIN + position[1] * self.down


_ROOMY = _Form(width=214, height=42, across=278, down=54, letters=27)
_DENSE = _Form(width=168, height=22, across=216, down=28, letters=20)


def graph(targets: Sequence[Target], path: frozenset[str]) -> Markup:
    """Draw targets, which come in build order; `path` are the names on the critical path."""
    plan = layered({each.name: each.plan.needs for each in targets})
    form = _DENSE if len(targets) > LARGE else _ROOMY
    corner = {name: form.corner(position) for name, position in plan.positions.items()}
    edges = [
        _edge(need, each.name, corner, form, critical=need in path and each.name in path)
        for each in targets
        for need in dict.fromkeys(each.plan.needs)
        if need in corner
    ]
    boxes = [_box(each, corner[each.name], form, critical=each.name in path) for each in targets]
    width = 2 * MARGIN + (plan.columns - 1) * form.across + form.width
    height = 2 * MARGIN + (plan.rows - 1) * form.down + form.height
    return element(
        "svg",
        element("g", *edges),
        element("g", *boxes),
        class_="graph" if form is _ROOMY else "graph dense",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="group",
        aria_label="What each target needs",
    )


def _edge(need: str, user: str, corner: dict[str, tuple[float, float]], form: _Form, *, critical: bool) -> Markup:
    x1, y1 = corner[need][0] + form.width, corner[need][1] + form.height / 2
    x2, y2 = corner[user][0], corner[user][1] + form.height / 2
    bend = max(24.0, (x2 - x1) / 2)
    line = f"M{x1:.0f} {y1:.1f}C{x1 + bend:.0f} {y1:.1f} {x2 - bend:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"
    return element("path", class_="edge critical" if critical else "edge", d=line, data_from=need, data_to=user)


def _box(target: Target, corner: tuple[float, float], form: _Form, *, critical: bool) -> Markup:
    became = " · ".join([target.outcome, *([seconds_text(target.seconds)] if target.seconds else [])])
    action = f"{target.plan.action} → " if target.plan.action else ""
    roomy = form is _ROOMY
    lines = [element("text", cut_middle(target.title, form.letters, "…"), class_="title", x=16, y=18 if roomy else 15)]
    if roomy:
        lines.append(element("text", f"{action}{mark(target.outcome)} {became}", class_="state", x=16, y=33))
    kind = "kind-image" if target.plan.kind == "image" else "kind-node"
    return element(
        "g",
        element("title", f"{target.title}: {action}{became}"),
        element("rect", class_="body", width=form.width, height=form.height, rx=6),
        element("rect", class_="flag", x=5, y=5, width=4, height=form.height - 10, rx=2),
        *lines,
        class_=f"box {outcome_class(target.outcome)} {kind}{' critical' if critical else ''}",
        transform=f"translate({corner[0]:g} {corner[1]:g})",
        data_target=target.name,
        tabindex=0,
        role="button",
    )
