"""How events add up: by digest, whichever target shows a step and however often it is reported."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from buildsys.buildkit.progress import LogNote, Status, StatusNote, StepKind, VertexNote, parse_line
from buildsys.buildkit.vertices import Steps, executed_runs, exported, failed

RECORDINGS = Path(__file__).parents[1] / "recordings"
INTERNAL = "load build definition from Dockerfile"


def fold(*events: Status, targets: tuple[str, ...] = (), tail: int = 20) -> Steps:
    steps = Steps(targets, tail=tail)
    for event in events:
        steps.add(event)
    return steps


def vertex(digest: str, name: str, started: float | None = None, completed: float | None = None, **more: str) -> Status:
    note = VertexNote(digest=digest, name=name, started=started, completed=completed, error=more.get("error", ""))
    return Status(vertexes=(note,))


def log(digest: str, text: str, stream: int = 1) -> Status:
    return Status(logs=(LogNote(vertex=digest, stream=stream, text=text),))


def test_targets_are_learned_and_the_smallest_one_that_shows_a_step_owns_it() -> None:
    events = [vertex(f"def-{name}", f"[{name} internal] {INTERNAL}", 0, 1) for name in ("base", "top")]
    events += [vertex("run", f"[{name} 2/2] RUN make", 1, 3) for name in ("top", "base")]
    events += [vertex("copy", "[top 2/2] COPY a b", 3, 4)]
    found = {each.digest: each for each in fold(*events).snapshot().vertexes}
    assert found["run"].targets == ("base", "top")
    assert found["run"].owner == "base"
    assert found["run"].name == "[base 2/2] RUN make"
    assert found["copy"].owner == "top"


def test_single_target_owns_all_though_buildx_names_it_nowhere() -> None:
    steps = fold(vertex("run", "[2/2] RUN make", 0, 1), targets=("only",))
    assert steps.snapshot().vertexes[0].owner == "only"


def test_step_runs_until_one_of_its_names_has_ended() -> None:
    steps = fold(vertex("a", "[x 1/2] RUN m", 5.0))
    assert steps.snapshot().vertexes[0].running
    steps.add(vertex("a", "[x 1/2] RUN m", 5.0, 7.5))
    (done,) = steps.snapshot().vertexes
    assert not done.running
    assert done.seconds == 2.5


def test_output_is_whole_lines_as_a_terminal_leaves_them() -> None:
    steps = fold(
        log("a", "one\ntw"),
        log("a", "o\n\x1b[31mred\x1b[0m\n10%\r50%\r100%\n"),
        log("a", "error: no", stream=2),
        log("a", " end", stream=2),
        vertex("a", "RUN x", 0, 1),
        tail=4,
    )
    assert steps.snapshot().vertexes[0].tail == ("two", "red", "100%", "error: no end")


def test_only_the_last_lines_are_kept_however_long_the_output() -> None:
    steps = fold(vertex("a", "RUN x", 0), *(log("a", f"{number}\n") for number in range(1000)), tail=3)
    assert steps.snapshot().vertexes[0].tail == ("997", "998", "999")
    steps.add(log("a", "x" * 1_000_000))
    assert len(steps.snapshot().vertexes[0].tail[-1]) <= 2000


def test_cancelled_steps_and_unreadable_caches_are_no_failures() -> None:
    steps = fold(
        vertex("a", "[x 1/2] RUN slow", 0, 9, error="failed to solve: context canceled"),
        vertex("b", "[x] importing cache manifest from r.example.com/c", 0, 1, error="not found"),
        vertex("c", "[y 1/2] RUN bad", 0, 8, error="exit code: 1"),
    )
    assert [each.digest for each in failed(steps.snapshot())] == ["c"]
    assert executed_runs(steps.snapshot()) == ()


def test_push_is_reported_only_when_the_export_has_succeeded() -> None:
    digest = f"sha256:{'a' * 64}"
    name = "[x] exporting to image"
    parts = Status(
        statuses=(
            StatusNote(vertex="e", text=f"exporting manifest {digest}"),
            StatusNote(vertex="e", text=f"pushing manifest for r.example.com/x:1@{digest}"),
        )
    )
    running = fold(vertex("e", name, 0), parts)
    assert dict(exported(running.snapshot())[0].pushed) == {}
    broken = fold(vertex("e", name, 0), parts, vertex("e", name, 0, 1, error="broken pipe"))
    assert dict(exported(broken.snapshot())[0].pushed) == {}
    done = fold(vertex("e", name, 0), parts, vertex("e", name, 0, 1))
    assert dict(exported(done.snapshot())[0].pushed) == {"r.example.com/x:1": digest}
    assert done.snapshot().vertexes[0].kind is StepKind.EXPORT


@given(st.data())
def test_every_line_twice_changes_no_count(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["shared-steps", "all-cached", "failing-run"]))
    lines = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    again = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=20))
    once, twice = Steps(), Steps()
    for number, text in enumerate(lines):
        event = parse_line(text)
        once.add(event)
        twice.add(event)
        # A log sent twice is output shown twice; everything else is the current state.
        if number in again and isinstance(event, Status) and not event.logs:
            twice.add(event)
    assert twice.snapshot().vertexes == once.snapshot().vertexes


def test_a_snapshot_looks_at_each_step_once_however_many_targets_there_are() -> None:
    calls = 0

    class Counted(str):
        """The name of a target that counts how often it is looked up."""

        __slots__ = ()

        def __hash__(self) -> int:
            nonlocal calls
            calls += 1
            return super().__hash__()

        def __eq__(self, other: object) -> bool:
            return super().__eq__(other)

    count = 60
    targets = tuple(Counted(f"t{number}") for number in range(count))
    steps = Steps(targets)
    for target in targets:
        steps.add(vertex(f"d-{target}", f"[{target} 1/2] RUN one", 1.0, 2.0))
    calls = 0
    found = steps.snapshot()
    assert [each.owner for each in found.vertexes] == list(targets)
    assert calls < 20 * count
