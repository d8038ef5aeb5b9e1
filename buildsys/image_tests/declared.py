"""Which tests an image has, and by what a result of them is known to be of today's tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import field

from buildsys.errors import Location
from buildsys.plan.plan import Plan
from buildsys.project.workspace import Workspace
from buildsys.recipes import template
from buildsys.recipes.recipe import ImageTest
from buildsys.values import dataclass

# Of what runs tests: a change that lets another result come out of the same test gets the next number.
_RUNNER = 1
TEST_SECONDS = 300.0
_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRun:
    """A test to run in the image of `target`, the layer's folder `tests/` at `/tests`.

    `run` is executed by `sh -c`, `http` is a port and a path that are asked for; the other is empty. `within` is how
    long that is repeated while the image's own command runs, in seconds; 0 is a container for this test alone.
    `memory` is what the layer declares for its build, in bytes, `location` where the test is declared.
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
    memory: int = 0
    location: Location | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """What is tested, in one line."""
        return f"GET {self.http}" if self.http else self.run


def declared_tests(plan: Plan, targets: Collection[str]) -> tuple[TestRun, ...]:
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
            memory=each.recipe.weight.memory,
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


def tests_folder(test: TestRun) -> str:
    """Return the folder that a test finds at `/tests`, empty for a test of a stack itself, which has none."""
    return f"{test.folder}/tests" if test.folder else ""


def tests_digest(workspace: Workspace, tests: Sequence[TestRun]) -> str:
    """Return the digest of the tests of an image: what they run and expect, their files, and how they are run.

    Raises `InvalidInput` for files that cannot be read.
    """
    folders = sorted({tests_folder(each) for each in tests} - {""})
    files = workspace.contents(folders)
    value = {
        "runner": [_RUNNER, TEST_SECONDS],
        "tests": [
            [each.layer, tests_folder(each), each.run, each.expect, each.http, each.within, each.gpu] for each in tests
        ],
        "files": {
            folder: {name: [file.content, file.executable] for name, file in sorted(files[folder].items())}
            for folder in folders
        },
    }
    return f"sha256:{hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()}"
