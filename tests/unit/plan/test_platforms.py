"""Which nodes run commands of a platform, and which start from images that are not for theirs."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from buildsys.plan.platforms import foreign_bases, running, runs_commands
from tests.support.trees import on_two_platforms, planned


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("FROM base\nCOPY a /a\n", False),
        ("FROM base\nRUN a\n", True),
        ("FROM --platform=$BUILDPLATFORM base AS build\nRUN cross\nFROM scratch\nCOPY --from=build /a /\n", False),
        ("FROM --platform=${BUILDPLATFORM} base AS build\nRUN cross\nFROM base\nRUN a\n", True),
        ("FROM --platform=$TARGETPLATFORM base\nRUN a\n", True),
    ],
)
def test_only_a_run_of_the_target_platform_needs_it(text: str, runs: bool) -> None:
    assert runs_commands(text, "Dockerfile") is runs


def test_nodes_that_run_commands_are_listed_by_platform() -> None:
    files = on_two_platforms()
    files["layers/fast/Dockerfile"] = files["layers/fast/Dockerfile"].replace("RUN make\n", "COPY a /artifact/a\n")
    assert running(planned(files).nodes) == {
        "linux/amd64": ("system-1", "tools-1"),
        "linux/arm64": ("system-1-arm64", "tools-1-arm64"),
    }


def test_parent_of_another_platform_is_refused_where_the_lock_lists_none() -> None:
    plan, asked = planned(on_two_platforms()), list[str]()

    def look(parent: str) -> Collection[str]:
        asked.append(parent)
        return ["linux/amd64"] if parent == "linux-1" else []

    targets = list(plan.targets.values())
    found = [(each.message.partition(",")[0], str(each.location)) for each in foreign_bases(targets, look)]
    # One image for each name is enough: it is looked up once, and what cannot be found out is let through.
    assert asked == ["linux-1", "tools-1"]
    assert found == [("`system 1 for arm64` is for `linux/arm64`", "layers/system/layer.yaml:5:16")]
