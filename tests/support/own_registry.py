"""A docker-registry with a storage of its own, for a test that stops it, cleans it up, or counts what it is asked."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

from tests.support.command_line import write

CONFIG = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
# In the combined log format of Apache.
_REQUEST = re.compile(r'"([A-Z]+) (/v2/\S*) HTTP/')


class OwnRegistry:
    """A registry with a storage of its own, which can be stopped, cleaned up and started."""

    def __init__(self, folder: Path, program: str) -> None:
        self._program = program
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self._config = write(folder, "registry.yaml", CONFIG.format(folder=folder / "registry", port=self.port))
        self._log = folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def prefix(self) -> str:
        """A repository prefix in it."""
        return f"{self.address}/x"

    def start(self) -> None:
        """Start it, and return when it answers."""
        words = [self._program, "serve", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        for _ in range(600):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the registry does not answer")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def refuse_deletion(self) -> None:
        """Let it refuse to delete anything when it is started again, as it does without a setting."""
        text = self._config.read_text(encoding="utf-8")
        self._config.write_text(text.replace("delete: {enabled: true}", "delete: {enabled: false}"), encoding="utf-8")

    def requests(self) -> list[tuple[str, str]]:
        """Return the method and the path of each request since the last call, without those for the version."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [each for line in lines if (each := _REQUEST.search(line)) and each[2] != "/v2/"]
        self._log.write_text("", encoding="utf-8")
        return [(each[1], each[2]) for each in found]

    def collect(self) -> str:
        """Delete all manifests without a tag, and all blobs that nothing names; return what is printed."""
        words = [self._program, "garbage-collect", "--delete-untagged", str(self._config)]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout
