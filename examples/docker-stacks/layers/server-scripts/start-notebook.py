#!/usr/bin/env python
"""Becomes the Jupyter server that the environment asks for, or the one of a JupyterHub that started this container."""

import os
import shlex
import subprocess
import sys
import time


def command(environment: dict[str, str], arguments: list[str]) -> list[str]:
    """Return the server's command: its kind, the words of NOTEBOOK_ARGS, and what stands on the command line."""
    if "JUPYTERHUB_API_TOKEN" in environment:
        return ["start-singleuser.py", *arguments]
    kind = environment.get("DOCKER_STACKS_JUPYTER_CMD", "lab")
    return ["jupyter", kind, *shlex.split(environment.get("NOTEBOOK_ARGS", "")), *arguments]


def main() -> None:
    """Start the server; with RESTARTABLE=yes it comes back whenever it ends."""
    words = command(dict(os.environ), sys.argv[1:])
    print(f"Executing: {shlex.join(words)}", flush=True)
    if os.environ.get("RESTARTABLE") != "yes":
        os.execvp(words[0], words)
    while True:
        subprocess.run(words, check=False)
        # One that cannot start would fill the log otherwise.
        time.sleep(1)


if __name__ == "__main__":
    main()
