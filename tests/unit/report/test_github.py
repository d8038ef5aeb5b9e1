"""What GitHub reads: annotations whose texts end no value and begin no command, and matrices that `fromJSON` takes."""

from __future__ import annotations

import json
import re

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.events.events import BLOCKED, FAILED, MADE, ImagesCopied, RunEnded, TargetEnded, TargetPlanned, TestState
from buildsys.events.model import RunModel, run_model
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun
from buildsys.image_tests.images import TestedImage
from buildsys.image_tests.suite import ImageResult
from buildsys.report.github import Annotation, command, matrix, of_error, of_run, of_tests

# As the runner reads it: https://github.com/actions/runner, ActionCommand.cs.
UNESCAPED = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


def read(line: str) -> tuple[dict[str, str], str]:
    """Return the properties and the message of a command, as the runner reads them."""
    assert "\n" not in line
    assert "\r" not in line
    found = re.fullmatch(r"::error ?([^:]*(?::[^:][^:]*)*?)::(.*)", line)
    assert found, line
    pairs = (each.split("=", 1) for each in found[1].split(",") if each)
    return {name: unescaped(value) for name, value in pairs}, unescaped(found[2])


def unescaped(text: str) -> str:
    return re.sub("%(0D|0A|3A|2C|25)", lambda each: UNESCAPED[each[0]], text)


def test_annotation_is_an_error_at_a_line_of_the_repository() -> None:
    found = Annotation(title="ucx 1.9.0", message="exit code 2", file="layers/ucx/Dockerfile", line=14)
    assert command(found, "images") == "::error file=images/layers/ucx/Dockerfile,line=14,title=ucx 1.9.0::exit code 2"
    assert command(found, ".") == "::error file=layers/ucx/Dockerfile,line=14,title=ucx 1.9.0::exit code 2"
    assert command(Annotation(title="a", message="b"), "images") == "::error title=a::b"


@pytest.mark.parametrize(
    "text",
    ["100 % of it", "a::error file=x::y", "a\n::set-output name=a::b", "a\r\n##[error]b", "a,line=1:2", "%0A%25"],
)
def test_no_text_ends_its_value_or_begins_another_command(text: str) -> None:
    found = Annotation(title=text, message=text, file=f"layers/{text}/Dockerfile", line=3)
    line = command(found, "")
    properties, message = read(line)
    assert properties == {"file": f"layers/{text}/Dockerfile", "line": "3", "title": text}
    assert message == text.replace("\r", "\\r")
    assert len(line.splitlines()) == 1


def failed(kind: FailureKind = FailureKind.COMMAND) -> RunModel:
    failure = Failure(
        kind=kind, message="m", command="make", status=2, last_words=("no rule",), file="Dockerfile", line=4
    )
    return run_model(
        [
            TargetPlanned(at=0, name="node", title="a node", kind="node", action="build"),
            TargetPlanned(at=0, name="img", title="img", kind="image", action="build", needs=("node",)),
            TargetPlanned(at=0, name="other", title="other", kind="node", action="build"),
            TargetEnded(at=1, target="node", outcome=FAILED, failure=failure, file="layers/a/Dockerfile"),
            TargetEnded(at=1, target="img", outcome=BLOCKED, blocked_by="node"),
            TargetEnded(at=1, target="other", outcome=MADE),
        ]
    )


def test_run_has_an_annotation_for_what_failed_and_none_for_what_it_blocks() -> None:
    [found] = of_run(failed(), lambda _, file, line: (file, line))
    assert (found.file, found.line, found.title) == ("layers/a/Dockerfile", 4, "a node")
    assert found.message == "$ make\nno rule\nexit code 2\nblocks 1 target"


def test_run_that_was_stopped_has_no_annotation() -> None:
    assert [*of_run(failed(FailureKind.INTERRUPTED), lambda _, file, line: (file, line))] == []


LACKING = ImagesCopied(at=1, registry="r.example.com/ml", lacking=("one",), why="it did not answer")


def test_registry_that_lacks_images_or_has_old_tags_has_an_annotation() -> None:
    whole = ImagesCopied(at=1, registry="other.example.com/ml", copied=("one",), tags=("other.example.com/ml/one:1",))
    old = ImagesCopied(at=1, registry="old.example.com/ml", untagged=("two",), why="refused")
    found = of_run(run_model([whole, LACKING, old]), lambda _, file, line: (file, line))
    assert [(each.title, each.message, each.file) for each in found] == [
        (
            "r.example.com/ml",
            "r.example.com/ml lacks 1 image (one): it did not answer. The next run copies what is missing",
            "",
        ),
        ("old.example.com/ml", "old.example.com/ml has old tags of two: refused", ""),
    ]


def test_registry_that_lacks_what_a_stopped_run_did_not_copy_has_no_annotation() -> None:
    stopped = run_model([LACKING, RunEnded(at=2, exit_code=130, seconds=1, runs=0, signal=2)])
    assert [*of_run(stopped, lambda _, file, line: (file, line))] == []


def test_error_has_an_annotation_for_each_diagnostic_and_it_is_masked() -> None:
    wrong = [
        Diagnostic(message="a secret", location=Location(file="stacks.yaml", line=3, column=7), hint="remove it"),
        Diagnostic(message="b"),
    ]
    found = [*of_error(InvalidInput(wrong), lambda text: text.replace("secret", "***"))]
    assert [command(each, "") for each in found] == [
        "::error title=buildsys::b",
        "::error file=stacks.yaml,line=3,col=7,title=buildsys::a ***%0Ahint: remove it",
    ]


def test_failed_test_has_an_annotation_at_its_declaration() -> None:
    at = Location(file="layers/a/layer.yaml", line=9, column=5)
    test = TestRun(target="img", stack="img", layer="a", folder="layers/a", run="b", expect=None, location=at)
    image = TestedImage(target="img", stack="img", platform="linux/amd64", reference="img", digest="sha256:1")
    results = (
        TestResult(test=test, state=TestState.PASSED),
        TestResult(test=test, state=TestState.SKIPPED, problem="no GPU"),
        TestResult(test=test, state=TestState.FAILED, problem="ended with 3"),
    )
    [found] = of_tests([ImageResult(image=image, tests="", gpu=False, results=results)], str)
    assert (found.file, found.line, found.column, found.message) == ("layers/a/layer.yaml", 9, 5, "b: ended with 3")


def test_matrix_has_a_job_for_each_image() -> None:
    assert json.loads(matrix(["a", "b"])) == {"include": [{"name": "a", "images": "a"}, {"name": "b", "images": "b"}]}
    assert matrix([]) == '{"include":[]}'


@pytest.mark.parametrize("number", [255, 256, 257, 512, 1000, 10_000])
def test_matrix_has_each_image_once_and_never_more_jobs_than_github_takes(number: int) -> None:
    names = [f"image-{each}" for each in range(number)]
    jobs = json.loads(matrix(names))["include"]
    assert len(jobs) <= 256
    assert [name for job in jobs for name in job["images"].split()] == names
    assert len({job["name"] for job in jobs}) == len(jobs)
