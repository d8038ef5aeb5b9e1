"""The tests that layers declare, run in the images that have them."""

from __future__ import annotations

from collections.abc import Callable

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.images import local_image, run_container
from buildsys.config import template
from buildsys.errors import Unavailable
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.values import dataclass

TEST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRun:
    """A test to run: `run` by `sh -c` in the image of `target`, the layer's folder `tests/` at `/tests`."""

    __test__ = False
    target: str
    stack: str
    layer: str
    folder: str
    run: str
    expect: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """How a test ended; `problem` is None if it passed."""

    __test__ = False
    test: TestRun
    problem: str | None
    output: str


def declared_tests(plan: Plan, targets: tuple[str, ...]) -> tuple[TestRun, ...]:
    """Return the tests of the stacks among the targets, in layer order; each image runs those of all its layers."""
    return tuple(
        TestRun(
            target=stack.name,
            stack=stack.stack,
            layer=each.name,
            folder=each.recipe.folder,
            run=template.fill(test.run, each.parameters),
            expect=template.fill(test.expect, each.parameters) if test.expect is not None else None,
        )
        for stack in plan.stacks
        if stack.name in targets
        for each in stack.layers
        for test in each.recipe.tests
        if test.when.holds(each.parameters)
    )


def run_tests(
    docker: Docker,
    workspace: Workspace,
    tests: tuple[TestRun, ...],
    images: dict[str, str],
    on_result: Callable[[TestResult], None],
) -> bool:
    """Run the tests in containers, one after the other, and return whether all passed.

    `images` maps target to image. Raises `Unavailable` if an image is not in the engine's store.
    """
    good = True
    for target in sorted({test.target for test in tests}):
        if local_image(docker, images[target]) is None:
            raise Unavailable(f"the engine has no image `{images[target]}`", hint=f"run `buildsys bake {target}` first")
    for test in tests:
        # Tests of a stack itself have no folder.
        folder = workspace.folder(f"{test.folder}/tests") if test.folder else None
        # Docker reads a mount as a line of CSV, in which a name with a comma would be more than a name.
        source = str(folder).replace('"', '""')
        mounts = [f'type=bind,"source={source}",target=/tests,readonly'] if folder else []
        answer = run_container(
            docker, images[test.target], ["-c", test.run], entrypoint="sh", mounts=mounts, seconds=TEST_SECONDS
        )
        output = answer.stdout + answer.stderr
        problem = None
        if answer.exit_code:
            problem = f"ended with {answer.exit_code}"
        elif test.expect is not None and test.expect not in output:
            problem = f"did not print `{test.expect}`"
        good = good and problem is None
        on_result(TestResult(test=test, problem=problem, output=output))
    return good
