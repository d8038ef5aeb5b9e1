"""How often a Dockerfile is read, and what its value says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from buildsys.commands.plan import make_plan
from buildsys.dockerfile.parser import Dockerfile
from buildsys.project.workspace import Workspace

ROOT = Path(__file__).parents[3]


def test_each_file_is_parsed_once_for_a_plan_whatever_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed = Counter[str]()
    parse = Dockerfile.parse.__func__  # type: ignore[attr-defined]

    def counting(cls: type[Dockerfile], text: str, file: str) -> Dockerfile:
        parsed[file] += 1
        found = parse(cls, text, file)
        assert isinstance(found, Dockerfile)
        return found

    monkeypatch.setattr(Dockerfile, "parse", classmethod(counting))
    plan = make_plan(Workspace(root=ROOT).tree())
    assert {node.dockerfile for node in plan.nodes if not node.generated} <= parsed.keys()
    assert set(parsed.values()) == {1}


def test_value_says_stages_arguments_runs_and_layers() -> None:
    found = Dockerfile.parse("ARG A=1\nFROM base AS one\nRUN x\nFROM one\nARG B\nWORKDIR /w\nRUN y\n", "d/Dockerfile")
    assert found.file == "d/Dockerfile"
    assert [(stage.base, stage.name) for stage in found.stages] == [("base", "one"), ("one", None)]
    assert found.declared == {"A": True, "B": False}
    assert [(each.name, each.line, each.column) for each in found.arguments] == [("A", 1, 5), ("B", 5, 5)]
    assert [run.arguments for run in found.runs] == ["x", "y"]
    assert [each.name for each in found.references] == ["base"]
    assert found.added_layers == 2
