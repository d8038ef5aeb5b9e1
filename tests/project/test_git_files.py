"""Git changes no byte of a file on its way into a work tree, and generated files are marked as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.conftest import Run

GENERATED = (
    "docker-bake.hcl",
    "schemas/layer.schema.json",
    "docs/cli.md",
    "docs/layer-yaml.md",
    "requirements-dev.txt",
    "docs/plan-scale.svg",
)


@pytest.mark.parametrize("settings", [["core.autocrlf=true"], ["core.autocrlf=false", "core.eol=crlf"]], ids=str)
def test_checkout_has_the_bytes_that_were_committed(
    settings: list[str], run: Run, repository: Path, tmp_path: Path
) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    done = run("git", *identity, "commit", "--quiet", "--message", "all", cwd=repository)
    assert done.returncode == 0, done.stderr
    words = [word for each in settings for word in ("-c", each)]
    done = run("git", *words, "clone", "--quiet", repository, tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    files = [path.relative_to(repository) for path in repository.rglob("*") if path.is_file()]
    files = [path for path in files if path.parts[0] != ".git"]
    assert len(files) > 100
    changed = [name for name in files if (repository / name).read_bytes() != (tmp_path / "clone" / name).read_bytes()]
    assert changed == []


@pytest.mark.parametrize("name", GENERATED)
def test_generated_file_is_marked(name: str, run: Run, repository: Path) -> None:
    assert (repository / name).is_file()
    done = run("git", "check-attr", "linguist-generated", "--", name, cwd=repository)
    assert done.stdout == f"{name}: linguist-generated: set\n"
