"""What `doctor` finds on this machine, with its engine and without, and what the command makes of it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from buildsys.buildkit.docker import Docker
from buildsys.commands.doctor import Check, State, judge
from buildsys.commands.plan import write_plan
from buildsys.commands.probe import look
from buildsys.project.workspace import Workspace
from tests.support.commands import Command, program

# Nothing listens on the first port, and nothing may.
NOBODY = "127.0.0.1:1"


def by_name(checks: Sequence[Check]) -> dict[str, Check]:
    return {each.name: each for each in checks}


@contextlib.contextmanager
def registry_that_answers(status: int) -> Iterator[str]:
    """Give the address of a registry on loopback that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parents
def test_engine_that_tests_run_on_has_no_error(docker: Docker, registry: str) -> None:
    found = by_name(judge(look(os.environ, registry=registry)))
    assert {name: each.found for name, each in found.items() if each.state is State.ERROR} == {}
    assert found["engine"].found == docker.engine_version
    assert found["buildx"].found.partition(";")[0] == docker.buildx_version
    assert found["registry"].found == f"`{registry}` is reachable"
    assert "are available" in found["parents"].found
    assert not found["parents"].found.startswith("0 of")


@pytest.mark.engine
def test_engine_and_registry_that_are_down_are_two_errors_with_fixes(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{NOBODY}")
    found = by_name(judge(look(os.environ, registry=f"{NOBODY}/x")))
    assert found["engine"].state is State.ERROR
    assert NOBODY in found["engine"].found
    assert found["registry"].found == f"registry `{NOBODY}` cannot be reached: connection refused"
    assert "disk" not in found


def test_machine_without_docker_is_reported_and_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = by_name(judge(look(os.environ)))
    assert found["docker"].state is State.ERROR
    assert "PATH" in found["docker"].found
    assert found["git"].state is State.WARNING


def test_docker_that_is_another_program_by_that_name_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "docker", "echo podman version 4.3.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(judge(look(os.environ)))
    assert found["docker"].found == "`docker` is `podman version 4.3.1`, which is not Docker"
    assert "buildx" not in found


def test_docker_without_buildx_and_engine_is_two_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = 'case "$1" in --version) echo Docker version 20.10.24+dfsg1, build 2;; *) echo "no $1" >&2; exit 1;; esac'
    program(tmp_path, "docker", answers)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = by_name(judge(look(os.environ)))
    assert found["docker"].found == "20.10.24+dfsg1"
    assert (found["buildx"].state, found["buildx"].found) == (State.ERROR, "docker has no buildx")
    assert found["engine"].found == "no docker engine is reachable: no info"
    assert "builder" not in found


@pytest.mark.parametrize(
    ("status", "state", "words", "fix"),
    [
        (404, "ok", "is reachable", None),
        (401, "warning", "requires credentials, and none are configured", "run `docker login {}`"),
        (403, "warning", "does not allow this", "run `docker login {}`"),
        (503, "error", "failed (503)", "start it, or set `BUILDSYS_REGISTRY` to a different one"),
    ],
)
def test_registry_that_wants_a_login_is_not_mistaken_for_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, state: str, words: str, fix: str | None
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with registry_that_answers(status) as address:
        found = by_name(judge(look(os.environ, registry=f"{address}/team", directory=tmp_path)))["registry"]
    assert (found.state, found.fix) == (state, fix and fix.format(address))
    assert words in found.found


def test_settings_of_docker_that_cannot_be_read_are_reported_and_nothing_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with registry_that_answers(401) as address:
        found = by_name(judge(look(os.environ, registry=f"{address}/team", directory=tmp_path)))["registry"]
    assert found.state is State.ERROR
    assert f"`{tmp_path}/config.json` cannot be read" in found.found


def test_project_that_cannot_be_planned_is_reported_with_the_place_of_its_first_error(project: Path) -> None:
    write_plan(Workspace(root=project), {}, check=False)
    assert by_name(judge(look(os.environ, directory=project)))["bake file"].state is State.OK
    stacks = project / "stacks.yaml"
    stacks.write_text("registry: buildsys\nstacks:\n  mine:\n    layers: [nowhere]\n", encoding="utf-8")
    found = by_name(judge(look(os.environ, directory=project)))
    assert found["project"].state is State.ERROR
    assert found["project"].found.startswith("stacks.yaml:4:")
    assert "nowhere" in found["project"].found
    assert not {"bake file", "parents"} & found.keys()


def test_bake_file_that_is_behind_the_sources_is_a_warning(project: Path) -> None:
    (project / "docker-bake.hcl").write_text("# old\n", encoding="utf-8")
    found = by_name(judge(look(os.environ, directory=project)))["bake file"]
    assert (found.state, found.fix) == (State.WARNING, "run `buildsys plan` and commit the result")


def test_folder_without_project_is_a_warning_with_a_hint(tmp_path: Path) -> None:
    found = by_name(judge(look(os.environ, directory=tmp_path)))["project"]
    assert found.state is State.WARNING
    assert "stacks.yaml" in found.found


def test_command_ends_with_5_and_prints_each_check_as_json(buildsys: Command) -> None:
    done = buildsys("doctor", "--json", "--registry", f"{NOBODY}/x")
    document = json.loads(done.stdout)
    assert (done.code, document["schema_version"], done.stderr) == (5, 1, "")
    registry = next(each for each in document["checks"] if each["name"] == "registry")
    assert registry == {
        "name": "registry",
        "state": "error",
        "found": f"registry `{NOBODY}` cannot be reached: connection refused",
        "fix": "start it, or set `BUILDSYS_REGISTRY` to a different one",
    }


@pytest.mark.engine
@pytest.mark.parents
def test_command_prints_each_check_on_a_line_and_succeeds_with_only_warnings(
    docker: Docker, buildsys: Command, project: Path
) -> None:
    (project / "docker-bake.hcl").write_text("# old\n", encoding="utf-8")
    done = buildsys("-C", project, "doctor")
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"ok       engine       {docker.engine_version}" in lines
    at = lines.index("warning  bake file    `docker-bake.hcl` is not up to date")
    assert lines[at + 1] == "                 fix:  run `buildsys plan` and commit the result"
