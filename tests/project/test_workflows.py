"""GitHub reads the workflows as they are meant: two linters find nothing, and each finds something where it should."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.project.conftest import ROOT, Run

WORKFLOWS = ROOT / ".github" / "workflows"
FILES = sorted(WORKFLOWS.glob("*.yml"))
# Once zizmor finds something it ends with a code from 11 to 14, by severity.
FOUND = range(11, 15)


def test_actionlint_finds_nothing(actionlint: list[str | Path], run: Run) -> None:
    done = run(*actionlint, ".github/workflows/*.yml")
    assert done.returncode == 0, done.stdout
    assert f"Checking {len(FILES)} workflow file(s)" in done.stdout


def test_actionlint_finds_an_unknown_runner(actionlint: list[str | Path], run: Run, tmp_path: Path) -> None:
    text = (WORKFLOWS / "checks.yml").read_text(encoding="utf-8")
    (tmp_path / "checks.yml").write_text(text.replace("ubuntu-24.04", "ubuntu-24.40"), encoding="utf-8")
    done = run(*actionlint, "*.yml", cwd=tmp_path)
    assert done.returncode == 1
    assert 'label "ubuntu-24.40" is unknown' in done.stdout


def zizmor(run: Run, tools: Path, folder: Path) -> tuple[int, str]:
    done = run(
        tools / "zizmor",
        *("--offline", "--no-progress", "--persona=pedantic", "--collect=all", "--strict-collection", ".github"),
        cwd=folder,
    )
    return done.returncode, done.stdout + done.stderr


def test_zizmor_finds_nothing(run: Run, tools: Path) -> None:
    code, output = zizmor(run, tools, ROOT)
    assert code == 0, output
    assert all(f"completed .github/workflows/{path.name}" in output for path in FILES)


def test_zizmor_finds_an_action_that_is_not_pinned(run: Run, tools: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    path = tmp_path / ".github/workflows/checks.yml"
    path.write_text(re.sub(r"@[0-9a-f]{40}", "@v7", path.read_text(encoding="utf-8")), encoding="utf-8")
    code, output = zizmor(run, tools, tmp_path)
    assert code in FOUND, output
    assert "unpinned-uses" in output


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_says_which_tag_that_is(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_checkout_keeps_no_credentials(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_one_commit_belongs_to_one_tag() -> None:
    found: dict[str, set[str]] = {}
    for path in FILES:
        for name, pin in re.findall(r"uses: (\S+?)@(.*)", path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(pin)
    assert {name: pins for name, pins in found.items() if len(pins) > 1} == {}
