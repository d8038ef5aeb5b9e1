"""What `gc` refuses before it asks a registry, and what it says where it cannot ask one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import buildsys, run, small_project


@pytest.mark.parametrize("days", ["0", "-1", "some", "1.5", "99999"])
def test_days_are_a_whole_number(tmp_path: Path, days: str) -> None:
    done = buildsys(small_project(tmp_path), "gc", f"--days={days}")
    assert (done.code, done.stdout) == (2, "")
    assert f"`{days}`" in done.stderr


def test_revision_that_does_not_exist_is_refused_before_the_registry_is_asked(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    assert run(project, "git", "init", "-q").code == 0
    done = buildsys(project, "gc", "--keep-revision", "nope", BUILDSYS_REGISTRY="127.0.0.1:9/x")
    assert done.code == 4
    assert "git has no revision `nope`" in done.stderr


def test_revision_that_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    text = (project / "stacks.yaml").read_text(encoding="utf-8")
    (project / "stacks.yaml").write_text("stacks: {}\n", encoding="utf-8")
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-q", "-m", "one")):
        assert run(project, "git", *who, *words).code == 0
    (project / "stacks.yaml").write_text(text, encoding="utf-8")
    done = buildsys(project, "gc", "--keep-revision", "HEAD", BUILDSYS_REGISTRY="127.0.0.1:9/x")
    assert done.code == 4
    assert "the project of `HEAD` cannot be planned" in done.stderr


def test_without_a_registry_there_is_nothing_to_clean_up(tmp_path: Path) -> None:
    done = buildsys(small_project(tmp_path), "gc")
    assert (done.code, done.stdout) == (5, "")
    assert "no registry is set" in done.stderr


def test_registry_without_an_answer_is_named(tmp_path: Path) -> None:
    done = buildsys(small_project(tmp_path), "gc", "--yes", BUILDSYS_REGISTRY="127.0.0.1:9/x")
    assert (done.code, done.stdout) == (5, "")
    assert "127.0.0.1:9" in done.stderr
