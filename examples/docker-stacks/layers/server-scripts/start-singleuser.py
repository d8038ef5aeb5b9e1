#!/usr/bin/env python
"""Becomes the server of one user of a JupyterHub, which tells it all else by variables."""

import os
import shlex
import sys

words = ["jupyterhub-singleuser", *shlex.split(os.environ.get("NOTEBOOK_ARGS", "")), *sys.argv[1:]]
print(f"Executing: {shlex.join(words)}", flush=True)
os.execvp(words[0], words)
