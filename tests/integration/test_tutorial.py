"""The commands of pages that need an engine work as they are written, on the base images of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, buildsys, run
from tests.support.pipelines import own_command
from tests.support.tutorial import Page, script

pytestmark = pytest.mark.engine


def _copy_settings(project: Path) -> None:
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local")
    for path, name in ((overlay, "buildsys.lock.local"), (ROOT / "buildsys.settings.yaml", "buildsys.settings.yaml")):
        if path.is_file():
            shutil.copy(path, project / name)


def test_first_image_of_the_tutorial_is_baked_run_and_tested(docker: Docker, debian: str, tmp_path: Path) -> None:
    project = tmp_path / "images"
    assert buildsys(tmp_path, "init", project).code == 0
    _copy_settings(project)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run(project, "sh", "-c", script("sh engine"), seconds=1200, PATH=path)
    assert done.code == 0, done.output
    assert "\nhello 1.0\n" in done.stdout


def test_images_that_a_change_affects_are_baked_and_tested_as_the_page_of_ci_says(
    docker: Docker, debian: str, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(own_command(tmp_path / "bin")), os.environ["PATH"]])
    identity = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.com"}
    shell = {**identity, **{name.replace("AUTHOR", "COMMITTER"): text for name, text in identity.items()}, "PATH": path}
    page = Page("ci.md")
    done = run(tmp_path, "sh", "-c", page.script("sh"), shell=shell)
    assert done.code == 0, done.output
    project = tmp_path / "images"
    _copy_settings(project)
    done = run(project, "sh", "-c", page.script("sh engine"), seconds=1200, shell=shell)
    assert done.code == 0, done.output
    assert "6 tests of 2 images, all passed" in (project / "summary.md").read_text(encoding="utf-8")
