"""A run on a terminal: the exact content of the screen."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterable
from pathlib import Path

import pytest

from buildsys.events.events import REUSED, Event, Noted, TagsMoved, TargetEnded
from buildsys.report.live import Live, Quiet, console_on, listener
from buildsys.report.plain import Lines
from tests.support.run_events import (
    BEGIN,
    END,
    FIRST_HALF,
    INTERRUPTED,
    PLAN,
    SECOND_HALF,
    Clock,
    ended_step,
    feed,
    node,
    pass_time,
    start,
    step,
)
from tests.support.terminal import Terminal


class Shown:
    """A live area on a terminal of the test's own."""

    def __init__(
        self,
        width: int = 80,
        height: int = 24,
        *,
        encoding: str = "utf-8",
        no_color: bool = False,
        verbose: bool = False,
    ) -> None:
        self.terminal = Terminal(width, encoding)
        self.clock = Clock()
        self.environ = {"TERM": "xterm-256color", "COLUMNS": str(width), "LINES": str(height)}
        if no_color:
            self.environ["NO_COLOR"] = "1"
        self.console = console_on(self.terminal, self.environ)
        self.live = Live(self.console, clock=self.clock, verbose=verbose)

    def feed(self, *events: Event, until: float | None = None) -> list[str]:
        feed(self.live, self.clock, events, until=until)
        return self.terminal.screen()

    def resize(self, width: int, height: int = 24) -> None:
        self.terminal.width = width
        self.console.size = (width, height)


ABOVE = [
    " ✓ debian-os 12                  0:17    61 MB",
    " ↻ git on debian 12           registry said 503 for registry.example.com/ml,",
    "     retry in 4 s (2 of 5)",
]
FAILED = [
    " ✗ ucx 1.9.0 on debian 12        0:22  blocks 1 target",
    "     layers/ucx/Dockerfile:14",
    "     checking for rdma_create_id... no",
    "     configure: error: rdma/rdma_cma.h not found",
    "     make: *** [all] Error 1",
]


def test_ended_targets_are_above_running_and_waiting_ones() -> None:
    assert Shown().feed(*FIRST_HALF, until=23) == [
        *ABOVE,
        " baking 3 images · 1/7 · about 3 min left · 1 retry",
        "   openmpi 4.1.4 on debian 12  make -j2 && make install                    0:20",
        "   ucx 1.9.0 on debian 12      ./configure --prefix=/opt/ucx               0:20",
        " ↻ git on debian 12            …503 for registry.example.com/ml, retry   in 3 s",
    ]


def test_failure_is_shown_at_once_and_counted_in_the_head() -> None:
    assert Shown().feed(*FIRST_HALF, *SECOND_HALF[:2]) == [
        *ABOVE,
        *FAILED,
        " baking 3 images · 1/7 · 1 failed, 1 blocked · about 3 min left · 1 retry",
        "   openmpi 4.1.4 on debian 12  make -j2 && make install                    0:21",
        " ↻ git on debian 12            …503 for registry.example.com/ml, retry   in 2 s",
    ]


def test_at_the_end_the_area_is_erased_and_what_has_ended_stays() -> None:
    shown = Shown()
    assert shown.feed(*FIRST_HALF, *SECOND_HALF, END) == [
        *ABOVE,
        *FAILED,
        " ✓ git on debian 12              0:14    88 kB",
        " ✓ plain12                       0:00   130 MB",
        " ! cache: registry.example.com/cache:git could not be written",
        " ✓ openmpi 4.1.4 on debian 12    3:23   1.2 GB",
        " ✓ mpi12                         0:01",
    ]
    # The summary begins in a line of its own.
    assert (shown.terminal.row, shown.terminal.column) == (len(shown.terminal.screen()), 0)


def test_interrupt_shows_what_was_at_work_and_takes_the_area_away() -> None:
    assert Shown().feed(*FIRST_HALF, *INTERRUPTED) == [
        *ABOVE,
        " ■ openmpi 4.1.4 on debian 12    0:23  stopped",
        " ■ git on debian 12              0:07  stopped",
    ]


def test_run_that_breaks_off_takes_the_area_away_and_may_be_closed_twice() -> None:
    shown = Shown()
    shown.feed(*FIRST_HALF)
    shown.live.close()
    shown.live.close()
    assert shown.terminal.screen() == ABOVE


def test_cursor_is_seen_all_the_time() -> None:
    shown = Shown()
    shown.feed(*FIRST_HALF)
    assert shown.terminal.cursor
    shown.live.close()
    assert shown.terminal.cursor


def test_narrow_terminal_has_titles_and_seconds_and_the_figures_that_fit() -> None:
    shown = Shown(40)
    assert shown.feed(*FIRST_HALF, *SECOND_HALF[:2]) == [
        " ✓ debian-os 12                  0:17",
        " ↻ git on debian 12           registry",
        "     said 503 for",
        "     registry.example.com/ml, retry in",
        "     4 s (2 of 5)",
        " ✗ ucx 1.9.0 on debian 12        0:22",
        "     blocks 1 target",
        "     layers/ucx/Dockerfile:14",
        "     checking for rdma_create_id... no",
        "     configure: error: rdma/rdma_cma.h",
        "     not found",
        "     make: *** [all] Error 1",
        " 1/7 · 1 failed, 1 blocked",
        "   openmpi 4.1.4 on debian 12      0:21",
        " ↻ git on debian 12              in 2 s",
    ]


def test_no_line_of_the_area_is_wider_than_the_terminal_however_narrow() -> None:
    for width in range(8, 100, 7):
        shown = Shown(width)
        shown.feed(*FIRST_HALF)
        assert shown.terminal.cursor
        if width > 14:
            assert max(map(len, shown.live.__rich__().plain.splitlines())) < width


def test_low_terminal_shows_few_and_counts_the_rest() -> None:
    names = [f"n{number}" for number in range(12)]
    events: list[Event] = []
    events += [node(name, name) for name in names] + [start(0, name) for name in names]
    assert Shown(63, 6).feed(*events, step(1, "n5", "RUN make"), until=2) == [
        " baking 12 nodes · 0/12",
        "   n0                                                     0:02",
        "   n5   make                                              0:01",
        "   and 10 more",
    ]
    assert len(Shown(63, 50).feed(*events, until=2)) == 1 + 8 + 1


def test_resized_terminal_is_filled_at_the_next_drawing() -> None:
    shown = Shown(80)
    shown.feed(*FIRST_HALF, until=23)
    shown.resize(100)
    pass_time(shown.live, shown.clock, BEGIN + 24)
    assert shown.terminal.screen()[3:] == [
        " baking 3 images · 1/7 · about 3 min left · 1 retry",
        "   openmpi 4.1.4 on debian 12  make -j2 && make install                                        0:21",
        "   ucx 1.9.0 on debian 12      ./configure --prefix=/opt/ucx                                   0:21",
        " ↻ git on debian 12            registry said 503 for registry.example.com/ml, retry          in 2 s",
    ]
    shown.resize(44)
    pass_time(shown.live, shown.clock, BEGIN + 25)
    assert shown.terminal.screen()[-4:] == [
        " 1/7 · about 3 min left · 1 retry",
        "   openmpi 4.1.4 on debian 12          0:22",
        "   ucx 1.9.0 on debian 12              0:22",
        " ↻ git on debian 12                  in 1 s",
    ]


def test_without_colour_nothing_has_a_style() -> None:
    bare, coloured = Shown(no_color=True), Shown()
    assert bare.feed(*FIRST_HALF, *SECOND_HALF, END) == coloured.feed(*FIRST_HALF, *SECOND_HALF, END)
    assert bare.terminal.styles == []
    assert {"32", "33", "1;31", "1", "0"} <= set(coloured.terminal.styles)


def test_terminal_of_ascii_has_plain_marks() -> None:
    assert Shown(encoding="ascii").feed(*FIRST_HALF, until=23) == [
        " + debian-os 12                  0:17    61 MB",
        " ~ git on debian 12           registry said 503 for registry.example.com/ml,",
        "     retry in 4 s (2 of 5)",
        " baking 3 images - 1/7 - about 3 min left - 1 retry",
        "   openmpi 4.1.4 on debian 12  make -j2 && make install                    0:20",
        "   ucx 1.9.0 on debian 12      ./configure --prefix=/opt/ucx               0:20",
        " ~ git on debian 12            ...03 for registry.example.com/ml, retry  in 3 s",
    ]


def test_letter_that_the_terminal_cannot_write_does_not_stop_the_run() -> None:
    noted = Noted(at=BEGIN, about="cache", text="größer → kleiner")
    assert Shown(encoding="latin-1").feed(node("a", "a"), noted)[0] == " ! cache: größer ? kleiner"


def test_text_of_a_build_is_neither_markup_nor_control() -> None:
    noted = Noted(at=BEGIN, about="cache", text="[red]x[/red] :smile: \x1b[2J\x1b]0;t\x07")
    assert Shown().feed(node("a", "a"), noted)[0] == " ! cache: [red]x[/red] :smile:"


def test_step_that_two_targets_share_is_shown_once() -> None:
    began = step(1, "a", "RUN make")
    shown = Shown(63)
    assert shown.feed(node("a", "a"), node("b", "b"), start(0, "a"), start(0, "b"), began, until=3) == [
        " baking 2 nodes · 0/2",
        "   a  make                                                0:02",
        "   b                                                      0:03",
    ]


def test_verbose_keeps_every_run_above() -> None:
    began = step(1, "a", "RUN make")
    other = step(1, "a", "RUN true", digest="2")
    reused = TargetEnded(at=BEGIN + 3, target="z", outcome=REUSED)
    plan = (node("a", "a"), node("z", "z", action="reuse"))
    events = (*plan, began, ended_step(began, 2), ended_step(other, 2, cached=True), reused)
    assert Shown(verbose=True).feed(*events)[:3] == [" · a    0:02  make", " · a  cached  true", " ✓ z  reused"]
    assert Shown().feed(*events, until=4) == [" baking 1 node · 0/1"]


def test_reused_targets_are_not_listed_and_nothing_to_do_shows_nothing() -> None:
    reused = TargetEnded(at=BEGIN, target="a", outcome=REUSED)
    shown = Shown()
    assert shown.feed(node("a", "a", action="reuse"), reused, TagsMoved(at=BEGIN + 3), END) == []
    assert shown.terminal.raw == ""


def test_moved_tags_and_failures_without_a_cause_are_shown() -> None:
    ended = TargetEnded(at=BEGIN + 3, target="a", outcome="failed", started=BEGIN, seconds=3)
    moved = TagsMoved(at=BEGIN + 4, tags=("x:1",))
    assert Shown().feed(node("a", "a"), ended, moved)[:2] == [" ✗ a    0:03", " ✓ 1 tag moved"]


def test_run_without_a_plan_shows_its_steps_without_a_head() -> None:
    began = step(1, "custom", "RUN pip install x")
    shown = Shown(63)
    assert shown.feed(began, until=3) == ["   custom  pip install x                                  0:02"]
    assert shown.feed(ended_step(began, 2), END) == []


def test_burst_of_events_is_not_drawn_one_by_one() -> None:
    shown = Shown()
    shown.feed(node("a", "a"), start(0, "a"))
    before = len(shown.terminal.raw)
    for number in range(500):
        shown.live.take(step(0, "a", digest=str(number)))
    assert len(shown.terminal.raw) == before
    pass_time(shown.live, shown.clock, BEGIN + 1)
    assert len(shown.terminal.raw) > before


def test_terminal_keeps_its_earlier_content() -> None:
    shown = Shown()
    shown.terminal.write("$ buildsys bake --all\n")
    assert shown.feed(*FIRST_HALF, *INTERRUPTED)[:2] == ["$ buildsys bake --all", ABOVE[0]]


def chosen(stream: io.StringIO, quiet: bool = False, **environ: str) -> type:
    return type(listener(stream, quiet=quiet, verbose=False, environ=environ, clock=Clock()))


def test_terminal_gets_a_live_area_and_everything_else_lines() -> None:
    assert chosen(Terminal(80), TERM="xterm") is Live
    assert chosen(Terminal(80), TERM="dumb") is Lines
    assert chosen(Terminal(80), TERM="xterm", CI="true") is Lines
    assert chosen(Terminal(80), TERM="xterm", CI="false") is Live
    assert chosen(io.StringIO(), TERM="xterm") is Lines
    assert chosen(io.StringIO(), TERM="xterm", FORCE_COLOR="1") is Lines


def test_quiet_shows_nothing() -> None:
    for stream in (Terminal(80), io.StringIO()):
        quiet = listener(stream, quiet=True, verbose=True, environ={"TERM": "xterm"}, clock=Clock())
        assert isinstance(quiet, Quiet)
        quiet.take(PLAN[0])
        quiet.tick()
        quiet.close()
        assert stream.getvalue() == ""


@pytest.mark.parametrize(("encoding", "cut"), [("utf-8", "…"), ("ascii", "...")])
def test_lines_are_written_whole_in_what_the_stream_can_carry(encoding: str, cut: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    clock = Clock()
    taker = listener(stream, quiet=False, verbose=True, environ={}, clock=clock)
    feed(taker, clock, [node("a", "a"), step(0, "a", f"RUN {'x' * 200}")])
    assert raw.getvalue().decode(encoding) == f"baking 1 node\nstep     a  {'x' * (87 - len(cut))}{cut}\n"


def top_level(tree: ast.Module) -> Iterable[str]:
    for each in tree.body:
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield each.module or ""


def test_rich_is_imported_only_when_an_area_is_created() -> None:
    package = Path(__file__).parents[3] / "buildsys"
    for path in package.glob("*.py"):
        names = set(top_level(ast.parse(path.read_text(encoding="utf-8"))))
        assert not {name for name in names if name.split(".")[0] == "rich"}, path.name
