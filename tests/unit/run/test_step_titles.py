"""A RUN of many lines is named by the command that takes the time."""

from __future__ import annotations

import pytest

from buildsys.run.step_events import titled, titles
from tests.integration.support import ROOT

COMPILE = """\
FROM toolchain AS build
RUN --mount=type=bind,from=mirrors,target=/run/mirrors <<END
set -eu
. /run/mirrors/use
cd /tmp
curl -O "$URL"
./configure --prefix=/opt/tool \\
    --disable-static
make -j "$(nproc)" install
END
RUN <<END
set -eux
apt-get update
apt-get --yes install one \\
    two
END
RUN make test
"""


def test_telling_command_is_found_behind_what_sets_up_the_shell() -> None:
    assert titles(COMPILE) == {
        "set -eu": 'make -j "$(nproc)" install',
        "set -eux": "apt-get --yes install one two",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RUN --mount=type=bind,from=mirrors <<END (set -eu...)", 'RUN make -j "$(nproc)" install'),
        ("RUN <<END (set -eux...)", "RUN apt-get --yes install one two"),
        ("RUN <<END (other...)", "RUN <<END (other...)"),
        ("RUN make test", "RUN make test"),
        ("COPY <<END (set -eu...) /x", "COPY <<END (set -eu...) /x"),
    ],
)
def test_name_of_a_step(name: str, shown: str) -> None:
    assert titled(name, titles(COMPILE)) == shown


def test_two_that_begin_alike_keep_buildkits_name() -> None:
    twice = "FROM base\nRUN <<END\nset -eu\nmake one\nEND\nRUN <<END\nset -eu\nmake two\nEND\n"
    assert titles(twice) == {}


def test_layers_of_this_project_are_told_by_what_they_do() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("layers/*/*ockerfile"))]
    found = [title for text in texts for title in titles(text).values()]
    assert len(found) >= 8
    assert not [title for title in found if title.startswith(("set ", ". ", "#"))]
