"""A run as plain lines, exactly."""

from __future__ import annotations

import os
from collections.abc import Iterable

from buildsys.events.events import REUSED, Event, Noted, Retried, RunEnded, TagsMoved, TargetEnded
from buildsys.report.plain import Lines, line_writer
from buildsys.report.text import PLAIN_MARKS, Marks
from tests.support.run_events import (
    BEGIN,
    END,
    FIRST_HALF,
    HEADER_MISSING,
    INTERRUPTED,
    PLAN,
    SECOND_HALF,
    Clock,
    ended_step,
    failed,
    feed,
    image,
    made,
    node,
    start,
    step,
)


def lines(
    *events: Event,
    until: float | None = None,
    verbose: bool = False,
    heartbeat: float = 30.0,
    marks: Marks | None = None,
) -> list[str]:
    written: list[str] = []
    clock = Clock()
    taker = Lines(written.append, clock=clock, verbose=verbose, heartbeat=heartbeat, marks=marks)
    feed(taker, clock, events, until=until)
    taker.close()
    assert all(len(line) < 100 and line == line.rstrip() for line in written)
    return written


def test_run_with_a_retry_and_a_failure() -> None:
    assert lines(*FIRST_HALF, *SECOND_HALF, END, heartbeat=100) == [
        "baking 3 images and 4 nodes, 1 target reused",
        "start    debian-os 12",
        "start    openmpi 4.1.4 on debian 12",
        "start    ucx 1.9.0 on debian 12",
        "done     debian-os 12                   0:17    61 MB",
        "start    git on debian 12",
        "retry    git on debian 12            registry said 503 for registry.example.com/ml, in 4 s (2 of 5)",
        "failed   ucx 1.9.0 on debian 12         0:22  blocks 1 target",
        "         layers/ucx/Dockerfile:14",
        "         checking for rdma_create_id... no",
        "         configure: error: rdma/rdma_cma.h not found",
        "         make: *** [all] Error 1",
        "start    git on debian 12            attempt 2",
        "done     git on debian 12               0:14    88 kB  3 of 4 cached",
        "done     plain12                        0:00   130 MB",
        "note     cache: registry.example.com/cache:git could not be written",
        "running  3/7 · 1 failed, 1 blocked · about 1 min left · 1 retry",
        "         openmpi 4.1.4 on debian 12     2:18  make -j2 && make install",
        "done     openmpi 4.1.4 on debian 12     3:23   1.2 GB",
        "done     mpi12                          0:01",
        "tags     none moved, 1 image missing",
    ]


def test_verbose_shows_runs_reused_and_blocked_targets_and_the_start_of_images() -> None:
    shown = lines(*FIRST_HALF, *SECOND_HALF, END, heartbeat=1000, verbose=True)
    assert [line for line in shown if line not in lines(*FIRST_HALF, *SECOND_HALF, END, heartbeat=1000)] == [
        "reused   toolchain-debian 12",
        "step     debian-os 12                apt-get install --yes --no-install-recommends git openssh-cli…",
        "step     openmpi 4.1.4 on debian 12  make -j2 && make install",
        "step     ucx 1.9.0 on debian 12      ./configure --prefix=/opt/ucx",
        "blocked  ucx12                       by ucx 1.9.0 on debian 12",
        "start    plain12",
        "ran      openmpi 4.1.4 on debian 12     3:20  make -j2 && make install",
        "start    mpi12",
    ]


def test_verbose_shows_how_a_step_ended() -> None:
    began = step(1, "a", "RUN make")
    assert lines(node("a", "a"), ended_step(began, 0, cached=True), verbose=True)[1:] == ["ran      a   cached  make"]
    assert lines(node("a", "a"), began, ended_step(began, 2, error="exit code: 1"), verbose=True)[1:] == [
        "step     a  make",
        "failed   a     0:02  make",
    ]


def test_interrupt_shows_what_was_at_work() -> None:
    assert lines(*FIRST_HALF, *INTERRUPTED)[-3:] == [
        "retry    git on debian 12            registry said 503 for registry.example.com/ml, in 4 s (2 of 5)",
        "stopped  openmpi 4.1.4 on debian 12     0:23",
        "stopped  git on debian 12               0:07",
    ]


def test_heartbeat_follows_silence_only_and_again_after_the_next() -> None:
    began: tuple[Event, ...] = (node("a", "a", seconds=100), start(1, "a"), step(1, "a", "RUN make"))
    assert lines(*began, until=30) == ["baking 1 node", "start    a"]
    beat = ["running  0/1 · about 1 min left", "         a     0:30  make"]
    assert lines(*began, until=60)[2:] == beat
    assert lines(*began, until=61)[2:] == [*beat, "running  0/1 · about 40 s left", "         a     1:00  make"]
    noted = Noted(at=BEGIN + 20, about="disk", text="9 GB are free")
    assert lines(*began, noted, until=49)[2:] == ["note     disk: 9 GB are free"]


def test_heartbeat_shows_who_waits_and_counts_the_rest() -> None:
    names = [f"n{number}" for number in range(8)]
    events: list[Event] = []
    events += [node(name, name) for name in names] + [start(0, name) for name in names]
    events += [step(1, "n6"), step(1, "n7")]
    retry = Retried(at=BEGIN + 1, target="n0", attempt=2, of=5, wait=60, why="EOF")
    assert lines(*events, retry, until=31)[-6:] == [
        "running  0/8 · 1 retry",
        "         n1     0:31",
        "         n6     0:30  make -j2 && make install",
        "         n7     0:30  make -j2 && make install",
        "         n0  retry in 30 s",
        "         and 4 more",
    ]


def test_steady_events_without_a_line_do_not_hold_the_heartbeat_back() -> None:
    written: list[str] = []
    clock = Clock()
    taker = Lines(written.append, clock=clock)
    taker.take(node("a", "a"))
    taker.take(start(0, "a"))
    for number in range(31):
        taker.take(step(0, "a", digest=str(number)))
        clock.now += 1
    assert written[2:] == ["running  0/1", "         a     0:30  make -j2 && make install"]


def test_heartbeat_of_a_run_without_a_plan() -> None:
    assert lines(step(1, "custom", "RUN pip install x"), until=30) == [
        "running",
        "         custom     0:29  pip install x",
    ]


def test_heartbeat_is_silent_before_the_plan_after_the_end_and_without_work() -> None:
    assert lines(until=100) == []
    assert lines(node("a", "a", action="reuse"), until=100) == []
    assert lines(*PLAN, RunEnded(at=BEGIN + 1, exit_code=0, seconds=1), until=100) == []


def test_nothing_to_do_is_left_to_the_summary() -> None:
    reused = TargetEnded(at=BEGIN, target="a", outcome=REUSED)
    assert lines(node("a", "a", action="reuse"), reused, TagsMoved(at=BEGIN), END) == []


def test_target_that_another_run_built_meanwhile_is_shown() -> None:
    reused = TargetEnded(at=BEGIN, target="a", outcome=REUSED)
    assert lines(node("a", "a"), reused) == ["baking 1 node", "reused   a"]


def test_failure_without_a_cause_is_shown() -> None:
    ended = TargetEnded(at=BEGIN + 3, target="a", outcome="failed", started=BEGIN, seconds=3)
    assert lines(node("a", "a"), ended)[1:] == ["failed   a     0:03"]


def test_lines_stay_short_whatever_they_hold() -> None:
    name = "x" * 30 + "y" * 30
    long = "word " * 60
    events: Iterable[Event] = (
        node(name, name),
        image("i", name),
        start(0, name),
        step(0, name, f"RUN {long}"),
        Retried(at=BEGIN, target=name, attempt=2, of=5, wait=4, why=long),
        failed(5, name, 5, HEADER_MISSING, "layers/" + "l" * 120),
        Noted(at=BEGIN + 5, about="cache", text=long),
        TagsMoved(at=BEGIN + 5, tags=("a", "b")),
    )
    title = f"{'x' * 24}…{'y' * 23}"
    assert lines(*events, verbose=True) == [
        "baking 1 image and 1 node",
        f"start    {title}",
        f"step     {title}  {('word ' * 8).rstrip()}…",
        f"retry    {title}  …rd word word word word, in 4 s (2 of 5)",
        f"failed   {title}     0:05  blocks 1 target",
        f"         layers/{'l' * 83}",
        f"         {'l' * 37}:14",
        "         checking for rdma_create_id... no",
        "         configure: error: rdma/rdma_cma.h not found",
        "         make: *** [all] Error 1",
        f"note     cache: {('word ' * 16).rstrip()}",
        f"         {('word ' * 18).rstrip()}",
        f"         {('word ' * 18).rstrip()}",
        f"         {('word ' * 8).rstrip()}",
        "tags     2 moved",
    ]


def test_lines_for_a_stream_of_ascii_have_ascii_only() -> None:
    shown = lines(*FIRST_HALF, *SECOND_HALF, END, verbose=True, marks=PLAIN_MARKS)
    assert all(line.isascii() for line in shown)
    assert "running  3/7 - 1 failed, 1 blocked - about 2 min left - 1 retry" in shown


def test_unknown_size_leaves_no_space_at_the_end() -> None:
    assert lines(node("a", "a"), made(5, "a", 5, None)) == ["baking 1 node", "done     a     0:05"]


def test_run_continues_when_the_reader_of_its_lines_has_left() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        for _ in range(2):
            line_writer(stream)("done")
