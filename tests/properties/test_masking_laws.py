"""What holds for every credential and every text; the name of a test is the law."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from buildsys.buildkit.progress import Line, MaskedProgress, Status
from buildsys.masks import Mask, MaskedStream
from tests.support.projects import LAW

# Few letters, so that credentials overlap, start in one another and occur in texts.
LETTERS = "ab:é"
CREDENTIALS = st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=3)
TEXTS = st.text(LETTERS + "\n@/%", max_size=60)
CUTS = st.lists(st.integers(0, 90), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data in pieces that end at cuts, also in the middle of a character."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def streamed(mask: Mask, parts: list[bytes]) -> bytes:
    stream = MaskedStream(mask)
    return b"".join([*map(stream.take, parts), stream.rest()])


@LAW
@given(CREDENTIALS, TEXTS, CUTS)
def test_stream_in_any_pieces_is_masked_as_the_whole(credentials: list[str], text: str, cuts: list[int]) -> None:
    mask = Mask(credentials)
    assert streamed(mask, pieces(text.encode(), cuts)) == mask.data(text.encode())


@LAW
@given(CREDENTIALS, TEXTS, CUTS)
def test_no_form_of_a_credential_is_in_what_comes_out(credentials: list[str], text: str, cuts: list[int]) -> None:
    mask = Mask(credentials)
    found = streamed(mask, pieces(text.encode(), cuts))
    assert [form for form in mask.forms if form in found] == []


@LAW
@given(CREDENTIALS, TEXTS, CUTS, st.integers(0, 60))
def test_credential_put_anywhere_into_a_text_is_masked(
    credentials: list[str], text: str, cuts: list[int], at: int
) -> None:
    mask = Mask(credentials)
    for form in mask.forms:
        data = text.encode()[:at] + form + text.encode()[at:]
        assert form not in streamed(mask, pieces(data, cuts))


@LAW
@given(CREDENTIALS, st.binary(max_size=60), CUTS)
def test_what_has_no_credential_comes_through_unchanged(credentials: list[str], data: bytes, cuts: list[int]) -> None:
    mask = Mask(credentials)
    if not mask.spans(data):
        assert streamed(mask, pieces(data, cuts)) == data


@LAW
@given(CREDENTIALS, TEXTS, CUTS)
def test_output_of_a_step_is_masked_as_the_whole_in_events_and_in_what_is_kept(
    credentials: list[str], text: str, cuts: list[int]
) -> None:
    mask = Mask(credentials)
    masked = MaskedProgress(mask)
    lines: list[Line] = []
    for part in pieces(text.encode(), cuts):
        entry = {"vertex": "sha256:1", "stream": 1, "data": base64.b64encode(part).decode()}
        lines += masked.take(json.dumps({"logs": [entry]}).encode() + b"\n")
    ended = {"digest": "sha256:1", "name": "[1/1] RUN x", "completed": "2026-01-01T00:00:00Z"}
    lines += masked.take(json.dumps({"vertexes": [ended]}).encode() + b"\n")
    kept = b"".join(
        base64.b64decode(entry["data"]) for line in lines for entry in json.loads(line.kept).get("logs") or ()
    )
    assert kept == mask.data(text.encode())
    assert masked.rest() is None
    statuses = [line.event for line in lines if isinstance(line.event, Status)]
    assert len(statuses) == len(lines)
    assert not any(log.text in credentials for each in statuses for log in each.logs if len(log.text) > 3)
