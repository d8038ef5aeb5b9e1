"""What recorded bakes amount to; each recording is the whole rawjson of one real bake (buildx 0.29, BuildKit 0.25)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from buildsys.buildkit.diagnosis import failure_of, is_transient
from buildsys.buildkit.failure import FailureKind
from buildsys.buildkit.progress import StepKind, parse_line
from buildsys.buildkit.vertices import Snapshot, Steps, executed_runs, exported

RECORDINGS = Path(__file__).parents[1] / "recordings"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    name: str
    kind: FailureKind
    transient: bool = False
    target: str = ""
    file: str = ""
    line: int = 0


CASES = (
    Case(name="cache-export-refused", kind=FailureKind.CACHE, transient=True),
    Case(name="checksum-wrong", kind=FailureKind.CHECKSUM),
    Case(name="dockerfile-invalid", kind=FailureKind.INVALID, file="Dockerfile", line=2),
    Case(name="failing-parent", kind=FailureKind.COMMAND, target="bad", file="Dockerfile", line=4),
    Case(name="failing-run", kind=FailureKind.COMMAND, target="bad", file="Dockerfile", line=4),
    Case(name="file-missing", kind=FailureKind.INVALID, file="Dockerfile", line=2),
    Case(name="parent-missing", kind=FailureKind.RESOLVE, file="Dockerfile", line=1),
    Case(name="parent-registry-down", kind=FailureKind.RESOLVE, transient=True, file="Dockerfile", line=1),
    Case(name="push-refused", kind=FailureKind.PUSH, transient=True),
    Case(name="target-unknown", kind=FailureKind.INVALID),
)


def snapshot(name: str) -> Snapshot:
    steps = Steps()
    for line in (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        steps.add(parse_line(line))
    return steps.snapshot()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failure_is_reported_by_kind_location_and_whether_to_retry(case: Case) -> None:
    failure = failure_of(snapshot(case.name), 1)
    assert failure is not None
    found = (failure.kind, failure.target, failure.file, failure.line, is_transient(failure))
    assert found == (case.kind, case.target, case.file, case.line, case.transient)


def test_output_of_a_failing_run_is_that_of_its_command() -> None:
    failure = failure_of(snapshot("failing-run"), 1)
    assert failure is not None
    assert failure.last_words[-1] == "error: header missing.h not found"
    assert failure.status == 3
    assert failure.command.startswith("for i in $(seq 1 30)")


def test_wrong_checksum_names_both_sums_and_the_address() -> None:
    failure = failure_of(snapshot("checksum-wrong"), 1)
    assert failure is not None
    assert failure.checksum is not None
    assert failure.checksum.url == "http://127.0.0.1:8099/hello.txt"
    assert failure.checksum.expected == f"sha256:{'a' * 64}"
    assert failure.checksum.found.startswith("sha256:5891b5b5")


def test_step_that_two_targets_share_counts_once() -> None:
    found = snapshot("shared-steps")
    assert len(executed_runs(found)) == 2


def test_cached_bake_executes_no_run_and_still_reports_digests() -> None:
    found = snapshot("all-cached")
    assert executed_runs(found) == ()
    assert [each.target for each in exported(found)] == ["alpha", "beta"]
    assert all(each.cached for each in found.vertexes if each.kind is StepKind.RUN)


def test_unreadable_cache_is_reported_and_not_a_failure() -> None:
    found = snapshot("cache-import-missing")
    assert [each.kind for each in found.vertexes if each.error] == [StepKind.CACHE_IMPORT]
    assert failure_of(found, 0) is None


def test_interrupted_bake_is_neither_success_nor_retry() -> None:
    failure = failure_of(snapshot("failing-run"), 130, interrupted=True)
    assert failure is not None
    assert failure.kind is FailureKind.INTERRUPTED
    assert not is_transient(failure)
