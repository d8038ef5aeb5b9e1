"""What all tests share: only those in `integration/` and `blackbox/` start processes and open connections."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import NoReturn

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-engine",
        action="store_true",
        help="a test that lacks its engine or registry fails instead of skipping",
    )


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def barred(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a unit test starts no process and opens no connection")

    if not {"integration", "blackbox"} & {*request.path.parts}:
        monkeypatch.setattr(subprocess.Popen, "__init__", barred)
        for name in ("fork", "posix_spawn", "posix_spawnp", "system"):
            monkeypatch.setattr(os, name, barred, raising=False)
        for name in ("bind", "connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, barred)
