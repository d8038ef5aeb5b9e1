"""Records of tests: one is read only if it is of the same image, tests and GPU, and in the known format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildsys.events.events import TestState
from buildsys.image_tests import records
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun
from buildsys.image_tests.images import TestedImage
from buildsys.image_tests.records import RECORDS_FILE, LocalRecords, RegistryRecords, TestRecord, record_of
from buildsys.oci.artifacts import put_artifact
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Reference
from buildsys.project.state import State
from tests.support.image_registry import FakeRegistry

TEST = TestRun(target="one", stack="one", layer="a", folder="", run="true", expect=None)


def image(content: str = "x") -> TestedImage:
    subject = Descriptor.of(content.encode(), OCI_MANIFEST)
    reference = f"r.example.com/ml/one@{subject.digest}"
    return TestedImage(
        target="one",
        stack="one",
        platform="linux/amd64",
        reference=reference,
        digest=subject.digest,
        subject=subject,
    )


def record(of: TestedImage, state: TestState = TestState.PASSED, *, gpu: bool = False) -> TestRecord:
    result = TestResult(test=TEST, state=state, problem="why" if state is TestState.FAILED else "", seconds=1.234)
    return record_of(of, "sha256:tests", gpu=gpu, at=7.0, results=[result])


def test_record_in_a_registry_is_read_as_it_was_written() -> None:
    kept = RegistryRecords(registry=FakeRegistry())
    expected = record(image(), TestState.FAILED)
    kept.put(image(), expected)
    assert kept.find(image(), "sha256:tests", gpu=False) == expected
    assert not expected.passed


def test_record_is_of_one_image_one_digest_of_tests_and_of_a_gpu_or_none(tmp_path: Path) -> None:
    for kept in (RegistryRecords(registry=FakeRegistry()), LocalRecords(state=State(tmp_path))):
        kept.put(image(), record(image()))
        assert kept.find(image(), "sha256:tests", gpu=False) == record(image())
        assert kept.find(image(), "sha256:tests", gpu=True) is None
        assert kept.find(image(), "sha256:others", gpu=False) is None
        assert kept.find(image("y"), "sha256:tests", gpu=False) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"image": "sha256:other"},
        {"tests": "sha256:other"},
        {"gpu": True},
        {"at": "now"},
        {"results": "all"},
        {"results": [{"layer": "a"}]},
        {"results": [{"layer": "a", "test": "true", "state": 5, "problem": "", "seconds": 1}]},
    ],
)
def test_record_of_another_format_is_none(change: dict[str, object]) -> None:
    registry = FakeRegistry()
    kept, of = RegistryRecords(registry=registry), image()
    kept.put(of, record(of))
    (name,) = [target for _, target in registry.manifests_by_name if target.startswith("tests-")]
    blob = next(raw for raw in registry.blobs.values() if raw != b"{}")
    location = Reference.parse(of.reference).with_tag(name)
    assert of.subject is not None
    for raw in (json.dumps({**json.loads(blob), **change}).encode(), blob[:-1], b"[]"):
        put_artifact(registry, location, records.TESTS, raw, of.subject)
        assert kept.find(of, "sha256:tests", gpu=False) is None


def test_local_records_are_limited_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_KEPT", 2)
    kept = LocalRecords(state=State(tmp_path))
    for name in ("x", "y", "x", "z"):
        kept.put(image(name), record(image(name)))
    found = {name: kept.find(image(name), "sha256:tests", gpu=False) for name in "xyz"}
    assert {name for name, each in found.items() if each} == {"x", "z"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 1, "records": []}', '{"version": 2, "records": {}}'])
def test_local_file_that_cannot_be_read_has_no_records_and_is_replaced(tmp_path: Path, text: str) -> None:
    kept = LocalRecords(state=State(tmp_path))
    State(tmp_path).write(RECORDS_FILE, text.encode())
    assert kept.find(image(), "sha256:tests", gpu=False) is None
    kept.put(image(), record(image()))
    assert kept.find(image(), "sha256:tests", gpu=False) == record(image())
