"""The end of support is reported by the plan and by `bake --all`, and changes no committed file."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

from tests.support import stand_ins
from tests.support.command_line import buildsys, write

STACKS = """\
stacks:
  img: {layers: [system], supported_until: %s}
  other: {layers: [system]}
"""


def bake_file(project: Path, until: str) -> tuple[str, str]:
    """Return the bake file of a project whose stack has support until a day, and what the plan reports."""
    system = (project / "stacks.yaml").read_text(encoding="utf-8").partition("layers: [")[2].partition("]")[0]
    write(project, "stacks.yaml", (STACKS % until).replace("layers: [system]", f"layers: [{system}]"))
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
    return (project / "docker-bake.hcl").read_text(encoding="utf-8"), done.stderr


def test_plan_warns_and_writes_the_same_file_on_all_days(project: Path) -> None:
    soon = str(date.today() + timedelta(days=60))
    far, nothing = bake_file(project, "2999-01-01")
    near, warned = bake_file(project, soon)
    ended, left = bake_file(project, "2020-01-01")
    assert far == near == ended
    assert "support of `img`" not in nothing
    assert f"warning: support of `img` ends on {soon}" in warned
    assert "warning: support of `img` ended on 2020-01-01" in left
    document = json.loads(buildsys(project, "plan", "--offline", "--json").stdout)
    assert "support of `img` ended on 2020-01-01" in document["warnings"]


def test_bake_of_everything_leaves_out_what_has_no_support(project: Path, tmp_path: Path) -> None:
    bake_file(project, "2020-01-01")
    shell = {"PATH": stand_ins.docker(tmp_path / "bin"), "CALLS": str(tmp_path / "calls"), "WHY": "denied"}
    done = buildsys(project, "bake", "--all", "--dry-run", shell=shell)
    assert "warning: left out: support of `img` ended on 2020-01-01" in done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  image")] == ["other"]
    named = buildsys(project, "bake", "img", "--dry-run", shell=shell)
    assert "left out" not in named.output
    assert [line.split()[1] for line in named.stdout.splitlines() if line.startswith("  image")] == ["img"]
