"""What GitHub reads of a command: annotations at a line of a file, and the matrix of a job."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from buildsys.errors import BuildsysError, Location
from buildsys.events.events import FAILED, TestState
from buildsys.events.model import RunModel
from buildsys.report.outcomes import copies_lines, failure_lines
from buildsys.report.text import clean, format_count
from buildsys.texts import shown
from buildsys.values import dataclass

if TYPE_CHECKING:
    # A matrix needs no tests.
    from buildsys.image_tests.suite import ImageResult

# Of one matrix in one run (docs.github.com, "Actions limits").
MOST_JOBS = 256
_MOST_LINES = 12
_LONGEST = 4_000
_KEPT = "\n"
_NOWHERE = Location(file="", line=0, column=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """An error at a place of the project; `file` is relative to its root and empty where none is known."""

    title: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0


def command(found: Annotation, folder: str) -> str:
    """Return an annotation as the line that a runner reads; `folder` is the project's path in the repository.

    The characters that would end a value are escaped as `actions/toolkit` does (packages/core/src/command.ts).
    """
    properties = {
        "file": posixpath.normpath(posixpath.join(folder, found.file)) if found.file else "",
        "line": str(found.line) if found.file and found.line else "",
        "col": str(found.column) if found.file and found.line and found.column else "",
        "title": found.title,
    }
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::error {listed}::{_data(shown(found.message[:_LONGEST], keep=_KEPT))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def of_run(run: RunModel, place: Callable[[str, str, int], tuple[str, int]]) -> Iterator[Annotation]:
    """Yield an annotation for each target of a run that failed, and for each further registry that lacks something.

    `place` returns the file and the line to show for a target and those of its failure, which may be of no file of the
    project.
    """
    for each in run.ended_as(FAILED):
        failure = each.ended.failure if each.ended else None
        if each.failed and each.ended and failure:
            file, line = place(each.name, each.ended.file or failure.file, failure.line)
            lines = [*failure_lines(failure, most=_MOST_LINES)]
            if blocked := run.blocked_by(each.name):
                lines.append(f"blocks {format_count(len(blocked), 'target')}")
            yield Annotation(title=each.title, message="\n".join(lines) or "failed", file=file, line=line)
    for copies in () if run.done and run.done.signal else run.copies:
        if copies.lacking or copies.untagged:
            yield Annotation(title=copies.registry, message="\n".join(copies_lines(copies)))


def of_tests(results: Iterable[ImageResult], masked: Callable[[str], str]) -> Iterator[Annotation]:
    """Yield an annotation for each test that failed, at its declaration."""
    for each in (test for result in results for test in result.results):
        if each.state is TestState.FAILED:
            at, lines = each.test.location or _NOWHERE, each.output.splitlines()[-_MOST_LINES:]
            message = masked("\n".join([f"{each.test.title}: {each.problem}", *map(clean, lines)]))
            title = f"{each.test.stack}: a test of {each.test.layer} failed"
            yield Annotation(title=title, message=message, file=at.file, line=at.line, column=at.column)


def of_error(error: BuildsysError, masked: Callable[[str], str]) -> Iterator[Annotation]:
    """Yield an annotation for each diagnostic of an error."""
    for each in error.diagnostics():
        at = each.location or _NOWHERE
        message = masked("\n".join(filter(None, (each.message, f"hint: {each.hint}" if each.hint else ""))))
        yield Annotation(title="buildsys", message=message, file=at.file, line=at.line, column=at.column)


def matrix(stacks: Sequence[str]) -> str:
    """Return the JSON of a matrix for `fromJSON`, in one line: a job has `name`, and `images` for a command line.

    More images than a matrix may have jobs share jobs. Without images the list `include` is empty, which GitHub refuses
    as a matrix: a condition of the job must ask for it.
    """
    size = -(-len(stacks) // MOST_JOBS) or 1
    jobs = [
        {"name": some[0] if len(some) == 1 else f"{some[0]} and {len(some) - 1} more", "images": " ".join(some)}
        for some in (stacks[first : first + size] for first in range(0, len(stacks), size))
    ]
    return json.dumps({"include": jobs}, separators=(",", ":"))
