"""The wheel holds the whole package, and what is installed from it runs without the checkout."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import buildsys
from tests.project.conftest import ROOT, Run, clean


def test_wheel_holds_every_file_of_the_package_and_its_licence(built: Path, repository: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    files = {str(path.relative_to(repository)) for path in repository.glob("buildsys/**/*") if path.is_file()}
    assert "buildsys/py.typed" in files
    # The layers that come with buildsys are at the top of the repository.
    shipped = [path for path in (*repository.glob("layers/**/*"), repository / "buildsys.lock") if path.is_file()]
    files |= {f"buildsys/shipped/{path.relative_to(repository)}" for path in shipped}
    assert "buildsys/shipped/layers/openmpi/.dockerignore" in files
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
    for name in ("environments", "files", "layers", "schemas"):
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


def test_installed_command_begins_a_project_with_the_layers_of_the_wheel(
    installed: Path, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    for words in (
        ["init", folder],
        ["-C", folder, "add", "nccl"],
        ["-C", folder, "plan"],
        ["-C", folder, "add", "--update"],
    ):
        done = run(installed, *words, cwd=tmp_path, env=clean())
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("debian-os", "nccl"):
        copied = {path.name: path.read_bytes() for path in (folder / "layers" / name).iterdir() if path.is_file()}
        original = {path.name: path.read_bytes() for path in (ROOT / "layers" / name).iterdir() if path.is_file()}
        assert copied == original
