"""How the tests of several images run: without those that passed before, and within the machine's memory."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import field
from typing import Protocol

from buildsys.buildkit.interrupt import Stop
from buildsys.errors import BuildsysError, Unavailable
from buildsys.events.events import ImageTested, TestState
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun, tests_digest
from buildsys.image_tests.images import TestedImage
from buildsys.image_tests.records import Records, TestRecord, record_of
from buildsys.oci.client import in_threads
from buildsys.project.workspace import Workspace
from buildsys.values import dataclass

# Of a test whose layer declares no more, in bytes.
_MEMORY = 512 << 20
# Containers start within each other's seconds; an engine that starts more at a time has no more cores for them.
_MOST_TESTS = 8
_POLL = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageResult:
    """How the tests of an image ended, in their order; `tests` is their digest, `gpu` whether a GPU was there."""

    image: TestedImage
    tests: str
    gpu: bool
    results: tuple[TestResult, ...]

    @property
    def state(self) -> TestState:
        """That of the image: only one whose tests all passed is green, and one without tests is not."""
        found = {each.state for each in self.results} or {TestState.UNTESTED}
        worst = (TestState.FAILED, TestState.SKIPPED, TestState.UNTESTED, TestState.PASSED)
        return next(state for state in worst if state in found)

    def count(self, state: TestState) -> int:
        """Return how many of its tests ended so."""
        return sum(each.state is state for each in self.results)

    def event(self, at: float) -> ImageTested:
        """Return it as an event."""
        return ImageTested(
            at=at,
            target=self.image.target,
            state=self.state,
            reference=self.image.reference,
            passed=self.count(TestState.PASSED),
            remembered=sum(each.remembered for each in self.results),
            failed=self.count(TestState.FAILED),
            skipped=self.count(TestState.SKIPPED),
        )


class ContainerEngine(Protocol):
    """What runs tests; safe to share between threads. `memory` is that of its machine in bytes, 0 if unknown."""

    @property
    def memory(self) -> int:
        """The memory of its machine."""

    def fetch(self, image: TestedImage) -> None:
        """Have an image ready."""

    def without_gpu(self, image: TestedImage) -> str:
        """Return why containers of an image get no GPU, empty if they do."""

    def run(self, image: TestedImage, test: TestRun) -> TestResult:
        """Run a test."""

    def stop(self) -> None:
        """End all tests that run."""


class Room:
    """Lets tests begin while their memory is free: one that needs more than there is runs alone.

    Of tests with a GPU one runs at a time. `memory` is in bytes; 0 is unknown, and takes every test.
    """

    def __init__(self, memory: int) -> None:
        self._memory, self._taken, self._gpu = memory, 0, False
        self._changed = threading.Condition()

    def run(self, test: TestRun, action: Callable[[], TestResult]) -> TestResult:
        """Wait until there is room for a test, and return what the action returns."""
        size = max(test.memory, _MEMORY)
        with self._changed:
            self._changed.wait_for(lambda: self._fits(size, gpu=test.gpu))
            self._taken, self._gpu = self._taken + size, self._gpu or test.gpu
        try:
            return action()
        finally:
            with self._changed:
                self._taken, self._gpu = self._taken - size, self._gpu and not test.gpu
                self._changed.notify_all()

    def _fits(self, size: int, *, gpu: bool) -> bool:
        is_free = not self._memory or not self._taken or self._taken + size <= self._memory
        return is_free and not (gpu and self._gpu)


@dataclass(kw_only=True, slots=True)
class _Suite:
    """The tests of one image, and what is known of them: results by number, and those that still run."""

    image: TestedImage
    runs: tuple[TestRun, ...]
    tests: str
    gpu: bool
    known: dict[int, TestResult]
    running: dict[int, Future[TestResult]] = field(default_factory=dict)

    def take(self, record: TestRecord | None) -> None:
        """Take over the tests that passed in an earlier run."""
        if record is None or len(record.results) != len(self.runs):
            return
        for number, (test, each) in enumerate(zip(self.runs, record.results, strict=True)):
            if each.state == TestState.PASSED:
                state = TestState.PASSED
                self.known[number] = TestResult(test=test, state=state, seconds=each.seconds, remembered=True)

    @property
    def result(self) -> ImageResult:
        """The result, when nothing runs any more; raises what a test raised."""
        found = self.known | {number: each.result() for number, each in self.running.items()}
        results = tuple(found[number] for number in range(len(self.runs)))
        return ImageResult(image=self.image, tests=self.tests, gpu=self.gpu, results=results)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageTester:
    """Runs the tests of images; `find_engine` is called only where a test must run, and raises `Unavailable`.

    `rerun` also runs what passed before. `jobs` is how many tests run at once, None for what suits this machine.
    `note` reports what keeps no test from its result.
    """

    workspace: Workspace
    records: Records
    find_engine: Callable[[], ContainerEngine]
    stop: Stop
    clock: Callable[[], float]
    note: Callable[[str], None]
    rerun: bool = False
    jobs: int | None = None

    def run(self, images: Mapping[str, TestedImage], tests: Sequence[TestRun]) -> Iterator[ImageResult]:
        """Yield the results of images in their order, each when it is complete; after a stop there are no more.

        Raises `Unavailable` for an engine that does not answer, an image that cannot be pulled and a container that
        cannot be started, `InvalidInput` for files of tests, and RegistryProblem.
        """
        suites = deque(in_threads(lambda image: self._suite(image, tests), images.values()))
        # In the same order.
        waiting = deque(each for each in suites if len(each.known) < len(each.runs))
        with ThreadPoolExecutor(self.jobs or min(_MOST_TESTS, os.cpu_count() or 1)) as pool:
            engine = self.find_engine() if waiting else None
            room = Room(engine.memory if engine else 0)
            try:
                # The next image is pulled while tests run in those before it.
                while suites and not self.stop.requested:
                    if waiting and engine:
                        self._start(waiting.popleft(), engine, room, pool)
                    while suites and suites[0] is not next(iter(waiting), None):
                        if not self._has_ended(suites[0], poll=not waiting):
                            break
                        yield self._ended(suites.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                if engine and suites:
                    engine.stop()

    def _suite(self, image: TestedImage, tests: Sequence[TestRun]) -> _Suite:
        runs = tuple(each for each in tests if each.target == image.target)
        digest = tests_digest(self.workspace, runs)
        # With a GPU: where that was green, this machine needs none.
        gpu = any(each.gpu for each in runs)
        suite = _Suite(image=image, runs=runs, tests=digest, gpu=gpu, known={})
        record = self._record(suite) if runs else None
        if record is not None and (record.passed or not gpu):
            suite.take(record)
        return suite

    def _record(self, suite: _Suite) -> TestRecord | None:
        return None if self.rerun else self.records.find(suite.image, suite.tests, gpu=suite.gpu)

    def _start(self, suite: _Suite, engine: ContainerEngine, room: Room, pool: ThreadPoolExecutor) -> None:
        """Start the tests of an image that are not known, after it was pulled if need be."""
        image, why = suite.image, ""
        engine.fetch(image)
        if suite.gpu:
            why = engine.without_gpu(image)
            suite.gpu = not why
            suite.take(self._record(suite))
        for number, test in enumerate(suite.runs):
            if number in suite.known:
                continue
            if test.gpu and why:
                state = TestState.SKIPPED
                suite.known[number] = TestResult(test=test, state=state, problem=f"no GPU: {why}")
                continue
            suite.running[number] = pool.submit(self._run, engine, room, image, test)

    def _run(self, engine: ContainerEngine, room: Room, image: TestedImage, test: TestRun) -> TestResult:
        def run() -> TestResult:
            if self.stop.requested:
                raise Unavailable("the tests were stopped")
            return engine.run(image, test)

        return room.run(test, run)

    def _has_ended(self, suite: _Suite, *, poll: bool) -> bool:
        """Whether no test of an image runs any more; where nothing else is to be done, that is waited for."""
        while not self.stop.requested:
            ended = not wait(suite.running.values(), timeout=_POLL if poll else 0).not_done
            if ended or not poll:
                # What a signal has ended too is no result.
                return ended and not self.stop.requested
        return False

    def _ended(self, suite: _Suite) -> ImageResult:
        result = suite.result
        # What was edited meanwhile is of no digest.
        if suite.running and tests_digest(self.workspace, suite.runs) == suite.tests:
            record = record_of(suite.image, suite.tests, gpu=suite.gpu, at=self.clock(), results=result.results)
            try:
                self.records.put(suite.image, record)
            except BuildsysError as error:
                self.note(f"the results of `{suite.image.target}` are not remembered: {error}")
        return result
