"""Order and cycles of bare names; a graph is a mapping from each name to the names it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import networkx

Needs = Mapping[str, Iterable[str]]


class Cycle(Exception):
    """Names that need each other; `loop` goes from each to what it needs, and ends where it began."""

    def __init__(self, loop: tuple[str, ...]) -> None:
        super().__init__(" → ".join(loop))
        self.loop = loop


def ordered(needs: Needs, key: Callable[[str], tuple[object, ...]]) -> tuple[str, ...]:
    """Return all names, each after what it needs; of those that could be next, the one with the least key.

    The name itself completes the key, so that equal input in any order gives equal output. Needs that are no names
    of the graph are ignored. Raises `Cycle`.
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
    """Return one loop from its least name on, each name before what it needs."""
    edges = networkx.find_cycle(graph)
    names = [str(edge[0]) for edge in reversed(edges)]
    first = names.index(min(names))
    names = names[first:] + names[:first]
    return (*names, names[0])
