"""How a failure is worded: the line of its output that says why."""

from __future__ import annotations

import pytest

from buildsys.buildkit.failure import Checksum, Failure, FailureKind
from buildsys.report.outcomes import deciding_line


def failed(*output: str) -> Failure:
    return Failure(kind=FailureKind.COMMAND, message="process did not complete", last_words=output, status=1)


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            ("checking for rdma/rdma_cma.h... no", "configure: error: rdma/rdma_cma.h not found"),
            "configure: error: rdma/rdma_cma.h not found",
        ),
        (
            (
                "cc -c a.c",
                "a.c:3:10: fatal error: rdma.h: No such file or directory",
                "compilation terminated.",
                "make[2]: *** [Makefile:9: a.o] Error 1",
                "make: *** [all] Error 2",
            ),
            "a.c:3:10: fatal error: rdma.h: No such file or directory",
        ),
        (
            ("a.c:1: error: first", "b.c:2: error: second", "ninja: build stopped: subcommand failed."),
            "a.c:1: error: first",
        ),
        (("Reading package lists...", "E: Unable to locate package git2"), "E: Unable to locate package git2"),
        (("fatal: not a git repository", "cleaning up"), "fatal: not a git repository"),
        (
            ("Traceback (most recent call last):", '  File "x.py", line 1', "ModuleNotFoundError: No module named 'x'"),
            "ModuleNotFoundError: No module named 'x'",
        ),
        (("/bin/sh: 1: cmake: command not found", "gone"), "/bin/sh: 1: cmake: command not found"),
        (("a.o: undefined reference to `f'", "collect2: error: ld returned 1"), "a.o: undefined reference to `f'"),
        # Nothing here begins as an error does: the last line, but not what make says of it.
        (("0 errors so far", "the tests differ", "make: *** [check] Error 1"), "the tests differ"),
        (("make: *** [check] Error 1",), "make: *** [check] Error 1"),
    ],
)
def test_deciding_line_is_the_first_error_and_not_what_follows_from_it(output: tuple[str, ...], line: str) -> None:
    assert deciding_line(failed(*output)) == line


def test_deciding_line_is_found_however_much_was_printed_after_it() -> None:
    assert deciding_line(failed("x.c:1: error: here", *(f"line {number}" for number in range(200)))) == (
        "x.c:1: error: here"
    )


def test_failure_without_output_is_decided_by_its_message() -> None:
    assert deciding_line(failed()) == "process did not complete"
    assert deciding_line(Failure(kind=FailureKind.PUSH, message="failed to push: 403\nmore")) == "failed to push: 403"
    assert deciding_line(Failure(kind=FailureKind.UNKNOWN, message="")) == ""
    wrong = Checksum(url="https://example.com/a.tar", expected="sha256:1", found="sha256:2")
    failure = Failure(kind=FailureKind.CHECKSUM, message="digest mismatch", checksum=wrong)
    assert deciding_line(failure) == "https://example.com/a.tar does not have the declared checksum"
