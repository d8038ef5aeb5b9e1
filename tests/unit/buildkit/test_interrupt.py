"""Stopping processes: the first request interrupts, the second kills, and nothing outlives its block."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

import pytest

from buildsys.buildkit.interrupt import Stop


class Child:
    """A process that runs until it is signalled."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int | None:
        self.returncode = -9
        return self.returncode


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What was sent to process groups."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda pid, number: found.append((pid, int(number))))
    return found


def child(pid: int = 7) -> Any:
    return cast(Any, Child(pid))


def test_first_request_interrupts_and_second_kills(sent: list[tuple[int, int]]) -> None:
    stop, process = Stop(), child()
    with stop.watch(process):
        assert not stop.requested
        stop.request()
        assert (stop.requested, sent) == (True, [(7, signal.SIGINT)])
        stop.request()
        assert sent == [(7, signal.SIGINT), (7, signal.SIGKILL)]
        process.returncode = -9


def test_every_process_that_runs_is_reached(sent: list[tuple[int, int]]) -> None:
    stop, one, two = Stop(), child(1), child(2)
    with stop.watch(one), stop.watch(two):
        stop.request()
        one.returncode = two.returncode = -2
    assert sent == [(1, signal.SIGINT), (2, signal.SIGINT)]


def test_process_that_starts_after_a_request_is_interrupted_at_once(sent: list[tuple[int, int]]) -> None:
    stop, process = Stop(), child()
    stop.request()
    with stop.watch(process):
        assert sent == [(7, signal.SIGINT)]
        process.returncode = -2


def test_process_that_ignores_the_interrupt_is_killed_after_the_grace(sent: list[tuple[int, int]]) -> None:
    stop, process = Stop(grace=0.01), child()
    with stop.watch(process):
        stop.request()
        for _ in range(500):
            if len(sent) > 1:
                break
            Stop().wait(0.01)
        process.returncode = -9
    assert sent == [(7, signal.SIGINT), (7, signal.SIGKILL)]


def test_process_that_has_ended_is_not_signalled(sent: list[tuple[int, int]]) -> None:
    stop, process = Stop(), child()
    with stop.watch(process):
        process.returncode = 0
        stop.request()
    stop.request()
    assert sent == []


def test_error_in_the_block_leaves_no_process_behind(sent: list[tuple[int, int]]) -> None:
    with pytest.raises(ZeroDivisionError), Stop().watch(child()):
        raise ZeroDivisionError
    assert sent == [(7, signal.SIGKILL)]


def test_first_signal_is_the_one_that_the_run_ends_with() -> None:
    stop = Stop()
    stop.request(signal.SIGTERM)
    stop.request(signal.SIGINT)
    assert stop.signal == signal.SIGTERM


def test_wait_ends_with_a_request() -> None:
    stop = Stop()
    stop.request()
    stop.wait(600)


def test_handlers_of_signals_are_those_of_before_after_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop().on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
