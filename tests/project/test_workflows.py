"""GitHub and GitLab read the workflows as they are meant: linters find nothing, and each finds something that is wrong.

The workflow of examples/ci is read as one of this project.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.project.conftest import ROOT, Run

WORKFLOWS = ROOT / ".github" / "workflows"
EXAMPLE = ROOT / "examples" / "ci" / "github.yml"
PIPELINE = ROOT / "examples" / "ci" / "gitlab.yml"
FILES = [*sorted(WORKFLOWS.glob("*.yml")), EXAMPLE]
# Once zizmor finds something it ends with a code from 11 to 14, by severity.
FOUND = range(11, 15)


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    """A folder with the workflows of this project and the example."""
    shutil.copytree(ROOT / ".github", tmp_path / "all" / ".github")
    shutil.copy(EXAMPLE, tmp_path / "all" / ".github" / "workflows")
    return tmp_path / "all"


def test_actionlint_finds_nothing(actionlint: list[str | Path], run: Run, workflows: Path) -> None:
    done = run(*actionlint, ".github/workflows/*.yml", cwd=workflows)
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


def test_zizmor_finds_nothing(run: Run, tools: Path, workflows: Path) -> None:
    code, output = zizmor(run, tools, workflows)
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


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["--builtin-schema", "vendor.github-workflows"], EXAMPLE),
        (["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"], PIPELINE),
    ],
    ids=["github", "gitlab"],
)
def test_examples_have_the_schema_of_their_service(
    run: Run, tools: Path, tmp_path: Path, words: list[str], path: Path
) -> None:
    done = run(tools / "check-jsonschema", *words, path)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text(encoding="utf-8").replace("timeout-minutes: 10", "timeout-minutes: [10]"))
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("interruptible: true", "interruptible: perhaps"))
    assert run(tools / "check-jsonschema", *words, wrong).returncode == 1


def test_pull_requests_get_no_secret_and_run_nothing_with_rights() -> None:
    """What docs/ci.md says of forks (docs.github.com, "Keeping your GitHub Actions and workflows secure")."""
    workflow = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"pull_request", "push", "schedule"}
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        text = str(job)
        if name in ("affected", "try"):
            assert "secrets." not in text
            assert "environment" not in job
            assert "--push" not in text
            assert "buildsys warm" not in text
            assert "$TRUSTED:ci/requirements.txt" in text
        else:
            assert (
                "github.event_name == 'push'" in text
                or "'schedule'" in text
                or {"affected", "bake", "test"} & {*([job["needs"]] if isinstance(job["needs"], str) else job["needs"])}
            )
        if "secrets." in text:
            assert job["environment"] == "registry"
    assert workflow["jobs"]["try"]["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["try"]["env"] == {"BUILDSYS_CACHE_WRITE": "0"}


def test_merge_requests_get_no_credentials() -> None:
    pipeline = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))
    assert pipeline["try"]["variables"] == {"BUILDSYS_CACHE_WRITE": "0"}
    for name in ("affected", "try"):
        assert "extends" not in pipeline[name]
        assert not {"REGISTRY_PASSWORD", "PUSH_TOKEN"} & {*re.findall(r"\w+", str(pipeline[name]))}
    for name in ("bake", "test", "tags", "warm", "freshness"):
        assert [each["if"] for each in pipeline[name]["rules"]] in (
            ['$CI_PIPELINE_SOURCE == "push"'],
            ['$CI_PIPELINE_SOURCE == "schedule"'],
        )
        assert pipeline[name].get("tags") == ["release"] or pipeline[name]["extends"] == ".publish"
