"""The graph as text, exactly; what another edge implies is left out."""

from __future__ import annotations

import itertools
import json
from textwrap import dedent

import pytest

from buildsys.report.diagram import MOST_MERMAID_EDGES, View, drawn, view
from tests.support.trees import FAST, planned, tree

COMM = FAST.replace("/opt/fast", "/opt/comm").replace("requires: [os]", "requires: [os, fast]")
TAKES_FAST = (
    "FROM toolchain AS build\nCOPY --from=fast / /\nARG VERSION\nARG FLAGS\nRUN make\n"
    "FROM scratch\nCOPY --from=build /artifact /\n"
)
STACKS = "stacks:\n  one.1: {layers: [system, comm]}\n  two: {layers: [system]}\n"
COMM_NODE = "comm-1_0-tools-1-with-fast-1_0"
WORDS = {"system-1": "reuse", COMM_NODE: "build", "one_1": "build", "two": "leave"}
PLAN = planned({**tree(STACKS, comm=COMM), "layers/comm/Dockerfile": TAKES_FAST})


def test_edges_that_others_imply_are_left_out() -> None:
    # The artifact needs its toolchain for itself too, and the stack the artifact that its other one is built with.
    assert dict(view(PLAN, {}).needs) == {
        COMM_NODE: ("fast-1_0-tools-1",),
        "fast-1_0-tools-1": ("tools-1",),
        "one_1": (COMM_NODE, "system-1"),
        "system-1": (),
        "tools-1": (),
        "two": ("system-1",),
    }


def test_part_is_the_selection_with_everything_it_needs() -> None:
    found = view(PLAN, {**WORDS, "gone": "build"}, ["two"])
    assert dict(found.needs) == {"system-1": (), "two": ("system-1",)}
    assert (found.images, dict(found.words)) == (frozenset({"two"}), {"system-1": "reuse", "two": "leave"})
    assert view(PLAN, WORDS, []).needs == {}


def test_tree_shows_each_image_and_what_was_shown_once_by_name() -> None:
    assert drawn(view(PLAN, {**WORDS, "tools-1": "reuse"}), "tree") == dedent("""\
        one.1 [build]
        ├─ comm 1.0 on tools 1 [build]
        │  └─ fast 1.0 on tools 1
        │     └─ tools 1 [reuse]
        └─ system 1 [reuse]
        two [leave]
        └─ system 1 [reuse]""")


def test_tree_marks_what_is_not_drawn_again() -> None:
    same = "stacks:\n  one: {layers: [system, fast]}\n  two: {layers: [system, fast]}\n"
    assert drawn(view(planned(tree(same)), {}), "tree") == dedent("""\
        one
        ├─ fast 1.0 on tools 1
        │  └─ tools 1
        └─ system 1
        two
        ├─ fast 1.0 on tools 1 …
        └─ system 1""")


def test_mermaid_has_titles_words_and_colours() -> None:
    assert drawn(view(PLAN, WORDS), "mermaid") == dedent("""\
        flowchart LR
          n0["comm 1.0 on tools 1 [build]"]
          n1["fast 1.0 on tools 1"]
          n2(["one.1 [build]"])
          n3["system 1 [reuse]"]
          n4["tools 1"]
          n5(["two [leave]"])
          n1 --> n0
          n4 --> n1
          n0 --> n2
          n3 --> n2
          n3 --> n5
          style n0 fill:#ffd8a8
          style n2 fill:#ffd8a8
          style n3 fill:#d3f9d8""")


def test_dot_has_titles_words_and_colours() -> None:
    assert drawn(view(PLAN, WORDS, ["two"]), "dot") == dedent("""\
        digraph buildsys {
          rankdir=LR;
          node [shape=box, style=filled, fillcolor=white];
          "system-1" [label="system 1 [reuse]", fillcolor="#d3f9d8"];
          "two" [label="two [leave]", shape=ellipse];
          "system-1" -> "two";
        }""")


def test_json_has_every_node_with_its_needs() -> None:
    assert json.loads(drawn(view(PLAN, {"two": "build"}, ["two"]), "json")) == {
        "schema_version": 1,
        "nodes": [
            {"name": "system-1", "title": "system 1", "kind": "node", "needs": [], "action": None},
            {"name": "two", "title": "two", "kind": "image", "needs": ["system-1"], "action": "build"},
        ],
    }


def edges(count: int) -> View:
    """Return a star: one image that needs this many nodes."""
    names = [f"n{number}" for number in range(count)]
    needs = {"image": tuple(names), **dict.fromkeys(names, ())}
    return View(needs=needs, titles={name: name for name in needs}, images=frozenset({"image"}), words={})


def test_more_edges_than_mermaid_draws_are_refused_with_another_way() -> None:
    assert drawn(edges(MOST_MERMAID_EDGES), "mermaid").count("-->") == 500
    assert drawn(edges(MOST_MERMAID_EDGES + 1), "mermaid") == (
        "%% 501 edges, Mermaid draws at most 500: choose a part with --stack or --affected, or take --format dot"
    )


@pytest.mark.parametrize("form", ["tree", "mermaid", "dot", "json"])
def test_empty_graph_is_drawn(form: str) -> None:
    empty = View(needs={}, titles={}, images=frozenset(), words={})
    expected = {
        "tree": "",
        "mermaid": "flowchart LR",
        "dot": "digraph buildsys {\n  rankdir=LR;\n  node [shape=box, style=filled, fillcolor=white];\n}",
        "json": '{\n  "schema_version": 1,\n  "nodes": []\n}',
    }
    assert drawn(empty, form) == expected[form]


def test_quotes_in_a_title_end_no_string() -> None:
    named = View(needs={"a": ()}, titles={"a": 'say "x"'}, images=frozenset(), words={})
    assert 'n0["say #quot;x#quot;"]' in drawn(named, "mermaid")
    assert r'"a" [label="say \"x\""]' in drawn(named, "dot")


def test_chain_of_any_depth_is_drawn() -> None:
    names = [f"n{number:04}" for number in range(3000)]
    needs = {name: (after,) for name, after in itertools.pairwise(names)} | {names[-1]: ()}
    deep = View(needs=needs, titles={name: name for name in names}, images=frozenset(), words={})
    lines = drawn(deep, "tree").splitlines()
    assert [line.lstrip("└─ ") for line in lines] == names
    assert lines[-1].startswith(f"{'   ' * 2998}└─ ")
