"""The patches that break rules of the runner still apply, and the tool that tries them knows a miss from a hit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import mutants as tool

MUTANTS = tool.mutants()
PATCH = """\
Rule: a rule
Tests: tests/one.py tests/two.py

--- a/code.py
+++ b/code.py
@@ -1,3 +1,3 @@
 a
-b
+c
 d
"""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_patch_applies_to_the_code_of_today_in_one_place(mutant: tool.Mutant) -> None:
    text = (tool.ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.apply(text) != text
    compile(mutant.apply(text), mutant.file, "exec")
    assert all((tool.ROOT / test).is_file() for test in mutant.tests)


def test_patches_are_written_for_the_lines_of_today() -> None:
    stale = [
        mutant.name
        for mutant in MUTANTS
        if (tool.PATCHES / f"{mutant.name}.patch").read_text(encoding="utf-8")
        != mutant.patch((tool.ROOT / mutant.file).read_text(encoding="utf-8"))
    ]
    assert stale == [], "run `python tools/mutants.py --refresh`"


def test_rules_of_every_part_of_the_runner_are_broken() -> None:
    counts = Counter(Path(mutant.file).stem for mutant in MUTANTS)
    assert len(MUTANTS) >= 20
    parts = ("publish", "worker", "decision", "scheduler", "store", "index")
    assert {name: counts[name] for name in parts if counts[name] < 3} == {}
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS)


def test_patch_is_read_as_rule_tests_and_edits() -> None:
    found = tool.Mutant.parse("x", PATCH)
    assert (found.rule, found.tests, found.file) == ("a rule", ("tests/one.py", "tests/two.py"), "code.py")
    assert found.edits == (("a\nb\nd\n", "a\nc\nd\n"),)


def test_patch_follows_its_lines_when_others_come_before_them() -> None:
    found = tool.Mutant.parse("x", PATCH)
    text = "first\n\na\nb\nd\n"
    assert found.apply(text) == "first\n\na\nc\nd\n"
    assert tool.Mutant.parse("x", found.patch(text)).apply(text) == found.apply(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a\nb\nd\n", ["@@ -2 +2 @@", "-b", "+c"]), ("b\na\nb\nd\n", ["@@ -2,3 +2,3 @@", " a", "-b", "+c", " d"])],
)
def test_patch_has_only_the_context_that_finds_its_place(text: str, lines: list[str]) -> None:
    found = tool.Mutant.parse("x", PATCH)
    patch = found.patch(text)
    assert patch.splitlines()[5:] == lines
    assert tool.Mutant.parse("x", patch).apply(text) == found.apply(text)


@pytest.mark.parametrize("text", ["a\nx\nd\n", "a\nb\nd\na\nb\nd\n"])
def test_patch_that_fits_nowhere_or_twice_is_stale(text: str) -> None:
    with pytest.raises(tool.Stale):
        tool.Mutant.parse("x", PATCH).apply(text)


@pytest.mark.parametrize(("code", "noticed"), [(0, False), (1, True), (2, False), (4, False)])
def test_only_failed_tests_notice_a_mutant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, noticed: bool
) -> None:
    (tmp_path / "code.py").write_text("a\nb\nd\n", encoding="utf-8")
    seen: list[str] = []

    def run(tree: Path, tests: object) -> tuple[int, str]:
        seen.append((tree / "code.py").read_text(encoding="utf-8"))
        return code, "test_x"

    monkeypatch.setattr(tool, "run_tests", run)
    assert tool.try_mutant(tool.Mutant.parse("x", PATCH), tmp_path).noticed is noticed
    assert seen == ["a\nc\nd\n"]
    assert (tmp_path / "code.py").read_text(encoding="utf-8") == "a\nb\nd\n"


def test_stale_patch_counts_as_missed(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("other\n", encoding="utf-8")
    assert not tool.try_mutant(tool.Mutant.parse("x", PATCH), tmp_path).noticed
