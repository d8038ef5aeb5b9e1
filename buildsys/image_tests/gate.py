"""What a run that publishes does with tests: they run by digest before public tags move, and can fail an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.errors import Unavailable
from buildsys.events.events import FAILED, TargetEnded, TestState
from buildsys.image_tests.declared import declared_tests
from buildsys.image_tests.images import images_of
from buildsys.image_tests.records import RegistryRecords
from buildsys.image_tests.suite import ContainerEngine, ImageResult, ImageTester
from buildsys.run.publish import Published
from buildsys.run.session import Session
from buildsys.run.store import Store

# Of the output of a test in a failure.
_TAIL = 5


def tested(
    session: Session, store: Store, find_engine: Callable[[], ContainerEngine], published: Published
) -> Published:
    """Return what was published without the images that fail their tests: no image of their stacks gets a tag.

    Tested are all images that were asked for and exist. Each result is an event; where no test can be run, the images
    without a result have failed.
    """
    plan, missing = published.decision.plan, published.missing
    references = {
        name: reference
        for name in published.decision.tags
        if name not in missing and (reference := published.reference(name))
    }
    tester = ImageTester(
        workspace=session.workspace,
        records=RegistryRecords(registry=store.registry),
        find_engine=find_engine,
        stop=session.stop,
        clock=session.context.clock,
        note=lambda text: session.note("tests", text),
    )
    failures: dict[str, Failure] = {}
    left = dict.fromkeys(references)
    try:
        for result in tester.run(images_of(store, plan, references), declared_tests(plan, references)):
            name = result.image.target
            del left[name]
            session.journal.emit(result.event(session.context.clock()))
            if result.state is TestState.FAILED:
                message = "\n".join(_lines(result))
                failures[name] = Failure(kind=FailureKind.TEST, message=message, target=name)
    except Unavailable as error:
        if session.stop.requested:
            left.clear()
        kind, message = FailureKind.TRANSIENT, f"its tests cannot run: {session.explain(error)}"
        failures |= {name: Failure(kind=kind, message=message, target=name) for name in left}
    for name, failure in failures.items():
        session.journal.emit(
            TargetEnded(
                at=session.context.clock(),
                target=name,
                outcome=FAILED,
                reference=references[name],
                failure=failure,
                alone=f"buildsys test {name}",
            )
        )
    stacks = {each.stack for each in plan.stacks if each.name in failures}
    untagged = {each.name: each.name for each in plan.stacks if each.stack in stacks and each.name in references}
    return replace(published, missing={**missing, **untagged}, failures=(*published.failures, *failures.values()))


def _lines(result: ImageResult) -> Iterator[str]:
    """Yield what a person reads of tests that failed."""
    failed = [each for each in result.results if each.state is TestState.FAILED]
    number = f"{len(failed)} of {len(result.results)} tests"
    yield f"{number} failed in {result.image.reference}"
    for each in failed:
        yield f"{each.test.layer}: {each.test.title}: {each.problem}"
        yield from (f"  {line}" for line in each.output.splitlines()[-_TAIL:])
