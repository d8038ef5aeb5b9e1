"""Which secrets a Dockerfile mounts, in every way in which BuildKit takes the id, and what is wrong with a mount."""

from __future__ import annotations

import pytest

from buildsys.dockerfile.mounts import secret_mounts, secret_problems, without_credentials
from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import Location

HERE = Location(file="layers/x/layer.yaml")
MIRRORS = "--mount=type=bind,from=mirrors,target=/run/mirrors"


def parsed(*lines: str) -> Dockerfile:
    return Dockerfile.parse("\n".join(["FROM base", *lines]), "Dockerfile")


@pytest.mark.parametrize(
    ("mount", "name", "required"),
    [
        ("type=secret,id=a", "a", False),
        ("type=secret,id=a,required", "a", True),
        ("id=a,type=secret,required=true", "a", True),
        ("type=secret,id=a,required=false", "a", False),
        ("type=secret,id=a,required=yes", "a", False),
        ("type=secret,ID=a,Required=1", "a", True),
        ("type=secret,target=/run/secrets/b", "b", False),
        ("type=secret,dst=/x/c,required=T", "c", True),
        ("type=secret,source=d,target=/x/c", "d", False),
        ("type=secret,id=a,src=d", "d", False),
        ("type=secret,id=a,env=A,required=true", "a", True),
        ("type=secret", "", False),
    ],
)
def test_id_of_a_mount_is_what_buildkit_takes_for_it(mount: str, name: str, required: bool) -> None:
    (found,) = secret_mounts(parsed(f"RUN --mount={mount} true"))
    assert (found.id, found.required) == (name, required)
    assert (found.location.line, found.location.column) == (2, 13)


@pytest.mark.parametrize(
    "line", ["RUN --mount=type=bind,target=/x true", "RUN true", "COPY a b", "RUN --mount=id=a true"]
)
def test_other_mounts_and_instructions_mount_no_secret(line: str) -> None:
    assert secret_mounts(parsed(line)) == ()


def test_each_mount_of_each_run_is_found_at_its_line() -> None:
    found = secret_mounts(
        parsed(
            "RUN --mount=type=secret,id=a --mount=type=secret,id=b true", "RUN \\", "  --mount=type=secret,id=c true"
        )
    )
    assert [(each.id, each.location.line) for each in found] == [("a", 2), ("b", 2), ("c", 4)]


@pytest.mark.parametrize(
    ("mounts", "count"),
    [
        (MIRRORS, 1),
        (f"{MIRRORS} --mount=type=secret,id=mirrors", 0),
        (f"--mount=type=secret,id=mirrors,required=true {MIRRORS}", 0),
        (f"{MIRRORS} --mount=type=secret,target=/run/secrets/mirrors", 0),
        (f"{MIRRORS} --mount=type=secret,id=mirrors,target=/elsewhere", 1),
        (f"{MIRRORS} --mount=type=secret,id=mirrors,env=MIRRORS", 1),
        (f"{MIRRORS} --mount=type=secret,id=other", 1),
        ("--mount=from=Mirrors,target=/m", 1),
        ("--mount=type=bind,from=files,target=/m", 0),
    ],
)
def test_run_that_mounts_the_mirrors_alone_is_found(mounts: str, count: int) -> None:
    assert len(without_credentials(parsed(f"RUN {mounts} true"))) == count


def test_every_problem_is_found_at_its_mount() -> None:
    dockerfile = parsed(
        "RUN --mount=type=secret,id=a,required=true true",
        "RUN --mount=type=secret,id=b,required=true true",
        "RUN --mount=type=secret,id=a true",
        "RUN --mount=type=secret,id=$X,required=true true",
        "RUN --mount=type=secret,id=mirrors true",
    )
    found = [(each.location.line, each.hint) for each in secret_problems(dockerfile, {"a": HERE}, "f") if each.location]
    assert [line for line, _ in found] == [3, 4, 5]
    assert found[1][1] == "add `,required=true` to the mount"
