"""Emulation only where it is asked for, and only where a builder can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buildsys.buildkit.docker import platforms_in
from buildsys.buildkit.platforms import check_emulation
from buildsys.errors import ExitCode, Unavailable
from tests.support.builder import DOCKER

INSPECTED = """\
Name:          fleet
Driver:        docker-container

Nodes:
Name:      fleet0
Platforms: linux/amd64, linux/amd64/v2, linux/386, linux/arm64, linux/riscv64
Name:      fleet1
Platforms: linux/s390x*, linux/ppc64le
"""
ARM = {"linux/arm64": ("tool-arm64",)}


def test_native_platforms_are_the_first_of_each_machine_and_those_that_a_person_gave_it() -> None:
    native, known = platforms_in(INSPECTED)
    assert native == ("linux/amd64", "linux/s390x")
    assert known == (
        *("linux/amd64", "linux/amd64/v2", "linux/386", "linux/arm64", "linux/riscv64", "linux/s390x"),
        "linux/ppc64le",
    )
    assert platforms_in("Name: x\nPlatforms: \n") == ((), ())


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/amd64/v3", "linux/386", "linux/s390x"])
def test_what_a_machine_of_the_builder_runs_is_no_emulation(platform: str, asked: bool) -> None:
    native, known = platforms_in(INSPECTED)
    check_emulation(replace(DOCKER, native=native, platforms=known), {platform: ("a",)}, asked=asked)


def test_emulation_that_was_not_asked_for_is_refused_with_what_to_do() -> None:
    docker = replace(DOCKER, native=("linux/amd64",), platforms=("linux/amd64", "linux/arm64"))
    with pytest.raises(Unavailable) as error:
        check_emulation(docker, {**ARM, "linux/amd64": ("tool",)}, asked=False)
    assert error.value.message == "the builder `default` runs `linux/amd64`, and `tool-arm64` needs `linux/arm64`"
    assert "--emulate" in (error.value.hint or "")
    assert error.value.exit_code == ExitCode.UNAVAILABLE
    check_emulation(docker, ARM, asked=True)


def test_emulation_that_the_builder_cannot_do_is_refused_with_what_to_install() -> None:
    docker = replace(DOCKER, native=("linux/amd64",), platforms=("linux/amd64", "linux/386"))
    with pytest.raises(Unavailable, match="cannot emulate `linux/arm64`") as error:
        check_emulation(docker, ARM, asked=True)
    assert "--install arm64" in (error.value.hint or "")


def test_nothing_that_runs_asks_nothing() -> None:
    check_emulation(DOCKER, {}, asked=False)
