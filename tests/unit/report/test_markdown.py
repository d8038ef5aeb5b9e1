"""Comments and job summaries: what they say, and that no text of a project or a build acts in them."""

from __future__ import annotations

import re
from datetime import date

import pytest

from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.commands.affected import Affected, _affected
from buildsys.commands.plan import chosen_targets
from buildsys.events.events import FAILED, MADE, Event, ImagesCopied, TargetEnded, TargetPlanned, TestState
from buildsys.events.model import run_model
from buildsys.image_tests.container import TestResult
from buildsys.image_tests.declared import TestRun
from buildsys.image_tests.images import TestedImage
from buildsys.image_tests.suite import ImageResult
from buildsys.plan.diff import compare
from buildsys.report.markdown import COMMENT, affected_comment, code, run_summary, summary_of_tests
from buildsys.run.scheduler import Left
from tests.support.keyed import keyed
from tests.support.trees import tree

STACKS = (
    "stacks:\n  one: {layers: [system, fast]}\n  two: {layers: [system]}\n  old: {layers: [system], deprecated: late}\n"
)
RULES = {f"layers/{name}/.dockerignore": "*\n" for name in ("system", "tools", "fast")}


def found(before: dict[str, str], after: dict[str, str]) -> Affected:
    """Return what a change of a project affects, as the command finds it."""
    old, new = keyed({**before, **RULES}), keyed({**after, **RULES})
    chosen, _ = chosen_targets(new[0], (), everything=False, today=date(2026, 11, 30))
    return _affected(new[0], "main", compare(old, new), chosen, note="", named=False)


def test_comment_says_what_is_rebuilt_for_how_long_and_why() -> None:
    before = tree(STACKS)
    after = {**before, "layers/fast/Dockerfile": "# said\n" + before["layers/fast/Dockerfile"]}
    assert affected_comment(found(before, after), Left(seconds=720, whole=True)) == (
        f"{COMMENT}\n"
        "This pull request rebuilds **1 of 3 images**, about 12 min, because `layers/fast/Dockerfile changed`.\n"
        "\n"
        "| image | why |\n"
        "|---|---|\n"
        "| `one` | `layers/fast/Dockerfile changed` |\n"
        "\n"
        "<details><summary>1 node to build</summary>\n"
        "\n"
        "| node | why |\n"
        "|---|---|\n"
        "| `fast 1.0 on tools 1` | `layers/fast/Dockerfile changed` |\n"
        "\n"
        "</details>\n"
    )


def test_comment_names_a_moved_parent_and_what_no_bake_builds() -> None:
    before = tree(STACKS)
    after = {**before, "buildsys.lock": before["buildsys.lock"].replace("1" * 64, "2" * 64)}
    text = affected_comment(found(before, after), None)
    assert "**2 of 3 images**, because `parent linux-1 moved from 11111111 to 22222222`.\n" in text
    assert text.endswith("deprecated or without support: `old`\n")


def test_comment_of_a_new_and_a_removed_image() -> None:
    later = tree(STACKS.replace("one:", "first:"))
    text = affected_comment(found(tree(STACKS), later), None)
    assert "**1 of 3 images**, because `first is new`." in text
    assert text.endswith("no longer declared: `one`\n")


def test_comment_of_an_image_that_only_gains_a_tag() -> None:
    before, after = (STACKS.replace("fast]", f"fast], repository: r, tags: [{tags}]") for tags in ("a", "a, b"))
    text = affected_comment(found(tree(before), tree(after)), None)
    assert text == (
        f"{COMMENT}\nThis pull request rebuilds **none of 3 images**; of 1 image only tags move.\n\n"
        "| image | why |\n|---|---|\n| `one` | `not rebuilt, tags +b` |\n"
    )


def test_comment_of_a_change_that_affects_nothing() -> None:
    assert affected_comment(found(tree(STACKS), tree(STACKS)), None) == (
        f"{COMMENT}\nThis pull request rebuilds **none of 3 images**.\n"
    )


HOSTILE = [
    "a | b",
    "`` ` `x`",
    "a`<img src=x>`b",
    "\\`| @team #1 <!-- x",
    "two\nlines\n# heading",
    "\x1b[31mred",
    "|",
    "a\\|b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_leaves_its_code_span(text: str) -> None:
    """A span ends at the first run of exactly as many backticks as it begins with (CommonMark 0.31, 6.1)."""
    span = code(text)
    ticks = re.match("`+", span)
    assert ticks
    runs = [each.span() for each in re.finditer("`+", span) if len(each[0]) == len(ticks[0])]
    assert runs[0][0] == 0
    assert runs[1][1] == len(span)
    assert len(runs) == 2
    assert "\n" not in span


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_adds_a_cell_or_ends_a_fence(text: str) -> None:
    failure = Failure(kind=FailureKind.COMMAND, message=text, command=text, status=1, last_words=(text, "```", "~~~~"))
    events: list[Event] = [
        TargetPlanned(at=0, name="n", title=text, kind="node", action="build", reason=text),
        TargetPlanned(at=0, name="m", title=text, kind="node", action="build", reason=text),
        TargetEnded(at=1, target="n", outcome=MADE),
        TargetEnded(at=1, target="m", outcome=FAILED, failure=failure),
    ]
    lines = run_summary(run_model(events), text).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [line.count("|") for line in rows] == [4, 4]
    [fence] = [line for line in lines if re.fullmatch("`+text", line)]
    ends = [line for line in lines if set(line) == {"`"} and len(line) >= len(fence) - len("text")]
    assert ends == [fence.removesuffix("text")]


def test_run_summary_has_counts_images_reasons_and_the_output_of_what_failed() -> None:
    failure = Failure(kind=FailureKind.COMMAND, message="m", command="make", status=2, last_words=("no rule",), line=4)
    events: list[Event] = [
        TargetPlanned(
            at=0, name="n", title="a node", kind="node", action="build", reason="layers/n/Dockerfile changed"
        ),
        TargetPlanned(at=0, name="m", title="other", kind="node", action="build"),
        TargetPlanned(at=0, name="i", title="img", kind="image", action="build", needs=("n",)),
        TargetEnded(at=62, target="n", outcome=MADE, started=1, seconds=61),
        TargetEnded(at=62, target="m", outcome=FAILED, failure=failure, file="layers/m/Dockerfile"),
        TargetEnded(at=63, target="i", outcome=MADE, seconds=1, size=12_000_000, tags=("r/img:1",)),
    ]
    assert run_summary(run_model(events), "buildsys bake --push") == (
        "### `buildsys bake --push`\n"
        "\n"
        "**built 1 image, 1 node · failed 1 node · 0 RUN steps executed**\n"
        "\n"
        "failed: **`other`** · `layers/m/Dockerfile:4`\n"
        "\n"
        "```text\n$ make\nno rule\nexit code 2\n```\n"
        "\n"
        "| image |  | time | size | published as |\n"
        "|---|---|---|---|---|\n"
        "| `img` | built | 0:01 | 12 MB | `r/img:1` |\n"
        "\n"
        "<details><summary>1 node built</summary>\n"
        "\n"
        "| node | time | why |\n"
        "|---|---|---|\n"
        "| `a node` | 1:01 | `layers/n/Dockerfile changed` |\n"
        "\n"
        "</details>\n"
        "\n"
    )


def test_run_summary_says_what_further_registries_got_and_lack() -> None:
    events: list[Event] = [
        ImagesCopied(at=1, registry="a.example.com/ml", copied=("one",), tags=("a.example.com/ml/one:1",), mounted=3),
        ImagesCopied(at=1, registry="b.example.com/ml", lacking=("one",), why="`refused` <b>"),
    ]
    assert run_summary(run_model(events), "buildsys bake --push").splitlines()[4:] == [
        "- `copied 1 image to a.example.com/ml: 0 blobs sent, 3 mounted, 1 tag moved`",
        "- ``b.example.com/ml lacks 1 image (one): `refused` <b>. The next run copies what is missing``",
        "",
    ]


def test_summary_of_thousands_of_images_is_as_short_as_github_takes() -> None:
    events: list[Event] = [
        each
        for number in range(5_000)
        for each in (
            TargetPlanned(at=0, name=f"{number}", title="t" * 100, kind="image", action="build", reason="r" * 5_000),
            TargetEnded(at=1, target=f"{number}", outcome=MADE, tags=("r" * 5_000,)),
        )
    ]
    text = run_summary(run_model(events), "bake")
    assert len(text.encode()) < 65_536
    assert "… and 4950 images more" in text


def test_summary_of_tests_has_each_that_failed_with_its_output() -> None:
    test = TestRun(target="img", stack="img", layer="a", folder="layers/a", run="b --version", expect=None)
    image = TestedImage(target="img", stack="img", platform="linux/amd64", reference="img", digest="sha256:1")
    results = (
        TestResult(test=test, state=TestState.PASSED),
        TestResult(test=test, state=TestState.FAILED, problem="ended with 3", output="one\ntwo\n"),
    )
    found = [ImageResult(image=image, tests="", gpu=False, results=results)]
    assert summary_of_tests(found, "buildsys test") == (
        "### `buildsys test`\n\n**2 tests of 1 image: 1 passed, 1 failed**\n\n"
        "failed: **`img`** · `a` · `b --version`\n\n```text\nended with 3\none\ntwo\n```\n\n"
    )
