"""Whatever ends in the middle of a bake, buildsys, the engine or the registry, loses nothing that was published."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from engine_daemons import engine_pid, registry_pid
from tests.faults.conftest import Record
from tests.faults.engines import ENGINE, instance_of, second_engine
from tests.faults.rules import Do, Hang, Rule
from tests.faults.workload import Ended
from tests.faults.world import World

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents, pytest.mark.long]

GROUP = "Something that is killed"
KILLS, IN_A_ROW = 20, 4
# A complete run sends more requests than this.
LAST_REQUEST = 200
SEED = 20261125
NODE_BLOB = "/x/nodes/blobs/uploads/"
NODE_MANIFEST = r"/x/nodes/manifests/[0-9a-f]{64}$"


def kill(pid: int | None) -> None:
    assert pid is not None, "it is not running"
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("name", "number", "code"), [("Ctrl-C", signal.SIGINT, 130), ("SIGTERM", signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_signal_ends_children_and_prints_a_summary(
    world: World, record: Record, name: str, number: int, code: int
) -> None:
    def interrupted(world: World) -> Ended:
        baking = world.project.start()
        assert world.proxy.await_request("PUT", NODE_MANIFEST, times=2)
        baking.signal(number)
        return baking.end(60)

    story = world.suffer(during=interrupted)
    record(GROUP, f"{name} after two nodes were published", story)
    assert story.first.code == code, story.first.output
    assert story.first.summed_up, story.first.output
    assert len(story.after.nodes) >= 2


def test_second_interrupt_ends_at_once(world: World, record: Record) -> None:
    took = 0.0

    def interrupted(world: World) -> Ended:
        nonlocal took
        baking = world.project.start()
        assert world.proxy.await_request("POST", "/x/nodes/blobs/uploads/")
        time.sleep(1)
        began = time.monotonic()
        baking.signal(signal.SIGINT)
        time.sleep(0.3)
        baking.signal(signal.SIGINT)
        done = baking.end(60)
        took = time.monotonic() - began
        return done

    # An upload that hangs keeps the bake from ending cleanly.
    hanging = Rule(method="PUT", path=NODE_BLOB, fault=Hang(seconds=60), times=None)
    story = world.suffer(hanging, during=interrupted)
    record(GROUP, "Ctrl-C twice while an upload hangs", story)
    # A process killed by the signal itself is 130 too, as a shell reports it.
    assert story.first.code in (130, -signal.SIGINT), story.first.output
    assert "Traceback" not in story.first.stderr, story.first.output
    assert took < 5, story.first.output


def test_interrupt_while_the_registry_is_down(world: World, record: Record) -> None:
    took = 0.0

    def interrupted(world: World) -> Ended:
        nonlocal took
        baking = world.project.start()
        assert world.proxy.await_request("PUT", NODE_MANIFEST, times=2)
        world.proxy.down()
        time.sleep(4)
        began = time.monotonic()
        baking.signal(signal.SIGINT)
        done = baking.end(90)
        took = time.monotonic() - began
        return done

    story = world.suffer(during=interrupted)
    record(GROUP, "Ctrl-C after the registry was down for 4 s", story)
    assert story.first.code == 130, story.first.output
    assert story.first.summed_up, story.first.output
    assert took < 15, story.first.output


@pytest.mark.parametrize("number", range(KILLS // IN_A_ROW))
def test_kill_at_any_moment(world: World, record: Record, number: int) -> None:
    """One version is killed repeatedly; each run resumes from the published results, and the last one finishes.

    The moment is a request to the registry and a while after it, so it does not depend on how fast the machine is.
    """
    chosen = random.Random(SEED + number)
    world.next_version()
    moments: list[float] = []
    before: frozenset[str] = frozenset()
    while len(moments) < IN_A_ROW:
        world.proxy.meet()
        baking = world.project.start()
        world.proxy.await_any(chosen.randrange(LAST_REQUEST), while_running=baking.running)
        time.sleep(chosen.uniform(0, 1.5))
        moment = time.monotonic() - baking.began
        baking.signal(signal.SIGKILL)
        killed = baking.end(60)
        if killed.code == 0:
            # It finished before the kill: kill another version instead.
            world.right()
            world.next_version()
            before = frozenset()
            continue
        assert killed.code == -signal.SIGKILL, killed.output
        moments.append(moment)
        assert not before & set(killed.runs), f"a published node is rebuilt\n{killed.output}"
        after = world.published()
        assert after.nodes >= before
        before = after.nodes
    story = world.recover(killed, partly=True)
    words = ", ".join(f"{moment:.1f}" for moment in moments)
    record(GROUP, f"kill -9 of buildsys {len(moments)} times in a row, {words} s after its start", story)


def test_engine_killed_in_a_run_and_back(world: World, record: Record) -> None:
    def killed(world: World) -> Ended:
        baking = world.project.start()
        assert world.proxy.await_request("PUT", NODE_MANIFEST, times=2)
        time.sleep(0.7)
        kill(engine_pid(instance_of(ENGINE)))
        time.sleep(3)
        world.start()
        return baking.end(240)

    story = world.suffer(during=killed)
    record(GROUP, "the engine in a RUN, back after 3 s", story)
    assert story.first.code in (0, 1, 5), story.first.output
    assert story.first.summed_up, story.first.output


def test_engine_killed_and_not_back(world: World, record: Record) -> None:
    def killed(world: World) -> Ended:
        baking = world.project.start()
        assert world.proxy.await_request("PUT", NODE_MANIFEST, times=2)
        kill(engine_pid(instance_of(ENGINE)))
        return baking.end(240)

    story = world.suffer(during=killed)
    record(GROUP, "the engine, permanently", story)
    assert story.first.code in (1, 5), story.first.output
    assert story.first.summed_up, story.first.output


def test_registry_killed_and_back(world: World, record: Record) -> None:
    back: list[threading.Timer] = []

    def fall() -> None:
        kill(registry_pid(instance_of(ENGINE)))
        # Else the proxy would still take connections to a registry that has stopped.
        world.proxy.down()
        timer = threading.Timer(6, rise)
        timer.start()
        back.append(timer)

    def rise() -> None:
        world.start()
        world.proxy.up()

    def killed(world: World) -> Ended:
        done = world.project.bake()
        for timer in back:
            timer.join()
        return done

    story = world.suffer(Rule(method="PUT", path=NODE_BLOB, fault=Do(action=fall), first=3), during=killed)
    record(GROUP, "the registry at the third upload, back after 6 s", story)
    assert back
    assert story.first.code == 0, story.first.output


@pytest.mark.parametrize("engines", [1, 2])
def test_two_bakes_at_once_do_not_harm_each_other(world: World, record: Record, tmp_path: Path, engines: int) -> None:
    """Two engines produce different bytes for a node, so both publish different content under one key."""
    ended: list[Ended] = []

    def both(world: World) -> Ended:
        other = world.project.copy(tmp_path / "other")
        with contextlib.ExitStack() as stack:
            if engines == 2:
                other.extra = stack.enter_context(second_engine())
            baking = [world.project.start(), other.start()]
            ended.extend(each.end() for each in baking)
        assert [each.code for each in ended] == [0, 0], "\n".join(each.output for each in ended)
        return ended[0]

    story = world.suffer(during=both, settled=engines == 1)
    runs = " and ".join(str(len(each.runs)) for each in ended)
    words = "one engine" if engines == 1 else "two engines"
    record(GROUP, f"none: two bakes of one project at once on {words}: {runs} RUN steps executed", story)
