"""The requirements of a bake: an engine, a registry, base images; what is missing is set up where it can be."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap_debian import OverlayUnreadable, Parent, read_overlay
from buildsys.errors import BuildsysError
from buildsys.oci.bounds import Bounds
from buildsys.oci.client import Registry, ask_many
from buildsys.oci.http import RegistryProblem, Retries
from buildsys.oci.reference import Reference
from buildsys.project.mirrors import mirrored_reference
from buildsys.project.settings import read_settings
from engine_daemons import is_running, registry_answers, start, stop
from engine_instance import Instance, locked, say
from machine_apt import Failure, MachineUnfit, machine_lacks
from machine_settings import write_settings
from private_engine import bootstrap, default_home, settings_for_clients

ROOT = Path(__file__).parents[1]
OLDEST_BUILDX = (0, 29)
OLDEST_ENGINE = (28,)
PARENT = "docker.io/library/debian:12-slim"
REGISTRY = "docker.io/library/registry:2"
LOOK_SECONDS = 20
PULL_SECONDS = 120
UPDATE = "install Docker Engine 28 or later with buildx 0.29 or later"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why the docker of this machine will not do, and what would change that."""

    what: str
    fix: str


class NoGround(Failure):
    """Neither the docker of this machine nor a private engine can be used."""

    def __init__(self, reason: Reason, unfit: str, *, only_root: bool) -> None:
        way = "run this as root, and a private engine is set up" if only_root else ""
        super().__init__(
            f"{reason.what}, and a private engine cannot be set up: {unfit}",
            ", or ".join(each for each in (reason.fix, way) if each),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What was found or set up: `environment` is for docker and buildsys, `notes` are messages for the user.

    `started` is a private engine and `container` a registry that were started by this program.
    """

    environment: dict[str, str]
    notes: tuple[str, ...]
    private: bool = False
    started: Instance | None = None
    container: str = ""

    def end(self) -> None:
        """End what was started for it."""
        if self.started:
            with locked(self.started.home):
                stop(self.started)
        if self.container:
            _ask(["docker", "rm", "--force", "--volumes", self.container], self.environment)


def numbers(version: str) -> tuple[int, ...]:
    """The first two or three numbers in a text, such as `github.com/docker/buildx v0.29.1+ds1`."""
    found = re.search(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def judge(client: bool, buildx: str | None, engine: str | None, store: str, *, tests: bool) -> Reason | None:
    """Why a docker cannot be used, or none: from the words of buildx and engine, None where they did not answer.

    `store` is what the engine says of its image store; only the tests of shared caches need containerd's.
    """
    if not client:
        return Reason(what="there is no `docker` command", fix=UPDATE)
    if buildx is None:
        return Reason(what="docker has no buildx", fix="install the buildx plugin 0.29 or later")
    if numbers(buildx) < OLDEST_BUILDX:
        version = ".".join(map(str, numbers(buildx))) or buildx
        return Reason(what=f"buildx {version} is older than 0.29", fix="install the buildx plugin 0.29 or later")
    if engine is None:
        return Reason(
            what="no docker engine is reachable", fix="start the engine, or point `DOCKER_HOST` to one that runs"
        )
    if numbers(engine) < OLDEST_ENGINE:
        return Reason(what=f"the docker engine {engine} is older than 28", fix=UPDATE)
    if tests and "io.containerd.snapshotter" not in store:
        return Reason(
            what="the engine keeps its images in the old store, which can export no cache",
            fix='put `"features": {"containerd-snapshotter": true}` into its daemon.json and restart it',
        )
    return None


def _ask(command: Sequence[str], environment: Mapping[str, str], seconds: float = LOOK_SECONDS) -> str | None:
    """What a command says, None if it fails or takes too long."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _unusable(environment: Mapping[str, str], *, tests: bool) -> Reason | None:
    if not shutil.which("docker", path=environment.get("PATH")):
        return judge(False, None, None, "", tests=tests)
    buildx = _ask(["docker", "buildx", "version"], environment)
    output = _ask(["docker", "info", "--format", "{{json .ServerVersion}} {{json .DriverStatus}}"], environment) or ""
    engine, _, store = output.partition(" ")
    return judge(True, buildx, json.loads(engine) if engine else None, store, tests=tests)


def _reachable(reference: str, environment: Mapping[str, str]) -> bool:
    """Whether the registry has an image, asked by docker itself with whatever credentials it has."""
    return _ask(["docker", "buildx", "imagetools", "inspect", reference], environment) is not None


def _held(parents: Mapping[str, Parent]) -> bool:
    """Whether the registries of bootstrapped parents have them all."""
    with Registry(environ=os.environ, bounds=Bounds(connect=3, answer=10), retries=Retries(attempts=1)) as registry:
        wanted = [Reference.parse(f"{each.reference}@{each.digest}") for each in parents.values()]
        answers = ask_many(wanted, registry.head)
    return all(answer is not None and not isinstance(answer, RegistryProblem) for answer in answers.values())


def _mirrored(reference: str) -> str:
    try:
        return mirrored_reference(reference, read_settings(ROOT, os.environ))
    except BuildsysError as error:
        raise Failure(
            "; ".join(f"{each.location or ''} {each.message}".strip() for each in error.diagnostics())
        ) from error


def prepare(*, parents: Sequence[str] = ("debian:12", "debian:13"), tests: bool = False) -> Ground:
    """Use the installed docker, else a private one; bootstrap the base images if no registry has them.

    With `tests`, also start a registry on loopback. Raises `Failure` with a hint if something is not available.
    """
    notes = []
    if path := write_settings(ROOT):
        notes.append(f"builds use the mirrors and certificates of {path.name}")
    environment = dict(os.environ)
    overlay = ROOT / "buildsys.lock.local"
    parent = _mirrored(PARENT)
    reason = _unusable(environment, tests=tests)
    if reason is None:
        built = _usable_overlay(overlay, notes)
        if not built and not _reachable(parent, environment):
            reason = Reason(
                what="the docker of this machine reaches no registry with Debian's images",
                fix="name a mirror of docker.io under `parents` in `buildsys.settings.yaml`",
            )
    if reason is not None:
        return _private(reason, parents, parent, overlay, environment, notes)
    notes.insert(0, "using the docker of this machine")
    if not tests or re.match(r"(127\.0\.0\.1|localhost):\d", environment.get("BUILDSYS_REGISTRY", "")):
        return Ground(environment=environment, notes=tuple(notes))
    container, port = _registry_container(environment)
    environment["BUILDSYS_REGISTRY"] = f"127.0.0.1:{port}/buildsys"
    notes.insert(1, f"with a registry in a container at 127.0.0.1:{port}")
    return Ground(environment=environment, notes=tuple(notes), container=container)


def _usable_overlay(overlay: Path, notes: list[str]) -> bool:
    """Whether base images were built on this machine and still exist; an overlay that only misleads is removed."""
    try:
        entries = read_overlay(overlay)
    except OverlayUnreadable:
        # A person wrote it, and knows what it names.
        return True
    if not entries or _held(entries):
        return bool(entries)
    overlay.unlink()
    notes.append(f"{overlay.name} is removed: the registry of its base images no longer exists")
    return False


def _private(
    reason: Reason,
    parents: Sequence[str],
    parent: str,
    overlay: Path,
    environment: dict[str, str],
    notes: list[str],
) -> Ground:
    instance = Instance(home=default_home().expanduser().resolve(), name="default")
    running = is_running(instance)
    if not running and not machine_lacks():
        say(f"{reason.what}: setting up a private engine in {instance.home}")
    try:
        state = start(instance)
    except MachineUnfit as unfit:
        raise NoGround(reason, unfit.reason, only_root=machine_lacks() == ["root rights"]) from unfit
    environment.update(settings_for_clients(instance, state))
    environment["PATH"] = f"{instance.home / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    notes.insert(0, f"using a private engine and registry in {instance.home}")
    ground = Ground(environment=environment, notes=(), private=True, started=None if running else instance)
    try:
        if not _reachable(parent, environment):
            bootstrap(instance, parents, overlay, again=False)
            notes.insert(1, "Debian parents were bootstrapped from this machine's package mirror")
        else:
            _usable_overlay(overlay, notes)
    except Failure:
        ground.end()
        raise
    return dataclasses.replace(ground, notes=tuple(notes))


def _registry_container(environment: Mapping[str, str]) -> tuple[str, str]:
    """Start a registry on a free port of loopback; return its container and the port."""
    image = _mirrored(REGISTRY)
    command = ["docker", "run", "--detach", "--publish", "127.0.0.1::5000"]
    command += ["--env", "REGISTRY_STORAGE_DELETE_ENABLED=true", image]
    container = _ask(command, environment, PULL_SECONDS)
    output = _ask(["docker", "port", container, "5000/tcp"], environment) if container else None
    port = (output or "").partition("\n")[0].rpartition(":")[2]
    end = time.monotonic() + 20
    while port and time.monotonic() < end:
        if registry_answers(int(port)):
            return container or "", port
        time.sleep(0.1)
    if container:
        _ask(["docker", "rm", "--force", "--volumes", container], environment)
    raise Failure(
        f"no registry can be started: `{' '.join(command)}` does not lead to one",
        "name one on loopback by `BUILDSYS_REGISTRY`, such as `127.0.0.1:5000/buildsys`",
    )


__all__ = ["ROOT", "Failure", "Ground", "prepare"]
