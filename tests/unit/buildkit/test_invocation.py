"""What a bake call becomes: the command, its environment, and the line to paste."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from buildsys.buildkit.docker import Docker
from buildsys.buildkit.invocation import BakeCall

DOCKER = Docker(
    command=("/usr/bin/docker",),
    buildx=("/plugins/docker-buildx",),
    buildx_version="0.29.1",
    engine_version="28.5.2",
    builder="mine",
    driver="docker",
    containerd_store=True,
    bake_flags=frozenset({"--allow", "--set"}),
    chosen="mine",
)
CALL = BakeCall(
    root=Path("/project"),
    files=(".buildsys/docker-bake.hcl",),
    targets=("one", "two"),
    overrides=("one.args.A=b c", "*.platform=linux/arm64"),
    environment={"BUILDSYS_TAG": "2 3", "BUILDSYS_A": "x"},
    push=True,
    no_cache=True,
    metadata_file=Path("/tmp/metadata.json"),
    allow=("fs.read=/srv",),
)


def test_command_has_options_before_targets_and_overrides_in_their_order() -> None:
    assert CALL.command(DOCKER) == (
        *("/plugins/docker-buildx", "bake", "--builder", "mine"),
        *("--file", ".buildsys/docker-bake.hcl", "--set", "one.args.A=b c", "--set", "*.platform=linux/arm64"),
        *("--allow", "fs.read=/srv", "--push", "--no-cache", "--metadata-file", "/tmp/metadata.json"),
        *("--progress", "rawjson", "one", "two"),
    )


def test_option_that_this_bake_does_not_know_is_left_out() -> None:
    assert "--allow" not in CALL.command(replace(DOCKER, bake_flags=frozenset()))


def test_printing_builds_nothing_and_shows_no_progress() -> None:
    words = CALL.print_command(DOCKER)
    assert words[-3:] == ("--print", "one", "two")
    assert "--progress" not in words
    assert "--metadata-file" not in words


def test_line_to_paste_is_the_same_bake_with_its_variables() -> None:
    words = shlex.split(CALL.shown(DOCKER))
    assert words[:2] == ["BUILDSYS_A=x", "BUILDSYS_TAG=2 3"]
    assert words[2:5] == ["docker", "buildx", "bake"]
    assert "one.args.A=b c" in words
    assert "rawjson" not in words


def test_child_sees_the_calls_variables_and_none_that_would_change_its_speech() -> None:
    found = CALL.child_environment({"PATH": "/bin", "BUILDSYS_TAG": "old", "BUILDX_BAKE_FILE": "other", "NO_COLOR": ""})
    assert found["BUILDSYS_TAG"] == "2 3"
    assert found["PATH"] == "/bin"
    assert found["NO_COLOR"] == "1"
    assert "BUILDX_BAKE_FILE" not in found


def test_child_starts_no_git_in_a_context_and_adds_no_label_of_it() -> None:
    found = CALL.child_environment({"BUILDX_GIT_INFO": "1", "BUILDX_GIT_LABELS": "full"})
    assert found["BUILDX_GIT_INFO"] == "false"
    assert "BUILDX_GIT_LABELS" not in found
