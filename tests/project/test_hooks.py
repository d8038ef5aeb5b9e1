"""The hooks of pre-commit run offline, on all files, with the programs of the development environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.project.conftest import ROOT, Run

# Addresses that lead nowhere: a hook that fetched something would fail.
NOWHERE = "http://127.0.0.1:9"
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)


def hooks(run: Run, tools: Path, folder: Path, *words: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        **OFFLINE,
        "PRE_COMMIT_HOME": str(folder.parent / "pre-commit"),
        "PRE_COMMIT_COLOR": "never",
    }
    environment.pop("PYTHONPATH", None)
    environment.pop("no_proxy", None)
    environment.pop("NO_PROXY", None)
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(tools.parent)
    done = run(tools / "pre-commit", "run", "--all-files", *words, cwd=folder, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_every_hook_passes_on_all_files_and_none_is_skipped(run: Run, tools: Path, repository: Path) -> None:
    code, output = hooks(run, tools, repository)
    assert code == 0, output
    declared = re.findall(
        r"^        name: (.*)$", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(declared) > 10
    passed = re.findall(r"^(.*?)\.{3,}(\w+)$", output, re.MULTILINE)
    assert passed == [(name, "Passed") for name in declared]


def test_hooks_find_what_they_are_for(run: Run, tools: Path, repository: Path) -> None:
    broken = {
        "ruff": ("tools/lock_tools.py", "\nimport re\n"),
        "ruff-format": ("tools/lock_tools.py", "\nX = {  }\n"),
        "codespell": ("CONTRIBUTING.md", "\nTo rec" + "ieve is misspelled often.\n"),
        "layer-schema": ("layers/git/layer.yaml", "\nfeilds: 1\n"),
        "stacks-schema": ("stacks.yaml", "\nfeilds: 1\n"),
        "workflows": (".github/workflows/checks.yml", "\nfeilds: 1\n"),
        "workflow-timeouts": (".github/workflows/checks.yml", "\n  more: {runs-on: x, steps: [{run: x}]}\n"),
        "issue-forms": (".github/ISSUE_TEMPLATE/fault.yml", "\nfeilds: 1\n"),
        "issue-config": (".github/ISSUE_TEMPLATE/config.yml", "\nfeilds: 1\n"),
        "dependabot": (".github/dependabot.yml", "\nfeilds: 1\n"),
        "zizmor": (".github/workflows/checks.yml", "\n      - uses: actions/cache@v5\n"),
        "hadolint": ("layers/openmpi/source.Dockerfile", "\nRUN cd /tmp && sudo make\n"),
        "shellcheck": (".ci/run", '\n[ $1 == "x" ] && rm -rf "$2/"*\necho $unset\n'),
        "generated-plan": ("docker-bake.hcl", "\n"),
        "generated-schemas": ("schemas/layer.schema.json", "\n"),
        "generated-reference": ("docs/cli.md", "\n"),
    }
    for hook, (name, more) in broken.items():
        path = repository / name
        before = path.read_bytes()
        path.write_bytes(before + more.encode())
        code, output = hooks(run, tools, repository, hook)
        path.write_bytes(before)
        assert code == 1, f"{hook}: {output}"
        assert "Failed" in output
