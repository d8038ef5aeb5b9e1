"""Order, cycles and paths on bare names; a graph is a mapping from each name to the names it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import networkx

Key = TypeVar("Key")
Needs = Mapping[str, Iterable[str]]


class Cycle(Exception):
    """Names that need each other; `loop` goes from each to what it needs, and ends where it began."""

    def __init__(self, loop: tuple[str, ...]) -> None:
        super().__init__(" → ".join(loop))
        self.loop = loop


def ordered(needs: Needs, key: Callable[[str], tuple[object, ...]]) -> tuple[str, ...]:
    """Return all names, each after what it needs; of those that could be next, the one with the least key.

    The key is completed by the name itself, so that equal input of any order gives equal output. Needs that
    are no names of the graph are left out. Raises `Cycle`.
    """
    graph = _graph(needs)
    try:
        return tuple(networkx.lexicographical_topological_sort(graph, key=lambda name: (*key(name), name)))
    except networkx.NetworkXUnfeasible:
        raise Cycle(_loop(graph)) from None


def closure(needs: Needs, names: Iterable[str]) -> frozenset[str]:
    """Return the names and everything that they need, directly or not."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(needs.get(name, ()))
    return frozenset(found)


def path(needs: Needs, start: str, end: str) -> tuple[str, ...]:
    """Return a shortest way from `start` over its needs to `end`, the first by name; empty if none."""
    graph = _graph(needs).reverse()
    if start not in graph or end not in graph or not networkx.has_path(graph, start, end):
        return ()
    return tuple(min(networkx.all_shortest_paths(graph, start, end)))


def reduced(needs: Needs) -> Mapping[str, tuple[str, ...]]:
    """Return the same graph without each need that another need implies, sorted by name."""
    graph = networkx.transitive_reduction(_graph(needs))
    return {name: tuple(sorted(graph.predecessors(name))) for name in sorted(graph)}


def _graph(needs: Needs) -> networkx.DiGraph[str]:
    """Return the graph, edges from need to what needs it; sorted, since networkx keeps insertion order."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(sorted(needs))
    graph.add_edges_from(
        sorted((need, name) for name, all_needs in needs.items() for need in all_needs if need in needs)
    )
    return graph


def _loop(graph: networkx.DiGraph[str]) -> tuple[str, ...]:
    """Return one loop, from its least name on, in the direction of needing."""
    edges = networkx.find_cycle(graph)
    names = [str(edge[0]) for edge in reversed(edges)]
    first = names.index(min(names))
    names = names[first:] + names[:first]
    return (*names, names[0])
