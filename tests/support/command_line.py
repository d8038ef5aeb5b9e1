"""Runs the command line of this checkout and writes small projects; imports nothing of buildsys.

So these tests also run on another revision of buildsys, see `tools/test_on_revision.py`, and fail there only for what
the command does.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
# What a caller's shell must not bring into a test.
_FOREIGN = ("BUILDSYS_", "BUILDX_", "GIT_", "GITHUB_")
# Variables that Python, the C library or typer read once, when they start.
_READ_AT_START = re.compile(
    "PYTHON|PY_COLORS|LC_|LANG|LD_|MALLOC|TZ$|FORCE_COLOR|NO_COLOR|TERMINAL_WIDTH|GITHUB_|_TYPER|TYPER_"
)

SYSTEM = """\
description: the system
kind: system
licence: various
provides: [os]
parent: {name: debian-12, images: ["docker.io/library/debian:12-slim"]}
toolchain: {layer: tool}
"""
TOOL = """\
description: what artifacts are built on
kind: toolchain
licence: various
parent: {name: toolchain-debian-12, images: ["docker.io/library/debian:12-slim"]}
"""
ARTIFACT = """\
description: a file
kind: artifact
licence: MIT
prefix: /opt/conf
requires: [os]
"""
ARTIFACT_DOCKERFILE = """\
FROM toolchain AS build
COPY conf /artifact/opt/conf/conf

FROM scratch
COPY --from=build /artifact /
"""
LOCK = f"""\
version: 1
parents:
  debian-12: {{reference: "docker.io/library/debian:12-slim", digest: "sha256:{"1" * 64}"}}
  toolchain-debian-12: {{reference: "docker.io/library/debian:12-slim", digest: "sha256:{"1" * 64}"}}
"""
IGNORED = "layer.yaml\ntests\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file with the mode that git gives it, and the folders above it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return path


def small_project(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a project of one system layer `dist`, one toolchain `tool`, one artifact `conf`, one stack `img`.

    `files` are written over it, by path. Nothing in it needs an engine to be planned.
    """
    given = {
        "stacks.yaml": "stacks:\n  img: {layers: [dist, conf]}\n",
        "buildsys.lock": LOCK,
        "layers/dist/layer.yaml": SYSTEM,
        "layers/dist/Dockerfile": "FROM base\nARG PACKAGES\nRUN true\n",
        "layers/dist/.dockerignore": IGNORED,
        "layers/tool/layer.yaml": TOOL,
        "layers/tool/Dockerfile": "FROM base\nRUN true\n",
        "layers/tool/.dockerignore": IGNORED,
        "layers/conf/layer.yaml": ARTIFACT,
        "layers/conf/Dockerfile": ARTIFACT_DOCKERFILE,
        "layers/conf/.dockerignore": IGNORED,
        "layers/conf/conf": "one\n",
        "mirrors/use": ":\n",
        **(files or {}),
    }
    for name, text in given.items():
        write(folder, name, text)
    return folder


def on_real_parents(project: Path) -> Path:
    """Put a project on parents that the engine can pull: those that were bootstrapped for this checkout."""
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local")
    (project / "buildsys.lock").unlink()
    if overlay.is_file():
        write(project, "buildsys.lock.local", overlay.read_text(encoding="utf-8"))
    return project


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: this process's own without what would change an answer, and `given`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN) and name != "CI"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **given}


def run(
    folder: Path,
    *words: str | Path,
    seconds: float = 120,
    shell: Mapping[str, str] = MappingProxyType({}),
    **given: str,
) -> Run:
    """Run a program in a folder to its end; `shell` and keywords set variables of its environment."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment({**shell, **given}),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def buildsys(
    folder: Path,
    *words: str | Path,
    seconds: float = 120,
    shell: Mapping[str, str] = MappingProxyType({}),
    **given: str,
) -> Run:
    """Run buildsys of this checkout in a folder, as `run` does, mostly as a fork of a process that has loaded it."""
    environ = {**shell, **given}
    if any(_READ_AT_START.match(name) for name in environ):
        return run(folder, *COMMAND, *words, seconds=seconds, shell=shell, **given)
    from tests.support.prepared import POOL, Conditions

    with POOL.one() as process:
        done = process.run(folder, [str(word) for word in words], Conditions(environ=environ), seconds=seconds)
    return Run(code=done.code, stdout=done.stdout, stderr=done.stderr)


COMMAND = (sys.executable, "-P", "-m", "buildsys")


def start(folder: Path, *words: str | Path, shell: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[str]:
    """Start buildsys of this checkout in a folder, in its own process group; the caller waits for it."""
    return subprocess.Popen(
        [*COMMAND, *(str(word) for word in words)],
        cwd=folder,
        env=environment(shell),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def git(folder: Path, *words: str) -> str:
    """Run git in a folder; a failure of it fails the test."""
    identity = ("-c", "commit.gpgsign=false", "-c", "user.name=test", "-c", "user.email=test@example.com")
    done = run(folder, "git", *identity, *words)
    assert done.code == 0, done.stderr
    return done.stdout


def refused(done: Run, *words: str, code: int = 4) -> None:
    """Assert that a command was refused with a message that has all words, and without a traceback."""
    assert "Traceback" not in done.output, done.output
    assert done.code == code, f"ended with {done.code}: {done.output}"
    missing = [word for word in words if word not in done.stderr]
    assert not missing, f"{missing} not in: {done.stderr}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server on loopback that answers each connection with bytes; `asked` is what came, `address` its URL."""

    address: str
    asked: list[bytes]

    @property
    def port(self) -> str:
        """The host's port."""
        return self.address.rpartition(":")[2]


@contextlib.contextmanager
def answering(*answers: bytes, reset: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve answers over plain sockets, in order, the last one repeatedly; with `reset` connections break after them.

    An answer is written as it is, so it may be cut off anywhere; then the connection ends.
    """
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            number = 0
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), plain:
                    plain.settimeout(10)
                    connection = tls.wrap_socket(plain, server_side=True) if tls else plain
                    asked.append(connection.recv(1 << 16))
                    connection.sendall(answers[min(number, len(answers) - 1)])
                    number += 1
                    if reset:
                        # Lingering for no time ends a connection with RST.
                        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if tls:
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        scheme = "https" if tls else "http"
        try:
            yield Server(address=f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", asked=asked)
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def http_answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer of HTTP that says `length` of its body, by default the truth."""
    said = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {said}", "Connection: close", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def program(folder: Path, name: str, python: str) -> Path:
    """Write a Python script that replaces a program on PATH, and return the folder to put there."""
    path = write(folder, name, f"#!{sys.executable}\n{python}")
    path.chmod(0o755)
    return folder


DOWNLOAD = """\
FROM toolchain AS build
ARG ARCHIVE_URL
ARG ARCHIVE_SHA256
ADD --checksum=sha256:${ARCHIVE_SHA256} ${ARCHIVE_URL} /artifact/opt/conf/archive

FROM scratch
COPY --from=build /artifact /
"""


def with_download(project: Path, url: str, rest: str = "", sha256: str = "unknown, reason: changes") -> None:
    """Let the layer `conf` fetch an address."""
    path = project / "layers" / "conf" / "layer.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}{rest}downloads: {{archive: {{url: '{url}', sha256: {sha256}}}}}\n", encoding="utf-8")
    write(project, "layers/conf/Dockerfile", DOWNLOAD)
