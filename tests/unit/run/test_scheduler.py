"""The ready queue: which tasks there are, what is started next, within which limits, and what a failure blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.commands.plan import make_plan
from buildsys.events.history import History
from buildsys.plan.actions import BUILD, REUSE, Action
from buildsys.run.scheduler import ASSEMBLE, COMPOSE, Limits, Schedule, Task, tasks_of
from tests.support.graphs import tasks as graph_tasks

WIDE = Limits(jobs=99, targets=64)


def task(name: str, *needs: str, seconds: float = 1.0, light: bool = False, memory: int = 0, kind: str = "n") -> Task:
    return Task(name=name, kind=kind, needs=needs, seconds=seconds, light=light, memory=memory)


def drained(schedule: Schedule) -> list[tuple[str, ...]]:
    """Return what can be taken now."""
    found = []
    while batch := schedule.take():
        found.append(batch)
    return found


def test_longest_remaining_path_goes_first_not_the_longest_task() -> None:
    tasks = [task("long", seconds=5), task("root"), task("middle", "root", seconds=4), task("end", "middle", seconds=4)]
    schedule = Schedule(tasks, WIDE)
    assert drained(schedule) == [("root",), ("long",)]
    schedule.finish("root")
    assert drained(schedule) == [("middle",)]


def test_task_waits_for_everything_it_needs() -> None:
    schedule = Schedule([task("a"), task("b"), task("c", "a", "b")], WIDE)
    assert drained(schedule) == [("a",), ("b",)]
    schedule.finish("a")
    assert drained(schedule) == []
    schedule.finish("b")
    assert drained(schedule) == [("c",)]


DIAMOND = """
base
left: base
right: base
top: left right
alone
"""


def test_diamond_is_built_from_its_base_one_step_at_a_time() -> None:
    schedule = Schedule(graph_tasks(DIAMOND), WIDE)
    assert drained(schedule) == [("base",), ("alone",)]
    schedule.finish("base")
    assert drained(schedule) == [("left",), ("right",)]
    schedule.finish("left")
    assert drained(schedule) == []
    schedule.finish("right")
    assert drained(schedule) == [("top",)]
    schedule.finish("alone")
    schedule.finish("top")
    assert (schedule.live, schedule.waiting, schedule.blocked) == (frozenset(), (), {})


def test_failed_side_of_a_diamond_blocks_its_top_and_not_the_other_side() -> None:
    schedule = Schedule(graph_tasks(DIAMOND), WIDE)
    drained(schedule)
    schedule.finish("base")
    drained(schedule)
    assert schedule.fail("left") == ("top",)
    schedule.finish("right")
    assert drained(schedule) == []
    assert schedule.waiting == ()
    assert schedule.live == {"alone"}


def test_one_that_was_blocked_is_not_blocked_again_by_another_failure() -> None:
    schedule = Schedule(graph_tasks("a\nb\nc: a\nd: c b\n"), WIDE)
    drained(schedule)
    assert schedule.fail("a") == ("c", "d")
    assert schedule.fail("b") == ()
    assert schedule.blocked == {"c": "a", "d": "a"}


def test_jobs_bound_bakes_and_targets_bound_what_is_in_them() -> None:
    light = [task(f"s{n}", light=True) for n in range(10)]
    schedule = Schedule(light, Limits(jobs=2, targets=7, batch=4))
    batches = drained(schedule)
    assert [len(batch) for batch in batches] == [4, 3]
    for name in batches[0]:
        schedule.finish(name)
    assert [len(batch) for batch in drained(schedule)] == [3]


def test_batch_holds_light_tasks_of_one_kind_and_a_heavy_one_is_alone() -> None:
    tasks = [task("heavy", seconds=9), task("s", light=True, kind="s"), task("n", light=True), task("m", light=True)]
    assert drained(Schedule(tasks, WIDE)) == [("heavy",), ("s",), ("n", "m")]


def test_short_tasks_share_as_few_bakes_as_their_starts_may_cost() -> None:
    # Four starts of a tenth of a second are a twentieth of eight seconds.
    tasks = [task(f"n{number}", seconds=8, light=True) for number in range(10)]
    limits = Limits(jobs=99, targets=64, start=0.1)
    schedule = Schedule(tasks, limits)
    batches = drained(schedule)
    assert [len(batch) for batch in batches] == [3, 3, 2, 2]
    # A start that costs nothing, and one that costs all: alone each, and all at once.
    assert len(drained(Schedule(tasks, Limits(jobs=99, targets=64, start=0.001)))) == 10
    assert len(drained(Schedule(tasks, Limits(jobs=99, targets=64, start=9)))) == 1


def test_what_becomes_ready_while_bakes_enough_are_live_goes_together() -> None:
    tasks = [task("root"), *(task(f"n{n}", *(("root",) if n > 1 else ()), seconds=8, light=True) for n in range(6))]
    schedule = Schedule(tasks, Limits(jobs=99, targets=64, start=0.2))
    assert drained(schedule) == [("root",), ("n0",), ("n1",)]
    schedule.finish("root")
    assert drained(schedule) == [("n2", "n3", "n4", "n5")]


def test_tasks_of_unlike_lengths_share_no_bake() -> None:
    tasks = [task(name, seconds=seconds, light=True) for name, seconds in zip("abcd", (9, 6.5, 3, 1), strict=True)]
    assert drained(Schedule(tasks, WIDE)) == [("a", "b"), ("c", "d")]


def test_memory_of_what_is_live_stays_under_the_builders_and_a_giant_runs_alone() -> None:
    tasks = [task("giant", seconds=9, memory=20), task("big", seconds=5, memory=6), task("small", memory=4)]
    schedule = Schedule(tasks, Limits(jobs=9, targets=9, memory=10))
    assert drained(schedule) == [("giant",)]
    schedule.finish("giant")
    assert drained(schedule) == [("big",), ("small",)]


def test_smaller_task_passes_one_that_has_no_room() -> None:
    tasks = [task("a", seconds=9, memory=6), task("b", seconds=5, memory=6), task("c", memory=3)]
    assert drained(Schedule(tasks, Limits(jobs=9, targets=9, memory=10))) == [("a",), ("c",)]


def test_failure_blocks_what_needs_it_and_nothing_else() -> None:
    tasks = [task("bad"), task("good"), task("next", "bad"), task("last", "next", "good"), task("other", "good")]
    schedule = Schedule(tasks, WIDE)
    drained(schedule)
    assert schedule.fail("bad") == ("next", "last")
    schedule.finish("good")
    assert drained(schedule) == [("other",)]
    assert schedule.blocked == {"next": "bad", "last": "bad"}
    assert schedule.waiting == ()


def test_what_two_failures_block_is_reported_with_the_first() -> None:
    schedule = Schedule([task("a"), task("b"), task("c", "a", "b")], WIDE)
    drained(schedule)
    assert schedule.fail("b") == ("c",)
    assert schedule.fail("a") == ()
    assert schedule.blocked == {"c": "b"}


def test_what_is_given_back_waits_and_is_not_ready_again() -> None:
    schedule = Schedule([task("a"), task("b", "a")], WIDE)
    schedule.take()
    schedule.give_back("a")
    assert (schedule.live, schedule.waiting, schedule.take()) == (frozenset(), ("a", "b"), ())


def test_empty_run_has_nothing_to_start() -> None:
    assert Schedule([], WIDE).take() == ()


GRAPHS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        st.lists(st.sets(st.integers(0, 11)), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size),
    )
)


@given(GRAPHS, st.integers(1, 4), st.integers(1, 6))
def test_every_task_ends_once_after_its_needs_or_is_blocked_by_a_failure(
    graph: tuple[list[set[int]], list[bool], list[bool]], jobs: int, targets: int
) -> None:
    needs, light, fails = graph
    tasks = [
        task(str(n), *(str(each) for each in sorted(some) if each < n), light=light[n]) for n, some in enumerate(needs)
    ]
    schedule = Schedule(tasks, Limits(jobs=jobs, targets=targets, batch=3))
    done, failed, live = set[str](), set[str](), list[tuple[str, ...]]()
    while True:
        live += drained(schedule)
        assert len(live) <= jobs
        assert len(schedule.live) <= targets
        if not live:
            break
        for name in live.pop(0):
            assert set(schedule.task(name).needs) <= done
            assert name not in done | failed
            if fails[int(name)]:
                failed.add(name)
                schedule.fail(name)
            else:
                done.add(name)
                schedule.finish(name)
    assert done | failed | schedule.blocked.keys() == {each.name for each in tasks}
    assert not schedule.waiting
    for name, cause in schedule.blocked.items():
        assert cause in failed
        assert name not in done


def test_unknown_need_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        Schedule([task("a", "nobody")], WIDE)


class ByScanning(Schedule):
    """The rule in its plainest form: whenever something is taken, all tasks are looked at in their order."""

    def take(self, has_room: Callable[[Task], bool] = lambda _task: True) -> tuple[str, ...]:
        if len(set(self._batches.values())) >= self._limits.jobs:
            return ()
        order = sorted(self._tasks, key=lambda name: (-self._remaining[name], list(self._tasks).index(name)))
        gone = {*self._batches, *self._ended, *self._blocked, *self.given_back}
        ready = [name for name in order if name not in gone and {*self._tasks[name].needs} <= self.made]
        first = next((name for name in ready if self._fits(name) and has_room(self._tasks[name])), None)
        room = self._limits.targets - len(self._batches)
        if first is None or room < 1:
            return ()
        self._ready = ready
        taken = self._sharing(first)[:room]
        self._batches.update(dict.fromkeys(taken, frozenset(taken)))
        return taken

    made: frozenset[str] = frozenset()
    given_back: frozenset[str] = frozenset()


@st.composite
def tasks_in_order(draw: st.DrawFn) -> list[Task]:
    found: list[Task] = []
    for number in range(draw(st.integers(1, 14))):
        needs = draw(st.lists(st.sampled_from([each.name for each in found]), max_size=3)) if found else []
        found.append(
            task(
                f"t{number}",
                *needs,
                seconds=draw(st.sampled_from([0.5, 1.0, 1.1, 30.0])),
                light=draw(st.booleans()),
                memory=draw(st.sampled_from([0, 3, 5, 99])),
                kind=draw(st.sampled_from("ns")),
            )
        )
    return found


@given(
    tasks_in_order(),
    st.builds(
        Limits,
        jobs=st.integers(1, 4),
        targets=st.integers(1, 6),
        batch=st.integers(1, 4),
        memory=st.sampled_from([None, 6, 10]),
    ),
    st.data(),
)
def test_what_is_taken_is_what_scanning_all_tasks_would_take(
    tasks: list[Task], limits: Limits, data: st.DataObject
) -> None:
    one, other = Schedule(tasks, limits), ByScanning(tasks, limits)
    while True:
        taken = one.take()
        assert taken == other.take()
        if taken:
            continue
        if not one.live:
            break
        name = data.draw(st.sampled_from(sorted(one.live)))
        end = data.draw(st.sampled_from(["finish", "finish", "fail", "give_back"]))
        assert getattr(one, end)(name) == getattr(other, end)(name)
        if end == "finish":
            other.made |= {name}
        if end == "give_back":
            other.given_back |= {name}
    assert (one.waiting, dict(one.blocked)) == (other.waiting, dict(other.blocked))


class Counted(str):
    """A name that counts how often it is looked up."""

    __slots__ = ()
    looked_up = 0

    def __hash__(self) -> int:
        Counted.looked_up += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def test_taking_does_not_look_at_what_was_taken_before() -> None:
    count = 400
    names = [Counted(f"t{number}") for number in range(count)]
    schedule = Schedule([task(name) for name in names], Limits(jobs=1, targets=1))
    Counted.looked_up = 0
    for _ in range(count):
        (name,) = schedule.take()
        schedule.finish(name)
    # A few for each, and the steps of a search.
    assert Counted.looked_up < 40 * count


SYSTEM = """\
description: a system
kind: system
licence: free
provides: [os]
parent: {name: linux, images: ["example.com/linux:1"]}
"""
TOOL = "description: a tool\nkind: artifact\nlicence: free\nprefix: /opt/%s\ntoolchain: {layer: tools}\n"
FILE = "FROM toolchain AS build\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
LOCK = f"  linux:\n    reference: example.com/linux:1\n    digest: sha256:{'1' * 64}\n"
TREE = {
    "layers/system/layer.yaml": SYSTEM,
    "layers/system/Dockerfile": "FROM base\nRUN true\n",
    "layers/tools/layer.yaml": SYSTEM.replace("kind: system", "kind: toolchain").replace("provides: [os]\n", ""),
    "layers/tools/Dockerfile": "FROM base\nRUN true\n",
    "layers/small/layer.yaml": TOOL % "small",
    "layers/small/Dockerfile": FILE,
    "layers/large/layer.yaml": TOOL % "large" + "weight: {memory: 2 GB}\n",
    "layers/large/Dockerfile": FILE,
    "layers/slow/layer.yaml": TOOL % "slow" + "weight: {minutes: 40}\n",
    "layers/slow/Dockerfile": FILE,
    "stacks.yaml": "registry: r\nstacks:\n  one: {description: an image, layers: [system, small, large, slow]}\n",
    "buildsys.lock": f"version: 1\nparents:\n{LOCK}",
}


def tasks(seconds: dict[str, float], *, composed: bool = False, reused: str = "") -> dict[str, Task]:
    """Return the tasks of the tree by layer, the stack's as `one`."""
    made = make_plan(TREE)
    layers = {node.name: node.recipe.layer for node in made.nodes}
    names = {layer: name for name, layer in layers.items()} | {"one": made.stacks[0].name}
    actions = {
        name: Action(target=name, word=REUSE if name == names.get(reused) else BUILD, reason="") for name in made.order
    }
    history = History(seconds={names[layer]: each for layer, each in seconds.items()})
    images = frozenset({made.stacks[0].name}) if composed else frozenset[str]()
    return {layers.get(task.name, "one"): task for task in tasks_of(made, actions, history, images)}


def test_only_what_was_recorded_as_short_and_declares_no_weight_may_share_a_bake() -> None:
    found = tasks({"system": 4, "small": 9, "large": 4, "slow": 90})
    assert {layer for layer, task in found.items() if task.light} == {"system", "small", "one"}
    assert {layer for layer, task in tasks({}).items() if task.light} == {"one"}


def test_seconds_are_those_recorded_then_those_declared() -> None:
    assert tasks({"slow": 90})["slow"].seconds == 90
    assert tasks({})["slow"].seconds == 2400
    assert tasks({})["large"].memory == 2 * 10**9


def test_image_that_is_assembled_counts_as_short_whatever_was_recorded_beside_others() -> None:
    assembled, composed = tasks({"one": 70})["one"], tasks({"one": 70}, composed=True)["one"]
    assert (assembled.kind, assembled.seconds, assembled.light) == (ASSEMBLE, 1.0, True)
    assert (composed.kind, composed.seconds, composed.light) == (COMPOSE, 70, False)


def test_what_exists_is_no_task_and_nothing_waits_for_it() -> None:
    found = tasks({}, reused="system")
    assert "system" not in found
    assert sorted(found["one"].needs) == sorted(found[layer].name for layer in found if layer not in ("tools", "one"))
