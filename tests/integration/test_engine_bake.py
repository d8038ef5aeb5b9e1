"""One bake on a real engine: what it makes, how it fails, and that nothing is left of it when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from buildsys.buildkit.diagnosis import is_transient
from buildsys.buildkit.docker import Docker
from buildsys.buildkit.entitlements import check_paths
from buildsys.buildkit.failure import FailureKind
from buildsys.buildkit.images import local_image, run_container
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult, DockerBuilder
from buildsys.buildkit.progress import Status, StepKind, Text
from buildsys.buildkit.vertices import executed_runs
from buildsys.errors import InvalidInput
from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference
from tests.support.commands import ROOT

pytestmark = [pytest.mark.engine, pytest.mark.parents]

BAKE = """
variable "PREFIX" { default = "buildsys-tests" }
variable "PARENT" { default = "" }
variable "MARK" { default = "" }
target "base" {
  context = "base"
  contexts = { parent = "docker-image://${PARENT}" }
  args = { MARK = MARK }
}
"""
# HCL takes several attributes on lines of their own only.
BAKE += "".join(
    f"""
target "{name}" {{
  context = "{name}"
  contexts = {{ base = "target:base" }}
  tags = ["${{PREFIX}}/{name}:t"]
}}
"""
    for name in ("one", "two", "bad", "slow")
)
DOCKERFILES = {
    "base": "FROM parent\nARG MARK\nRUN echo built for $MARK >/built\n",
    "one": "FROM base\nRUN echo one >/one\n",
    "two": "FROM base\nRUN echo two >/two\n",
    "bad": (
        "FROM base\n"
        "RUN echo nothing wrong here\n"
        # Each of the two streams keeps its order, but they may overtake each other.
        "RUN for i in 1 2 3; do echo looking $i >&2; done; \\\n"
        "    echo 'missing.h is nowhere' >&2; exit 7\n"
    ),
    "slow": "FROM base\nRUN while :; do echo waiting; sleep 1; done\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "bake.hcl").write_text(BAKE, encoding="utf-8")
    for name, text in DOCKERFILES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def environment(debian: str) -> dict[str, str]:
    """A mark of its own makes each test's first RUN new, whatever the engine has cached."""
    return {"PARENT": debian, "MARK": uuid4().hex}


def nothing(_: Status | Text) -> None:
    """Take an event and do nothing."""


def call(tree: Path, environment: dict[str, str], *targets: str) -> BakeCall:
    return BakeCall(root=tree, files=("bake.hcl",), targets=targets, environment=environment)


def run_bake(
    docker: Docker,
    call: BakeCall,
    on_event: Callable[[Status | Text], None],
    *,
    log: Path | None = None,
    stop: Stop | None = None,
) -> BakeResult:
    return DockerBuilder(docker=docker, environ=os.environ).bake(call, on_event, log=log, stop=stop or Stop())


def print_bake(docker: Docker, call: BakeCall) -> dict[str, Any]:
    return DockerBuilder(docker=docker, environ=os.environ).print(call)


def test_what_two_targets_share_runs_once_and_each_gets_its_digest(
    docker: Docker, tree: Path, environment: dict[str, str]
) -> None:
    log = tree / "logs" / "bake.jsonl"
    result = run_bake(docker, call(tree, environment, "one", "two"), nothing, log=log)
    assert (result.exit_code, result.failure) == (0, None)
    assert len(executed_runs(result.steps)) == 3
    assert {"one", "two"} <= result.digests.keys()
    assert log.read_bytes().count(b'"vertexes"') > 3
    image = local_image(docker, "buildsys-tests/one:t")
    assert image is not None
    assert image.identity == result.digests["one"]
    assert run_container(docker, "buildsys-tests/one:t", ["cat", "/built", "/one"]).stdout == (
        f"built for {environment['MARK']}\none\n"
    )
    again = run_bake(docker, call(tree, environment, "one", "two"), nothing)
    assert executed_runs(again.steps) == ()
    assert all(each.cached for each in again.steps.vertexes if each.kind is StepKind.RUN)


@pytest.mark.registry
def test_pushed_digests_are_those_that_the_registry_has(
    docker: Docker, tree: Path, environment: dict[str, str], registry: str
) -> None:
    pushed = {**environment, "PREFIX": registry}
    result = run_bake(
        docker,
        BakeCall(root=tree, files=("bake.hcl",), targets=("one", "two"), environment=pushed, push=True),
        nothing,
    )
    assert result.failure is None
    with Registry() as client:
        for name in ("one", "two"):
            reference = f"{registry}/{name}:t"
            found = client.head(Reference.parse(reference))
            assert found is not None
            assert found.digest == result.digests[name] == result.published[reference]
            assert client.verify(Reference.parse(reference)) == ()


def test_failing_run_is_reported_with_its_target_location_and_output(
    docker: Docker, tree: Path, environment: dict[str, str]
) -> None:
    result = run_bake(docker, call(tree, environment, "one", "bad"), nothing)
    failure = result.failure
    assert failure is not None
    assert (failure.kind, failure.target, failure.status) == (FailureKind.COMMAND, "bad", 7)
    assert (failure.file, failure.line) == ("Dockerfile", 3)
    assert failure.last_words[-2:] == ("looking 3", "missing.h is nowhere")
    assert failure.source[0].startswith("RUN for i in 1 2 3")
    assert not is_transient(failure)


@pytest.mark.registry
def test_push_to_a_registry_that_is_down_is_transient(docker: Docker, tree: Path, environment: dict[str, str]) -> None:
    nobody = BakeCall(
        root=tree,
        files=("bake.hcl",),
        targets=("one",),
        environment={**environment, "PREFIX": "127.0.0.1:1/x"},
        push=True,
    )
    failure = run_bake(docker, nobody, nothing).failure
    assert failure is not None
    assert failure.kind is FailureKind.PUSH
    assert is_transient(failure)


def test_request_to_stop_from_another_thread_interrupts_a_running_step(
    docker: Docker, tree: Path, environment: dict[str, str]
) -> None:
    stop = Stop()
    waiting = threading.Event()

    def take(event: Status | Text) -> None:
        if isinstance(event, Status) and any("waiting" in log.text for log in event.logs):
            waiting.set()

    def ask() -> None:
        if waiting.wait(120):
            stop.request()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    result = run_bake(docker, call(tree, environment, "slow"), take, stop=stop)
    assert waiting.is_set(), result.failure
    assert result.failure is not None
    assert result.failure.kind is FailureKind.INTERRUPTED


SCRIPT = """
import os
import signal
import sys
from pathlib import Path
from buildsys.buildkit.docker import find_docker
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, DockerBuilder

# If the tests run in the background of a shell, their children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def take(event):
    for log in getattr(event, "logs", ()):
        print(log.text, end="", flush=True)

call = BakeCall(root=Path(sys.argv[1]), files=("bake.hcl",), targets=("slow",))
builder = DockerBuilder(docker=find_docker(None, os.environ), environ=os.environ)
if sys.argv[2] == "handled":
    with Stop().on_signals() as stop:
        result = builder.bake(call, take, stop=stop)
else:
    result = builder.bake(call, take, stop=Stop())
print(f"ended: {result.failure.kind}", flush=True)
"""


def clients_in(tree: Path) -> list[int]:
    """The processes that work in a folder: a bake runs in its root."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            folder = (process / "cwd").readlink()
        except OSError:
            continue
        if folder == tree:
            found.append(int(process.name))
    return found


def until(condition: object, seconds: float) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(("sent", "how"), [("INT", "handled"), ("TERM", "handled"), ("INT", "plain")])
def test_signal_to_the_process_leaves_no_child_and_is_reported_as_interrupted(
    docker: Docker, tree: Path, environment: dict[str, str], sent: str, how: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tree), how],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert any("waiting" in line for line in child.stdout)
        assert len(clients_in(tree)) >= 1
        child.send_signal(signal.Signals[f"SIG{sent}"])
        rest, _ = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert rest.splitlines()[-1] == "ended: interrupted"
    assert clients_in(tree) == []


def test_bake_whose_caller_is_killed_ends_by_itself(docker: Docker, tree: Path, environment: dict[str, str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tree), "handled"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert any("waiting" in line for line in child.stdout)
    child.kill()
    child.communicate(timeout=60)
    left = clients_in(tree)
    ended = until(lambda: clients_in(tree) == [], 30)
    for process in clients_in(tree):
        os.kill(process, signal.SIGKILL)
    assert ended, f"of {left} {clients_in(tree)} lived on"


def test_definition_is_printed_as_bake_resolves_it_and_stays_in_the_project(
    docker: Docker, tree: Path, environment: dict[str, str]
) -> None:
    definition = print_bake(docker, call(tree, environment, "one"))
    assert definition["target"]["base"]["contexts"]["parent"] == f"docker-image://{environment['PARENT']}"
    assert check_paths(definition, tree) == ()
    outside = BakeCall(
        root=tree,
        files=("bake.hcl",),
        targets=("one",),
        overrides=("one.contexts.secrets=/etc", "one.output=type=local,dest=../out"),
        environment=environment,
    )
    output = [each.message for each in check_paths(print_bake(docker, outside), tree)]
    assert len(output) == 2
    assert all("outside" in message for message in output)


def test_definition_that_bake_refuses_is_invalid_input_with_its_message(
    docker: Docker, tree: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput, match="failed to find target nowhere"):
        print_bake(docker, call(tree, environment, "nowhere"))
