"""How times, sizes, steps and failures are said."""

from __future__ import annotations

import pytest

from buildsys.buildkit.failure import Checksum, Failure, FailureKind
from buildsys.buildkit.progress import StepKind
from buildsys.events.events import FAILED, TargetEnded
from buildsys.report.outcomes import failure_lines, failure_output, failure_place, step_words
from buildsys.report.text import (
    PLAIN_MARKS,
    Marks,
    clean,
    cut,
    cut_middle,
    cut_start,
    distinct_parts,
    format_difference,
    format_duration,
    format_remaining,
    format_seconds,
    format_share,
    format_size,
    marks_for,
)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0:00"), (0.9, "0:00"), (59.9, "0:59"), (221, "3:41"), (3821, "1:03:41")]
)
def test_time_is_minutes_and_seconds_and_hours_if_there_are_any(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (412_000_000, "412 MB"),
        (999_700_000, "1.0 GB"),
        (1_240_000_000, "1.2 GB"),
    ],
)
def test_size_has_three_digits_and_its_unit(size: int | None, words: str) -> None:
    assert format_size(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4, "a few seconds left"),
        (36, "about 40 s left"),
        (57, "about 1 min left"),
        (370, "about 6 min left"),
        (3570, "about 1 h left"),
        (5000, "about 1 h 25 min left"),
    ],
)
def test_time_left_is_no_more_exact_than_it_is_known(seconds: float, words: str) -> None:
    assert format_remaining(seconds, whole=True) == words


def test_time_left_is_a_lower_bound_where_some_targets_are_not_known() -> None:
    assert format_remaining(370, whole=False) == "at least 6 min left"
    assert format_remaining(4, whole=False) == ""


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("RUN make -j2", StepKind.RUN, "make -j2"),
        ("[gpu build 3/4] RUN make -j2", StepKind.RUN, "make -j2"),
        (
            "RUN --mount=type=bind,from=mirrors,target=/run/mirrors --network=none make --jobs 2",
            StepKind.RUN,
            "make --jobs 2",
        ),
        ("RUN set -eux; . /run/mirrors/use && cd /source && make", StepKind.RUN, "make"),
        ("RUN set -euo pipefail; export A=b C=d; ./configure --prefix=/x", StepKind.RUN, "./configure --prefix=/x"),
        ("RUN <<END (set -eu...)", StepKind.RUN, "RUN"),
        ("RUN --mount=type=bind,from=m,target=/m <<-'END' (apt-get update...)", StepKind.RUN, "apt-get update..."),
        ("RUN exportfs", StepKind.RUN, "exportfs"),
        ("LINK COPY --link --from=mpi / /", StepKind.FILE, "COPY / /"),
        ("COPY --link --from=build /out /", StepKind.FILE, "COPY /out /"),
        ("WORKDIR /source", StepKind.FILE, "WORKDIR /source"),
        ("FROM docker.io/library/debian:12@sha256:0a1b", StepKind.SOURCE, "pulling docker.io/library/debian:12"),
        ("docker-image://127.0.0.1:5000/nodes@sha256:0a1b", StepKind.SOURCE, "pulling 127.0.0.1:5000/nodes"),
        ("https://example.com/a/openmpi-4.1.4.tar.gz", StepKind.SOURCE, "downloading openmpi-4.1.4.tar.gz"),
        ("exporting to image", StepKind.EXPORT, "exporting"),
        ("exporting cache to registry", StepKind.CACHE_EXPORT, "writing the cache"),
    ],
)
def test_step_is_named_by_what_it_does(name: str, kind: str, words: str) -> None:
    assert step_words(name, kind) == words


def test_foreign_text_cannot_move_the_cursor() -> None:
    assert clean("\x1b[31ma\x1b[0m\tb\r\n\x1b]0;title\x07c\x08\x1b") == "a b c"


def test_long_text_keeps_its_beginning_and_a_title_both_ends() -> None:
    assert cut("make -j2 && make install", 12, "…") == "make -j2 &&…"
    assert cut_middle("openmpi4.1.0-cuda11.1-ubuntu18.04", 20, "…") == "openmpi4.1…untu18.04"
    assert cut_middle("openmpi4.1.0-cuda11.1-ubuntu18.04", 20, "...") == "openmpi4....ntu18.04"
    assert [cut_middle("abcdef", width, "...") for width in (6, 4, 2, 0)] == ["abcdef", "a...", "..", ""]


def test_names_are_distinguished_by_the_words_that_not_all_begin_or_end_with() -> None:
    assert distinct_parts(["a-on-b-os-13", "a-on-c-d-os-13"]) == {"a-on-b-os-13": "b", "a-on-c-d-os-13": "c-d"}
    assert distinct_parts(["a-b", "a-x-b", "a-a-b"]) == {"a-b": "", "a-x-b": "x", "a-a-b": "a"}
    assert distinct_parts(["a"]) == {"a": ""}
    assert distinct_parts([]) == {}


def test_error_keeps_its_end() -> None:
    assert cut_start("failed to push a: unexpected status 503", 13, "…") == "…d status 503"
    assert [cut_start("abcdef", width, "...") for width in (6, 4, 3, 0)] == ["abcdef", "...f", "...", ""]


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", Marks()), ("ascii", PLAIN_MARKS), ("latin-1", PLAIN_MARKS)])
def test_marks_are_those_that_the_stream_can_carry(encoding: str, marks: Marks) -> None:
    assert marks_for(encoding) == marks


def test_marks_are_plain_where_the_encoding_is_not_known() -> None:
    assert marks_for(None) == PLAIN_MARKS
    assert marks_for("of-no-name") == PLAIN_MARKS
    "".join((PLAIN_MARKS.done, PLAIN_MARKS.failed, PLAIN_MARKS.again, PLAIN_MARKS.stopped, PLAIN_MARKS.cut)).encode(
        "ascii"
    )


def ended(failure: Failure | None, file: str = "") -> TargetEnded:
    return TargetEnded(at=0, target="t", outcome=FAILED, failure=failure, file=file)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "0:10"), (59.6, "1:00"), (221, "3:41"), (3599.7, "1:00:00")],
)
def test_seconds_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_small_share_or_difference_never_reads_as_none() -> None:
    assert [format_share(part, 1000) for part in (0, 1, 710, 999, 1000)] == ["0 %", "< 1 %", "71 %", "> 99 %", "100 %"]
    assert format_share(1, 0) == "0 %"
    assert [format_difference(each) for each in (0.01, 3.1, -80)] == ["±0.0 s", "+3.1 s", "−1:20"]


def test_failed_command_is_shown_with_its_last_lines_and_exit_code() -> None:
    words = ("one", "two", "", "three", "\x1b[1mfour\x1b[0m")
    failure = Failure(kind=FailureKind.COMMAND, message="m", command="make\nall", status=2, last_words=words)
    assert failure_output(failure, most=3) == ("two", "three", "four")
    assert failure_lines(failure, most=3) == ("$ make all", "two", "three", "four", "exit code 2")


def test_place_of_a_failure_is_the_projects_file_or_that_of_buildkit() -> None:
    failure = Failure(kind=FailureKind.COMMAND, message="m", file="Dockerfile", line=3)
    assert failure_place(ended(failure, "layers/l/Dockerfile")) == "layers/l/Dockerfile:3"
    assert failure_place(ended(failure)) == "Dockerfile:3"
    assert (
        failure_place(ended(Failure(kind=FailureKind.PUSH, message="m"), "layers/l/Dockerfile"))
        == "layers/l/Dockerfile"
    )
    assert failure_place(ended(None)) == ""


def test_other_failure_is_shown_by_its_message() -> None:
    failure = Failure(kind=FailureKind.PUSH, message="failed to push\n\n  denied\nc\nd", last_words=("not these",))
    assert failure_output(failure, most=3) == failure_lines(failure, most=3) == ("failed to push", "denied", "c")


def test_command_without_output_is_shown_by_the_message() -> None:
    failure = Failure(kind=FailureKind.COMMAND, message="exit code: 3", last_words=("", " "))
    assert failure_output(failure, most=3) == ("exit code: 3",)


def test_wrong_checksum_is_shown_with_both() -> None:
    checksum = Checksum(url="https://example.com/a", expected="sha256:1", found="sha256:2")
    failure = Failure(kind=FailureKind.CHECKSUM, message="m", checksum=checksum)
    assert failure_lines(failure) == (
        "https://example.com/a does not have the declared checksum",
        "expected sha256:1",
        "found    sha256:2",
    )
