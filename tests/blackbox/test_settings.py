"""Settings of an image come from the layers in the order in which the stack lists them (fault M16)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ARTIFACT, IGNORED, buildsys, small_project

SYSTEM_LAYER = "description: d\nkind: system\nlicence: MIT\nrequires: [os]\n"


def project_of(folder: Path, listed: str, **layers: str) -> Path:
    """Write a project whose stack lists `dist` and some layers; an artifact has its own prefix."""
    files = {"stacks.yaml": f"stacks:\n  img: {{layers: [dist, {listed}]}}\n"}
    for name, text in layers.items():
        files[f"layers/{name}/layer.yaml"] = text.replace("/opt/conf", f"/opt/{name}")
        if "kind: artifact" in text:
            dockerfile = "FROM toolchain AS build\nRUN true\n\nFROM scratch\nCOPY --from=build /artifact /\n"
            files |= {f"layers/{name}/Dockerfile": dockerfile, f"layers/{name}/.dockerignore": IGNORED}
    return small_project(folder, files)


def image_of(project: Path) -> dict[str, Any]:
    done = buildsys(project, "list", "--json")
    assert done.code == 0, done.output
    (found,) = json.loads(done.stdout)["stacks"]
    return dict(found)


@pytest.mark.parametrize("listed", ["tool-a, serve", "serve, tool-a"])
def test_command_is_that_of_the_layer_that_the_stack_lists_last_whatever_its_kind(tmp_path: Path, listed: str) -> None:
    """The listed instance: an artifact's command won whatever the order said."""
    project = project_of(
        tmp_path,
        listed,
        **{"tool-a": f"{ARTIFACT}command: [tool-a]\n", "serve": f"{SYSTEM_LAYER}command: [serve]\n"},
    )
    assert image_of(project)["command"] == [listed.rpartition(", ")[2]]


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("user", "user: one\n", "user: two\n"),
        ("workdir", "workdir: /one\n", "workdir: /two\n"),
        ("entrypoint", "entrypoint: [one]\n", "entrypoint: [two]\n"),
        ("healthcheck", "healthcheck: {command: [one]}\n", "healthcheck: {command: [two]}\n"),
    ],
)
def test_other_settings_are_those_of_the_layer_that_the_stack_lists_last(
    tmp_path: Path, field: str, one: str, other: str
) -> None:
    layers = {"b-artifact": ARTIFACT + one, "a-system": SYSTEM_LAYER + other}
    first = image_of(project_of(tmp_path / "1", "a-system, b-artifact", **layers))[field]
    second = image_of(project_of(tmp_path / "2", "b-artifact, a-system", **layers))[field]
    assert "one" in str(first)
    assert "two" in str(second)


def test_part_of_the_layer_that_the_stack_lists_last_comes_first_in_a_path(tmp_path: Path) -> None:
    layers = {name: f"{ARTIFACT}environment: {{prepend: {{PATH: /opt/{name}/bin}}}}\n" for name in ("a", "b")}
    assert (
        image_of(project_of(tmp_path / "1", "b, a", **layers))["environment"]["PATH"] == "/opt/a/bin:/opt/b/bin:$PATH"
    )
    assert (
        image_of(project_of(tmp_path / "2", "a, b", **layers))["environment"]["PATH"] == "/opt/b/bin:/opt/a/bin:$PATH"
    )


def test_layer_that_is_only_required_comes_just_before_the_first_that_requires_it(tmp_path: Path) -> None:
    needing = ARTIFACT.replace("[os]", "[os, z-needed]")
    layers = {
        "a": f"{ARTIFACT}command: [a]\n",
        "b": needing,
        "c": f"{ARTIFACT}entrypoint: [c]\n",
        "z-needed": f"{ARTIFACT}command: [z]\n",
    }
    found = image_of(project_of(tmp_path, "a, b, c", **layers))
    assert [each["name"] for each in found["layers"]] == ["dist", "a", "z-needed", "b", "c"]
    # The entry point of a later layer drops the command of those before it.
    assert (found["entrypoint"], found["command"]) == (["c"], None)


def test_artifacts_that_state_no_order_are_joined_in_that_of_the_stack(tmp_path: Path) -> None:
    project = project_of(tmp_path, "b, a", a=ARTIFACT, b=ARTIFACT)
    assert [each["name"] for each in image_of(project)["layers"]] == ["dist", "b", "a"]
    assert buildsys(project, "plan").code == 0
    text = (project / "docker-bake.hcl").read_text(encoding="utf-8")
    assert text.index("COPY --link --from=b / /") < text.index("COPY --link --from=a / /")


def test_show_names_each_setting_and_its_layer(tmp_path: Path) -> None:
    said = (
        "command: [serve, --port, '80']\nentrypoint: [tini]\nports: [8080]\nuser: '1000'\nworkdir: /srv\n"
        "labels: {org.example.a: b}\nhealthcheck: {command: [ok], interval: 5m}\n"
    )
    project = project_of(tmp_path, "serve, tool-a", serve=SYSTEM_LAYER + said, **{"tool-a": f"{ARTIFACT}ports: [9]\n"})
    done = buildsys(project, "show", "img")
    assert done.code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    expected = ("serve", "tini", "8080", "1000", "/srv", "org.example.a=b", "--interval=300s")
    missing = [
        word
        for word in expected
        if not any(any(word in each for each in line) and line[-2:] == ["from", "serve"] for line in lines)
    ]
    assert missing == []
    assert ["port", "9", "from", "tool-a"] in lines


def test_stacks_that_order_system_layers_differently_are_reported(tmp_path: Path) -> None:
    layers = {name: f"{SYSTEM_LAYER}packages: [{{names: [{name}]}}]\n" for name in ("x", "y")}
    project = project_of(tmp_path, "x, y", **layers)
    stacks = "stacks:\n  one: {layers: [dist, x, y]}\n  two: {layers: [dist, y, x]}\n"
    (project / "stacks.yaml").write_text(stacks, encoding="utf-8")
    done = buildsys(project, "plan")
    assert done.code == 0, done.output
    assert "`two` builds `x` on `y`, and `one` the other way round" in done.stderr
