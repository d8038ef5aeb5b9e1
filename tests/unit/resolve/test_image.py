"""How a container starts, as layers say it: what they come to, and the same in a Dockerfile and in a config."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from buildsys.bake.assembly import assembly
from buildsys.oci.config import Config
from buildsys.recipes.recipe import Healthcheck
from buildsys.report.documents import list_document
from buildsys.resolve.image import ImageConfig
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import Part, compose
from tests.support.keyed import keyed
from tests.support.trees import FAST, diagnostics, planned, stack, tree

LATE = FAST.replace("/opt/fast", "/opt/late") + "order: 5\n"


def target(fast: str = "", late: str = "", system: str = "") -> ImageTarget:
    """Return a stack of `system`, `fast` and `late`, whose layer.yaml have these lines in addition."""
    files = tree(
        "stacks:\n  one: {layers: [system, fast, late]}\n",
        system=tree()["layers/system/layer.yaml"] + system,
        fast=FAST + fast,
        late=LATE + late,
    )
    return stack(planned(files))


def config(fast: str = "", late: str = "", system: str = "") -> ImageConfig:
    return target(fast, late, system).config


def test_what_no_layer_says_is_unsaid() -> None:
    found = config()
    assert (found.entrypoint, found.command, found.healthcheck) == (None, None, None)
    assert not re.search("ENTRYPOINT|CMD|HEALTHCHECK", assembly(target()))


def test_last_layer_that_says_one_decides_whatever_its_kind() -> None:
    found = config(
        system="entrypoint: [a]\ncommand: [a]\nhealthcheck: {command: [a], retries: 2}\n",
        fast="command: [b]\nhealthcheck: {command: [b]}\n",
    )
    assert (found.entrypoint, found.command) == (("a",), ("b",))
    assert found.healthcheck == Healthcheck(command=("b",))
    found = config(fast="entrypoint: [b]\n", late="entrypoint: [c]\n", system="entrypoint: [a]\n")
    assert found.entrypoint == ("c",)


def test_entry_point_clears_the_command_below_it_and_none_above() -> None:
    assert config(system="command: [a]\n", fast="entrypoint: [b]\n").command is None
    assert config(system="command: [a]\n", fast="entrypoint: [b]\ncommand: [c]\n").command == ("c",)
    assert config(fast="entrypoint: [b]\n", late="command: [c]\n").command == ("c",)


def test_no_words_are_said_and_not_unsaid() -> None:
    found = config(system="entrypoint: [a]\ncommand: [a]\n", fast="entrypoint: []\n", late="command: []\n")
    assert (found.entrypoint, found.command) == ((), ())


def test_parameter_is_put_in_and_stays_one_word() -> None:
    files = tree(
        "stacks:\n  one: {layers: [system, fast: {flags: [-a, -b], version: 2}]}\n",
        fast=FAST + 'entrypoint: [run, "{flags}", "{{{version|major}}}"]\ncommand: ["{version}"]\n'
        'healthcheck: {command: [check, "{version}"]}\nuser: "u{version}"\nworkdir: "/v{version}"\n',
    )
    found = stack(planned(files)).config
    assert (found.entrypoint, found.command) == (("run", "-a -b", "{2}"), ("2",))
    assert found.healthcheck == Healthcheck(command=("check", "2"))
    assert (found.user, found.workdir) == ("u2", "/v2")


def test_flavour_says_it_in_the_stead_of_the_layer() -> None:
    text = (
        FAST + "entrypoint: [a]\ncommand: [a]\nhealthcheck: {command: [a], interval: 1s}\ndefault_flavour: one\n"
        "flavours:\n  one:\n    entrypoint: [b]\n    healthcheck: {command: [b]}\n  two:\n"
    )
    found = stack(planned(tree(fast=text))).config
    assert (found.entrypoint, found.command, found.healthcheck) == (("b",), ("a",), Healthcheck(command=("b",)))
    files = tree("stacks:\n  one: {layers: [system, fast: {flavour: two}]}\n", fast=text)
    assert stack(planned(files)).config.entrypoint == ("a",)


@pytest.mark.parametrize(
    ("said", "location", "message"),
    [
        ('entrypoint: [run, "{verson}"]', "10:21", "`verson` is not a parameter of this layer"),
        ('command: ["{verson}"]', "10:13", "`verson` is not a parameter of this layer"),
        ('healthcheck: {command: [a, "{verson}"]}', "10:30", "`verson` is not a parameter of this layer"),
        ('user: "{verson}"', "10:9", "`verson` is not a parameter of this layer"),
        ('workdir: "/{verson}"', "10:13", "`verson` is not a parameter of this layer"),
        ('labels: {a: "{verson}"}', "10:15", "`verson` is not a parameter of this layer"),
        ('command: ["{"]', "10:12", "the `{` has no counterpart"),
        ('user: "a\\nRUN b"', "10:7", "`user` has more than one line, which a Dockerfile cannot hold"),
        ("entrypoint: tini -- run", "10:13", "`entrypoint`: expected a list, found a text"),
        ("healthcheck: {command: a}", "10:24", "`command`: expected a list, found a text"),
        ("healthcheck: {interval: 1s}", "10:1", "`command` is missing"),
        (
            "healthcheck: {command: [a], interval: 5}",
            "10:39",
            "`5`: expected a whole number with `ms`, `s`, `m` or `h`",
        ),
        ("healthcheck: {command: [a], retries: x}", "10:38", "`x` is not a whole number"),
    ],
)
def test_error_is_reported_at_its_location(said: str, location: str, message: str) -> None:
    found = diagnostics(tree(fast=FAST + said + "\n"))
    assert [each[:2] for each in found] == [(f"layers/fast/layer.yaml:{location}", message)]


def test_healthcheck_needs_a_word_and_a_try() -> None:
    text = FAST + "healthcheck: {command: [], retries: 0}\n"
    assert [location for location, _, _ in diagnostics(tree(fast=text))] == [
        "layers/fast/layer.yaml:10:24",
        "layers/fast/layer.yaml:10:37",
    ]


def test_value_of_a_parameter_that_breaks_a_line_is_reported() -> None:
    text = 'user: "{version}"\nlabels: {a: "{version}"}\ncommand: ["{version}"]\n'
    files = tree('stacks:\n  one: {layers: [system, fast: {version: "1\\n2"}]}\n', fast=FAST + text)
    assert [message for _, message, _ in diagnostics(files)] == [
        "`one`: the `user` has more than one line",
        "`one`: the label `a` has more than one line",
    ]


@pytest.mark.parametrize(
    ("written", "milliseconds"), [("1500ms", 1500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000)]
)
def test_duration_is_read_in_milliseconds(written: str, milliseconds: int) -> None:
    found = config(fast=f"healthcheck: {{command: [a], start_period: {written}}}\n").healthcheck
    assert found == Healthcheck(command=("a",), start_period=milliseconds)


# What BuildKit makes of the instructions, as an engine did (28.5): a test of publishing holds a real one to it.
def of_the_assembly(text: str, base: dict[str, Any]) -> dict[str, Any]:
    """Return what is left of the settings of a base after the instructions that say how a container starts."""
    found = dict(base)
    for line in text.split("\n"):
        word, _, rest = line.partition(" ")
        match word:
            case "ENTRYPOINT":
                found |= {"Entrypoint": json.loads(rest), "Cmd": []}
            case "CMD":
                found |= {"Cmd": json.loads(rest), "ArgsEscaped": True}
            case "USER":
                found["User"] = "".join(shlex.split(rest.replace("\\$", "'$'")))
            case "HEALTHCHECK":
                options, _, command = rest.partition("CMD ")
                given = dict(option.removeprefix("--").split("=") for option in options.split())
                found["Healthcheck"] = {"Test": ["CMD", *json.loads(command)]}
                for name, key in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod")):
                    if name in given:
                        unit = {"s": 10**9, "ms": 10**6}[given[name].lstrip("0123456789")]
                        found["Healthcheck"][key] = int(given[name].rstrip("ms")) * unit
                if "retries" in given:
                    found["Healthcheck"]["Retries"] = int(given["retries"])
    return {name: value for name, value in found.items() if value}


STARTS = ("Entrypoint", "Cmd", "ArgsEscaped", "Healthcheck", "User")
BASE = {
    "Entrypoint": ["/base"],
    "Cmd": ["base"],
    "Healthcheck": {"Test": ["CMD", "base"], "Interval": 7_000_000, "Retries": 9},
    "User": "base",
}
# Each is text in both: a variable, quotes, an end of line, the start of a heredoc, what bake takes for a template.
WORDS = ["$HOME ${{A}} \\$A", "q\"u'o\\te", "line\nend", "<<EOF", "{{x}}", "%{{x}}", "é\u2028", ""]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"entrypoint": WORDS},
        {"command": WORDS},
        {"entrypoint": ["a"], "command": WORDS},
        {"entrypoint": []},
        {"command": []},
        {"entrypoint": [], "command": ["a"]},
        {"healthcheck": {"command": WORDS}},
        {"healthcheck": {"command": ["a"], "interval": "5m", "timeout": "3s", "start_period": "1500ms", "retries": 4}},
        {"user": "1000:a.b-c_d"},
        {"workdir": "/$A\\\"x'y z"},
    ],
    ids=lambda said: " ".join(said) or "nothing",
)
@pytest.mark.parametrize("base", [{}, BASE], ids=["bare", "base"])
def test_assembled_and_composed_image_start_alike(said: dict[str, Any], base: dict[str, Any]) -> None:
    made = target(late="".join(f"{name}: {json.dumps(value)}\n" for name, value in said.items()))
    rootfs = {"type": "layers", "diff_ids": []}
    given = {"os": "linux", "architecture": "amd64", "config": base, "rootfs": rootfs}
    part = Part(layers=(), config=Config.parse(json.dumps(given).encode()))
    composed = json.loads(compose(made, part, [part, part], {}).config)["config"]
    expected = of_the_assembly(assembly(made), base)
    assert {name: composed[name] for name in STARTS if name in composed} == expected
    if not said:
        assert expected == base


def test_texts_are_in_the_assembly_as_they_are() -> None:
    text = assembly(target(late='entrypoint: [tini, --, "$A"]\ncommand: []\nworkdir: "/$A"\n'))
    assert text.endswith('WORKDIR /\\$A\nENTRYPOINT ["tini", "--", "$A"]\nCMD []\n')


def test_keys_have_what_is_said_and_nothing_else() -> None:
    def inputs(late: str) -> dict[str, str]:
        files = tree("stacks:\n  one: {layers: [system, late]}\n", late=LATE + late)
        return dict(keyed(files)[1].stacks["one"].inputs)

    plain = inputs("")
    assert not {"entrypoint", "command", "healthcheck"} & plain.keys()
    said = inputs("entrypoint: [a, 'b c']\ncommand: []\nhealthcheck: {command: [a], interval: 5m, retries: 1}\n")
    assert said == plain | {
        "entrypoint": '["a", "b c"]',
        "command": "[]",
        "healthcheck": '--interval=300s --retries=1 CMD ["a"]',
    }
    # The same duration in other words is the same image.
    assert inputs("healthcheck: {command: [a], interval: 5m}\n") == inputs(
        "healthcheck: {command: [a], interval: 300s}\n"
    )


def test_list_says_how_a_container_starts() -> None:
    files = tree(
        "stacks:\n  one: {layers: [system, fast]}\n",
        fast=FAST + "entrypoint: [a]\nhealthcheck: {command: [b], timeout: 2m}\nworkdir: /srv\n",
    )
    found = list_document(planned(files))["stacks"][0]
    assert (found["workdir"], found["entrypoint"], found["command"]) == ("/srv", ["a"], None)
    assert found["healthcheck"] == {
        "command": ["b"],
        "interval": None,
        "timeout": "120s",
        "start_period": None,
        "retries": None,
    }
