"""One bake of a run, with a builder that is scripted: what is retried, for which targets, and how each ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.bake.targets import Publication
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.invocation import BakeCall
from buildsys.events.events import Event, Retried
from buildsys.oci.http import ServerError, UnexpectedAnswer
from buildsys.run.executor import TargetOutcome
from buildsys.run.worker import BakeWorker, matching
from tests.support.builder import BROKEN_CONNECTION, FAILING_RUN, Ending, FakeBuilder, PatientStop
from tests.support.world import World

GRAPH = """
a:
b:
c: a
one = a b c
"""
INVALID = Failure(kind=FailureKind.INVALID, message="failed to parse the definition")
INTERRUPTED = Failure(kind=FailureKind.INTERRUPTED, message="interrupted")
LOST_CACHE = Failure(kind=FailureKind.UNKNOWN, message="failed to load cache key: blob unknown to registry: not found")
REFUSED = Failure(kind=FailureKind.PUSH, message="failed to push: 403 denied")


class Bench:
    """A worker over a builder, without a registry: targets are built, and pushed if `publish` is given."""

    def __init__(self, root: Path) -> None:
        self.world = World(root, GRAPH)
        self.builder = FakeBuilder()
        self.stop = PatientStop()
        self.events: list[Event] = []
        self.accepted: list[tuple[str, str]] = []
        self.root = root

    def worker(self, **given: object) -> BakeWorker:
        folder = self.root / ".buildsys" / "work"
        folder.mkdir(parents=True, exist_ok=True)
        fields: dict[str, object] = {
            "plan": self.world.plan,
            "builder": self.builder,
            "call": BakeCall(root=self.root),
            "folder": folder,
            "logs": self.root / ".buildsys" / "logs",
            "stop": self.stop,
            "retries": 5,
            "clock": lambda: 5.0,
            "publications": {},
            "accept": self.accept,
            **given,
        }
        return BakeWorker(**fields)  # type: ignore[arg-type]

    def accept(self, target: str, digest: str) -> str:
        self.accepted.append((target, digest))
        return f"r/{target}@{digest}"

    def publish(self) -> dict[str, Publication]:
        """Let the builder push, and return where to."""
        self.builder.push = lambda target: (f"r/{target}:incoming", f"sha256:{target}")
        return {name: Publication(name=f"r/{name}:incoming", annotations={}) for name in self.world.plan.targets}

    def bake(self, *targets: str, fails: dict[str, list[Ending]] | None = None, **given: object) -> dict[str, str]:
        """Bake targets and return how each ended: a reference, or its failure's kind."""
        self.builder.endings = fails or {}
        outcomes = self.worker(**given).bake(targets, {}, self.events.append)
        return {name: str(each.failure.kind) if each.failure else each.reference for name, each in outcomes.items()}

    @property
    def retries(self) -> list[Retried]:
        return [event for event in self.events if isinstance(event, Retried)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def of(target: str, failure: Failure) -> Failure:
    return replace(failure, target=target)


def test_targets_of_one_bake_are_built_together(bench: Bench) -> None:
    assert bench.bake("a", "b") == {"a": "", "b": ""}
    assert bench.builder.baked == [("a", "b")]


def test_transient_failure_is_retried_with_growing_waits(bench: Bench) -> None:
    fails: dict[str, list[Ending]] = {"a": [BROKEN_CONNECTION] * 3}
    assert bench.bake("a", fails=fails) == {"a": ""}
    assert len(bench.builder.baked) == 4
    first, second, third = bench.stop.waits
    assert 1 <= first < second + 1 < third + 2
    assert second >= 2
    assert third >= 4
    assert [(each.target, each.attempt, each.of, each.why) for each in bench.retries] == [
        ("a", attempt, 6, "no active session") for attempt in (2, 3, 4)
    ]


def test_retries_end_and_the_failure_stays(bench: Bench) -> None:
    assert bench.bake("a", fails={"a": [BROKEN_CONNECTION] * 9}, retries=2) == {"a": "transient"}
    assert len(bench.builder.baked) == 3


def test_no_retry_is_no_retry(bench: Bench) -> None:
    assert bench.bake("a", fails={"a": [BROKEN_CONNECTION]}, retries=0) == {"a": "transient"}
    assert (len(bench.builder.baked), bench.stop.waits) == (1, [])


@pytest.mark.parametrize(
    "failure",
    [
        FAILING_RUN,
        INVALID,
        REFUSED,
        Failure(kind=FailureKind.CHECKSUM, message="digest mismatch sha256:1: sha256:2"),
        Failure(kind=FailureKind.RESOLVE, message="docker.io/library/x:1: not found"),
        Failure(kind=FailureKind.UNKNOWN, message="no space left on device"),
    ],
    ids=lambda failure: str(failure.kind),
)
def test_failure_that_the_same_bake_cannot_fix_is_not_retried(bench: Bench, failure: Failure) -> None:
    assert bench.bake("a", fails={"a": [of("a", failure)]}) == {"a": str(failure.kind)}
    assert (len(bench.builder.baked), bench.retries) == (1, [])


def test_failure_of_one_target_is_its_own_and_the_others_are_baked(bench: Bench) -> None:
    found = bench.bake("a", "b", fails={"a": [of("a", FAILING_RUN)]})
    assert found == {"a": "command", "b": ""}
    assert bench.builder.baked == [("a", "b"), ("b",)]


def test_retry_bakes_only_what_is_missing(bench: Bench) -> None:
    publications = bench.publish()
    found = bench.bake("a", "b", fails={"b": [of("b", BROKEN_CONNECTION)]}, publications=publications)
    assert found == {"a": "r/a@sha256:a", "b": "r/b@sha256:b"}
    assert bench.builder.baked == [("a", "b"), ("b",)]
    assert bench.accepted == [("a", "sha256:a"), ("b", "sha256:b")]


def test_failure_that_names_no_target_is_sought_by_baking_each_alone(bench: Bench) -> None:
    endings: dict[str, list[Ending]] = {"a": [FAILING_RUN, FAILING_RUN]}
    assert bench.bake("a", "b", fails=endings) == {"a": "command", "b": ""}
    assert bench.builder.baked == [("a", "b"), ("a",), ("b",)]


def test_failure_of_a_single_target_that_names_another_is_its_own(bench: Bench) -> None:
    outcomes = bench.worker().bake(("a",), {}, bench.events.append)
    assert outcomes["a"].failure is None
    bench.builder.endings = {"a": [of("elsewhere", FAILING_RUN)]}
    failure = bench.worker().bake(("a",), {}, bench.events.append)["a"].failure
    assert failure is not None
    assert failure.target == "a"


def test_invalid_definition_fails_all_of_its_targets_in_one_bake(bench: Bench) -> None:
    assert bench.bake("a", "b", fails={"a": [INVALID]}) == {"a": "invalid", "b": "invalid"}
    assert len(bench.builder.baked) == 1


def test_interrupted_bake_is_not_retried(bench: Bench) -> None:
    def interrupted() -> Failure:
        bench.stop.request()
        return INTERRUPTED

    assert bench.bake("a", "b", fails={"a": [interrupted]}) == {"a": "interrupted", "b": "interrupted"}
    assert (len(bench.builder.baked), bench.retries) == (1, [])


def test_stop_during_a_transient_failure_ends_the_retries(bench: Bench) -> None:
    def broken() -> Failure:
        bench.stop.request()
        return BROKEN_CONNECTION

    assert bench.bake("a", fails={"a": [broken]}) == {"a": "transient"}
    assert len(bench.builder.baked) == 1


def test_stop_during_the_wait_ends_the_retries(bench: Bench) -> None:
    def wait(seconds: float) -> None:
        bench.stop.request()

    bench.stop.wait = wait  # type: ignore[method-assign]
    bench.bake("a", fails={"a": [BROKEN_CONNECTION, BROKEN_CONNECTION, BROKEN_CONNECTION]})
    assert len(bench.builder.baked) == 2


def test_what_was_pushed_before_a_failure_is_accepted(bench: Bench) -> None:
    publications = bench.publish()
    found = bench.bake("a", "b", fails={"b": [of("b", FAILING_RUN)]}, publications=publications)
    assert found == {"a": "r/a@sha256:a", "b": "command"}
    assert bench.builder.baked == [("a", "b")]


def test_bake_that_reports_no_pushed_digest_is_retried_and_then_fails(bench: Bench) -> None:
    publications = bench.publish()
    bench.builder.push = lambda _target: None
    assert bench.bake("a", publications=publications, retries=1) == {"a": "push"}
    assert len(bench.builder.baked) == 2
    assert bench.accepted == []
    assert bench.retries[0].why == "bake succeeded but reported no pushed digest for this target"


def refusing(bench: Bench, *problems: Exception) -> Callable[[str, str], str]:
    waiting = list(problems)

    def accept(target: str, digest: str) -> str:
        if waiting:
            raise waiting.pop(0)
        return bench.accept(target, digest)

    return accept


def test_key_that_the_registry_refuses_for_a_moment_is_retried(bench: Bench) -> None:
    problem = ServerError("registry failed (500)", host="r", status=500, transient=True)
    found = bench.bake("a", publications=bench.publish(), accept=refusing(bench, problem))
    assert found == {"a": "r/a@sha256:a"}
    assert len(bench.builder.baked) == 2


def test_key_that_the_registry_denies_fails_the_target(bench: Bench) -> None:
    problem = UnexpectedAnswer("403 denied", host="r", status=403)
    found = bench.bake("a", publications=bench.publish(), accept=refusing(bench, problem))
    assert found == {"a": "push"}
    assert (len(bench.builder.baked), bench.accepted) == (1, [])


def test_lost_cache_is_left_out_once(bench: Bench) -> None:
    found = bench.bake("a", fails={"a": [of("a", LOST_CACHE)]}, caches=True)
    assert found == {"a": ""}
    assert ["*.cache-from=" in call.overrides for call in bench.builder.calls] == [False, True]


def test_lost_cache_that_is_lost_without_it_too_is_a_failure(bench: Bench) -> None:
    assert bench.bake("a", fails={"a": [of("a", LOST_CACHE)] * 5}, caches=True) == {"a": "unknown"}
    assert len(bench.builder.baked) == 2


def test_without_caches_nothing_is_taken_for_a_lost_one(bench: Bench) -> None:
    assert bench.bake("a", fails={"a": [of("a", LOST_CACHE)]}) == {"a": "unknown"}
    assert len(bench.builder.baked) == 1


def test_what_exists_is_taken_by_reference_and_the_rest_is_linked(bench: Bench) -> None:
    bench.bake("c-with-a", existing={"tools": "r/nodes@sha256:1"})
    text = bench.builder.texts[0]
    assert "docker-image://r/nodes@sha256:1" in text
    assert "target:a" in text
    assert "target:tools" not in text


def test_what_this_run_built_is_taken_by_the_reference_it_got(bench: Bench) -> None:
    bench.worker(existing={"tools": "r/nodes@sha256:1"}).bake(
        ("c-with-a",), {"a": "r/nodes@sha256:2"}, bench.events.append
    )
    assert "docker-image://r/nodes@sha256:2" in bench.builder.texts[0]
    assert "target:a" not in bench.builder.texts[0]


def test_what_this_run_built_takes_the_place_of_what_existed(bench: Bench) -> None:
    worker = bench.worker(existing={"a": "r/nodes@sha256:1"})
    worker.bake(("c-with-a",), {"a": "r/nodes@sha256:2"}, bench.events.append)
    assert "docker-image://r/nodes@sha256:2" in bench.builder.texts[0]
    assert "docker-image://r/nodes@sha256:1" not in bench.builder.texts[0]


def test_what_was_built_without_a_reference_is_linked(bench: Bench) -> None:
    bench.worker().bake(("c-with-a",), {"a": "", "tools": ""}, bench.events.append)
    assert "target:a" in bench.builder.texts[0]


def test_linked_worker_links_to_what_exists(bench: Bench) -> None:
    bench.bake("c-with-a", existing={"tools": "r/nodes@sha256:1", "a": "r/nodes@sha256:2"}, linked=True)
    assert "docker-image://r/nodes" not in bench.builder.texts[0]
    assert "target:a" in bench.builder.texts[0]


def test_no_cache_executes_the_steps_of_the_targets_and_not_of_what_they_link_to(bench: Bench) -> None:
    target = bench.world.target("c")
    bench.bake(target, call=BakeCall(root=bench.root, no_cache=True))
    call = bench.builder.calls[0]
    assert (call.no_cache, call.overrides) == (False, (f"{target}.no-cache=true",))


def test_override_reaches_only_bakes_that_have_its_target() -> None:
    given = ["a.args.X=1", "b.args.X=2", "*.platform=linux/arm64", "c*.args.Y=3"]
    assert matching(given, ["a"]) == ("a.args.X=1", "*.platform=linux/arm64")
    assert matching(given, ["c-with-a"]) == ("*.platform=linux/arm64", "c*.args.Y=3")


def test_base_images_are_fetched_once_before_several_targets_and_not_before_one(bench: Bench) -> None:
    bench.worker().prefetch_base_images(["tools"])
    assert bench.builder.calls == []
    bench.worker(call=BakeCall(root=bench.root, no_cache=True, load=True)).prefetch_base_images(["tools", "a", "b"])
    (call,) = bench.builder.calls
    assert (call.no_cache, call.load, call.overrides) == (False, False, ())
    assert "example.com/linux" in bench.builder.texts[0] or "LINUX" in bench.builder.texts[0].upper()


def test_log_of_the_run_before_is_removed(bench: Bench) -> None:
    logs = bench.root / ".buildsys" / "logs"
    logs.mkdir(parents=True)
    (logs / "a.log").write_text("old", encoding="utf-8")
    bench.bake("a")
    assert not (logs / "a.log").exists()


def test_outcome_counts_the_attempts(bench: Bench) -> None:
    bench.builder.endings = {"a": [BROKEN_CONNECTION]}
    found: TargetOutcome = bench.worker().bake(("a",), {}, bench.events.append)["a"]
    assert found.attempts == 2
