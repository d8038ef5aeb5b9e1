"""What `docker buildx bake --print` reads from the JSON of a definition is what it reads from its HCL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from buildsys.bake.definition import Definition, Target, Variable
from buildsys.bake.hcl import Expression, Template
from buildsys.bake.targets import Publication, plan_definition, run_definition
from buildsys.commands.plan import make_plan
from buildsys.project.workspace import Workspace
from tests.support.commands import ROOT
from tests.support.laws import examples

pytestmark = [
    pytest.mark.buildx,
    pytest.mark.skipif(shutil.which("docker") is None, reason="docker buildx is not installed"),
]

CACHES = [
    {},
    {"BUILDSYS_CACHE": "r.example.com/cache"},
    {"BUILDSYS_CACHE": "type=local,/cache", "BUILDSYS_TAG": "v1"},
    {"BUILDSYS_CACHE": "type=gha", "BUILDSYS_CACHE_WRITE": "0"},
]
TRICKY = st.sampled_from(list("${%}\\\"~\n\t\r #()'`,=<>\x00\x01\x7f\x85\u2028\ufeffé€𝒳"))
TEXTS = st.text(TRICKY | st.characters(exclude_categories=["Cs"]), max_size=12).map(
    lambda text: unicodedata.normalize("NFC", text)
)
# Bake is too slow for hundreds of smaller examples.
LAW = settings(examples(4), phases=[Phase.generate])


def printed(name: str, text: str, targets: list[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    file = folder / name
    file.write_bytes(text.encode())
    done = subprocess.run(
        ["docker", "buildx", "bake", "--print", "-f", str(file), *targets],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_equal(definition: Definition, targets: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    hcl = printed("a.hcl", definition.to_hcl(), targets, folder, environment)
    assert hcl == printed("a.json", definition.to_json(), targets, folder, environment)
    assert hcl["target"].keys() >= {*targets}


@pytest.mark.parametrize("environment", CACHES, ids=str)
@pytest.mark.parametrize("project", [".", "examples/docker-stacks", "examples/python"])
def test_files_of_all_shipped_projects_are_equal(project: str, environment: dict[str, str], tmp_path: Path) -> None:
    plan = make_plan(Workspace(root=ROOT / project).tree())
    assert_equal(plan_definition(plan), [*plan.targets], tmp_path, environment)
    stacks = [stack.name for stack in plan.stacks]
    assert_equal(run_definition(plan, stacks, {}), stacks, tmp_path, environment)


def test_published_targets_are_equal_on_what_exists(tmp_path: Path) -> None:
    plan = make_plan(Workspace(root=ROOT).tree())
    names = [*plan.targets]
    notes = {"inputs": '{"a":"${HOME} %{x}","b":"$$ x()"}'}
    publications = {name: Publication(name=f"r.example.com/x:incoming-{name}", annotations=notes) for name in names}
    references = {node.name: f"r.example.com/nodes@sha256:{number:064x}" for number, node in enumerate(plan.nodes)}
    assert_equal(run_definition(plan, names, references, publications=publications), names, tmp_path, {})


@LAW
@given(batch=st.lists(st.tuples(TEXTS, TEXTS), min_size=100, max_size=200))
def test_every_text_is_equal(tmp_path_factory: pytest.TempPathFactory, batch: list[tuple[str, str]]) -> None:
    values = {f"A{number}": text for number, (text, _) in enumerate(batch)}
    templates = {f"T{number}": Template((a, Expression("V"), f"|{b}")) for number, (a, b) in enumerate(batch)}
    target = Target(
        name="a",
        args={**values, **templates},
        labels={f"x{key}": text for key, text in batch},
        dockerfile_inline="FROM x\n" + "".join(text for pair in batch for text in pair),
    )
    definition = Definition(variables=(Variable(name="V", description="", default="|${}|"),), targets=(target,))
    folder = tmp_path_factory.mktemp("bake")
    assert_equal(definition, ["a"], folder, {})
    read = printed("a.json", definition.to_json(), ["a"], folder, {})["target"]["a"]["args"]
    plain = {name: text.replace("$${", "${").replace("%%{", "%{") for name, text in read.items()}
    assert {name: plain[name] for name in values} == values
