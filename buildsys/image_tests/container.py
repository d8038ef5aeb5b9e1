"""How one test is run: in a container of its own, or beside the image's own command."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import field

from buildsys.buildkit.docker import Answer, Docker, NoAnswer
from buildsys.buildkit.images import (
    NoGpu,
    RunningContainer,
    container_name,
    engine_platform,
    local_image,
    pull_image,
    remove_containers,
    run_container,
    running_container,
)
from buildsys.errors import Unavailable
from buildsys.events.events import TestState
from buildsys.image_tests.declared import TEST_SECONDS, TestRun, tests_folder
from buildsys.image_tests.images import TestedImage
from buildsys.oci.connections import page_of
from buildsys.project.workspace import Workspace
from buildsys.texts import page
from buildsys.values import dataclass

_PAUSE = 0.5
# What the kernel says of a program for another machine, by the words of runc and of shells.
_FOREIGN = "exec format error"


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """How a test ended after `seconds`: `problem` says why it failed or was skipped, and is empty if it passed.

    `remembered`: an earlier run executed it, on the same image.
    """

    __test__ = False
    test: TestRun
    state: TestState
    problem: str = ""
    output: str = ""
    seconds: float = 0.0
    remembered: bool = False


@dataclass(kw_only=True, slots=True)
class Containers:
    """Runs tests in containers of `docker`, as `suite.ContainerEngine` says; safe to share between threads."""

    docker: Docker
    workspace: Workspace
    _live: set[str] = field(default_factory=set)
    _stopped: bool = False

    def run(self, image: TestedImage, test: TestRun) -> TestResult:
        """Run a test; raises `Unavailable` if docker cannot start a container of the image, and after a stop."""
        if self._stopped:
            raise Unavailable("the tests were stopped")
        name, began = container_name(), time.monotonic()
        self._live.add(name)
        try:
            problem, output = (self._repeated if test.within else self._alone)(image, test, name)
            state = TestState.FAILED if problem else TestState.PASSED
            if problem and _FOREIGN in output.lower() and self._is_foreign(image):
                state, problem = TestState.SKIPPED, f"this engine runs no programs for {image.platform}"
        except NoGpu as error:
            state, problem, output = TestState.SKIPPED, f"no GPU: {error}", ""
        finally:
            self._live.discard(name)
        return TestResult(test=test, state=state, problem=problem, output=output, seconds=time.monotonic() - began)

    @property
    def memory(self) -> int:
        """The memory of the engine's machine in bytes, 0 if it is not known."""
        return self.docker.memory

    def fetch(self, image: TestedImage) -> None:
        """Pull an image by its digest unless the engine has it; raises `Unavailable`."""
        if local_image(self.docker, image.reference) is None:
            pull_image(self.docker, image.reference, platform=image.platform)

    def without_gpu(self, image: TestedImage) -> str:
        """Return why containers get no GPU from the engine, empty if they do."""
        try:
            command = ["-c", "true"]
            run_container(self.docker, image.reference, command, entrypoint="sh", platform=image.platform, gpus=True)
        except NoGpu as error:
            return str(error)
        return ""

    def stop(self) -> None:
        """End the containers of all tests that run, and return when they have ended; no other test begins."""
        self._stopped = True
        # Docker may be about to create one.
        while live := sorted(self._live):
            remove_containers(self.docker, live)
            time.sleep(_PAUSE)

    def _is_foreign(self, image: TestedImage) -> bool:
        own = engine_platform(self.docker)
        return bool(own) and own.split("/")[:2] != image.platform.split("/")[:2]

    def _mounts(self, test: TestRun) -> Sequence[str]:
        name = tests_folder(test)
        folder = self.workspace.folder(name) if name else None
        # Docker reads a mount as a line of CSV, in which a name with a comma would be more than a name.
        source = str(folder).replace('"', '""')
        return [f'type=bind,"source={source}",target=/tests,readonly'] if folder else []

    def _alone(self, image: TestedImage, test: TestRun, name: str) -> tuple[str, str]:
        mounts = self._mounts(test)
        return _ended(
            test,
            lambda: run_container(
                self.docker,
                image.reference,
                ["-c", test.run],
                entrypoint="sh",
                mounts=mounts,
                platform=image.platform,
                gpus=test.gpu,
                seconds=TEST_SECONDS,
                name=name,
            ),
        )

    def _repeated(self, image: TestedImage, test: TestRun, name: str) -> tuple[str, str]:
        number = test.http.partition("/")[0]
        if test.http and (expected := page(test.http)):
            return f"`{test.http}` is no page, expected {expected}", ""
        with running_container(
            self.docker,
            image.reference,
            mounts=self._mounts(test),
            port=int(number) if test.http else None,
            platform=image.platform,
            gpus=test.gpu,
            name=name,
        ) as container:
            until = time.monotonic() + test.within
            problem, output = _asked(container, test)
            while problem and time.monotonic() < until and not self._stopped:
                if (code := container.ended()) is not None:
                    problem = f"the image's own command ended with {code}"
                    break
                time.sleep(_PAUSE)
                problem, output = _asked(container, test)
            return problem, output + (container.log() if problem else "")


def _asked(container: RunningContainer, test: TestRun) -> tuple[str, str]:
    """Return what is wrong with one answer of a running container, and the answer."""
    if not test.http:
        return _ended(test, lambda: container.execute(test.run, seconds=TEST_SECONDS))
    port, _, path = test.http.partition("/")
    url = f"http://{container.address(int(port))}/{path}"
    try:
        answer = page_of(url)
    except OSError as error:
        return f"`{url}` does not answer: {error}", ""
    output = answer.body.decode("utf-8", "replace")
    return (f"answered with status {answer.status}" if answer.status >= 400 else _problem(test, 0, output)), output


def _ended(test: TestRun, execute: Callable[[], Answer]) -> tuple[str, str]:
    """Return what is wrong with the end of a command, and its output."""
    try:
        answer = execute()
    except NoAnswer:
        return f"did not end within {TEST_SECONDS:g} s", ""
    output = answer.stdout + answer.stderr
    return _problem(test, answer.exit_code, output), output


def _problem(test: TestRun, code: int, output: str) -> str:
    if code:
        return f"ended with {code}"
    return "" if test.expect is None or test.expect in output else f"did not print `{test.expect}`"
