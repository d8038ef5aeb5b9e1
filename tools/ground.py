"""The ground that a bake stands on: an engine, a registry, parents; what is missing is set up where it can be."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engine_daemons import is_running, start
from engine_instance import Instance, say
from machine_apt import Failure
from machine_settings import write_settings
from private_engine import bootstrap, default_home, settings_for_clients

ROOT = Path(__file__).parents[1]
OLDEST_BUILDX = (0, 29)
PARENT = "docker.io/library/debian:12-slim"
LOOK_SECONDS = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What was found or made: `environment` reaches docker and buildsys, `notes` say it to a person."""

    environment: dict[str, str]
    notes: tuple[str, ...]
    started: Instance | None = None


def _ask(command: Sequence[str], environment: dict[str, str]) -> str | None:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=LOOK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _usable_docker(environment: dict[str, str]) -> str | None:
    """Why the docker of this machine cannot be used, or none."""
    if not shutil.which("docker", path=environment.get("PATH")):
        return "there is no `docker` command"
    version = _ask(["docker", "buildx", "version"], environment)
    if version is None:
        return "docker has no buildx"
    number = next((word for word in version.split() if word[0].isdigit() or word.startswith("v")), "0")
    parts = number.removeprefix("v").split(".")
    if tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts[:2]) < OLDEST_BUILDX:
        return f"buildx {number} is older than 0.29"
    if _ask(["docker", "info", "--format", "{{.ServerVersion}}"], environment) is None:
        return "no docker engine answers"
    return None


def prepare(*, parents: Sequence[str] = ("debian:12", "debian:13")) -> Ground:
    """Use the docker that is there, else a private one; bootstrap the parents if no registry has them.

    Raises `Failure` with what to install where neither can be had.
    """
    environment = dict(os.environ)
    notes = []
    started = None
    overlay = ROOT / "buildsys.lock.local"
    instance = Instance(home=default_home().expanduser().resolve(), name="default")
    reason = _usable_docker(environment)
    if reason is None:
        notes.append("using the docker of this machine")
        pulled = _ask(["docker", "buildx", "imagetools", "inspect", PARENT], environment) is not None
        if not pulled and not overlay.exists():
            reason = "its engine reaches no registry with Debian's images"
    if reason is not None:
        say(f"{reason}: setting up a private engine in {instance.home}")
        running = is_running(instance)
        state = start(instance)
        if not running:
            started = instance
        environment.update(settings_for_clients(instance, state))
        environment["PATH"] = f"{instance.home / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
        notes.append(f"using a private engine and registry in {instance.home}")
        if _ask(["docker", "buildx", "imagetools", "inspect", PARENT], environment) is None:
            bootstrap(instance, parents, overlay, again=False)
            notes.append("Debian parents were bootstrapped from this machine's package mirror")
    if path := write_settings(ROOT):
        notes.append(f"builds use the mirrors and certificates of {path.name}")
    return Ground(environment=environment, notes=tuple(notes), started=started)


__all__ = ["ROOT", "Failure", "Ground", "prepare"]
