"""A private engine for a benchmark of bakes: emptied between runs, with one small parent in its registry."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrap_debian import read_overlay
from engine_daemons import reset_engine, start, wipe
from engine_instance import Instance
from private_engine import bootstrap, default_home, settings_for_clients

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Emptied:
    """An engine, the environment that reaches it, and a parent image as reference and digest."""

    instance: Instance
    environment: Mapping[str, str]
    reference: str
    digest: str
    folder: Path

    def empty(self) -> None:
        """Empty the engine's store and cache, and let the disk be done with it before anything is measured."""
        reset_engine(self.instance)
        os.sync()

    def write(self, files: Mapping[str, str]) -> Path:
        """Write a project with this base image, and return its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self.folder


@contextlib.contextmanager
def running(name: str) -> Iterator[tuple[Instance, Mapping[str, str]]]:
    """Start an engine of that name, which holds nothing, with its registry; both are wiped at the end.

    Yields it and the environment that reaches it, without what the caller's says of others.
    """
    instance = Instance(home=default_home().expanduser().resolve(), name=name)
    wipe(instance, everything=False)
    state = start(instance)
    try:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("BUILDSYS_", "DOCKER_"))}
        path = f"{instance.home / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        yield instance, {**kept, **settings_for_clients(instance, state), "PATH": path}
    finally:
        wipe(instance, everything=False)


@contextlib.contextmanager
def emptied(name: str, folder: str) -> Iterator[Emptied]:
    """Start an engine of that name, which holds nothing; it is wiped at the end."""
    with running(name) as (instance, environment):
        where = ROOT / ".buildsys" / name / folder
        overlay = where.with_suffix(".lock")
        overlay.parent.mkdir(parents=True, exist_ok=True)
        overlay.unlink(missing_ok=True)
        bootstrap(instance, ["debian:12"], overlay, again=False)
        parent = read_overlay(overlay)["debian-12"]
        yield Emptied(
            instance=instance,
            environment=environment,
            reference=parent.reference,
            digest=parent.digest,
            folder=where,
        )
