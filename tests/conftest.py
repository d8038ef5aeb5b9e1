"""What all tests share: those outside of `integration/` start no process and open no connection."""

from __future__ import annotations

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

    if "integration" not in request.path.parts:
        monkeypatch.setattr(subprocess.Popen, "__init__", barred)
        monkeypatch.setattr(socket.socket, "connect", barred)
