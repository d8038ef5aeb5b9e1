"""How processes in groups of their own are stopped: the first request interrupts them, the second kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_SECONDS = 10.0


class Stop:
    """Stops the processes under it: a request interrupts them; `grace` seconds later, or a second one, kills them.

    One `Stop` may serve bakes in many threads. One that starts after a request is interrupted at once.
    """

    def __init__(self, *, grace: float = GRACE_SECONDS) -> None:
        self.signal: int | None = None
        self._grace = grace
        # A signal handler runs in the main thread and may find that thread inside the lock.
        self._lock = threading.RLock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._requests = 0
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether there was a request."""
        return self._requests > 0

    def request(self, number: int = signal.SIGINT) -> None:
        """Request a stop; `number` is the signal that was the cause."""
        with self._lock:
            self._requests += 1
            self._event.set()
            self.signal = self.signal or number
            at_once = self._requests > 1
            for process in self._running:
                self._end(process, at_once=at_once)

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until there is a request."""
        self._event.wait(seconds)

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[Stop]:
        """Request a stop on SIGINT and SIGTERM while the block runs; only the main thread may enter it."""

        def handle(number: int, _: FrameType | None) -> None:
            self.request(number)

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def watch(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Stop `process` too on a request while the block runs, and in any case if the block ends by an error."""
        with self._lock:
            self._running.append(process)
            if self.requested:
                self._end(process, at_once=False)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(process)
            if process.poll() is None:
                _signal_group(process, signal.SIGKILL)
                process.wait()

    def _end(self, process: subprocess.Popen[bytes], *, at_once: bool) -> None:
        _signal_group(process, signal.SIGKILL if at_once else signal.SIGINT)
        if not at_once:
            timer = threading.Timer(self._grace, _signal_group, (process, signal.SIGKILL))
            timer.daemon = True
            timer.start()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    # The group's number is free for others only after its leader was waited for, and that sets `returncode`.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
