"""The work that the faults meet: a small project with real RUN steps of a second or two, new each time it is asked.

Two system nodes on each other, a toolchain, three artifacts; four stacks: two are composed at the registry
and two, by their WORKDIR, assembled by the engine. One artifact is large enough to break off in its middle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import Event, Retried, StepEnded, read_lines
from tests.support.commands import BUILDSYS, run

NODES = {
    "system": "system",
    "extra": "extra-on-system",
    "tools": "tools",
    "alpha": "alpha-tools",
    "beta": "beta-tools",
    "gamma": "gamma-tools",
}
STACKS = {
    "one": ("system", "alpha", "beta"),
    "two": ("system", "extra", "gamma"),
    "three": ("system", "extra", "alpha", "beta", "gamma"),
    "four": ("system", "alpha"),
}
LARGE_BLOB = 3_000_000

_PARENT = 'parent: {name: "debian-12", images: ["docker.io/library/debian:12-slim"]}\n'
_LAYERS = {
    "system": (
        f"description: a system\nkind: system\nlicence: free\nprovides: [os]\n{_PARENT}toolchain: {{layer: tools}}\n"
    ),
    "extra": "description: more of a system\nkind: system\nlicence: free\nrequires: [os]\n",
    "tools": (
        "description: toolchain for artifacts\nkind: toolchain\nlicence: free\n"
        'parent: {name: "toolchain-debian-12", images: ["docker.io/library/debian:12-slim"]}\n'
    ),
    "alpha": "description: small\nkind: artifact\nlicence: free\nprefix: /opt/alpha\nrequires: [os]\n",
    "beta": "description: large\nkind: artifact\nlicence: free\nprefix: /opt/beta\nrequires: [os]\norder: 1\n",
    "gamma": (
        "description: with a folder\nkind: artifact\nlicence: free\nprefix: /opt/gamma\nrequires: [os]\norder: 2\n"
        "workdir: /srv/gamma\n"
    ),
}
# Bytes that no compression makes fewer, the same each time.
_NOISE = f"perl -e 'srand(7); print chr(int(rand(256))) for 1..{LARGE_BLOB}' >/artifact/opt/beta/noise"


def _dockerfile(layer: str, text: str) -> str:
    if layer in ("system", "extra", "tools"):
        return f"FROM base\nRUN sleep 1 && mkdir -p /etc/built && echo {text} >/etc/built/{layer}\n"
    more = f" && {_NOISE}" if layer == "beta" else ""
    return (
        f"FROM toolchain AS build\nRUN sleep 1 && mkdir -p /artifact/opt/{layer} && "
        f"echo {text} >/artifact/opt/{layer}/built{more}\nFROM scratch\nCOPY --from=build /artifact /\n"
    )


def expected_files(stack: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the files that an image must have, by path, for the texts of layers."""
    locations = {layer: "etc/built/{}" if layer in ("system", "extra") else "opt/{}/built" for layer in STACKS[stack]}
    return {location.format(layer): f"{texts[layer]}\n" for layer, location in locations.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a bake ended: `code` is minus the number of a signal that killed it, None if it had to be given up."""

    code: int | None
    seconds: float
    stdout: str
    stderr: str
    runs: tuple[str, ...]
    retries: int

    @property
    def summed_up(self) -> bool:
        """Whether its output ends with the summary."""
        return re.search(r"\d RUN steps? executed", self.stdout) is not None

    @property
    def output(self) -> str:
        """Its output, for the message of an assertion."""
        return f"exit {self.code} after {self.seconds:.1f} s, RUN of {self.runs}\n{self.stdout}\n{self.stderr}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What buildsys says that it would do, and under which keys."""

    keys: Mapping[str, str]
    build: frozenset[str]


@dataclass(slots=True)
class Project:
    """The project in one folder, published below one prefix through the proxy; each layer has a text in its step."""

    folder: Path
    environment: Mapping[str, str]
    overlay: str
    texts: dict[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    def write(self, text: str, *layers: str) -> None:
        """Write the project with a new text in the steps of some layers, or of all: these were never built."""
        self.texts |= dict.fromkeys(layers or _LAYERS, text)
        for layer, fields in _LAYERS.items():
            self._file(f"layers/{layer}/layer.yaml", fields)
            self._file(f"layers/{layer}/Dockerfile", _dockerfile(layer, self.texts[layer]))
            self._file(f"layers/{layer}/.dockerignore", "*\n")
        lines = [f"  {name}: {{layers: [{', '.join(layers)}]}}\n" for name, layers in STACKS.items()]
        self._file("stacks.yaml", "stacks:\n" + "".join(lines))
        self._file("mirrors/use", ":\n")
        self._file("buildsys.lock", "version: 1\n")
        self._file("buildsys.lock.local", self.overlay)

    def edit(self, layer: str, old: str, new: str) -> None:
        """Change the Dockerfile of a layer."""
        path = self.folder / f"layers/{layer}/Dockerfile"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def _file(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def planned(self) -> Planned:
        """Ask for the plan; everything must be reachable."""
        done = run(BUILDSYS, "-C", self.folder, "plan", "--json", environment=self.environment)
        assert done.code == 0, done.stderr
        document = json.loads(done.stdout)
        both = [*document["nodes"], *document["stacks"]]
        return Planned(
            keys={each["name"]: each["key"] for each in both},
            build=frozenset(each["name"] for each in both if each["action"] == "build"),
        )

    def start(self, *words: str) -> Baking:
        """Start `buildsys bake --all --push` as a shell would, in a process group of its own."""
        log = self.folder / ".buildsys/events.jsonl"
        log.unlink(missing_ok=True)
        output = self.folder / "output"
        with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [str(BUILDSYS), "-C", str(self.folder), "bake", "--all", "--push", *words],
                env={**os.environ, **self.environment, **self.extra},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return Baking(project=self, process=process, began=time.monotonic(), log=log)

    def bake(self, *words: str, seconds: float = 240) -> Ended:
        """Run a bake to its end, however that is."""
        return self.start(*words).end(seconds)

    def copy(self, folder: Path) -> Project:
        """Return another checkout of the same project."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(".buildsys", "output.*"))
        return Project(
            folder=folder, environment=self.environment, overlay=self.overlay, texts=dict(self.texts), extra=self.extra
        )


@dataclass(slots=True)
class Baking:
    """A bake that runs."""

    project: Project
    process: subprocess.Popen[bytes]
    began: float
    log: Path

    def signal(self, number: int) -> None:
        """Send a signal to buildsys alone."""
        self.process.send_signal(number)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def end(self, seconds: float = 240) -> Ended:
        """Wait for its end and that of its children; after the limit they are killed."""
        code: int | None
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        took = time.monotonic() - self.began
        end = time.monotonic() + 30
        while children_of(self.project.folder) and time.monotonic() < end:
            time.sleep(0.05)
        left = children_of(self.project.folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, "processes of a bake outlive it by more than 30 s"
        output = self.project.folder / "output"
        events = _events(self.log)
        return Ended(
            code=code,
            seconds=took,
            stdout=_text(output, "out"),
            stderr=_text(output, "err"),
            runs=_executed(events),
            retries=sum(isinstance(event, Retried) for event in events),
        )


def _events(log: Path) -> tuple[Event, ...]:
    return tuple(read_lines(log.read_text(encoding="utf-8").splitlines())) if log.exists() else ()


def _text(output: Path, stream: str) -> str:
    return output.with_suffix(f".{stream}").read_text(encoding="utf-8")


def children_of(folder: Path) -> list[int]:
    """Return the processes that work in a project's folder: bakes, of any parent process."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cwd").resolve() == folder.resolve() and (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def _executed(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the nodes of all RUN steps executed, each step once by its digest; the step itself says whose it is."""
    steps = {
        event.digest: event.name
        for event in events
        if isinstance(event, StepEnded) and event.kind == StepKind.RUN and not event.cached and not event.error
    }
    return tuple(sorted(_node(name) for name in steps.values()))


def _node(command: str) -> str:
    found = re.search(r">/(?:etc/built|artifact/opt)/(\w+)", command)
    assert found, command
    return NODES[found[1]]
