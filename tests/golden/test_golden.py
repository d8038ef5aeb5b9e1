"""Each folder beside this file is a project; what `plan` makes of it is kept byte for byte.

What it says beside the bake file (warnings on `DAY`, tests of images) is kept in `notes.txt`, where there is any.

After an intended change: `UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden`, and read the difference.
"""

from __future__ import annotations

import io
import os
import re
from datetime import date
from pathlib import Path

import pytest

from buildsys.bake.targets import BAKE_FILE, plan_definition
from buildsys.commands.plan import make_plan
from buildsys.errors import BuildsysError
from buildsys.image_tests.declared import declared_tests
from buildsys.plan.plan import Plan
from buildsys.plan.support import support_warnings
from buildsys.project.workspace import Workspace
from buildsys.report.console import Screen, show_error

DAY = date(2026, 11, 30)
NOTES = "notes.txt"
CASES = sorted(path.name for path in Path(__file__).parent.iterdir() if (path / "project").is_dir())


def outcome(project: Path) -> tuple[str, str]:
    """Return the name of the kept file and its text: the bake file, or the whole error."""
    tree = Workspace(root=project).tree()
    try:
        return BAKE_FILE, plan_definition(make_plan(tree)).to_hcl()
    except BuildsysError as error:
        screen = io.StringIO()
        show_error(error, dict(tree), Screen(screen, {}))
        return "error.txt", screen.getvalue()


def notes(plan: Plan) -> str:
    """Return what a plan says beside its bake file."""
    remarks = [*plan.remarks, *support_warnings(plan, DAY)]
    lines = [f"{each.message}\n  --> {each.location}\n{each.hint}" for each in remarks]
    for test in declared_tests(plan, tuple(each.name for each in plan.stacks)):
        way = f"GET {test.http}" if test.http else test.run
        given = [
            *([f"expect {test.expect}"] if test.expect else ()),
            *([f"within {test.within:g} s"] if test.within else ()),
        ]
        lines.append(f"test {test.stack} {test.layer}: {', '.join([way, *given, *(['gpu'] if test.gpu else ())])}")
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("case", [case for case in CASES if not (Path(__file__).parent / case / "error.txt").exists()])
def test_project_gives_the_kept_notes(case: str) -> None:
    folder = Path(__file__).parent / case
    text, kept = notes(make_plan(Workspace(root=folder / "project").tree())), folder / NOTES
    if os.environ.get("UPDATE_GOLDEN"):
        kept.unlink(missing_ok=True)
        if text:
            kept.write_text(text, encoding="utf-8")
    assert text == (kept.read_text(encoding="utf-8") if kept.exists() else "")


@pytest.mark.parametrize("case", CASES)
def test_project_gives_the_kept_bytes(case: str) -> None:
    folder = Path(__file__).parent / case
    name, text = outcome(folder / "project")
    other = folder / ("error.txt" if name == BAKE_FILE else BAKE_FILE)
    if os.environ.get("UPDATE_GOLDEN"):
        other.unlink(missing_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    assert not other.exists(), f"{case} now ends as {name}:\n{text}"
    assert text == (folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", [each for each in CASES if (Path(__file__).parent / each / "error.txt").exists()])
def test_no_message_repeats_the_place_that_stands_below_it(case: str) -> None:
    text = (Path(__file__).parent / case / "error.txt").read_text(encoding="utf-8")
    found = re.findall(r"^(?:error|warning): (.*)\n  --> (\S+)$", text, re.MULTILINE)
    assert found
    assert [message for message, place in found if place in message] == []


def test_there_are_cases_of_both_kinds() -> None:
    folder = Path(__file__).parent
    assert sum((folder / case / "error.txt").exists() for case in CASES) >= 5
    assert sum((folder / case / BAKE_FILE).exists() for case in CASES) >= 3
