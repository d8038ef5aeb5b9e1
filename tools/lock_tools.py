#!/usr/bin/env python3
"""Write requirements-dev.txt: each package of the development environment at one version, with hashes.

The index is the one that pip uses on this machine, and its address stays out of the file. What is pinned stays as it
is unless pyproject.toml asks for more; `--upgrade` moves everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from machine_settings import pip_settings

ROOT = Path(__file__).parents[1]
FILE = "requirements-dev.txt"
# The oldest Python that the project runs on; `--universal` covers newer ones and all platforms by markers.
PYTHON = "3.11"


def uv_environment(pip: Mapping[str, str]) -> dict[str, str]:
    """Return pip's own settings as the variables that uv reads; folders and local indexes serve no other machine."""
    found = {}
    if index := pip.get("index-url"):
        found["UV_DEFAULT_INDEX"] = index
    if more := [word for word in pip.get("extra-index-url", "").split() if not word.startswith("file:")]:
        found["UV_INDEX"] = " ".join(more)
    if certificates := pip.get("cert"):
        found["SSL_CERT_FILE"] = certificates
    return found


def main() -> int:
    """Write the file and return the exit code of uv."""
    words = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "pyproject.toml", "--extra", "dev"]
    words += ["--universal", "--python-version", PYTHON, "--generate-hashes", "--no-emit-index-url", "--quiet"]
    words += ["--custom-compile-command", "make lock-tools", "--output-file", FILE, *sys.argv[1:]]
    environment = {**os.environ, **uv_environment(pip_settings())}
    return subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
