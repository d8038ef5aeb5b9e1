"""The `run:` steps of examples/ci/github.yml do what the workflow is for, in order, on an engine and a registry.

`tests/support/github_runner.py` replaces GitHub's runners, and a script replaces `gh`, which talks to GitHub.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
import uuid
import venv
from pathlib import Path
from typing import Any

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, environment, git, run, write
from tests.support.github_runner import Job, Runner
from tests.support.pipelines import EPOCH, EXAMPLES, Checkout, checkout

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.parents]
WORKFLOW = (EXAMPLES / "github.yml").read_text(encoding="utf-8")
REGISTRY = "registry.example.com/ml"
SECRETS = {"REGISTRY_USER": "release", "REGISTRY_PASSWORD": "correct-horse"}
GH = """\
#!/bin/sh
echo "$*" >> "$GH_CALLS"
case "$1 $2" in
"pr comment") for word do last=$word; done; cat "$last" >> "$GH_CALLS" ;;
"pr view") echo MERGED ;;
esac
"""


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """An environment with this environment's libraries and without buildsys, its wheel, and what pins the wheel."""
    folder = tmp_path_factory.mktemp("installation")
    python = ROOT / ".venv" / "bin" / "python"
    done = run(ROOT, python, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", seconds=300)
    assert done.code == 0, done.output
    [wheel] = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", symlinks=True, with_pip=True)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    version = wheel.name.split("-")[1]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return folder / "venv", folder / "dist", f"buildsys=={version} --hash=sha256:{digest}\n"


class Project:
    """A repository with the workflow, and what its runs come to."""

    def __init__(self, folder: Path, registry: str, installation: tuple[Path, Path, str]) -> None:
        venv, wheels, pin = installation
        # pip is to install the wheel, not to find this checkout, whose link is beside the libraries.
        self._environ = environment(
            {
                "PATH": os.pathsep.join([str(folder / "bin"), str(venv / "bin"), os.environ["PATH"]]),
                "PYTHONPATH": "",
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(wheels),
                "PIP_FORCE_REINSTALL": "1",
                "PIP_NO_DEPS": "1",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "GH_CALLS": str(folder / "gh"),
                "GIT_CONFIG_GLOBAL": os.devnull,
                "HOME": str(folder),
            }
        )
        write(folder, "gh", "")
        write(folder, "bin/gh", GH).chmod(0o755)
        self._folder = folder
        text = WORKFLOW.replace(REGISTRY, registry)
        self.files: Checkout = checkout(
            folder, registry, {"ci/requirements.txt": pin, ".github/workflows/images.yml": text}
        )
        self._text = text
        self._runs = 0

    @property
    def calls(self) -> str:
        """What `gh` was called with, and the comments."""
        return (self._folder / "gh").read_text(encoding="utf-8")

    def pull_request(self, origin: str) -> dict[str, Job]:
        """Run the workflow for a pull request of what is committed, from a repository; a fork has no secrets."""
        head = git(self.files.folder, "rev-parse", "HEAD").strip()
        tree = git(self.files.folder, "rev-parse", "HEAD^{tree}").strip()
        merge = git(self.files.folder, "commit-tree", tree, "-p", "HEAD~1", "-p", head, "-m", "merge").strip()
        git(self.files.folder, "push", "--quiet", str(self.files.bare), f"{merge}:refs/pull/1/merge")
        request = {"number": 1, "head": {"repo": {"full_name": origin}}}
        event = {"event_name": "pull_request", "event": {"pull_request": request}}
        return self._run(event, merge, SECRETS if origin == "team/images" else {})

    def push(self, before: str) -> dict[str, Job]:
        """Run the workflow for a push to the main branch."""
        head = git(self.files.folder, "rev-parse", "HEAD").strip()
        return self._run({"event_name": "push", "event": {"before": before}}, head, SECRETS)

    def schedule(self) -> dict[str, Job]:
        """Run the workflow at night."""
        head = git(self.files.folder, "rev-parse", "HEAD").strip()
        return self._run({"event_name": "schedule", "event": {}}, head, SECRETS)

    def _run(self, event: dict[str, Any], commit: str, secrets: dict[str, str]) -> dict[str, Job]:
        self._runs += 1
        runner = Runner(bare=self.files.bare, folder=self._folder / f"run-{self._runs}", environ=self._environ)
        return runner.run(self._text, event, commit, secrets)


@pytest.fixture
def project(docker: Docker, registry: str, tmp_path: Path, installation: tuple[Path, Path, str]) -> Project:
    return Project(tmp_path, f"{registry}/github-{uuid.uuid4().hex[:8]}", installation)


def results(done: dict[str, Job]) -> dict[str, str]:
    return {name: job.result for name, job in done.items() if job.result != "skipped"}


def test_pull_request_from_a_fork_is_baked_and_tested_without_secrets_and_publishes_nothing(project: Project) -> None:
    project.files.edit("layers/conf/conf", "one", "one and more")
    # What it wants to be installed is not what is installed.
    write(project.files.folder, "ci/requirements.txt", "evil==1.0 --hash=sha256:" + "0" * 64 + "\n")
    project.files.commit()
    done = project.pull_request("fork/images")
    assert results(done) == {"affected": "success", "try": "success"}, done["affected"].log + done["try"].log
    assert "rebuilds **2 of 2 images**" in done["affected"].summary
    assert "2 tests of 2 images, all passed" in done["try"].summary
    assert "built 2 images, 3 nodes" in done["try"].summary
    assert project.calls == ""
    assert done["try"].permissions == {"contents": "read"}
    assert [each.logins for each in done.values()] == [[]] * len(done)
    assert [project.files.keys(name) for name in ("img", "other", "nodes")] == [[], [], []]


def test_pull_request_that_breaks_a_layer_is_commented_and_annotated_at_the_line(project: Project) -> None:
    project.files.edit("layers/dist/Dockerfile", "RUN echo fixed >/fixed", "RUN echo broken && exit 3")
    project.files.commit()
    done = project.pull_request("team/images")
    assert results(done) == {"affected": "success", "try": "failure"}, done["affected"].log
    [line] = [line for line in done["try"].log.splitlines() if line.startswith("::error ")]
    assert line.startswith("::error file=layers/dist/Dockerfile,line=4,title=dist::$ echo broken && exit 3%0Abroken%0A")
    assert "`layers/dist/Dockerfile:4`" in done["try"].summary
    assert project.calls.startswith("pr comment 1 --edit-last --create-if-none --body-file ")
    assert "because `layers/dist/Dockerfile changed`." in project.calls


def test_push_publishes_each_image_once_tests_it_and_then_moves_tags(project: Project) -> None:
    done = project.push("0" * 40)
    expected = dict.fromkeys(("affected", "bake", "test", "tags"), "success")
    assert results(done) == expected, "".join(job.log for job in done.values())
    assert done["test"].log.count("1 test of 1 image, all passed") == 2
    assert "RUN step" in done["bake"].log
    assert "0 RUN steps executed" in done["tags"].log
    assert "2 tests passed (2 remembered)" in done["tags"].log
    assert {name: len(job.logins) for name, job in done.items()} == {
        **dict.fromkeys(done, 0),
        **{"bake": 1, "test": 2, "tags": 1},
    }
    before = project.files.tags("img")
    assert [*before] == ["latest"]

    since = git(project.files.folder, "rev-parse", "HEAD").strip()
    project.files.edit("layers/conf/conf", "one", "two")
    project.files.commit()
    done = project.push(since)
    assert results(done) == {"affected": "success", "bake": "success", "test": "failure"}
    assert "::error file=layers/dist/layer.yaml,line=" in done["test"].log
    assert len(project.files.keys("img")) == 2
    assert project.files.tags("img") == before


def test_push_that_affects_nothing_ends_after_its_first_job(project: Project) -> None:
    since = git(project.files.folder, "rev-parse", "HEAD").strip()
    write(project.files.folder, "README.txt", "notes\n")
    project.files.commit()
    done = project.push(since)
    assert results(done) == {"affected": "success"}
    assert done["affected"].outputs == {"matrix": '{"include":[]}'}


def test_schedule_warms_the_registry_and_proposes_newer_packages(project: Project) -> None:
    done = project.schedule()
    assert results(done) == {"warm": "success", "freshness": "success"}, "".join(job.log for job in done.values())
    assert (len(project.files.keys("img")), project.files.tags("img")) == (1, {})
    assert f"dist: {EPOCH}" not in git(project.files.bare, "show", "freshness:buildsys.lock")
    assert "pr create --fill --head freshness" in project.calls
    assert done["warm"].permissions == {"contents": "read"}
    assert done["freshness"].logins == []
