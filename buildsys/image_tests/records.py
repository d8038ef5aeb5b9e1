"""What is remembered of tests: a document beside the image in its registry, or in `.buildsys/` without one.

A record is of one manifest, one digest of tests, and of whether a GPU was there. Nothing but tests is decided by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from buildsys.errors import InvalidInput
from buildsys.events.events import TestState
from buildsys.foreign import list_of, object_of
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.images import TestedImage
from buildsys.names import STATE_FOLDER
from buildsys.oci.artifacts import ArtifactType, dated, find_artifact, put_artifact
from buildsys.oci.client import ImageRegistry
from buildsys.oci.reference import Reference
from buildsys.project.state import State
from buildsys.values import dataclass

TESTS = ArtifactType(manifest="application/vnd.buildsys.tests.v1", blob="application/vnd.buildsys.tests.v1+json")
RECORDS_FILE = f"{STATE_FOLDER}/tests.json"
_RECORD_FORMAT = 1
# In the state folder; the oldest are forgotten.
_KEPT = 500
_FIELDS = ("layer", "test", "state", "problem")


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """How a test ended, which is called `test`."""

    layer: str
    test: str
    state: str
    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TestRecord:
    """How the tests of an image ended, in their order: `tests` is their digest, `at` in seconds since 1970."""

    __test__ = False
    image: str
    tests: str
    gpu: bool
    at: float
    results: tuple[Remembered, ...]

    @property
    def passed(self) -> bool:
        """Whether every test passed: a skipped one did not."""
        return all(each.state == TestState.PASSED for each in self.results)


class Records(Protocol):
    """Where records are."""

    def find(self, image: TestedImage, tests: str, *, gpu: bool) -> TestRecord | None:
        """Return the record of an image, None if there is none that can be read."""

    def put(self, image: TestedImage, record: TestRecord) -> None:
        """Store a record in the place of an earlier one of the same image, tests and GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryRecords:
    """Records as documents of their images, in the images' repositories; methods raise RegistryProblem."""

    registry: ImageRegistry

    def find(self, image: TestedImage, tests: str, *, gpu: bool) -> TestRecord | None:
        """Return the record of an image."""
        raw = find_artifact(self.registry, location_of(image, tests, gpu=gpu), TESTS, image.digest)
        return None if raw is None else _read(raw, image, tests, gpu=gpu)

    def put(self, image: TestedImage, record: TestRecord) -> None:
        """Store a record, whose subject is the image's manifest."""
        assert image.subject is not None
        location = location_of(image, record.tests, gpu=record.gpu)
        data, written = _json(_document(record)).encode(), dated(record.at)
        put_artifact(self.registry, location, TESTS, data, image.subject, annotations=written)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalRecords:
    """Records in one file of the state folder, which may be lost; methods raise as those of `State` do."""

    state: State

    def find(self, image: TestedImage, tests: str, *, gpu: bool) -> TestRecord | None:
        """Return the record of an image."""
        found = self._all().get(_name(image.digest, tests, gpu=gpu))
        return None if found is None else _record(found, image, tests, gpu=gpu)

    def put(self, image: TestedImage, record: TestRecord) -> None:
        """Store a record, and forget the oldest of very many."""
        name = _name(image.digest, record.tests, gpu=record.gpu)
        with self.state.locked():
            found = {key: each for key, each in self._all().items() if key != name}
            kept = [*found.items(), (name, _document(record))][-_KEPT:]
            self.state.write(RECORDS_FILE, f"{_json({'version': _RECORD_FORMAT, 'records': dict(kept)})}\n".encode())

    def _all(self) -> dict[str, Any]:
        """Return the documents of all records by name, the oldest first; a file that cannot be read has none."""
        with contextlib.suppress(ValueError, InvalidInput):
            value = object_of(self.state.read(RECORDS_FILE) or b"{}")
            found = value.get("records")
            if value.get("version") == _RECORD_FORMAT and isinstance(found, dict):
                return {name: each for name, each in found.items() if isinstance(each, dict)}
        return {}


def record_of(image: TestedImage, tests: str, *, gpu: bool, at: float, results: Sequence[TestResult]) -> TestRecord:
    """Return the record of results; output of tests is not kept, since it may be anything."""
    kept = (
        Remembered(
            layer=each.test.layer,
            test=each.test.title,
            state=each.state,
            problem=each.problem,
            seconds=round(each.seconds, 2),
        )
        for each in results
    )
    return TestRecord(image=image.digest, tests=tests, gpu=gpu, at=at, results=tuple(kept))


def tests_tag(image: str, tests: str, *, gpu: bool) -> str:
    """Return the tag of the record of an image, by its digest and that of its tests."""
    return f"tests-{_name(image, tests, gpu=gpu)}"


def _name(image: str, tests: str, *, gpu: bool) -> str:
    return hashlib.sha256(f"{image} {tests} {'gpu' if gpu else 'no gpu'}".encode()).hexdigest()


def location_of(image: TestedImage, tests: str, *, gpu: bool) -> Reference:
    """Return where the record of a published image is."""
    return Reference.parse(image.reference).with_tag(tests_tag(image.digest, tests, gpu=gpu))


def _document(record: TestRecord) -> dict[str, Any]:
    results = [{**{name: getattr(each, name) for name in _FIELDS}, "seconds": each.seconds} for each in record.results]
    return {
        "version": _RECORD_FORMAT,
        "image": record.image,
        "tests": record.tests,
        "gpu": record.gpu,
        "at": round(record.at),
        "results": results,
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _read(raw: bytes, image: TestedImage, tests: str, *, gpu: bool) -> TestRecord | None:
    try:
        return _record(object_of(raw), image, tests, gpu=gpu)
    except ValueError:
        return None


def _record(value: dict[str, Any], image: TestedImage, tests: str, *, gpu: bool) -> TestRecord | None:
    """Return the record in a document, None if it is of another format, image, tests or GPU."""
    expected = {"version": _RECORD_FORMAT, "image": image.digest, "tests": tests, "gpu": gpu}
    try:
        results, at = list_of(value, "results", dict), value.get("at")
    except ValueError:
        return None
    if any(value.get(name) != each for name, each in expected.items()) or not isinstance(at, int | float):
        return None
    found = []
    for each in results:
        texts = {name: text for name in _FIELDS if isinstance(text := each.get(name), str)}
        if len(texts) < len(_FIELDS) or not isinstance(seconds := each.get("seconds"), int | float):
            return None
        found.append(Remembered(**texts, seconds=float(seconds)))
    return TestRecord(image=image.digest, tests=tests, gpu=gpu, at=float(at), results=tuple(found))
