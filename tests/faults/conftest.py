"""Fixtures of the fault suite: an engine and a registry of its own, a proxy between them, and a witness."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.engines import ENGINE
from tests.faults.proxy import Proxy, between
from tests.faults.world import Story, World
from tests.support.commands import OwnEngine, start_own_engine, stop_own_engine

Record = Callable[[str, str, Story], None]


@pytest.fixture(autouse=True)
def _alone() -> None:
    """These tests are about connections that break, so they open some."""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A private engine and registry that may be killed, with Debian 12 as a base image."""
    found = start_own_engine(ENGINE, tmp_path_factory.mktemp("overlay") / "buildsys.lock.local", "debian:12")
    if isinstance(found, str):
        pytest.skip(f"no private engine: {found}")
    yield found
    stop_own_engine(ENGINE)


@pytest.fixture(scope="session")
def proxy(engine: OwnEngine) -> Iterator[Proxy]:
    """The proxy before the engine's registry."""
    with between(engine.registry) as found:
        yield found


@pytest.fixture(scope="session")
def whole(engine: OwnEngine, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything together."""
    return World.of(engine, proxy, Path(tmp_path_factory.mktemp("project")))


@pytest.fixture
def world(whole: World) -> Iterator[World]:
    """The world without a fault, before and after, with a version published; a failed case does not affect others."""
    whole.prepare()
    yield whole
    whole.mend()


@pytest.fixture(scope="session")
def _rows() -> Iterator[list[table.Row]]:
    rows: list[table.Row] = []
    yield rows
    if os.environ.get("BUILDSYS_WRITE_TABLE") and rows:
        table.write(rows)


@pytest.fixture(scope="session")
def _commit() -> str:
    return table.commit()


@pytest.fixture
def record(request: pytest.FixtureRequest, _rows: list[table.Row], _commit: str) -> Record:
    """Keep a story for the table."""

    def keep(group: str, fault: str, story: Story) -> None:
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        row = table.row(request.node.name, group, fault, story, commit=_commit, day=day)
        _rows.append(row)
        print(json.dumps(dataclasses.asdict(row)))

    return keep
