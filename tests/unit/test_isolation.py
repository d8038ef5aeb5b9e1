"""Unit tests can start no process and reach no host, so what passes here passes anywhere."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest


@pytest.mark.parametrize(
    "start", [lambda: subprocess.run(["true"], check=False), lambda: os.system("true"), lambda: os.fork()]
)
def test_no_process_is_started(start: object) -> None:
    assert callable(start)
    with pytest.raises(AssertionError, match="starts no process"):
        start()


def test_no_connection_is_opened() -> None:
    with socket.socket() as one, pytest.raises(AssertionError, match="opens no connection"):
        one.connect(("127.0.0.1", 1))
    with socket.socket() as one, pytest.raises(AssertionError, match="opens no connection"):
        one.bind(("127.0.0.1", 0))
