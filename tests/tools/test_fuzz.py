"""The fuzzer gives the same mutants for a seed, finds what it looks for, and repeats what it finds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

import fuzz
import mutations
from buildsys.errors import BuildsysError, Diagnostic, InvalidInput, Location
from fuzz_projects import projects

PROJECTS = projects()
AT = Location(file="stacks.yaml", line=1)
# A text that is 9 ** 30 words when its aliases are written out.
BOMB = "- &a0 [x]\n" + "".join(f"- &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 30))


class _Repeated(BuildsysError):
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return the same twice."""
        return super().diagnostics() * 2


@pytest.fixture
def ground(tmp_path: Path) -> fuzz.Ground:
    return fuzz.Ground(tmp_path, PROJECTS)


def test_mutants_depend_on_seed_and_index_alone() -> None:
    first = [mutations.mutant(PROJECTS, 3, index) for index in range(300)]
    assert first == [mutations.mutant(PROJECTS, 3, index) for index in range(300)]
    assert first != [mutations.mutant(PROJECTS, 4, index) for index in range(300)]


def test_every_kind_of_file_is_changed_in_every_way() -> None:
    ways = {way for index in range(1_500) for way in mutations.mutant(PROJECTS, 1, index).how.split(", ")}
    for file in ("stacks.yaml", "layer.yaml", "Dockerfile", "buildsys.lock", "buildsys.settings.yaml", ".dockerignore"):
        for kind in ("bytes", "tokens", "structure"):
            assert any(way.startswith(f"{kind} of ") and way.endswith(file) for way in ways), (kind, file)


def test_projects_are_what_they_should_be_before_they_are_changed(ground: fuzz.Ground) -> None:
    kinds = [fuzz.look(root)[0] for root in ground.roots]
    assert {*kinds} == {"plan", "refused"}
    assert kinds.count("plan") >= 8


def test_environment_is_changed_too() -> None:
    names = {name for index in range(600) for name in mutations.mutant(PROJECTS, 1, index).environ}
    assert names == {"BUILDSYS_REGISTRY", "BUILDSYS_TAG"}


@pytest.mark.parametrize("text", ["[]", "{}", BOMB], ids=["empty list", "empty mapping", "aliases of aliases"])
def test_structure_is_changed_whatever_a_file_has(text: str) -> None:
    found = {mutations._by_structure(random.Random(number), "stacks.yaml", text.encode()) for number in range(200)}
    assert len(found) > 20


def test_files_are_put_back_behind_a_mutant(ground: fuzz.Ground) -> None:
    changed = mutations.Mutant(project=0, changed={"stacks.yaml": b"x", "buildsys.lock": None}, how="")
    with ground.of(changed) as root:
        assert (root / "stacks.yaml").read_bytes() == b"x"
        assert not (root / "buildsys.lock").exists()
    assert {path: (root / path).read_bytes() for path in PROJECTS[0]} == PROJECTS[0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "traceback"),
        (RecursionError(), "traceback"),
        (MemoryError(), "traceback"),
        (BuildsysError("it has no place"), "no place"),
        (InvalidInput([Diagnostic(message="x", location=Location(file="stacks.yaml", line=900))]), "wrong place"),
        (_Repeated("x", location=AT), "twice"),
        (InvalidInput([Diagnostic(message="x", location=AT)]), "refused"),
    ],
)
def test_each_bad_end_is_a_finding(
    ground: fuzz.Ground, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(fuzz, "usable_plan", fail)
    assert fuzz.look(ground.roots[0])[0] == kind


def test_finding_is_repeated_with_less_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = mutations.Mutant(project=1, changed={"stacks.yaml": b"a\n" * 50 + b"FAULT\n" + b"b\n" * 50}, how="by hand")
    monkeypatch.setattr(fuzz, "mutant", lambda *_: whole)

    def plan(tree: Mapping[str, str]) -> None:
        if "FAULT" in tree["stacks.yaml"]:
            raise ValueError

    monkeypatch.setattr(fuzz, "_plan", lambda workspace, _: plan(workspace.tree()))
    assert fuzz.replay(1, 2, tmp_path) == 1
    assert (tmp_path / "0" / "stacks.yaml").read_bytes() == b"FAULT\n"
    assert "ValueError" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["_by_bytes", "_by_tokens", "_by_structure"])
def test_what_is_repeated_stays_within_what_a_worker_can_hold(way: str) -> None:
    text = b"a" * 1_000_000
    found = [getattr(mutations, way)(random.Random(number), "Dockerfile", text) for number in range(300)]
    assert max(map(len, found)) < 2 * mutations._LONGEST
