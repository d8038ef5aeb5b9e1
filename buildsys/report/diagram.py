"""The graph of a plan as text, Mermaid, DOT or JSON: without implied edges, actions by word and by colour."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from buildsys.plan.plan import Plan
from buildsys.resolve.graph import closure, reduced
from buildsys.values import dataclass

# Mermaid stops at 500 edges and says no more than "syntax error" (mermaid-js/mermaid#5042).
MOST_MERMAID_EDGES = 500
_COLOURS = {"build": "#ffd8a8", "changed": "#ffd8a8", "reuse": "#d3f9d8", "added": "#a5d8ff"}


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The part of a graph that is shown: needs of each target, its words, and what is done about it."""

    needs: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str]
    images: frozenset[str]
    words: Mapping[str, str]


def view(plan: Plan, words: Mapping[str, str], only: Collection[str] | None = None) -> View:
    """Return the view of the whole plan, or of some targets with everything that they need; reduced transitively."""
    needs = dict(plan.needs)
    if only is not None:
        kept = closure(needs, only)
        needs = {name: below for name, below in needs.items() if name in kept}
    titles = {node.name: node.title for node in plan.nodes} | {stack.name: stack.stack for stack in plan.stacks}
    return View(
        needs=reduced(needs),
        titles={name: titles[name] for name in needs},
        images=frozenset(stack.name for stack in plan.stacks if stack.name in needs),
        words={name: word for name, word in words.items() if name in needs and word},
    )


def drawn(view: View, form: str) -> str:
    """Return the view as text: `form` is `tree`, `mermaid`, `dot` or `json`."""
    return {"tree": _tree, "mermaid": _mermaid, "dot": _dot, "json": _json}[form](view)


def _label(view: View, name: str) -> str:
    word = view.words.get(name)
    return f"{view.titles[name]} [{word}]" if word else view.titles[name]


def _tree(view: View) -> str:
    """Draw each image with its needs; a target that was drawn before is named without them."""
    lines: list[str] = []
    seen: set[str] = set()

    needed = {need for below in view.needs.values() for need in below}
    # The next to be drawn is the last; each with the indent of its own line and that of its needs.
    waiting = [(name, "", "") for name in sorted(view.needs, reverse=True) if name not in needed]
    while waiting:
        name, before, indent = waiting.pop()
        below = view.needs[name]
        again = name in seen and bool(below)
        lines.append(f"{before}{_label(view, name)}{' …' if again else ''}")
        if again:
            continue
        seen.add(name)
        branches = [(need, f"{indent}├─ ", f"{indent}│  ") for need in below[:-1]]
        branches += [(need, f"{indent}└─ ", f"{indent}   ") for need in below[-1:]]
        waiting += reversed(branches)
    return "\n".join(lines)


def _mermaid(view: View) -> str:
    edges = [(need, name) for name, below in view.needs.items() for need in below]
    if len(edges) > MOST_MERMAID_EDGES:
        return (
            f"%% {len(edges)} edges, Mermaid draws at most {MOST_MERMAID_EDGES}: "
            "choose a part with --stack or --affected, or take --format dot"
        )
    numbers = {name: f"n{index}" for index, name in enumerate(view.needs)}
    lines = ["flowchart LR"]
    for name, number in numbers.items():
        left, right = ("([", "])") if name in view.images else ("[", "]")
        lines.append(f'  {number}{left}"{_label(view, name).replace(chr(34), "#quot;")}"{right}')
    lines += [f"  {numbers[need]} --> {numbers[name]}" for need, name in edges]
    lines += [
        f"  style {number} fill:{_COLOURS[view.words[name]]}"
        for name, number in numbers.items()
        if view.words.get(name) in _COLOURS
    ]
    return "\n".join(lines)


def _dot(view: View) -> str:
    lines = ["digraph buildsys {", "  rankdir=LR;", "  node [shape=box, style=filled, fillcolor=white];"]
    for name in view.needs:
        shape = ", shape=ellipse" if name in view.images else ""
        colour = _COLOURS.get(view.words.get(name, ""))
        fill = f', fillcolor="{colour}"' if colour else ""
        lines.append(f"  {json.dumps(name)} [label={json.dumps(_label(view, name), ensure_ascii=False)}{shape}{fill}];")
    lines += [f"  {json.dumps(need)} -> {json.dumps(name)};" for name, below in view.needs.items() for need in below]
    return "\n".join([*lines, "}"])


def _json(view: View) -> str:
    nodes = [
        {
            "name": name,
            "title": view.titles[name],
            "kind": "image" if name in view.images else "node",
            "needs": list(below),
            "action": view.words.get(name),
        }
        for name, below in view.needs.items()
    ]
    return json.dumps({"schema_version": 1, "nodes": nodes}, indent=2, ensure_ascii=False)
