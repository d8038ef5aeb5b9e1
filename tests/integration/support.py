"""How integration tests call commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILDSYS = ROOT / ".venv" / "bin" / "buildsys"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


Command = Callable[..., Run]


def run(*words: str | Path, cwd: Path = ROOT, seconds: float = 900, **environment: str) -> Run:
    """Run a command to its end."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)
