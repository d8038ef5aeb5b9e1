#!/usr/bin/env python3
"""Time and memory of plan, keys and rendering for 100, 1,000 and 10,000 stacks, each in a process of its own."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from catalog import project


def measure(stacks: int) -> None:
    """Plan a generated project in this process and print what it took."""
    from buildsys.commands import make_plan
    from buildsys.key import folders_of, keys_of
    from buildsys.render import render
    from buildsys.workspace import Workspace

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in project(stacks).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        workspace = Workspace(root=folder)
        marks = [time.monotonic()]
        made = make_plan(workspace.tree())
        marks.append(time.monotonic())
        keys_of(made, workspace.contents(folders_of(made)))
        marks.append(time.monotonic())
        text = render(made)
        marks.append(time.monotonic())
    plan, keys, rendered = (after - before for before, after in itertools.pairwise(marks))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{stacks:6} stacks {len(made.nodes):6} nodes  plan {plan:6.2f} s  keys {keys:5.2f} s  render {rendered:5.2f} s"
        f"  in all {plan + keys + rendered:6.2f} s  {memory:5.0f} MiB  file {len(text) / 1e6:.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(int(sys.argv[1]))
    else:
        for stacks in (100, 1000, 10000):
            subprocess.run([sys.executable, __file__, str(stacks)], check=True, env=os.environ)
