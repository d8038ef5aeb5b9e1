"""One way to build: its engine and registry, its files for the current world, its commands."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import bootstrap_debian
from buildsys.buildkit.progress import Status, StepKind, parse_line
from buildsys.buildkit.vertices import Steps, executed_runs
from buildsys.commands.plan import make_plan
from buildsys.events.events import StepEnded, read_lines
from buildsys.plan.plan import Plan
from compare.measure import Command, Cost, measure
from compare.parent import changed_layer, push_folder
from compare.wheels import served
from compare.window import Window, opened
from compare.workload import COMPILE_MARK, World, cache_from, cache_to, project_files, rival_files
from engine_daemons import engine_pid, own_pid, reset_engine, start, wipe
from engine_instance import Instance
from engine_programs import tool_environment
from machine_apt import read_debian_source
from private_engine import bootstrap, settings_for_clients

ROOT = Path(__file__).parents[2]
SHIPPED = Path(__file__).parent / "project"
BUILDSYS = Path(sys.executable).with_name("buildsys")
# Work that belongs to the images and not to the ways: none of them attests anything.
# Published images are not needed in the store of the engine: they would be unpacked there first.
OUTPUT = "type=image,push=true,store=false,oci-mediatypes=true"
QUIET = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_CLI_HINTS": "false", "BUILDX_NO_DEFAULT_LOAD": "1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A RUN step that was executed, and whether it compiles the MPI."""

    digest: str
    compiles: bool


@dataclass(slots=True)
class Way:
    """A way with an engine and a registry of its own, so that none reuses the results of another."""

    name: str
    instance: Instance
    window: Window
    folder: Path
    index: str
    world: World = field(default_factory=World)
    calls: int = 0

    @property
    def registry(self) -> str:
        """Where its images are named."""
        return f"{self.window.host}/bench"

    @property
    def overlay(self) -> Path:
        """The base images of its project."""
        return self.folder / "parents.lock"

    @property
    def project(self) -> Path:
        """The folder with layers, or with Dockerfiles."""
        return self.folder / "project"

    def environment(self) -> dict[str, str]:
        """Return the environment of its commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BUILDSYS_", "DOCKER_"))}
        known = settings_for_clients(self.instance, self.instance.known_state())
        path = f"{self.instance.home / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        return {
            **kept,
            **known,
            **QUIET,
            "PATH": path,
            "BUILDSYS_REGISTRY": self.registry,
            "BUILDSYS_DOWNLOADS_DEBIAN_EXAMPLE_ORG": self.index.rstrip("/"),
            "BUILDSYS_PIP_INDEX_URL": self.index,
            "BUILDSYS_PIP_EXTRA_INDEX_URL": "",
            "BUILDSYS_PIP_FIND_LINKS": "",
            "BUILDSYS_PIP_TRUSTED_HOST": urlsplit(self.index).hostname or "",
        }

    def empty(self, *, everything: bool) -> None:
        """Empty the engine, or the registry too, which then has the parents and nothing else."""
        if not everything:
            reset_engine(self.instance)
            return
        wipe(self.instance, everything=False)
        start(self.instance)
        self.overlay.unlink(missing_ok=True)
        fresh = self.overlay.with_suffix(".made")
        fresh.unlink(missing_ok=True)
        bootstrap(self.instance, [f"debian:{number}" for number in self.world.releases], fresh, again=False)
        # Builds see the registry through the window only.
        self.overlay.write_text(fresh.read_text(encoding="utf-8").replace(self.window.upstream, self.window.host))

    def move_parent(self, number: str) -> None:
        """Put an image of the release with one more file in the registry, as if upstream had moved its tag."""
        cache = self.instance.home / "bootstrap"
        source, environment = read_debian_source(), tool_environment(self.instance.home)
        layer = bootstrap_debian.make_layer(number, source, cache, environment)
        moved = changed_layer(layer, self.folder / "moved.tar.gz")
        registry = bootstrap_debian.LocalRegistry(self.window.host)
        parent = bootstrap_debian.push_image(registry, number, moved)
        bootstrap_debian.update_overlay(self.overlay, {number: parent}, registry)

    def write(self) -> Plan:
        """Write its files for the current world, and return the plan of the project."""
        shipped = {
            path.relative_to(SHIPPED).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(SHIPPED.rglob("*"))
            if path.is_file()
        }
        files = dict(project_files(shipped, self.world))
        plan = make_plan({**files, "buildsys.lock.local": self.overlay.read_text(encoding="utf-8")}, overlay=True)
        project = self.project if self.name in "cd" else self.folder / "source"
        _write(project, {**files, "buildsys.lock.local": self.overlay.read_text(encoding="utf-8")})
        if (ROOT / "buildsys.settings.yaml").exists():
            shutil.copy(ROOT / "buildsys.settings.yaml", project)
        self._ask([str(BUILDSYS), "plan"], project)
        if project != self.project:
            variables = self.variables(project)
            registry = bootstrap_debian.LocalRegistry(self.window.host)
            mirrors = push_folder(registry, "bench/mirrors", project / variables.get("BUILDSYS_MIRRORS", "mirrors"))
            _write(self.project, rival_files(plan, files, self.registry, mirrors, self.index))
        return plan

    def variables(self, project: Path) -> dict[str, str]:
        """Return the variables with which plain bake reads the file of a project."""
        output = self._ask([str(BUILDSYS), "variables"], project)
        return dict(word.split("=", 1) for word in _exported(output))

    def _ask(self, words: Sequence[str], folder: Path) -> str:
        done = subprocess.run(
            words, cwd=folder, env=self.environment(), capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def commands(self, plan: Plan, *, unpack: bool = False, cut: float | None = None) -> tuple[Command, ...]:
        """Return what builds and pushes all images."""
        self.calls += 1
        images = {each.name: each.stack for each in plan.stacks}
        environment = self.environment()
        if self.name == "c":
            environment |= self.variables(self.project)
            environment["BUILDSYS_CACHE"] = f"{self.registry}/cache"
        return tuple(
            Command(
                words=words,
                folder=self.project,
                environment=environment,
                log=self.folder / "logs" / f"{self.calls}-{number}.jsonl",
                cut=cut,
            )
            for number, words in enumerate(words_of(self.name, images, self.registry, unpack=unpack))
        )

    def measure(self, commands: Sequence[Command]) -> Cost:
        """Run commands and return what they cost."""
        containerd = own_pid(
            self.instance.containerd_pid_file, self.instance.sockets / "exec/containerd/containerd.toml"
        )
        roots = [pid for pid in (engine_pid(self.instance), containerd) if pid]
        return measure(commands, roots, self.window, self.instance.folder)

    def executed(self, commands: Sequence[Command]) -> list[Step]:
        """Return the RUN steps that commands executed to their good end."""
        if self.name == "d":
            return executed_events((self.project / ".buildsys" / "events.jsonl").read_text(encoding="utf-8"))
        logs = [each.log for each in commands if each.log.exists()]
        return [step for log in logs for step in executed_raw(log.read_text(encoding="utf-8", errors="replace"))]


def words_of(
    way: str, images: Mapping[str, str], registry: str, *, unpack: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Return the command lines of a way; `images` maps target to image.

    With `unpack`, images are pushed in the usual way, by `--push`: the docker driver then also unpacks them into the
    store of the engine, which none of the ways needs.
    """
    progress = ("--progress", "rawjson")
    if way == "a":
        push = ("--push",) if unpack else ("--output", OUTPUT)
        return tuple(
            (
                *("docker", "build", *progress, *push, "--provenance=false", "--file", f"{image}.Dockerfile"),
                *("--tag", f"{registry}/{image}:latest", "--cache-from", cache_from(registry, image)),
                *("--cache-to", cache_to(registry, image), "."),
            )
            for image in images.values()
        )
    if way in "bc":
        file = ("--file", "docker-bake.json") if way == "b" else ()
        outputs = tuple(word for name in images for word in ("--set", f"{name}.output={OUTPUT}"))
        return (("docker", "buildx", "bake", *progress, *file, *(("--push",) if unpack else outputs)),)
    return ((str(BUILDSYS), "bake", "--all", "--push", "--quiet"),)


def executed_raw(text: str) -> list[Step]:
    """Return the RUN steps that one bake or build executed, from its raw JSON.

    A step that was found in a cache is shown again, and not as cached, while its result is pulled; one that another
    target has just executed is shown again as cached. So how a step ended first is what counts.
    """
    first: dict[str, tuple[float, bool]] = {}
    steps = Steps()
    for line in text.splitlines():
        event = parse_line(line)
        steps.add(event)
        for note in event.vertexes if isinstance(event, Status) else ():
            if note.completed is not None:
                end = (note.completed, note.cached)
                first[note.digest] = min(first.get(note.digest, end), end)
    return [
        Step(digest=vertex.digest, compiles=f"({COMPILE_MARK}" in vertex.name or vertex.owner.startswith("mpi-"))
        for vertex in executed_runs(steps.snapshot())
        if not first[vertex.digest][1]
    ]


def executed_events(text: str) -> list[Step]:
    """Return the RUN steps that a run of buildsys executed, from its events, one for each execution."""
    return [
        Step(digest=event.digest, compiles=event.target.startswith("mpi-"))
        for event in read_lines(text.splitlines())
        if isinstance(event, StepEnded) and event.kind == StepKind.RUN and not event.cached and not event.error
    ]


def _exported(output: str) -> Iterator[str]:
    for line in output.splitlines():
        if line.startswith("export "):
            yield from shlex.split(line.removeprefix("export "))


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def way(name: str, prefix: str, home: Path, folder: Path, wheels: Path) -> Iterator[Way]:
    """Start the engine and the registry of a way, and a window on it; all of it ends with the block."""
    instance = Instance(home=home, name=f"{prefix}-{name}")
    wipe(instance, everything=False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = start(instance)
    try:
        address = state.gateway.partition("/")[0]
        with opened(f"127.0.0.1:{state.port}") as window, served(wheels, address) as index:
            yield Way(name=name, instance=instance, window=window, folder=folder, index=index)
    finally:
        wipe(instance, everything=False)
