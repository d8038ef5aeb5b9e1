"""Events of a bake become one line when a RUN begins and one when a step ends."""

from __future__ import annotations

from buildsys.progress import Status, Text, VertexNote
from buildsys.progress_lines import Lines

RUN = "[fast build 2/3] RUN --mount=type=bind,from=mirrors,target=/run/mirrors make && make install"


def lines(*events: Status | Text) -> list[str]:
    written: list[str] = []
    taker = Lines(written.append)
    for event in events:
        taker.take(event)
    return written


def step(name: str, digest: str = "sha256:a", **times: float) -> VertexNote:
    return VertexNote(digest=digest, name=name, **times)  # type: ignore[arg-type]


def test_run_is_told_when_it_begins_and_when_it_ends() -> None:
    begun, ended = step(RUN, started=10.0), step(RUN, started=10.0, completed=12.5)
    assert lines(Status(vertexes=(begun,)), Status(vertexes=(begun,)), Status(vertexes=(ended,))) == [
        "  ...   fast  RUN make && make install",
        "  done  fast  RUN make && make install  2.5 s",
    ]


def test_step_that_two_targets_show_is_told_once() -> None:
    first = step(RUN, started=1.0, completed=2.0)
    second = step(RUN.replace("[fast", "[other"), started=1.0, completed=2.0)
    assert len(lines(Status(vertexes=(first, second)), Status(vertexes=(second,)))) == 2


def test_cached_and_internal_steps_and_texts_are_not_told() -> None:
    cached = VertexNote(digest="sha256:b", name=RUN, started=1.0, completed=1.0, cached=True)
    internal = step("[internal] load build definition from Dockerfile", "sha256:c", started=1.0, completed=2.0)
    assert lines(Status(vertexes=(cached, internal)), Text(text="ERROR: x")) == []


def test_failing_step_is_told_as_such() -> None:
    failed = VertexNote(digest="sha256:b", name="[fast 2/2] COPY a b", started=1.0, completed=1.5, error="exit code: 1")
    assert lines(Status(vertexes=(failed,))) == ["  fail  fast  COPY a b  0.5 s"]


def test_long_command_is_cut() -> None:
    begun = step(f"[fast 2/2] RUN {'x' * 200}", started=1.0)
    assert lines(Status(vertexes=(begun,))) == [f"  ...   fast  RUN {'x' * 65}…"]
