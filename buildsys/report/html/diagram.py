"""Where the targets of a run's graph are drawn: columns by depth, rows so that few lines cross, lines between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from buildsys.events.model import Target
from buildsys.report.text import cut_middle
from buildsys.values import dataclass

SWEEPS = 4
LEAST_ROWS = 12
MARGIN = 12
# From here on boxes have one line, so that the picture can still be scrolled with a purpose.
LARGE = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """The measures of boxes in pixels, with their distance across and down, and how many letters of a title fit."""

    width: int
    height: int
    across: int
    down: int
    letters: int

    def corner(self, position: tuple[int, float]) -> tuple[float, float]:
        """Return the upper left corner of a box in a column and row."""
        return MARGIN + position[0] * self.across, MARGIN + position[1] * self.down


ROOMY = Form(width=214, height=42, across=278, down=54, letters=27)
DENSE = Form(width=168, height=22, across=216, down=28, letters=20)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A target with its upper left corner; `text` is its title as far as it fits."""

    target: Target
    x: float
    y: float
    text: str
    critical: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """A line from a target to one that needs it, as an SVG path."""

    need: str
    user: str
    line: str
    critical: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagram:
    """The picture, in pixels."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int
    box: Form

    @property
    def dense(self) -> bool:
        """Whether boxes have one line."""
        return self.box is DENSE


def draw_diagram(targets: Sequence[Target], path: frozenset[str]) -> Diagram:
    """Draw targets, which come in build order; `path` are the names on the critical path."""
    plan = layered({each.name: each.plan.needs for each in targets})
    form = DENSE if len(targets) > LARGE else ROOMY
    corner = {name: form.corner(position) for name, position in plan.positions.items()}
    edges = [
        Edge(
            need=need,
            user=each.name,
            line=_curve(corner[need], corner[each.name], form),
            critical=need in path and each.name in path,
        )
        for each in targets
        for need in dict.fromkeys(each.plan.needs)
        if need in corner
    ]
    boxes = [
        Box(
            target=each,
            x=corner[each.name][0],
            y=corner[each.name][1],
            text=cut_middle(each.title, form.letters, "…"),
            critical=each.name in path,
        )
        for each in targets
    ]
    return Diagram(
        boxes=tuple(boxes),
        edges=tuple(edges),
        width=2 * MARGIN + (plan.columns - 1) * form.across + form.width,
        height=2 * MARGIN + (plan.rows - 1) * form.down + form.height,
        box=form,
    )


def _curve(need: tuple[float, float], user: tuple[float, float], form: Form) -> str:
    x1, y1 = need[0] + form.width, need[1] + form.height / 2
    x2, y2 = user[0], user[1] + form.height / 2
    bend = max(24.0, (x2 - x1) / 2)
    return f"M{x1:.0f} {y1:.1f}C{x1 + bend:.0f} {y1:.1f} {x2 - bend:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The column and row of each name; a row is a half-integer where a shorter column is centred."""

    positions: Mapping[str, tuple[int, float]]
    columns: int
    rows: int


def layered(needs: Mapping[str, Sequence[str]]) -> Layout:
    """Lay a graph out: names in build order, each with what it needs; a need that comes later or is unknown is ignored.

    A name lies right of everything it needs. Within a depth, names are ordered by the mean place of their neighbours,
    four sweeps (the barycentre method of Sugiyama, Tagawa and Toda, 1981); equals keep their order. A depth with more
    names than fit is broken into several columns, so that hundreds of images do not make a picture of one tall column.
    """
    level: dict[str, int] = {}
    below: dict[str, list[str]] = {}
    above: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in needs.items():
        below[name] = [each for each in dict.fromkeys(wanted) if each in level]
        level[name] = 1 + max((level[each] for each in below[name]), default=-1)
        for each in below[name]:
            above[each].append(name)
    depths: list[list[str]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for name, depth in level.items():
        depths[depth].append(name)
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 else below
        position = _relative(depths)
        for names in reversed(depths) if sweep % 2 else depths:
            wanted_place = {
                name: _mean([position[each] for each in neighbours[name]], position[name]) for name in names
            }
            names.sort(key=wanted_place.__getitem__)
            position.update(_relative([names]))
    most = max(LEAST_ROWS, math.ceil(math.sqrt(1.5 * len(needs))))
    columns = [part for names in depths for part in _parts(names, most)]
    rows = max(map(len, columns), default=0)
    positions = {
        name: (column, row + (rows - len(names)) / 2)
        for column, names in enumerate(columns)
        for row, name in enumerate(names)
    }
    return Layout(positions=positions, columns=len(columns), rows=rows)


def _relative(depths: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the place of each name within its depth, 0 to 1."""
    return {name: (row + 0.5) / len(names) for names in depths for row, name in enumerate(names)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Break a list into parts of almost equal length, none longer than `most`."""
    number = math.ceil(len(names) / most)
    length = math.ceil(len(names) / number) if number else 0
    return [names[start : start + length] for start in range(0, len(names), length)] if length else []
