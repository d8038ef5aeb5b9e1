"""Results of tests as a person or a program reads them: lines, a JSON document, JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from buildsys.events.events import TestState
from buildsys.report.console import Screen
from buildsys.report.text import clean, format_count

if TYPE_CHECKING:
    from buildsys.image_tests.container import TestResult
    from buildsys.image_tests.suite import ImageResult

_WORDS = {TestState.PASSED: ("ok", "good"), TestState.SKIPPED: ("skip", "bold"), TestState.FAILED: ("fail", "bad")}
_LINES = 12
_INDENT = " " * 8
# Of https://www.w3.org/TR/xml/#charsets, which no escape lets into a document.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def show_result(result: ImageResult, screen: Screen) -> None:
    """Write an image with its digest, and each of its tests in one line, with the last output of those that failed."""
    screen.line(f"{screen.styled(result.image.target, 'bold')}  {result.image.reference}")
    if not result.results:
        screen.line("  no layer of it declares a test")
    for each in result.results:
        word, style = _WORDS[each.state]
        known = "  (remembered)" if each.remembered else ""
        screen.line(f"  {screen.styled(f'{word:<4}', style)}  {each.test.layer}  {clean(each.test.title)}{known}")
        if each.problem:
            screen.line(f"{_INDENT}{clean(each.problem)}")
        if each.state is TestState.FAILED:
            for line in each.output.splitlines()[-_LINES:]:
                screen.line(f"{_INDENT}| {clean(line)}")


def summary_line(results: Sequence[ImageResult]) -> str:
    """Return how many tests passed, failed and were skipped."""
    counts = _counts(results)
    begin = f"{format_count(counts['tests'], 'test')} of {format_count(len(results), 'image')}"
    known = f" ({counts['remembered']} remembered)" if counts["remembered"] else ""
    words = {"passed": f"{counts['passed']} passed{known}"}
    words |= {name: f"{counts[name]} {name}" for name in ("failed", "skipped")}
    shown = ", ".join(words[name] for name in words if counts[name])
    if counts["passed"] and counts["passed"] == counts["tests"]:
        text = f"{begin}, all passed{known}"
    else:
        text = f"{begin}: {shown}" if shown else begin
    untested = sum(each.state is TestState.UNTESTED for each in results)
    return f"{text}; {format_count(untested, 'image')} without tests" if untested else text


def document(results: Sequence[ImageResult]) -> dict[str, Any]:
    """Return what `test --json` prints."""
    return {
        "images": [
            {
                "name": each.image.target,
                "stack": each.image.stack,
                "platform": each.image.platform,
                "reference": each.image.reference,
                "digest": each.image.digest,
                "tests_digest": each.tests,
                "gpu": each.gpu,
                "state": each.state,
                "tests": [
                    {
                        "layer": test.test.layer,
                        "test": test.test.title,
                        "state": test.state,
                        "remembered": test.remembered,
                        "seconds": round(test.seconds, 2),
                        "problem": test.problem,
                        "output": test.output,
                    }
                    for test in each.results
                ],
            }
            for each in results
        ],
        "summary": _counts(results),
    }


def junit(results: Sequence[ImageResult]) -> str:
    """Return JUnit XML, in the form that Jenkins and GitLab read: a suite for each image, a case for each test."""
    return "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', *_suites(results), ""))


def _suites(results: Sequence[ImageResult]) -> Iterator[str]:
    yield f'<testsuites name="buildsys"{_numbers([test for each in results for test in each.results])}>'
    for each in results:
        yield f'  <testsuite name="{_xml(each.image.target)}"{_numbers(each.results)}>'
        yield "    <properties>"
        yield f'      <property name="reference" value="{_xml(each.image.reference)}"/>'
        yield f'      <property name="digest" value="{_xml(each.image.digest)}"/>'
        yield "    </properties>"
        for test in each.results:
            yield from _case(each.image.target, test)
        yield "  </testsuite>"
    yield "</testsuites>"


def _numbers(tests: Sequence[TestResult]) -> str:
    failed, skipped = (sum(each.state is state for each in tests) for state in (TestState.FAILED, TestState.SKIPPED))
    # What an earlier run executed took no time of this one.
    seconds = sum(each.seconds for each in tests if not each.remembered)
    return f' tests="{len(tests)}" failures="{failed}" skipped="{skipped}" errors="0" time="{seconds:.3f}"'


def _case(target: str, result: TestResult) -> Iterator[str]:
    seconds = 0.0 if result.remembered else result.seconds
    names = f'classname="{_xml(f"{target}.{result.test.layer}")}" name="{_xml(result.test.title)}"'
    begin = f'    <testcase {names} time="{seconds:.3f}"'
    if result.state is TestState.PASSED:
        yield f"{begin}/>"
        return
    yield f"{begin}>"
    message = f'message="{_xml(result.problem)}"'
    if result.state is TestState.SKIPPED:
        yield f"      <skipped {message}/>"
    else:
        yield f"      <failure {message}>{_xml(result.output)}</failure>"
    yield "    </testcase>"


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


def _counts(results: Sequence[ImageResult]) -> dict[str, int]:
    tests = [test for each in results for test in each.results]
    states = (TestState.PASSED, TestState.FAILED, TestState.SKIPPED)
    counts = {str(state): sum(each.state is state for each in tests) for state in states}
    return {"tests": len(tests), **counts, "remembered": sum(each.remembered for each in tests)}
