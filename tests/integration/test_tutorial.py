"""The commands of the tutorial that need an engine work as they are written, on the base images of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, buildsys, run
from tests.support.tutorial import script

pytestmark = pytest.mark.engine


def test_first_image_of_the_tutorial_is_baked_run_and_tested(docker: Docker, debian: str, tmp_path: Path) -> None:
    project = tmp_path / "images"
    assert buildsys(tmp_path, "init", project).code == 0
    for path in (os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local", ROOT / "buildsys.settings.yaml"):
        if Path(path).is_file():
            shutil.copy(path, project / Path(path).name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run(project, "sh", "-c", script("sh engine"), seconds=1200, PATH=path)
    assert done.code == 0, done.output
    assert "\nhello 1.0\n" in done.stdout
