"""What one line of BuildKit's progress says, whatever it looks like."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.buildkit.progress import Status, StepKind, Text, kind_of, parse_line, split_name, target_of


def line(**fields: object) -> str:
    return json.dumps(fields)


def test_step_is_read_with_its_times_to_the_microsecond() -> None:
    event = parse_line(
        line(
            vertexes=[
                {
                    "digest": "sha256:a",
                    "name": "[x 1/2]  RUN\n make",
                    "started": "2026-11-24T05:18:51.17276227Z",
                    "completed": "2026-11-24T06:18:52+01:00",
                    "cached": True,
                }
            ]
        )
    )
    assert isinstance(event, Status)
    (vertex,) = event.vertexes
    assert vertex.name == "[x 1/2] RUN make"
    assert vertex.started == datetime(2026, 11, 24, 5, 18, 51, 172762, tzinfo=UTC).timestamp()
    assert vertex.completed == datetime(2026, 11, 24, 5, 18, 52, tzinfo=UTC).timestamp()
    assert vertex.cached


def test_zero_time_of_go_means_that_nothing_is_known() -> None:
    event = parse_line(line(vertexes=[{"digest": "a", "name": "b", "started": "0001-01-01T00:00:00Z"}]))
    assert isinstance(event, Status)
    assert event.vertexes[0].started is None


def test_output_is_decoded_and_broken_characters_are_replaced() -> None:
    data = base64.b64encode("é\n".encode() + b"\xff").decode()
    event = parse_line(line(logs=[{"vertex": "a", "stream": 2, "data": data}]))
    assert isinstance(event, Status)
    assert (event.logs[0].text, event.logs[0].stream) == ("é\n�", 2)


@pytest.mark.parametrize(
    "text",
    ["ERROR: failed to solve", "", '{"vertexes": [{"name": "no digest"}]}', '{"vertexes": 3}', "{broken", "[1]"],
)
def test_whatever_is_no_status_is_kept_as_text(text: str) -> None:
    assert parse_line(f"{text}\r\n") == Text(text=text)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_line_raises(anything: bytes | str) -> None:
    assert isinstance(parse_line(anything), Status | Text)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)))
def test_no_json_raises(anything: object) -> None:
    for field in ("vertexes", "statuses", "logs", "warnings"):
        assert isinstance(parse_line(line(**{field: anything})), Status | Text)
        entry = {"digest": anything, "vertex": anything, "started": anything, "data": anything, "short": anything}
        assert isinstance(parse_line(line(**{field: [entry]})), Status | Text)


@pytest.mark.parametrize(
    ("name", "words", "rest"),
    [
        ("[gpu build 3/4] RUN make", ("gpu", "build"), "RUN make"),
        ("[2/5] RUN make", (), "RUN make"),
        ("[internal] load build definition from Dockerfile", ("internal",), "load build definition from Dockerfile"),
        ("exporting to image", (), "exporting to image"),
        ("[] RUN x", (), "RUN x"),
    ],
)
def test_name_is_split_into_who_and_what(name: str, words: tuple[str, ...], rest: str) -> None:
    assert split_name(name) == (words, rest)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("[one 2/3] RUN make install", StepKind.RUN),
        ("[one build 2/3] COPY --link . .", StepKind.FILE),
        ("[one 1/2] ADD https://example.com/RUN /x", StepKind.FILE),
        ("[one 1/2] LINK COPY --link --from=x / /", StepKind.FILE),
        ("[one 1/1] FROM docker.io/library/debian:12", StepKind.SOURCE),
        ("[one internal] load metadata for docker.io/library/debian:12", StepKind.RESOLVE),
        ("[one internal] load build context", StepKind.INTERNAL),
        ("[one context mirrors] load from client", StepKind.INTERNAL),
        ("[one] exporting to image", StepKind.EXPORT),
        ("[one] exporting cache to registry", StepKind.CACHE_EXPORT),
        ("[one] importing cache manifest from r.example.com/c", StepKind.CACHE_IMPORT),
        ("[one auth] team/app:pull token for r.example.com", StepKind.AUTH),
        ("[one] pushing r.example.com/x with docker", StepKind.PUSH),
        ("something new", StepKind.INTERNAL),
    ],
)
def test_kind_of_a_step_is_known_from_its_name(name: str, kind: StepKind) -> None:
    assert kind_of(name) is kind


def test_only_real_targets_are_reported() -> None:
    assert target_of("[one 1/2] RUN x", frozenset({"one"})) == "one"
    assert target_of("[build 1/2] RUN x", frozenset({"one"})) is None
    assert target_of("[1/2] RUN x", frozenset({"one"})) is None
