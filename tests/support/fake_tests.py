"""An engine on which tests of images end as a unit test says, without containers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from buildsys.errors import Unavailable
from buildsys.events.events import TestState
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun
from buildsys.image_tests.images import TestedImage


@dataclass
class FakeTestEngine:
    """Lets every test pass but those in `problems`, by their title, where `platform` is given only on that;
    `during` is called while a test runs.

    `ran` has the target and title of each test, `most` how many ran at once at most, for all and those with a GPU.
    """

    problems: dict[str, str] = field(default_factory=dict)
    has_gpu: bool = False
    memory: int = 0
    broken: str = ""
    platform: str = ""
    during: Callable[[TestRun], object] = lambda _test: None
    ran: list[tuple[str, str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    stopped: int = 0
    most: int = 0
    most_gpu: int = 0
    _live: list[TestRun] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, image: TestedImage) -> None:
        if self.broken:
            raise Unavailable(self.broken)
        self.fetched.append(image.reference)

    def without_gpu(self, image: TestedImage) -> str:
        return "" if self.has_gpu else "no device"

    def run(self, image: TestedImage, test: TestRun) -> TestResult:
        with self._lock:
            self.ran.append((image.target, test.title))
            self._live.append(test)
            self.most = max(self.most, len(self._live))
            self.most_gpu = max(self.most_gpu, sum(each.gpu for each in self._live))
        self.during(test)
        with self._lock:
            self._live.remove(test)
        problem = self.problems.get(test.title, "") if self.platform in ("", image.platform) else ""
        state = TestState.FAILED if problem else TestState.PASSED
        return TestResult(test=test, state=state, problem=problem, output=f"output of {test.title}", seconds=1.0)

    def stop(self) -> None:
        self.stopped += 1
