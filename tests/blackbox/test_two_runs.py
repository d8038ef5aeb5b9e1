"""Runs of one project at once, or after one was killed: each has its own events, logs, page and history."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import stand_ins
from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, buildsys, run, start, write

STACKS = "stacks:\n  img: {layers: [dist, conf]}\n  other: {layers: [dist, more]}\n"


@pytest.fixture
def shell(project: Path, tmp_path: Path) -> dict[str, str]:
    """Variables with a docker whose bakes wait for each other, and fail; the project gets a second stack."""
    write(project, "stacks.yaml", STACKS)
    write(project, "layers/more/layer.yaml", ARTIFACT.replace("/opt/conf", "/opt/more"))
    write(project, "layers/more/Dockerfile", ARTIFACT_DOCKERFILE.replace("opt/conf/conf", "opt/more/conf"))
    write(project, "layers/more/.dockerignore", "layer.yaml\n")
    write(project, "layers/more/conf", "more\n")
    (tmp_path / "bakes").mkdir()
    return {
        "PATH": stand_ins.docker(tmp_path / "bin"),
        "CALLS": str(tmp_path / "calls"),
        "BAKES": str(tmp_path / "bakes"),
        "AWAITED": "2",
    }


def bake(stack: str) -> tuple[str, ...]:
    return ("bake", stack, "--retries", "0", "--keep-going")


def test_two_runs_at_once_each_report_their_own(project: Path, shell: dict[str, str]) -> None:
    both = {
        stack: start(project, *bake(stack), shell={**shell, "WHY": f"denied to {stack}"}) for stack in ("img", "other")
    }
    undone: set[str] = set()
    for stack, process in both.items():
        stdout, stderr = process.communicate(timeout=90)
        assert process.returncode == 1, stdout + stderr
        report = Path(project, stdout.rpartition("report: ")[2].strip())
        events = [json.loads(line) for line in (report.parent / "events.jsonl").read_text("utf-8").splitlines()]
        assert events[0]["event"] == "run"
        assert stack in events[0]["command"]
        assert (events[-1]["event"], events[-1]["exit_code"]) == ("done", 1)
        names = {event["name"] for event in events if event["event"] == "target"}
        ended = {event["target"]: event for event in events if event["event"] == "end"}
        assert ended.keys() == names
        # The first word of a layer's target is its name.
        assert {name.partition("-")[0] for name in names} == {
            "dist",
            "tool",
            stack,
            "conf" if stack == "img" else "more",
        }
        why = {event["failure"]["message"] for event in ended.values() if event["failure"]}
        assert len(why) == 1
        assert why.pop().endswith(f"denied to {stack}")
        log = (report.parent / "logs" / "bake.jsonl").read_text("utf-8")
        assert f"denied to {stack}" in log
        assert log.count("denied to ") == log.count(f"denied to {stack}")
        page = report.read_text("utf-8")
        assert page.count("denied to ") == page.count(f"denied to {stack}") > 0
        assert not list(report.parent.glob("work-*"))
        undone |= ended.keys()
    assert both["img"].args != both["other"].args
    history = json.loads((project / ".buildsys/history.json").read_text("utf-8"))
    assert {*history["undone"]} == undone
    # One of the two is the last, with all its files.
    last = max((project / ".buildsys/runs").iterdir(), key=lambda each: int(each.name))
    for name in ("events.jsonl", "report.html"):
        assert (project / ".buildsys" / name).read_bytes() == (last / name).read_bytes()


def test_run_after_another_forgets_its_unfinished_targets(project: Path, shell: dict[str, str]) -> None:
    shell = {**shell, "AWAITED": "0", "WHY": "denied"}
    for stack in ("img", "other"):
        assert buildsys(project, *bake(stack), shell=shell).code == 1
    undone = json.loads((project / ".buildsys/history.json").read_text("utf-8"))["undone"]
    assert "other" in undone
    assert "img" not in undone


def test_two_runs_that_prepare_the_same_mirrors_do_not_meet(project: Path, tmp_path: Path) -> None:
    for number in range(200):
        write(tmp_path, f"given/pool/{number}", "x\n")
    write(project, "buildsys.settings.yaml", f"files: {tmp_path}/given\n")
    several = [start(project, "variables") for _ in range(4)]
    ends = [(process.communicate(timeout=90), process.returncode) for process in several]
    assert [code for _, code in ends] == [0] * 4, ends
    assert len(list((project / ".buildsys/mirrors/files/pool").iterdir())) == 200


def test_copies_of_a_killed_run_are_removed_by_the_next_and_its_events_stay(
    project: Path, tmp_path: Path, shell: dict[str, str]
) -> None:
    process = start(project, *bake("img"), shell={**shell, "AWAITED": "99"})
    bakes = tmp_path / "bakes"
    end = time.monotonic() + 60
    while not list(bakes.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    (first,) = (project / ".buildsys/runs").iterdir()
    assert list(first.glob("work-*/contexts/*"))
    # While it lives, no other run removes them.
    assert buildsys(project, *bake("other"), shell={**shell, "AWAITED": "0"}).code == 1
    assert list(first.glob("work-*/contexts/*"))
    process.kill()
    process.communicate(timeout=30)
    for each in bakes.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(each.name), signal.SIGKILL)
    assert list(first.glob("work-*"))
    assert buildsys(project, *bake("other"), shell={**shell, "AWAITED": "0"}).code == 1
    assert not list(first.glob("work-*"))
    assert (first / "events.jsonl").read_text("utf-8").startswith('{"event":"run"')


def test_report_is_built_from_files_of_an_older_version(project: Path) -> None:
    write(project, ".buildsys/events.jsonl", '{"event": "run", "at": 1.0, "version": 1, "command": "word-of-old"}\n')
    write(project, ".buildsys/logs/a.log", "x\n")
    assert run(project, "ls", ".buildsys").code == 0
    assert buildsys(project, "report").stdout == ".buildsys/report.html\n"
    assert "word-of-old" in (project / ".buildsys/report.html").read_text("utf-8")
