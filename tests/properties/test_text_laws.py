"""What holds for every text that a layer may have: an assembly says what was meant, one instruction a line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from buildsys.bake.targets import plan_definition
from buildsys.commands.plan import make_plan
from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import InvalidInput
from buildsys.resolve.node import ImageTarget
from tests.support.bake_text import bare, blocks, dockerfile, environment, label
from tests.support.laws import examples

# What ends a line, a word or a quoted text somewhere comes up often, and so does what looks like an instruction.
_PIECES = [
    *"${}%\"\\'`#:=<>-/, \n\r\t\0\x1b\x85\u2028é0",
    "RUN id",
    "\nRUN id",
    "\\\n",
    "<<E",
    "EOT",
    "[",
    '"]',
    "--",
    "a",
]
TEXT = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)
WORD = st.one_of(TEXT, st.sampled_from(["a", "a b", "1000", "x=y", "$A", "${A}"]))
PORT = st.one_of(TEXT, st.from_regex(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?", fullmatch=True))
PATH = st.one_of(TEXT, TEXT.map(lambda text: f"/{text}"), st.just("/a b"))
USER = st.one_of(TEXT, st.sampled_from(["0", "a:b", "1000:100", "a b", "a\nRUN id"]))
KEY = st.one_of(st.sampled_from(["a", "a.b/c-d", "dev.buildsys.key", "-a"]), TEXT)

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(KEY, WORD, max_size=2),
        "set": st.dictionaries(st.one_of(st.sampled_from(["A", "B_1", "1A"]), TEXT), WORD, max_size=2),
        "ports": st.lists(PORT, max_size=2),
        "user": USER,
        "workdir": PATH,
        "entrypoint": st.lists(WORD, max_size=3),
        "command": st.lists(WORD, max_size=3),
        "healthcheck": st.lists(WORD, min_size=1, max_size=3),
    },
)
_ORDER = ("ENV", "LABEL", "EXPOSE", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "HEALTHCHECK")
_FORMAT = {"kind": "system", "licence": "free", "description": "x"}


def tree(fields: dict[str, Any], value: str | None) -> dict[str, str]:
    """Return a project of one layer with these fields; with a value each text is a template that it is put into."""

    def written(text: str) -> str:
        return "{given}" if value is not None else text.replace("{", "{{").replace("}", "}}")

    layer: dict[str, Any] = {**_FORMAT, "parent": {"name": "p", "images": ["p"]}, "provides": ["os"]}
    for name, given_value in fields.items():
        match name:
            case "set":
                layer["environment"] = {"set": {key: written(text) for key, text in given_value.items()}}
            case "labels":
                layer["labels"] = {key: written(text) for key, text in given_value.items()}
            case "ports":
                layer["ports"] = given_value
            case "healthcheck":
                layer["healthcheck"] = {"command": [written(text) for text in given_value]}
            case "user" | "workdir":
                layer[name] = written(given_value)
            case _:
                layer[name] = [written(text) for text in given_value]
    use: Any = "one"
    if value is not None:
        # The tests take the value in too, so that it is used whatever the fields are.
        layer |= {"parameters": {"given": {"description": "x"}}, "tests": [{"run": "{given}"}]}
        use = {"one": {"given": value}}
    stacks = {"stacks": {"img": {"layers": [use]}}}
    # JSON's escapes are YAML's, so every character reaches the reader, and those that no file may hold too.
    return {"layers/one/layer.yaml": json.dumps(layer), "stacks.yaml": json.dumps(stacks)}


def planned(fields: dict[str, Any], value: str | None = None) -> tuple[ImageTarget, str] | None:
    """Return the stack and the assembly as the bake file has it; None where the plan refuses the texts."""
    try:
        plan = make_plan(tree(fields, value))
    except InvalidInput:
        event("refused")
        return None
    event("planned")
    (stack,) = plan.stacks
    return stack, dockerfile(blocks(plan_definition(plan).to_hcl(), "target")["img"])


def check(stack: ImageTarget, text: str) -> None:
    """Assert that an assembly has the instructions that the stack means, each on a line of its own, with its values."""
    config = stack.config
    counts = (len(stack.environment), len(config.labels), len(config.ports), *(
        int(bool(each)) for each in (config.workdir, config.user)
    ), *(int(each is not None) for each in (config.entrypoint, config.command, config.healthcheck)))  # fmt: skip
    expected = ["FROM", *(word for word, count in zip(_ORDER, counts, strict=True) for _ in range(count))]
    instructions = Dockerfile.parse(text, "Dockerfile").instructions
    assert [each.keyword for each in instructions] == expected
    # One line of comment goes before.
    assert [each.line for each in instructions] == [each.end_line for each in instructions]
    assert [each.line for each in instructions] == list(range(2, 2 + len(expected)))
    assert len(text.split("\n")) == 2 + len(expected)
    said = {word: [each.arguments for each in instructions if each.keyword == word] for word in _ORDER}
    assert environment(text, {}) == {each.name: each.value for each in stack.environment}
    assert [label(each) for each in said["LABEL"]] == list(config.labels.items())
    assert said["EXPOSE"] == list(config.ports)
    assert [bare(each) for each in said["WORKDIR"]] == ([config.workdir] if config.workdir else [])
    assert said["USER"] == ([config.user] if config.user else [])
    for word, words in (("ENTRYPOINT", config.entrypoint), ("CMD", config.command)):
        assert [json.loads(each) for each in said[word]] == ([list(words)] if words is not None else [])
    for each in said["HEALTHCHECK"]:
        assert config.healthcheck is not None
        assert json.loads(each.removeprefix("CMD ")) == list(config.healthcheck.command)


MANY = examples(80)


@MANY
@given(fields=FIELDS)
def test_texts_that_a_plan_takes_are_the_instructions_that_are_meant(fields: dict[str, Any]) -> None:
    if found := planned(fields):
        check(*found)


@MANY
@given(fields=FIELDS, value=st.one_of(WORD, PATH, USER))
def test_value_of_a_parameter_that_a_plan_takes_ends_no_instruction(fields: dict[str, Any], value: str) -> None:
    if found := planned(fields, value):
        check(*found)


@MANY
@given(port=PORT)
def test_ports_that_a_plan_takes_are_numbers(port: str) -> None:
    if found := planned({"ports": [port]}):
        (taken,) = found[0].config.ports
        numbers = [int(each) for each in taken.partition("/")[0].split("-")]
        assert numbers == sorted(numbers)
        assert 1 <= numbers[0] <= numbers[-1] <= 65535
