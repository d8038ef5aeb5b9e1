"""The tests that layers declare, run in the images that have them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import field

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import NoGpu, RunningContainer, local_image, run_container, running_container
from buildsys.errors import Location, Unavailable
from buildsys.oci.connections import page_of
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.recipes import template
from buildsys.recipes.recipe import ImageTest
from buildsys.texts import page
from buildsys.values import dataclass

TEST_SECONDS = 300.0
_WITHIN, _PAUSE = 60.0, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRun:
    """A test to run in the image of `target`, the layer's folder `tests/` at `/tests`.

    `run` is executed by `sh -c`, `http` is a port and a path that are asked for; the other is empty. `within` is how
    long that is repeated while the image's own command runs, in seconds; 0 is a container for this test alone.
    """

    __test__ = False
    target: str
    stack: str
    layer: str
    folder: str
    run: str
    expect: str | None
    http: str = ""
    within: float = 0.0
    gpu: bool = False
    location: Location | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """What is tested, in one line."""
        return f"GET {self.http}" if self.http else self.run


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """How a test ended: `problem` is None if it passed or was skipped, `skipped` says why it was."""

    __test__ = False
    test: TestRun
    problem: str | None = None
    output: str = ""
    skipped: str = ""


def declared_tests(plan: Plan, targets: tuple[str, ...]) -> tuple[TestRun, ...]:
    """Return the tests of the stacks among the targets, in layer order; each image runs those of all its layers."""
    return tuple(
        TestRun(
            target=stack.name,
            stack=stack.stack,
            layer=each.name,
            folder=each.recipe.folder,
            run=template.fill(test.run or "", each.parameters),
            expect=template.fill(test.expect, each.parameters) if test.expect is not None else None,
            http=template.fill(test.http or "", each.parameters),
            within=_within(test),
            gpu=test.gpu,
            location=test.location,
        )
        for stack in plan.stacks
        if stack.name in targets
        for each in stack.layers
        for test in each.recipe.tests
        if test.when.holds(each.parameters)
    )


def _within(test: ImageTest) -> float:
    if not test.running and test.http is None:
        return 0.0
    return _WITHIN if test.within is None else test.within / 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Containers:
    """Runs tests in containers of `docker`; `images` maps target to image."""

    docker: Docker
    workspace: Workspace
    images: dict[str, str]

    def run(self, tests: Sequence[TestRun]) -> Iterator[TestResult]:
        """Run tests one after the other; raises `Unavailable` if an image is not in the engine's store."""
        for target in sorted({test.target for test in tests}):
            if local_image(self.docker, self.images[target]) is None:
                message = f"the engine has no image `{self.images[target]}`"
                raise Unavailable(message, hint=f"run `buildsys bake {target}` first")
        for test in tests:
            try:
                yield self._repeated(test) if test.within else self._alone(test)
            except NoGpu as error:
                yield TestResult(test=test, skipped=f"no GPU: {error}")

    def _mounts(self, test: TestRun) -> Sequence[str]:
        # Tests of a stack itself have no folder.
        folder = self.workspace.folder(f"{test.folder}/tests") if test.folder else None
        # Docker reads a mount as a line of CSV, in which a name with a comma would be more than a name.
        source = str(folder).replace('"', '""')
        return [f'type=bind,"source={source}",target=/tests,readonly'] if folder else []

    def _alone(self, test: TestRun) -> TestResult:
        answer = run_container(
            self.docker,
            self.images[test.target],
            ["-c", test.run],
            entrypoint="sh",
            mounts=self._mounts(test),
            gpus=test.gpu,
            seconds=TEST_SECONDS,
        )
        output = answer.stdout + answer.stderr
        return TestResult(test=test, problem=_problem(test, answer.exit_code, output), output=output)

    def _repeated(self, test: TestRun) -> TestResult:
        number = test.http.partition("/")[0]
        if test.http and (expected := page(test.http)):
            return TestResult(test=test, problem=f"`{test.http}` is no page, expected {expected}")
        port, until = int(number) if test.http else None, time.monotonic() + test.within
        image, mounts = self.images[test.target], self._mounts(test)
        with running_container(self.docker, image, mounts=mounts, port=port, gpus=test.gpu) as container:
            problem, output = self._asked(container, test)
            while problem is not None and time.monotonic() < until:
                if (code := container.ended()) is not None:
                    problem = f"the image's own command ended with {code}"
                    break
                time.sleep(_PAUSE)
                problem, output = self._asked(container, test)
            if problem is not None:
                output += container.log()
        return TestResult(test=test, problem=problem, output=output)

    def _asked(self, container: RunningContainer, test: TestRun) -> tuple[str | None, str]:
        """Return what is wrong with one answer of a running container, and the answer."""
        if not test.http:
            done = container.execute(test.run, seconds=TEST_SECONDS)
            output = done.stdout + done.stderr
            return _problem(test, done.exit_code, output), output
        port, _, path = test.http.partition("/")
        url = f"http://{container.address(int(port))}/{path}"
        try:
            answer = page_of(url)
        except OSError as error:
            return f"`{url}` does not answer: {error}", ""
        output = answer.body.decode("utf-8", "replace")
        return (f"answered with status {answer.status}" if answer.status >= 400 else _problem(test, 0, output)), output


def _problem(test: TestRun, code: int, output: str) -> str | None:
    if code:
        return f"ended with {code}"
    if test.expect is not None and test.expect not in output:
        return f"did not print `{test.expect}`"
    return None
