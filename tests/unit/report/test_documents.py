"""A plan as JSON: every variable put in, the same bytes every time."""

from __future__ import annotations

import json

from buildsys.bake.hcl import Expression, Template, evaluate
from buildsys.bake.targets import defaults
from buildsys.report.documents import list_document, plan_document, text
from tests.support.trees import planned, tree

STACKS = 'registry: "host:5000/x"\nstacks:\n  one.1: {layers: [system, fast: {flags: "--note=é${A}"}]}\n'


def test_document_says_its_version_first_and_keeps_what_is_not_ascii() -> None:
    found = text(list_document(planned(tree(STACKS))))
    assert found.startswith('{\n  "schema_version": 1,\n')
    assert "--note=é${A}" in found
    assert found == text(list_document(planned(tree(STACKS))))


def test_variables_are_put_in_and_literals_are_not_read_again() -> None:
    assert evaluate(Template((Expression("A"), "/${A}:", Expression("B"))), {"A": "${B}", "B": "2"}) == "${B}/${A}:2"
    assert evaluate(Expression("A"), {"A": "1"}) == "1"
    assert evaluate("${A}", {"A": "1"}) == "${A}"


def test_tags_and_contexts_have_the_defaults_of_all_variables() -> None:
    plan = planned(tree(STACKS))
    found = plan_document(plan)
    assert found["variables"] == defaults(plan)
    stack = found["stacks"][0]
    assert (stack["name"], stack["target"], stack["tags"]) == ("one.1", "one_1", ["host:5000/x/one.1:latest"])
    assert stack["contexts"] == {"base": "target:system-1", "fast": stack["contexts"]["fast"]}
    assert found["nodes"][0]["contexts"] == {"base": f"docker-image://example.com/linux@sha256:{'1' * 64}"}
    time = {"SOURCE_DATE_EPOCH": str(plan.timestamp)}
    assert found["nodes"][-1]["args"] == {"FLAGS": "--note=é${A}", "VERSION": "1.0", **time}


def test_nodes_and_stacks_of_the_document_are_those_of_the_plan() -> None:
    plan = planned(tree(STACKS))
    found = json.loads(text(plan_document(plan)))
    assert [node["name"] for node in found["nodes"]] == [node.name for node in plan.nodes]
    assert [node["needs"] for node in found["nodes"]] == [list(node.below) for node in plan.nodes]
    assert found["summary"] == {"nodes": 3, "stacks": 1, "deprecated": 0}
    assert found["groups"] == {"cpu": ["one_1"], "default": ["one_1"], "gpu": []}


def test_stack_of_the_list_says_where_each_value_comes_from() -> None:
    stack = list_document(planned(tree(STACKS)))["stacks"][0]
    fast = stack["layers"][1]
    assert fast["parameters"] == {"version": "1.0", "flags": "--note=é${A}"}
    assert fast["origins"] == {"version": "default", "flags": "stack"}
    assert stack["environment"] == {"LANG": "C.UTF-8", "PATH": "/opt/fast/bin:$PATH"}
    assert (stack["parent_image"], stack["platforms"]) == ("example.com/linux:1", ["linux/amd64"])


def test_documents_have_the_repository_and_all_tags() -> None:
    plan = planned(tree('registry: "host:5000/x"\nstacks:\n  a: {layers: [system], repository: r, tags: [t, u]}\n'))
    for found in (plan_document(plan), list_document(plan)):
        stack = found["stacks"][0]
        assert (stack["name"], stack["repository"]) == ("a", "r")
        assert stack["tags"] == ["host:5000/x/r:t", "host:5000/x/r:u"]
