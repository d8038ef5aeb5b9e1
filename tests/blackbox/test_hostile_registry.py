"""Whatever a registry, a token service, a redirect target or a download server answers ends as a message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command_line import buildsys, refused, small_project
from tests.support.docker_stub import put_docker
from tests.support.hostile_answers import Case, cases, representative, trusting
from tests.support.hostile_runs import faults, leaks, run, serving


def check(chosen: Sequence[Case], scratch: Path) -> None:
    with serving(chosen) as servers:
        ended = run(chosen, servers, scratch)
        wrong = {
            case.name: (found, each.output[-1500:])
            for case, each in zip(chosen, ended, strict=True)
            if (found := [*faults(case, each, servers)])
        }
        assert not wrong, "\n".join(f"{name}: {found}\n{output}" for name, (found, output) in wrong.items())
        reached = {asked.case for asked in servers.other.asked}
        assert {case.name for number, case in enumerate(chosen) if case.leads and f"c{number}" not in reached} == set()
        assert leaks(servers.other.asked) == []
        assert any(asked.authorization for asked in servers.home.asked)


def test_there_are_at_least_150_answers_with_names_of_their_own() -> None:
    names = [case.name for case in cases()]
    assert len({*names}) == len(names) >= 400
    assert len(representative()) >= 200
    assert sum(case.leads for case in representative()) >= 15


def test_each_answer_ends_in_time_and_memory_with_the_name_of_its_host_and_leaks_nothing(tmp_path: Path) -> None:
    check(representative(), tmp_path)


@pytest.mark.long
def test_each_answer_with_each_document_ends_so_too(tmp_path: Path) -> None:
    fast = {case.name for case in representative()}
    check([case for case in cases() if case.name not in fast or case.leads], tmp_path)


def test_credentials_for_a_host_that_the_user_trusts_are_found_by_the_search_for_leaks(tmp_path: Path) -> None:
    """The control: where settings allow it, the client does send them, and the search sees them."""
    with serving(trusting()) as servers:
        run(trusting(), servers, tmp_path)
        assert leaks(servers.other.asked)


COMMANDS = (("plan",), ("bake", "--push"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_registry_that_refuses_connections_ends_a_command_at_once_and_is_named_where_the_user_wrote_it(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Before, a run waited for it with retries, and no message said where the address comes from."""
    stacks = "registry: 127.0.0.1:1/declared\nstacks:\n  img: {layers: [dist, conf]}\n"
    project, path = small_project(tmp_path / "project", {"stacks.yaml": stacks}), put_docker(tmp_path)
    declared = buildsys(project, *words, PATH=path)
    refused(declared, "`127.0.0.1:1` cannot be reached: connection refused", "--> stacks.yaml:1:11", code=5)
    given = buildsys(project, *words, PATH=path, BUILDSYS_REGISTRY="127.0.0.1:1/given")
    refused(given, "`127.0.0.1:1` cannot be reached: connection refused", "`BUILDSYS_REGISTRY` names", code=5)
    for done in (declared, given):
        assert done.output.count("127.0.0.1:1`") == 1
        assert "retr" not in done.output
