"""What BuildKit reports becomes events of the targets that a bake is for, and of no other."""

from __future__ import annotations

import pytest

from buildsys.buildkit.progress import LogNote, Status, Text, VertexNote
from buildsys.events.events import Event, Noted, StepBegan, StepEnded
from buildsys.run.step_events import StepEvents, titled, titles
from tests.support.commands import ROOT


def vertex(
    name: str, *, digest: str = "", started: float | None = 1.0, completed: float | None = None, **more: object
) -> Status:
    note = VertexNote(digest=digest or name, name=name, started=started, completed=completed, **more)  # type: ignore[arg-type]
    return Status(vertexes=(note,))


class Taken:
    def __init__(self, *targets: str, linked: tuple[str, ...] = ()) -> None:
        self.logs: list[tuple[str, str]] = []
        self._steps = StepEvents(targets, linked, lambda target, text: self.logs.append((target, text)))

    def __call__(self, event: Status | Text) -> list[Event]:
        return list(self._steps.take(event, 9.0))


def test_step_of_a_single_target_begins_and_ends_once() -> None:
    taken = Taken("a")
    [began] = taken(vertex("[build 1/2] RUN make"))
    assert began == StepBegan(at=9.0, target="a", digest="[build 1/2] RUN make", name="RUN make", kind="run")
    assert taken(vertex("[build 1/2] RUN make")) == []
    [ended] = taken(vertex("[build 1/2] RUN make", completed=3.0))
    assert isinstance(ended, StepEnded)
    assert (ended.target, ended.started, ended.completed) == ("a", 1.0, 3.0)
    assert taken(vertex("[build 1/2] RUN make", completed=3.0)) == []


def test_linked_targets_and_what_is_cached_are_left_out() -> None:
    taken = Taken("a", linked=("base", "mirrors"))
    assert taken(vertex("[base 1/2] RUN make", completed=2.0)) == []
    assert taken(vertex("[a 1/2] RUN make", completed=2.0, cached=True)) == []
    assert len(taken(vertex("[a 2/2] RUN more", completed=2.0))) == 1
    assert taken(vertex("[a internal] load build definition from Dockerfile", completed=2.0)) == []


def test_steps_of_several_targets_go_to_the_one_that_is_named() -> None:
    taken = Taken("a", "b")
    [event] = taken(vertex("[b 1/2] RUN make"))
    assert isinstance(event, StepBegan)
    assert event.target == "b"


def test_failed_step_has_its_error_and_its_log() -> None:
    taken = Taken("a")
    taken(vertex("[1/2] RUN make", digest="d"))
    taken(Status(logs=(LogNote(vertex="d", stream=2, text="no rule\n"), LogNote(vertex="x", stream=1, text="other\n"))))
    [event] = taken(vertex("[1/2] RUN make", digest="d", completed=2.0, error="exit code: 2"))
    assert isinstance(event, StepEnded)
    assert event.error == "exit code: 2"
    assert taken.logs == [("a", "\n# RUN make\n"), ("a", "no rule\n"), ("a", "# exit code: 2\n")]


def test_cache_that_fails_is_noted_unless_the_bake_was_stopped() -> None:
    taken = Taken("a")
    told = taken(vertex("exporting cache to registry", completed=2.0, error="500"))
    assert [each.text for each in told if isinstance(each, Noted)] == ["a: exporting cache to registry: 500"]
    told = taken(vertex("importing cache manifest from r", completed=2.0, error="context canceled"))
    assert not [each for each in told if isinstance(each, Noted)]


def test_other_output_of_bake_is_in_the_log_of_each() -> None:
    taken = Taken("a", "b")
    assert taken(Text(text="ERROR: broken")) == []
    assert sorted(taken.logs) == [("a", "ERROR: broken\n"), ("b", "ERROR: broken\n")]


COMPILE = """\
FROM toolchain AS build
RUN --mount=type=bind,from=mirrors,target=/run/mirrors <<END
set -eu
. /run/mirrors/use
cd /tmp
curl -O "$URL"
./configure --prefix=/opt/tool \\
    --disable-static
make -j "$(nproc)" install
END
RUN <<END
set -eux
apt-get update
apt-get --yes install one \\
    two
END
RUN make test
"""


def test_main_command_is_found_behind_the_setup_of_the_shell() -> None:
    assert titles(COMPILE) == {
        "set -eu": 'make -j "$(nproc)" install',
        "set -eux": "apt-get --yes install one two",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RUN --mount=type=bind,from=mirrors <<END (set -eu...)", 'RUN make -j "$(nproc)" install'),
        ("RUN <<END (set -eux...)", "RUN apt-get --yes install one two"),
        ("RUN <<END (other...)", "RUN <<END (other...)"),
        ("RUN make test", "RUN make test"),
        ("COPY <<END (set -eu...) /x", "COPY <<END (set -eu...) /x"),
    ],
)
def test_name_of_a_step(name: str, shown: str) -> None:
    assert titled(name, titles(COMPILE)) == shown


def test_two_that_begin_alike_keep_buildkits_name() -> None:
    twice = "FROM base\nRUN <<END\nset -eu\nmake one\nEND\nRUN <<END\nset -eu\nmake two\nEND\n"
    assert titles(twice) == {}


def test_layers_of_this_project_are_named_by_what_they_do() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("layers/*/*ockerfile"))]
    found = [title for text in texts for title in titles(text).values()]
    assert len(found) >= 8
    assert not [title for title in found if title.startswith(("set ", ". ", "#"))]
