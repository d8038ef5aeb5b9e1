"""Inputs of images, fetched once and served from this machine: the network is not measured."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from compare.window import Server

TRIES = 5
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SOURCE = re.compile(r"url: https://debian\.example\.org/(\S+)\n\s+sha256: ([0-9a-f]{64})$", re.MULTILINE)
PIN = re.compile(r"^\s*- ((\S+)==\S+ --hash=sha256:[0-9a-f]{64})$", re.MULTILINE)


def pins(text: str) -> tuple[tuple[str, str], ...]:
    """Return name and requirement of each pin in the text of a layer.yaml."""
    return tuple((name, pin) for pin, name in PIN.findall(text))


def fetch(layers: Path, folder: Path) -> None:
    """Put the wheels that layers pin below `folder`, each in a folder of its name, as an index has them."""
    for path in sorted(layers.glob("*/layer.yaml")):
        for name, pin in pins(path.read_text(encoding="utf-8")):
            _fetch(name, pin, folder / name)


def sources(text: str) -> tuple[tuple[str, str], ...]:
    """Return the path in an archive and the checksum of each download in the text of a layer.yaml."""
    return tuple(SOURCE.findall(text))


def fetch_sources(layers: Path, folder: Path, mirror: str) -> None:
    """Put the sources that layers name below `folder`, at the paths that they have on a mirror of Debian."""
    for layer in sorted(layers.glob("*/layer.yaml")):
        for path, checksum in sources(layer.read_text(encoding="utf-8")):
            where = folder / path
            if where.exists():
                continue
            with urllib.request.urlopen(f"{mirror.rstrip('/')}/{path}", timeout=60) as answer:
                data = answer.read()
            if hashlib.sha256(data).hexdigest() != checksum:
                raise SystemExit(f"error: `{path}` on the mirror is not what the layer names")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(data)


def _fetch(name: str, pin: str, where: Path) -> None:
    version = pin.split("==")[1].split()[0]
    if any(version in path.name for path in where.glob("*.whl")):
        return
    where.mkdir(parents=True, exist_ok=True)
    listed = where / "requirement.txt"
    listed.write_text(f"{pin}\n", encoding="utf-8")
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--timeout", "180"]
    words += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", "3.11"]
    words += [word for platform in PLATFORMS for word in ("--platform", platform)]
    words += ["--dest", str(where), "--requirement", str(listed)]
    for _ in range(TRIES):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            listed.unlink()
            return
    raise SystemExit(f"error: `{name}` cannot be fetched\n{done.stderr[-1000:]}")


class _Index(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        # A wheel never changes, and an index declares it as immutable: pip's cache keeps it.
        if self.path.endswith(".whl"):
            self.send_header("Cache-Control", "max-age=31536000, immutable, public")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Serve the wheels at an address of this machine while the block runs; yields the address of the index."""
    with Server((address, 0), functools.partial(_Index, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
