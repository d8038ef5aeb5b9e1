"""What docker prints is never believed: whatever it is, the command ends with a message and an exit code.

The docker here is a program on PATH that answers like docker's client, but for the one answer of the case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.command_line import small_project
from tests.support.docker_stub import put_docker
from tests.support.forked import Ended, Job, run_all

TIMES = '"started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:01Z"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """The answer to one kind of call, as bytes or a word for how docker behaves; `code` is docker's own."""

    name: str
    kind: str
    answer: bytes | str
    ends: frozenset[int]
    code: int = 0
    words: tuple[str, ...] = ("bake", "img")
    patch: Mapping[str, int] = field(default_factory=dict)


DONE, FAILED, INVALID, UNAVAILABLE = ({code} for code in (0, 1, 4, 5))


def case(kind: str, name: str, answer: bytes | str, ends: set[int], code: int = 0, **patch: int) -> Case:
    full = {f"buildsys.buildkit.{constant.replace('__', '.')}": value for constant, value in patch.items()}
    return Case(name=f"{kind}-{name}", kind=kind, answer=answer, ends=frozenset(ends), code=code, patch=full)


def cases() -> Iterator[Case]:
    """Yield the cases; a broken answer about images or options is no reason to end."""
    for name, answer in (
        ("nothing", b""),
        ("html", b"<html>"),
        ("list", b"[]"),
        ("null", b"null"),
        ("deep", b"[" * 100_000),
        ("binary", b"\xff\xfe\0\x1b[31m"),
        ("hang", "hang"),
        ("endless", "endless"),
        ("endless-errors", "endless-errors"),
        ("version-number", json.dumps({"ServerVersion": 5}).encode()),
        ("version-list", json.dumps({"ServerVersion": ["28"]}).encode()),
        ("errors-odd", json.dumps({"ServerErrors": {"a": "\x1b[31m\n::error::x"}}).encode()),
    ):
        yield case("info", name, answer, UNAVAILABLE)
    for name, fields in (
        ("fields-of-other-types", {"DriverStatus": 5, "DockerRootDir": [], "MemTotal": "much", "Name": {}}),
        ("pairs-odd", {"DriverStatus": [5, None, [], {}], "MemTotal": -1}),
        ("memory-float", {"MemTotal": 1e308, "ClientInfo": []}),
        ("plugins-odd", {"ClientInfo": {"Plugins": [5, {"Name": "buildx", "Path": 5, "Version": []}]}}),
        ("plugins-text", {"ClientInfo": {"Plugins": "buildx"}, "MemTotal": None}),
    ):
        yield case("info", name, json.dumps({"ServerVersion": "28.5.2", **fields}).encode(), DONE)
    for name, answer in (("nothing", b""), ("odd", b"\x1b[31m\n::error::x"), ("endless", "endless")):
        yield case("version", name, answer, UNAVAILABLE)
        yield case("builder", name, answer, UNAVAILABLE)
    yield case("builder", "error", b"Name: x\nError: \x1b[31m::error::\n", UNAVAILABLE)
    yield case("builder", "hang", "hang", UNAVAILABLE)
    yield case("help", "binary", b"\xff\0", DONE)
    yield case("list", "odd", b"\xff\0\n--help\n", DONE)
    yield case("image", "odd", b"\xff\0 x y z\n", DONE)
    for name, answer in (
        ("nothing", b""),
        ("list", b"[]"),
        ("deep", b'{"target": ' + b"[" * 100_000),
        ("without-targets", b"{}"),
        ("targets-odd", b'{"target": [1]}'),
        ("target-odd", b'{"target": {"img": 5}}'),
        ("tags-odd", b'{"target": {"img": {"tags": [5]}}}'),
        ("nan", b'{"target": {"img": {"x": NaN}}}'),
        ("invalid-utf-8", b'{"target": {"img": {"x": "\xff'),
        ("endless", "endless"),
    ):
        yield case("print", name, answer, UNAVAILABLE)
    odd: dict[str, object] = {
        "contexts-list": {"contexts": ["x"]},
        "contexts-text": {"contexts": "x"},
        "secret-odd": {"secret": [{"src": 5}]},
        "ssh-odd": {"ssh": [{"paths": [5]}]},
        "output-odd": {"output": [{"dest": 5}]},
        "entitlements-odd": {"entitlements": 5},
        "path-nul": {"context": "a\0b"},
    }
    for name, target in odd.items():
        answer = json.dumps({"target": {"img": target}}).encode()
        yield case("print", name, answer, DONE | INVALID | UNAVAILABLE)
    yield case("print", "refusal", b"x", INVALID, code=1)
    yield case("print", "hang", "hang", UNAVAILABLE, invocation___PRINT_SECONDS=3)
    for name, line in (
        ("binary", b"\xff\xfe\0\n"),
        ("list", b"[]\n"),
        ("deep", b'{"vertexes": ' + b"[" * 100_000 + b"\n"),
        ("open", b'{"vertexes": ['),
        ("without-line-end", b"x" * (9 << 20)),
        ("vertexes-text", b'{"vertexes": "x"}\n'),
        ("vertexes-numbers", b'{"vertexes": [1]}\n'),
        ("vertex-without-digest", b'{"vertexes": [{}]}\n'),
        ("names-odd", b'{"vertexes": [{"digest": 5, "name": ["x"], "error": {"a": 1}, %s}]}\n' % TIMES.encode()),
        ("times-odd", b'{"vertexes": [{"digest": "a", "name": "RUN x", "started": "0000", "completed": 5}]}\n'),
        ("time-year-1", b'{"vertexes": [{"digest": "a", "name": "RUN x", "started": "0002-01-01T00:00:00"}]}\n'),
        ("time-year-9999", b'{"vertexes": [{"digest": "a", "started": "9999-12-31T23:59:59+00:00"}]}\n'),
        ("current-huge", b'{"statuses": [{"vertex": "a", "current": 1e999}]}\n'),
        ("current-text", b'{"statuses": [{"vertex": "a", "current": "x"}]}\n'),
        ("logs-odd", b'{"logs": [{"vertex": "a", "stream": "x", "data": 5}]}\n'),
        ("log-not-encoded", b'{"logs": [{"vertex": "a", "data": "\\ud800"}]}\n'),
        ("surrogate", b'{"vertexes": [{"digest": "a", "name": "RUN \\ud800", %s}]}\n' % TIMES.encode()),
        (
            "escapes",
            b'{"vertexes": [{"digest": "a", "name": "RUN \\u001b[2J", "error": "\\u001b[31m\\n::error::x", %s}]}\n'
            % TIMES.encode(),
        ),
        ("warnings-odd", b'{"warnings": [5, {"short": 5}, null]}\n'),
    ):
        yield case("bake", name, line, DONE)
        yield case("bake", f"{name}-and-failure", line + b"\nERROR: failed to solve: x\n", FAILED, code=1)
    yield case("bake", "endless", "endless", UNAVAILABLE, invocation___MOST_PROGRESS=8 << 20)
    image = b"sha256:" + b"0" * 64
    for name, answer, ends, code in (
        ("test-nothing", b"", UNAVAILABLE, 0),
        ("test-list", b"[]", UNAVAILABLE, 0),
        ("test-number", b"[5]", UNAVAILABLE, 0),
        ("test-text", b'["x"]', UNAVAILABLE, 0),
        ("test-object", b"{}", UNAVAILABLE, 0),
        ("test-deep", b"[" * 100_000, UNAVAILABLE, 0),
        ("test-size", b'[{"Id": "x", "Size": "much"}]', UNAVAILABLE, 0),
        ("test-odd", b"x y z\n", UNAVAILABLE, 0),
        ("test-binary", b"\xff\0", UNAVAILABLE, 0),
        ("test-refusal", image, UNAVAILABLE, 1),
    ):
        yield Case(name=name, kind="image", answer=answer, ends=frozenset(ends), code=code, words=("test", "img"))
    for kind in ("info", "version", "client", "context", "builder"):
        for name, answer in (("binary", b"\xff\0\x1b[31m\n::error::x"), ("endless", "endless"), ("nothing", b"")):
            yield Case(
                name=f"doctor-{kind}-{name}",
                kind=kind,
                answer=answer,
                ends=frozenset(DONE | UNAVAILABLE),
                words=("doctor",),
            )


CASES = tuple(cases())


def faults(case: Case, ended: Ended) -> Iterator[str]:
    if ended.code not in case.ends:
        yield f"ended with {ended.code}, expected one of {sorted(case.ends)}"
    if "Traceback" in ended.output:
        yield "a traceback"
    if not ended.output.strip():
        yield "no message"
    if "\x1b" in ended.output or "\0" in ended.output or "\n::" in ended.output:
        yield "the output has what a terminal or a runner acts on"
    if ended.cpu_seconds > 60:
        yield f"{ended.cpu_seconds:.0f} seconds of CPU"
    if ended.memory > 200_000_000:
        yield f"{ended.memory / 1e6:.0f} MB"


def is_long(case: Case) -> bool:
    """Whether a case takes the time that docker has for an answer, or ends as its pair does."""
    return (case.answer == "hang" and not case.patch) or case.name.endswith("-and-failure")


def check(chosen: Sequence[Case], scratch: Path) -> None:
    path = put_docker(scratch)
    jobs = []
    for number, case in enumerate(chosen):
        how = case.answer
        if isinstance(how, bytes):
            (scratch / f"answer-{number}").write_bytes(how)
            how = str(scratch / f"answer-{number}")
        given = {"PATH": path, "ODD": case.kind, "HOW": how, "CODE": str(case.code)}
        folder = small_project(scratch / f"project-{number}", {"layers/conf/layer.yaml": ARTIFACT_WITH_TEST})
        jobs.append(Job(words=case.words, folder=folder, environment=given, patch=case.patch))
    ended = run_all(jobs, scratch, at_once=4)
    wrong = {
        case.name: (found, each.output[-1500:])
        for case, each in zip(chosen, ended, strict=True)
        if (found := [*faults(case, each)])
    }
    assert not wrong, "\n".join(f"{name}: {found}\n{output}" for name, (found, output) in wrong.items())


def test_there_are_at_least_fifty_answers_with_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len([case for case in CASES if not is_long(case)]) >= 50


def test_usual_answers_of_docker_succeed(tmp_path: Path) -> None:
    """The control: what the cases differ from is a docker that works."""
    check([Case(name="usual", kind="none", answer=b"", ends=frozenset(DONE))], tmp_path)


def test_each_answer_of_docker_ends_with_a_message_and_an_exit_code(tmp_path: Path) -> None:
    """Before, answers of other types ended in a traceback, and output without an end in all of the memory."""
    check([case for case in CASES if not is_long(case)], tmp_path)


@pytest.mark.long
def test_answers_that_never_come_and_failures_after_odd_answers_end_so_too(tmp_path: Path) -> None:
    check([case for case in CASES if is_long(case)], tmp_path)


ARTIFACT_WITH_TEST = """\
description: a file
kind: artifact
licence: MIT
prefix: /opt/conf
requires: [os]
tests: [{run: "true"}]
"""
