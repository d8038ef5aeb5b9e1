"""The wheel holds the whole package, and what is installed from it runs without the checkout."""

from __future__ import annotations

import os
import shutil
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import buildsys
from tests.project.conftest import ROOT, Run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built out of an sdist, as a release has it."""
    return tmp_path_factory.mktemp("dist")


@pytest.fixture
def built(wheel: Path, repository: Path, run: Run, tools: Path) -> Path:
    """Build it once for the module: hatchling of this environment, no network."""
    if not any(wheel.glob("*.whl")):
        done = run(tools / "python", "-m", "build", "--no-isolation", "--outdir", wheel, cwd=repository)
        assert done.returncode == 0, done.stdout + done.stderr
    [file] = wheel.glob("*.whl")
    return file


@pytest.fixture
def installed(built: Path, run: Run, tools: Path, tmp_path: Path) -> Path:
    """The `buildsys` of an environment that has nothing else but this environment's libraries."""
    folder = tmp_path / "empty"
    venv.create(folder, symlinks=True)
    words = ["-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index", "--no-deps", built]
    done = run(tools / "python", *words)
    assert done.returncode == 0, done.stderr
    # Only what lies in this folder: the link to the checkout, which is a .pth file in it, does not count there.
    [site] = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder / "bin" / "buildsys"


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BUILDSYS"))}


def test_wheel_holds_every_file_of_the_package_and_its_licence(built: Path, repository: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    files = {str(path.relative_to(repository)) for path in repository.glob("buildsys/**/*") if path.is_file()}
    assert "buildsys/py.typed" in files
    assert files - names == set()
    assert {name for name in names if not name.startswith("buildsys/")} == {
        f"buildsys-{buildsys.__version__}.dist-info/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }


def test_installed_command_runs_without_the_checkout(installed: Path, run: Run, tmp_path: Path) -> None:
    python = installed.with_name("python")
    place = run(python, "-c", "import buildsys; print(buildsys.__file__)", cwd=tmp_path, env=clean())
    assert Path(place.stdout.strip()).is_relative_to(installed.parents[1]), place.stdout + place.stderr
    said = run(installed, "--version", cwd=tmp_path, env=clean())
    assert (said.returncode, said.stdout) == (0, f"buildsys {buildsys.__version__}\n")
    for words in (["--help"], ["plan", "--help"], ["schema", "layer"]):
        done = run(installed, *words, cwd=tmp_path, env=clean())
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_installed_command_plans_this_project_to_the_same_bytes(installed: Path, run: Run, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("environments", "layers", "schemas"):
        shutil.copytree(ROOT / name, project / name)
    for name in ("stacks.yaml", "buildsys.lock", "docker-bake.hcl"):
        shutil.copy(ROOT / name, project / name)
    for words in (["plan", "--check"], ["schema", "--check"]):
        done = run(installed, *words, cwd=project, env=clean())
        assert done.returncode == 0, done.stdout + done.stderr
    (project / "docker-bake.hcl").write_text("", encoding="utf-8")
    assert run(installed, "plan", "--check", cwd=project, env=clean()).returncode == 3


def test_version_of_the_metadata_is_the_one_of_the_code(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        metadata = archive.read(f"buildsys-{buildsys.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {buildsys.__version__}\n" in metadata
