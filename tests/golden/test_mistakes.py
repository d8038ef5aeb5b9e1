"""What a person reads whose input has an error: each message is kept byte for byte, and its hint fixes the input.

The errors are in `mistakes/*.yaml` (`tests/support/mistakes.py` has the format), what is said of them is in the text
file beside each. After an intended change: `UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden/test_mistakes.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.mistakes import (
    FILES,
    FOLDER,
    Mistake,
    NotMechanical,
    base,
    changed,
    errors,
    files,
    fixed,
    golden,
    mistakes,
    read_golden,
    run,
)

ALL = tuple(mistake for path in FILES for mistake in mistakes(path))
KEPT = {(path.stem, name): text for path in FILES for name, text in read_golden(path).items()}
BASES = sorted({mistake.base for mistake in ALL})
FEWEST, FEWEST_FIXED = 90, 40


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: f"{mistake.area}: {mistake.name}")
def test_error_is_reported_once_with_its_place_and_its_hint_fixes_it(mistake: Mistake, tmp_path: Path) -> None:
    project = base(mistake.base, tmp_path / "project")
    changed(project, mistake.change)
    before = files(project)
    ended = run(project, mistake.words, mistake.variables)
    output = ended.stdout + ended.stderr
    said = errors(ended.stderr)
    if not os.environ.get("UPDATE_GOLDEN"):
        assert output == KEPT.get((mistake.area, mistake.name))
    assert ended.code == mistake.exit, output
    assert "Traceback" not in output
    assert files(project) == before
    assert len(said) == mistake.errors, output
    given = {each.partition("=")[0] for each in mistake.words}
    given |= {*mistake.variables, *mistake.variables.values(), *mistake.change}
    for each in said:
        assert each.message
        assert each.hint, f"no hint: {output}"
        assert each.file or any(f"`{word}`" in each.message for word in given), f"no place: {output}"
    if not mistake.is_fixed:
        return
    try:
        again = fixed(project, mistake, ended)
    except NotMechanical as hint:
        pytest.fail(f"the entry needs a `fix` that does what the hint says: {hint}")
    assert again.code == 0, f"{output}\nits hints do not fix it:\n{again.stderr}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_has_the_errors_of_its_file_in_their_order(path: Path, tmp_path: Path) -> None:
    kept = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        texts = {}
        for number, mistake in enumerate(mistakes(path)):
            project = base(mistake.base, tmp_path / str(number))
            changed(project, mistake.change)
            ended = run(project, mistake.words, mistake.variables)
            texts[mistake.name] = ended.stdout + ended.stderr
        kept.write_text(golden(path, texts), encoding="utf-8")
    names = [mistake.name for mistake in mistakes(path)]
    assert len(set(names)) == len(names)
    assert list(read_golden(path)) == names


@pytest.mark.parametrize("name", BASES)
def test_base_project_has_no_error(name: str, tmp_path: Path) -> None:
    done = run(base(name, tmp_path / "project"), ["plan", "--offline"], {})
    assert done.code == 0, done.stderr


def test_there_are_many_errors_and_most_hints_are_applied() -> None:
    assert len(ALL) >= FEWEST
    assert sum(mistake.is_fixed for mistake in ALL) >= FEWEST_FIXED
    assert sum(mistake.is_fixed and mistake.by_hand is None for mistake in ALL) >= FEWEST_FIXED // 2


def test_no_golden_file_is_left_of_a_file_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}
