"""How integration tests call commands."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildsys.buildkit.progress import parse_line
from buildsys.buildkit.vertices import Steps, executed_runs
from buildsys.oci.client import Registry
from buildsys.oci.reference import Manifest, Reference

ROOT = Path(__file__).parents[2]
BUILDSYS = ROOT / ".venv" / "bin" / "buildsys"
PRIVATE_ENGINE = ROOT / "tools" / "private_engine.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


Command = Callable[..., Run]


def run(
    *words: str | Path, cwd: Path = ROOT, seconds: float = 900, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a command to its end; `environment` is added to the caller's own."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def program(folder: Path, name: str, script: str) -> Path:
    """Write a shell script that replaces a program on PATH, and return its file."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnEngine:
    """A private engine and registry that a test may empty; `environment` is what uses it."""

    name: str
    environment: dict[str, str]
    overlay: Path

    @property
    def registry(self) -> str:
        """The host and port of its registry."""
        return self.environment["BUILDSYS_REGISTRY"].partition("/")[0]

    def reset(self) -> None:
        """Empty the engine's images and build cache; the registry keeps what it has."""
        done = run(sys.executable, PRIVATE_ENGINE, "reset-engine", "--name", self.name)
        assert done.code == 0, done.stderr


def start_own_engine(name: str, overlay: Path, *parents: str) -> OwnEngine | str:
    """Start a private engine and push parents, if any, to its registry; return why not where that cannot be."""
    # What a run that was killed left behind would be taken for what this one published.
    steps: list[list[str | Path]] = [["wipe"], ["start"]]
    if parents:
        steps.append(["bootstrap", *parents, "--overlay", overlay])
    for words in steps:
        done = run(sys.executable, PRIVATE_ENGINE, *words, "--name", name)
        if done.code:
            return done.stderr.strip()
    output = json.loads(run(sys.executable, PRIVATE_ENGINE, "status", "--json", "--name", name).stdout)
    path = f"{Path(output['home']) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return OwnEngine(name=name, environment={**output["settings"], "PATH": path}, overlay=overlay)


def stop_own_engine(name: str) -> None:
    """End a private engine and remove what it holds."""
    run(sys.executable, PRIVATE_ENGINE, "wipe", "--name", name)


def published_image(registry: Registry, name: str) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest and the config of an image, of an index those of its first."""
    reference = Reference.parse(name)
    found = registry.manifest(reference)
    assert found is not None
    if found.manifests:
        reference = reference.with_digest(found.manifests[0].digest)
        found = registry.manifest(reference)
    assert found is not None
    assert found.config is not None
    return found, dict(json.loads(registry.blob(reference, found.config.digest)))


def registry_program() -> str | None:
    """Return the program of a registry: one on PATH, or that of the private engine; None if there is none."""
    status = run(sys.executable, PRIVATE_ENGINE, "status", "--json")
    own = Path(json.loads(status.stdout)["home"]) / "root/usr/bin/docker-registry" if status.code == 0 else None
    return shutil.which("docker-registry") or (str(own) if own and own.is_file() else None)


def executed(rawjson: str) -> list[str]:
    """Return the names of the RUN steps that a bake really executed, each once however many targets show it."""
    steps = Steps()
    for line in rawjson.splitlines():
        steps.add(parse_line(line))
    return sorted(vertex.name for vertex in executed_runs(steps.snapshot()))


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on loopback while the block runs; yields its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
