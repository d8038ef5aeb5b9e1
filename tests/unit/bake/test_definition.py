"""A definition says the same in HCL and in JSON: both are read here by the rules of HCL, and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from buildsys.bake.definition import Definition, Function, Group, Target, Variable
from buildsys.bake.hcl import Expression, Heredoc, Template
from buildsys.bake.targets import BAKE_FILE, defaults, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.project.workspace import Workspace
from tests.support.bake_text import blocks

HOSTILE = [
    "${HOME}",
    "$${HOME}",
    "$$${HOME} %%%{ if x }",
    "%{ for a in b }~",
    "a${",
    "$",
    "$$",
    "%%",
    "x()",
    "nofunc(",
    '"quoted" \\ \\n',
    "two\nlines\r\n\ttab",
    "\x00\x01\x7f\u2028\ufeff",
    "é€𝒳",
    "//",
]
# One token of a template without quotes: an escaped marker, an interpolated string or expression, or text.
_TOKEN = re.compile(
    r'(?P<escape>\$\$\{|%%\{)|\$\{(?P<string>"(?:[$%]|\\u\w{4})")\}|\$\{(?P<name>\w+)\}|(?P<text>.)', re.DOTALL
)


def read(text: str, variables: dict[str, str]) -> str:
    """Return what a template means, by the rules of hashicorp/hcl's hclsyntax/spec.md for templates."""
    found = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        assert token is not None
        position = token.end()
        if token["escape"]:
            found.append(token["escape"][1:])
        elif token["name"]:
            found.append(variables[token["name"]])
        else:
            assert not text.startswith(("${", "%{"), token.start()) or token["string"], "a marker that is not escaped"
            found.append(json.loads(token["string"]) if token["string"] else token["text"])
    return "".join(found)


def target_of(definition: Definition, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(definition.to_json())["target"][name]
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_every_string_of_json_means_the_text_that_was_given(text: str) -> None:
    target = Target(name="a", args={"A": text}, labels={f"k{text}": "v"}, tags=(text,), dockerfile_inline=text)
    found = target_of(Definition(targets=(target,)), "a")
    assert read(found["args"]["A"], {}) == text
    assert [read(name, {}) for name in found["labels"]] == [f"k{text}"]
    assert [read(tag, {}) for tag in found["tags"]] == [text]
    assert read(found["dockerfile-inline"], {}) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_literal_before_an_expression_does_not_escape_it(text: str) -> None:
    value = Template((text, Expression("V"), text))
    found = target_of(Definition(targets=(Target(name="a", args={"A": value}),)), "a")["args"]["A"]
    assert read(found, {"V": "<${}>"}) == f"{text}<${{}}>{text}"


def test_an_expression_alone_keeps_its_type() -> None:
    function = Function(name="f", params=("a", "b"), result=Expression("[a, b]"))
    target = Target(name="t", cache_from=Expression('f("${x}", 1)'))
    found = json.loads(Definition(functions=(function,), targets=(target,)).to_json())
    assert found["function"] == {"f": {"params": ["a", "b"], "result": "${[a, b]}"}}
    assert found["target"]["t"]["cache-from"] == '${f("${x}", 1)}'


def test_what_is_not_set_is_written_nowhere_and_what_is_set_to_nothing_is() -> None:
    target = Target(name="t", context="", platforms=(), args={})
    assert target_of(Definition(targets=(target,)), "t") == {
        "context": "",
        "platforms": [],
        "attest": ["type=provenance,disabled=true"],
    }
    assert Definition().to_json() == "{}"
    assert Definition().to_hcl() == ""


def test_everything_of_a_definition_is_in_both_files() -> None:
    definition = Definition(
        comment="for people",
        variables=(Variable(name="V", description="a variable", default="${d}"),),
        groups=(Group(name="g", targets=("t",)),),
        targets=(Target(name="t", comment="old", description="a target", dockerfile_inline=Heredoc("FROM x\n")),),
    )
    assert json.loads(definition.to_json()) == {
        "//": "for people",
        "variable": {"V": {"description": "a variable", "default": '${"$"}{d}'}},
        "group": {"g": {"targets": ["t"]}},
        "target": {
            "t": {
                "description": "a target",
                "dockerfile-inline": "FROM x\n",
                "attest": ["type=provenance,disabled=true"],
            }
        },
    }
    assert definition.to_hcl() == (
        '# for people\nvariable "V" {\n  description = "a variable"\n  default     = "$${d}"\n}\n\n'
        'group "g" {\n  targets = ["t"]\n}\n\n'
        'target "t" {\n  # old\n  description       = "a target"\n  dockerfile-inline = <<EOT\nFROM x\nEOT\n'
        '  attest = ["type=provenance,disabled=true"]\n}\n'
    )


def hcl_value(text: str, variables: dict[str, str]) -> Any:
    """Return what a value of the bake file means; any expression but a variable stays as it is."""
    if heredoc := re.fullmatch(r"<<(EOT\d*)\n(.*)\1", text, re.DOTALL):
        return read(heredoc[2], variables)
    if text.startswith('"'):
        return read(json.loads(text), variables)
    if text.startswith("["):
        return [hcl_value(each, variables) for each in re.findall(r'"(?:[^"\\]|\\.)*"', text)]
    if text.startswith("{"):
        pairs = re.findall(r'^    ("(?:[^"\\]|\\.)*"|[\w-]+) += (.*)$', text, re.MULTILINE)
        return {json.loads(name) if name[0] == '"' else name: hcl_value(each, variables) for name, each in pairs}
    return variables.get(text, f"${{{text}}}")


def hcl_attributes(body: str, variables: dict[str, str]) -> dict[str, Any]:
    found = re.findall(r"^  ([a-z-]+) += (<<(EOT\d*)\n.*?^\3$|[\[{]$.*?^  [\]}]$|.*?$)", body, re.MULTILINE | re.DOTALL)
    return {name: hcl_value(text, variables) for name, text, _ in found}


def json_value(value: Any, variables: dict[str, str]) -> Any:
    match value:
        case str():
            return value if re.match(r"\$\{\w+(?:\(| == )", value) else read(value, variables)
        case list():
            return [json_value(each, variables) for each in value]
        case _:
            return {read(name, variables): json_value(each, variables) for name, each in value.items()}


@pytest.mark.parametrize("project", [".", "examples/docker-stacks", "examples/platforms", "examples/python"])
def test_json_means_what_the_committed_bake_file_means(project: str) -> None:
    root = Path(__file__).parents[3] / project
    plan = make_plan(Workspace(root=root).tree())
    variables = defaults(plan)
    committed = blocks((root / BAKE_FILE).read_text(encoding="utf-8"), "target")
    found = json.loads(plan_definition(plan).to_json())["target"]
    assert [*committed] == [*found]
    for name, body in committed.items():
        assert hcl_attributes(body, variables) == json_value(found[name], variables)
