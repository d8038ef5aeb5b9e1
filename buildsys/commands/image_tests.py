"""Runs the tests of images: those that the registry has under the present keys, or the engine's own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from buildsys.buildkit.docker import Docker, find_docker
from buildsys.buildkit.images import own_images
from buildsys.buildkit.interrupt import Stop
from buildsys.image_tests.container import Containers
from buildsys.image_tests.declared import declared_tests
from buildsys.image_tests.images import TestedImage, local_images, present_images
from buildsys.image_tests.records import LocalRecords, Records, RegistryRecords
from buildsys.image_tests.suite import ImageResult, ImageTester
from buildsys.plan.plan import Plan
from buildsys.project.state import State
from buildsys.project.workspace import Workspace, named_prefix
from buildsys.run.decision import Selection, selection_of
from buildsys.run.store import open_store
from buildsys.run.variables import check_tag
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TestOptions:
    """What a command line asks for: `local` tests the engine's own images though there is a registry.

    `rerun` also runs what passed before; `jobs` is the number of tests at once, `builder` that of buildx.
    """

    __test__ = False
    local: bool = False
    rerun: bool = False
    jobs: int | None = None
    builder: str | None = None


def run_tests(
    workspace: Workspace,
    plan: Plan,
    targets: tuple[str, ...],
    options: TestOptions,
    environ: Mapping[str, str],
    *,
    stop: Stop,
    note: Callable[[str], None],
) -> Iterator[ImageResult]:
    """Yield the results of the images among the targets, in their order; after a stop there are no more.

    Raises `Unavailable` where an image of the present key is missing, and as `ImageTester.run` does.
    """
    check_tag(environ)
    selection = selection_of(workspace, plan, targets)
    docker: list[Docker] = []

    def find() -> Docker:
        if not docker:
            docker.append(find_docker(options.builder, environ))
        return docker[0]

    with _images(workspace, selection, find, environ, local=options.local) as (images, records):
        tester = ImageTester(
            workspace=workspace,
            records=records,
            find_engine=lambda: Containers(docker=find(), workspace=workspace),
            stop=stop,
            clock=time.time,
            note=note,
            rerun=options.rerun,
            jobs=options.jobs,
        )
        yield from tester.run(images, declared_tests(plan, targets))


@contextlib.contextmanager
def _images(
    workspace: Workspace,
    selection: Selection,
    find: Callable[[], Docker],
    environ: Mapping[str, str],
    *,
    local: bool,
) -> Iterator[tuple[Mapping[str, TestedImage], Records]]:
    """Yield the images to test, and where their results are remembered."""
    if local or named_prefix(workspace, environ) is None:
        yield local_images(find(), selection, environ, own_images), LocalRecords(state=State(workspace.root))
        return
    with open_store(workspace, environ) as store:
        yield present_images(store, selection), RegistryRecords(registry=store.registry)
