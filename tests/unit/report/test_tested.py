"""Results of tests on a screen, as JSON and as JUnit XML: a skipped one is never shown as passed."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest

from buildsys.events.events import TestState
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun
from buildsys.image_tests.images import TestedImage
from buildsys.image_tests.suite import ImageResult
from buildsys.report.console import Screen
from buildsys.report.tested import document, junit, show_result, summary_line

PASSED, FAILED, SKIPPED = TestState.PASSED, TestState.FAILED, TestState.SKIPPED


def one(run: str, state: TestState, problem: str = "", *, remembered: bool = False, output: str = "") -> TestResult:
    test = TestRun(target="one", stack="one", layer="a", folder="", run=run, expect=None)
    return TestResult(test=test, state=state, problem=problem, output=output, seconds=1.5, remembered=remembered)


def image(*results: TestResult) -> ImageResult:
    digest = f"sha256:{'1' * 64}"
    found = TestedImage(
        target="one", stack="one", platform="linux/amd64", reference=f"r.example.com/one@{digest}", digest=digest
    )
    return ImageResult(image=found, tests="sha256:2", gpu=False, results=results)


MIXED = image(
    one("true", PASSED),
    one("known", PASSED, remembered=True),
    one("a <b> & 'c'", FAILED, 'ended with "1"', output="line\x1b[31m\x00<&>\n"),
    one("cuda", SKIPPED, "no GPU: none"),
)


def test_screen_has_the_digest_and_the_state_of_each_test() -> None:
    stream = io.StringIO()
    show_result(MIXED, Screen(stream, {}))
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"one  r.example.com/one@sha256:{'1' * 64}"
    assert lines[1:] == [
        "  ok    a  true",
        "  ok    a  known  (remembered)",
        "  fail  a  a <b> & 'c'",
        '        ended with "1"',
        "        | line<&>",
        "  skip  a  cuda",
        "        no GPU: none",
    ]


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ([MIXED], "4 tests of 1 image: 2 passed (1 remembered), 1 failed, 1 skipped"),
        ([image(one("x", PASSED))], "1 test of 1 image, all passed"),
        ([image(one("x", PASSED, remembered=True))], "1 test of 1 image, all passed (1 remembered)"),
        ([image(one("x", SKIPPED, "no GPU"))], "1 test of 1 image: 1 skipped"),
        ([image(one("x", PASSED)), image()], "1 test of 2 images, all passed; 1 image without tests"),
        ([image()], "0 tests of 1 image; 1 image without tests"),
        ([], "0 tests of 0 images"),
    ],
)
def test_summary_counts_every_state(results: list[ImageResult], line: str) -> None:
    assert summary_line(results) == line


def test_json_has_every_test_with_its_state_and_the_digest_of_the_image() -> None:
    found = json.loads(json.dumps(document([MIXED, image()])))
    assert found["summary"] == {"tests": 4, "passed": 2, "failed": 1, "skipped": 1, "remembered": 1}
    first, second = found["images"]
    assert (first["state"], second["state"]) == ("failed", "untested")
    assert first["digest"] == f"sha256:{'1' * 64}"
    assert [each["state"] for each in first["tests"]] == ["passed", "passed", "failed", "skipped"]


def test_junit_is_xml_with_a_case_for_each_test_whatever_they_print() -> None:
    tree = ElementTree.fromstring(junit([MIXED]))
    assert {name: tree.attrib[name] for name in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "4",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
        "time": "4.500",
    }
    (suite,) = tree
    properties = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert properties["digest"] == f"sha256:{'1' * 64}"
    cases = {
        each.attrib["name"]: [(child.tag, child.text, child.attrib["message"]) for child in each]
        for each in suite.iter("testcase")
    }
    assert cases == {
        "true": [],
        "known": [],
        "a <b> & 'c'": [("failure", "line[31m<&>\n", 'ended with "1"')],
        "cuda": [("skipped", None, "no GPU: none")],
    }
