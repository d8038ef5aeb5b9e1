"""How measurements grow with size: exponents, and a log-log picture without anything but text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 80, 670, 60, 480
GAP = 17
INK, PALE = "#24292f", "#d8dee4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Seconds by size; `beyond` is the size at which a limit of so many seconds was not enough."""

    title: str
    colour: str
    points: tuple[tuple[int, float], ...]
    beyond: tuple[int, float] | None = None
    broad: bool = False

    @property
    def drawn(self) -> tuple[tuple[int, float], ...]:
        """The content of a diagram."""
        return (*self.points, *([self.beyond] if self.beyond else []))


def growth(points: Sequence[tuple[int, float]]) -> dict[tuple[int, int], float]:
    """Return the exponent between neighbours: 1 where time grows like size, 2 where it grows like its square."""
    return {
        (less, more): math.log(later / earlier) / math.log(more / less)
        for (less, earlier), (more, later) in itertools.pairwise(points)
    }


def spread(wanted: Sequence[float]) -> tuple[float, ...]:
    """Return places for labels, in the order given: as near to those wanted as it goes, a line's height apart."""
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], index))
    # Labels that touch form a group, which moves as one to the mean of what its members want.
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _top(groups[-1], wanted) < _top(groups[-2], wanted) + GAP * len(groups[-2]):
            last = groups.pop()
            groups[-1].extend(last)
    found = {index: _top(group, wanted) + GAP * place for group in groups for place, index in enumerate(group)}
    return tuple(found[index] for index in range(len(wanted)))


def _top(group: Sequence[int], wanted: Sequence[float]) -> float:
    return sum(wanted[index] for index in group) / len(group) - GAP * (len(group) - 1) / 2


def picture(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """Return an SVG of the lines on a ground of its own, each with its title at its end; the same for the same."""
    sizes = sorted({size for line in lines for size, _ in line.drawn})
    values = [seconds for line in lines for _, seconds in line.drawn]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(size: float) -> float:
        share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return LEFT + share * (RIGHT - LEFT)

    def y(seconds: float) -> float:
        return BOTTOM - (math.log10(seconds) - low) / (high - low) * (BOTTOM - TOP)

    def parts() -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            f' role="img" font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="13" fill="{INK}">'
        )
        yield f"<title>{escape(title)}</title>"
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        yield _text(LEFT, 32, title, size=18)
        for power in range(low, high + 1):
            yield _rule(LEFT, y(10**power), RIGHT, y(10**power))
            yield _text(LEFT - 10, y(10**power) + 4, f"{10.0**power:,g}", anchor="end")
        for size in sizes:
            yield _rule(x(size), TOP, x(size), BOTTOM)
            yield _text(x(size), BOTTOM + 22, f"{size:,}", anchor="middle")
        yield _text((LEFT + RIGHT) / 2, BOTTOM + 52, across, anchor="middle")
        middle = (TOP + BOTTOM) / 2
        yield f'<g transform="rotate(-90 24 {middle:.1f})">{_text(24, middle, up, anchor="middle")}</g>'
        for line in lines:
            yield from _line(line, [(x(size), y(seconds)) for size, seconds in line.drawn])
        ends = [(x(line.drawn[-1][0]), y(line.drawn[-1][1])) for line in lines]
        for line, (right, end), place in zip(lines, ends, spread([end for _, end in ends]), strict=True):
            points = f"{right + 6:.1f},{end:.1f} {RIGHT + 18},{place:.1f}"
            yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="0.8"/>'
            yield _text(RIGHT + 22, place + 4, line.title, colour=line.colour)
        yield "</svg>"

    return "\n".join(parts()) + "\n"


def _line(line: Line, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Yield a line with a dot where something was measured; what was given up is dashed, and ends in a ring."""
    stroke = f'fill="none" stroke="{line.colour}" stroke-width="{3 if line.broad else 2}"'
    measured = places[: len(line.points)]
    yield f'<polyline points="{_points(measured)}" {stroke}/>'
    for right, down in measured:
        yield f'<circle cx="{right:.1f}" cy="{down:.1f}" r="3.5" fill="{line.colour}"/>'
    if line.beyond:
        yield f'<polyline points="{_points(places[-2:])}" {stroke} stroke-dasharray="5 4"/>'
        right, down = places[-1]
        yield (
            f'<circle cx="{right:.1f}" cy="{down:.1f}" r="4.5" fill="#ffffff" stroke="{line.colour}" stroke-width="2"/>'
        )


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{right:.1f},{down:.1f}" for right, down in places)


def _rule(left: float, top: float, right: float, bottom: float) -> str:
    return f'<line x1="{left:.1f}" y1="{top:.1f}" x2="{right:.1f}" y2="{bottom:.1f}" stroke="{PALE}"/>'


def _text(left: float, down: float, words: str, *, anchor: str = "start", size: int = 13, colour: str = INK) -> str:
    place = f'x="{left:.1f}" y="{down:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"
