"""What the findings on a machine come to: each state, and the fix for whatever is not ok."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buildsys.commands.doctor import Check, Facts, Found, ParentFound, State, exit_code, judge, numbers
from buildsys.errors import ExitCode

GOOD = Facts(
    client=Found(value="28.5.2"),
    buildx=Found(value="0.29.1"),
    driver=Found(value="docker"),
    engine=Found(value="28.5.2"),
    git=Found(value="2.39.5"),
    containerd_store=True,
    store="/var/lib/docker",
    free=100_000_000_000,
    project=Found(value="/work"),
    bake_file=Found(value="up to date"),
    parents=(ParentFound(name="debian-12", built_here=True), ParentFound(name="ubuntu-22.04")),
)


def named(facts: Facts, name: str) -> Check:
    return next(each for each in judge(facts) if each.name == name)


def states(facts: Facts) -> dict[str, str]:
    return {each.name: str(each.state) for each in judge(facts)}


def test_machine_with_all_of_it_is_ok_and_needs_no_fix() -> None:
    checks = judge(GOOD)
    assert [each.name for each in checks] == [
        *("docker", "buildx", "engine", "builder", "image store", "registry", "disk", "git"),
        *("project", "bake file", "parents"),
    ]
    assert {each.state for each in checks} == {State.OK}
    assert {each.fix for each in checks} == {None}
    assert exit_code(checks) == ExitCode.DONE


@pytest.mark.parametrize(
    ("version", "state"),
    [("0.12.1", "error"), ("0.13.0", "warning"), ("0.28.9", "warning"), ("0.29.0", "ok"), ("v0.37.1-desktop", "ok")],
)
def test_buildx_is_judged_by_number_not_by_text(version: str, state: str) -> None:
    assert states(replace(GOOD, buildx=Found(value=version)))["buildx"] == state


def test_buildx_lists_only_what_is_newer_than_itself() -> None:
    found = {v: judge(replace(GOOD, buildx=Found(value=v)))[1].found for v in ("0.29.1", "0.36.0", "0.37.0")}
    assert found["0.29.1"].count("from 0.") == 3
    assert found["0.36.0"].count("from 0.") == 1
    assert found["0.37.0"] == "0.37.0"


@pytest.mark.parametrize(("version", "state"), [("20.10.24", "error"), ("27.5.1", "warning"), ("29.0.0", "ok")])
def test_engine_is_judged_by_its_version(version: str, state: str) -> None:
    assert states(replace(GOOD, engine=Found(value=version)))["engine"] == state


def test_missing_client_is_one_error_and_hides_what_cannot_be_asked() -> None:
    facts = Facts(client=Found(problem="the command `docker` is not on PATH", fix="install it"), git=Found(value="2"))
    assert states(facts) == {"docker": "error", "registry": "ok", "git": "ok", "project": "ok"}
    assert exit_code(judge(facts)) == ExitCode.UNAVAILABLE


def test_missing_buildx_is_not_reported_a_second_time_as_a_missing_builder() -> None:
    gone = Found(problem="gone", fix="install it")
    assert "builder" not in states(replace(GOOD, buildx=gone, driver=gone))


def test_missing_engine_is_an_error_unless_the_builder_is_elsewhere() -> None:
    down = replace(GOOD, engine=Found(problem="no docker engine is reachable", fix="start it"))
    assert states(down)["engine"] == "error"
    assert states(replace(down, driver=Found(value="remote"), registry="r.example.com/x"))["engine"] == "warning"
    assert "disk" not in states(down)


def test_old_image_store_is_a_warning_with_the_setting_that_changes_it() -> None:
    store = next(each for each in judge(replace(GOOD, containerd_store=False)) if each.name == "image store")
    assert store.state is State.WARNING
    assert "containerd-snapshotter" in (store.fix or "")


def test_builder_in_a_container_wants_a_registry() -> None:
    alone = replace(GOOD, driver=Found(value="docker-container"))
    assert states(alone)["image store"] == "warning"
    assert states(replace(alone, registry="127.0.0.1:5000/x"))["image store"] == "ok"


def test_registry_that_wants_a_login_is_not_mistaken_for_one_that_is_down() -> None:
    named = replace(GOOD, registry="r.example.com/x", registry_problem="no", registry_fix="do")
    assert states(named)["registry"] == "error"
    assert states(replace(named, wants_login=True))["registry"] == "warning"
    assert states(replace(named, registry_problem=""))["registry"] == "ok"


@pytest.mark.parametrize(
    ("free", "state"), [(1_000_000_000, "error"), (5_000_000_000, "warning"), (30_000_000_000, "ok"), (None, "ok")]
)
def test_free_disk_is_judged_where_it_can_be_seen(free: int | None, state: str) -> None:
    assert states(replace(GOOD, free=free))["disk"] == state


def test_invalid_project_is_an_error_and_no_project_is_a_warning() -> None:
    wrong = replace(GOOD, project=Found(problem="no", fix="do"), bake_file=None, parents=())
    assert states(wrong)["project"] == "warning"
    assert states(replace(wrong, diagnostics=True))["project"] == "error"
    assert "bake file" not in states(wrong)


def test_old_bake_file_is_a_warning_since_buildsys_runs_the_sources() -> None:
    old = replace(GOOD, bake_file=Found(problem="differs", fix="run `buildsys plan` and commit the result"))
    assert states(old)["bake file"] == "warning"
    assert exit_code(judge(old)) == ExitCode.DONE


def test_parents_are_an_error_only_where_none_is_available() -> None:
    down = [ParentFound(name=f"p{number}", problem="down") for number in range(5)]
    assert named(GOOD, "parents").found == "2 of 2 are available (1 built on this machine)"
    some = named(replace(GOOD, parents=(ParentFound(name="debian-12"), *down)), "parents")
    assert (some.state, some.found) == (State.WARNING, "1 of 6 are available; not `p0`, `p1`, `p2` and 2 more: down")
    none = named(replace(GOOD, parents=(ParentFound(name="here", problem="gone", built_here=True), *down)), "parents")
    assert (none.state, none.found) == (
        State.ERROR,
        "0 of 6 are available; not `here`: gone; not `p0`, `p1`, `p2` and 2 more: down",
    )


def test_whatever_is_not_ok_says_what_to_do() -> None:
    bad = Facts(
        client=Found(value="28.5.2"),
        buildx=Found(value="0.12.0"),
        driver=Found(value="docker"),
        engine=Found(value="20.10.1"),
        git=Found(problem="missing", fix="install git"),
        free=1,
        registry="r.example.com/x",
        registry_problem="down",
        registry_fix="start it",
        project=Found(problem="stacks.yaml:3:1: wrong", fix="look"),
        diagnostics=True,
        bake_file=Found(problem="`docker-bake.hcl` is not up to date", fix="run `buildsys plan`"),
        parents=(ParentFound(name="debian-12", problem="gone"),),
    )
    assert {each.name for each in judge(bad) if each.state is State.OK} == {"docker", "builder"}
    assert [each.name for each in judge(bad) if each.state is not State.OK and not each.fix] == []


def test_numbers_of_a_version_end_where_it_stops_to_be_numeric() -> None:
    assert [numbers(text) for text in ("v0.29.1+ds1", "28.5.2+dfsg4", "dev")] == [(0, 29, 1), (28, 5, 2), (0,)]
