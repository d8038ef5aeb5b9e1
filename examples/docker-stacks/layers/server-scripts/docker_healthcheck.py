#!/usr/bin/env python
"""Ends with 0 if the server of this container answers; docker runs it beside the server."""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

# It may run as root while the server is another user's, who has the files that tell the address.
home = {"HOME": f"/home/{os.environ['NB_USER']}"}
runtime = subprocess.run(
    ["jupyter", "--runtime-dir"], env={**os.environ, **home}, check=True, capture_output=True, text=True
).stdout.strip()
servers = sorted(Path(runtime).glob("*server-*.json"), key=lambda path: path.stat().st_mtime)
if not servers:
    sys.exit(f"no server has written to {runtime}")
url = json.loads(servers[-1].read_text())["url"]
if not url.startswith(("http://", "https://")):
    # A server on a socket of the file system cannot be asked this way.
    print(f"{url} is not asked")
    sys.exit(0)
# The certificate may be one of its own making, and no proxy stands before this machine.
handlers = (
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
)
with urllib.request.build_opener(*handlers).open(f"{url}api", timeout=4) as answer:
    print(answer.read().decode())
