"""What all tests share: unit tests start no process and open no connection; those of a few folders may."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.laws import register_profiles

register_profiles()

TESTS = Path(__file__).parent
START_PROCESSES = frozenset({"integration", "blackbox", "project"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-engine",
        action="store_true",
        help="a test that lacks its engine or registry fails instead of skipping",
    )
    parser.addoption(
        "--require-tools",
        action="store_true",
        help="a test that lacks a program such as node fails instead of skipping",
    )


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def barred(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a unit test starts no process and opens no connection")

    if request.path.relative_to(TESTS).parts[0] not in START_PROCESSES:
        monkeypatch.setattr(subprocess.Popen, "__init__", barred)
        for name in ("fork", "posix_spawn", "posix_spawnp", "system"):
            monkeypatch.setattr(os, name, barred, raising=False)
        for name in ("bind", "connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, barred)
