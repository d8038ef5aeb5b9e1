"""The time of everything that is built is in the lock: only `lock --timestamp` moves it. Epochs may have a counter."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command_line import LOCK, SYSTEM, Run, buildsys, small_project, write

LINE = "timestamp: 2026-11-23T00:00:00Z"
SECONDS = "1795392000"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project(tmp_path)


def locked(project: Path, line: str = LINE) -> Path:
    write(project, "buildsys.lock", f"{LOCK}{line}\n")
    return project


def lock_of(project: Path) -> str:
    return (project / "buildsys.lock").read_text(encoding="utf-8")


def lock(project: Path, *words: str) -> Run:
    return buildsys(project, "lock", "--offline", *words)


def today() -> str:
    return f"timestamp: {datetime.now(UTC):%Y-%m-%d}T00:00:00Z"


def times(project: Path) -> set[str]:
    """Return the values of SOURCE_DATE_EPOCH in the bake file."""
    assert buildsys(project, "plan", "--offline").code == 0
    bake_file = (project / "docker-bake.hcl").read_text(encoding="utf-8")
    found = re.findall(r'^target "(?!mirrors)(.*?)" \{(.*?)^\}', bake_file, re.MULTILINE | re.DOTALL)
    assert found
    return {time[1] if (time := re.search(r'SOURCE_DATE_EPOCH += "(\d+)"', body)) else "" for _, body in found}


def inputs(project: Path, name: str) -> dict[str, str]:
    done = buildsys(project, "explain", name, "--json", "--offline")
    assert done.code == 0, done.output
    found: dict[str, str] = json.loads(done.stdout)["inputs"]
    return found


def test_lock_adds_the_beginning_of_today_where_no_timestamp_is(project: Path) -> None:
    before = today()
    done = lock(project)
    assert done.code == 0, done.output
    assert set(re.findall("^timestamp: .*", lock_of(project), re.MULTILINE)) <= {before, today()}
    assert "timestamp:" in lock_of(project)
    assert "timestamp" in done.stdout


@pytest.mark.parametrize("words", [(), ("--update",), ("--update", "debian-*"), ("--update", "*")], ids=" ".join)
def test_no_other_lock_command_moves_the_timestamp(project: Path, words: tuple[str, ...]) -> None:
    locked(project)
    assert lock(project, *words).code == 0
    assert LINE in lock_of(project).splitlines()


def test_timestamp_option_moves_it_to_today_and_keeps_everything_else(project: Path) -> None:
    locked(project)
    before = lock_of(project) if lock(project).code == 0 else ""
    done = lock(project, "--timestamp")
    assert done.code == 0, done.output
    assert lock_of(project) in {before.replace(LINE, each) for each in (today(), today())}
    assert "2026-11-23T00:00:00Z → " in done.stdout


def test_timestamp_option_takes_a_time(project: Path) -> None:
    assert lock(project, "--timestamp", "2026-11-23T00:00:00Z").code == 0
    assert LINE in lock_of(project).splitlines()
    assert times(project) == {SECONDS}
    assert inputs(project, "img")["timestamp"] == "2026-11-23T00:00:00Z"


def test_update_and_timestamp_do_both(project: Path) -> None:
    locked(project)
    done = lock(project, "--update", "--timestamp", "debian-12")
    assert done.code == 0, done.output
    assert LINE not in lock_of(project).splitlines()


@pytest.mark.parametrize("wrong", ["tomorrow", "2026-11-23", "1979-12-31T00:00:00Z", "2026-02-30T00:00:00Z", "later"])
def test_time_that_no_image_can_have_is_refused_and_the_lock_stays(project: Path, wrong: str) -> None:
    locked(project)
    before = lock_of(project)
    if wrong == "later":
        wrong = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"
    done = lock(project, "--timestamp", wrong)
    assert done.code == 2, done.output
    assert f"`{wrong}` is not a timestamp, expected a time" in done.output
    assert "hint: use `" in done.output
    assert lock_of(project) == before


def test_two_times_and_a_check_are_wrong_usage(project: Path) -> None:
    done = lock(project, "--timestamp", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")
    assert (done.code, "`--timestamp` takes one time, found 2" in done.output) == (2, True)
    done = lock(project, "--timestamp", "--check")
    assert (done.code, "`--timestamp` and `--check` exclude each other" in done.output) == (2, True)


@pytest.mark.parametrize("line", ["timestamp: 1795392000", "timestamp: 1979-12-31T00:00:00Z", "timestamp: today"])
def test_timestamp_that_no_image_can_have_is_an_error_at_its_place(project: Path, line: str) -> None:
    done = buildsys(locked(project, line), "plan", "--offline")
    assert done.code == 4, done.output
    assert "--> buildsys.lock:5:12" in done.output
    assert "hint: run `buildsys lock --timestamp`, which sets today" in done.output


def test_lock_without_a_timestamp_means_the_same_day_on_every_machine(project: Path) -> None:
    assert times(project) == {"315619200"}
    assert inputs(project, "img")["timestamp"] == "1980-01-02T00:00:00Z"


def test_every_target_has_the_timestamp_and_every_key_depends_on_it(project: Path) -> None:
    locked(project)
    assert times(project) == {SECONDS}
    keys = {name: inputs(project, name)["timestamp"] for name in ("img", "dist", "conf-tool")}
    assert set(keys.values()) == {"2026-11-23T00:00:00Z"}


def with_epoch(project: Path, epoch: str) -> Path:
    write(project, "layers/dist/layer.yaml", f"{SYSTEM}freshness: week\n")
    write(project, "layers/dist/Dockerfile", "FROM base\nARG PACKAGES\nARG EPOCH\nRUN true\n")
    return locked(project, f"epochs: {{dist: {epoch}}}")


def test_epoch_with_a_counter_reaches_the_dockerfile_and_the_key(project: Path) -> None:
    with_epoch(project, "2026-11-23.2")
    assert inputs(project, "dist")["epoch"] == "2026-11-23.2"
    assert buildsys(project, "plan", "--offline").code == 0
    assert re.search(r'EPOCH += "2026-11-23\.2"', (project / "docker-bake.hcl").read_text(encoding="utf-8"))
    assert lock(project).code == 0
    assert "  dist: 2026-11-23.2" in lock_of(project).splitlines()


def test_update_moves_an_old_epoch_and_none_that_is_later_than_this_week(project: Path) -> None:
    with_epoch(project, "2020-01-06.7")
    assert lock(project, "--update", "dist").code == 0
    monday = datetime.now(UTC) - timedelta(days=datetime.now(UTC).weekday())
    assert f"  dist: {monday:%Y-%m-%d}" in lock_of(project).splitlines()
    with_epoch(project, "9999-12-27.3")
    assert lock(project, "--update", "dist").code == 0
    assert "  dist: 9999-12-27.3" in lock_of(project).splitlines()


@pytest.mark.parametrize("epoch", ["2026-11-23.1", "2026-11-23.0", "2026-11-23.02", "2026-11-23.x", "2026-11-31.2"])
def test_epoch_with_a_counter_that_does_not_count_is_refused(project: Path, epoch: str) -> None:
    done = buildsys(with_epoch(project, epoch), "plan", "--offline")
    assert done.code == 4, done.output
    assert f"`{epoch}`: expected a day such as `2026-11-23`, or with a counter from 2 on" in done.output
