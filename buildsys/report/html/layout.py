"""Where the targets of a graph are drawn: columns by depth, rows so that few lines cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 4
LEAST_ROWS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The place of each name as column and row; a row is a half-integer where a shorter column is centred."""

    positions: Mapping[str, tuple[int, float]]
    columns: int
    rows: int


def layered(needs: Mapping[str, Sequence[str]]) -> Layout:
    """Lay a graph out: names in build order, each with what it needs; a need that comes later or is unknown is ignored.

    A name stands right of all that it needs. Within a depth, names are ordered by the mean place of their neighbours,
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
    """The place of each name within its depth, 0 to 1."""
    return {name: (row + 0.5) / len(names) for names in depths for row, name in enumerate(names)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Break a list into parts of almost equal length, none longer than `most`."""
    number = math.ceil(len(names) / most)
    length = math.ceil(len(names) / number) if number else 0
    return [names[start : start + length] for start in range(0, len(names), length)] if length else []
