"""Which docker client, buildx, builder and engine there are; the one place that runs short docker commands."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from buildsys.errors import Unavailable
from buildsys.foreign import object_of
from buildsys.texts import shown
from buildsys.values import dataclass

ANSWER_SECONDS = 45.0
# Of a command, a bake's definition or its metadata, in bytes.
MOST_OUTPUT = 16 << 20
_PIECE = 1 << 16
# Where it is set, a plugin takes itself for called by docker (docker/cli, cli-plugins/metadata).
_CALLED_BY_DOCKER = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
_FLAG = re.compile(r"^\s+(?:-\w, )?(--[a-z][a-z-]*)", re.MULTILINE)
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?\*?")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+\S*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Docker:
    """How to call docker, and what it is.

    `command` is the client, `buildx` what calls its plugin. `engine_version` is empty where the builder is elsewhere
    and no engine answers. `bake_flags` are the options of this buildx' `bake`, each with its two dashes. `root` is the
    engine's folder on the machine `host`, `memory` that machine's in bytes; empty and 0 where no engine answers.
    `builder` is the builder's name; `chosen` is empty where it is the current one, else the name that was asked for,
    which every call that concerns a builder gives. `platforms` are those that it lists, `native` those of its machines
    and those that a person gave to it; both empty where it has not started.
    """

    command: tuple[str, ...]
    buildx: tuple[str, ...]
    buildx_version: str
    engine_version: str
    builder: str
    driver: str
    containerd_store: bool
    bake_flags: frozenset[str]
    root: str = ""
    memory: int = 0
    host: str = ""
    chosen: str = ""
    platforms: tuple[str, ...] = ()
    native: tuple[str, ...] = ()


class NoAnswer(Unavailable):
    """A command did not end in its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The output of a command and its exit code."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line of stderr that is not empty, at most its first 300 characters."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return shown(lines[-1])[:300] if lines else f"ended with {self.exit_code} without any output"


def find_docker(builder: str | None, environ: Mapping[str, str]) -> Docker:
    """Return the docker that this process's `environ` points to: `PATH`, `DOCKER_HOST`, `DOCKER_CONFIG`, contexts.

    Raises `Unavailable` with a hint if the client, its buildx plugin, the engine or the builder is missing.
    """
    command = client_command()
    information = docker_information(command)
    buildx, version = buildx_of(command, information, environ)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Both are processes that wait for their answers.
        help_text = pool.submit(answer_of, (*buildx, "bake", "--help"))
        driver, name, (native, platforms) = inspect_builder(buildx, builder)
        usage = help_text.result()
    if driver == "docker":
        check_engine(information)
    return Docker(
        command=command,
        buildx=buildx,
        buildx_version=version,
        engine_version=_text(information, "ServerVersion"),
        builder=name,
        driver=driver,
        containerd_store=has_containerd_store(information),
        bake_flags=frozenset(_FLAG.findall(usage.stdout)),
        root=_text(information, "DockerRootDir"),
        memory=memory if type(memory := information.get("MemTotal")) is int and memory > 0 else 0,
        host=_text(information, "Name"),
        chosen=builder or "",
        platforms=platforms,
        native=native,
    )


def client_command() -> tuple[str, ...]:
    """Return the command that calls docker; raises `Unavailable` if it is not installed."""
    found = shutil.which("docker")
    if found is None:
        raise Unavailable(
            "the command `docker` is not on PATH",
            hint="install Docker Engine 28 or later with buildx 0.29 or later",
        )
    return (found,)


def buildx_of(
    command: Sequence[str], information: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[tuple[str, ...], str]:
    """Return the command that calls buildx, and its version; raises `Unavailable` if docker has none.

    A plugin works as a command of its own too. Through docker, which first looks at all its plugins, a start took
    0.29 seconds of processor time instead of 0.09 (docker 28.5, buildx 0.29), and a run starts it for each bake.
    """
    client = information.get("ClientInfo")
    plugins = client.get("Plugins") if isinstance(client, dict) else None
    for plugin in plugins if isinstance(plugins, list) else ():
        if not isinstance(plugin, dict):
            continue
        path, version = _text(plugin, "Path"), _VERSION.search(_text(plugin, "Version"))
        alone = os.access(path, os.X_OK) and _CALLED_BY_DOCKER not in environ
        if plugin.get("Name") == "buildx" and version and alone:
            return (path,), version[1]
    answer = answer_of((*command, "buildx", "version"))
    if answer.exit_code:
        raise Unavailable(
            "docker has no buildx",
            hint="install the buildx plugin 0.29 or later under `cli-plugins/` of docker's own folder",
        )
    found = _VERSION.search(answer.stdout)
    if found is None:
        raise Unavailable(f"`docker buildx version` prints no version, but {beginning(answer.stdout)}")
    return (*command, "buildx"), found[1]


Platforms = tuple[tuple[str, ...], tuple[str, ...]]


def inspect_builder(buildx: Sequence[str], builder: str | None) -> tuple[str, str, Platforms]:
    """Return driver, name and platforms of a builder, the current one if none is named; raises `Unavailable`."""
    answer = answer_of((*buildx, "inspect", *((builder,) if builder else ())))
    fields = dict(line.split(":", 1) for line in answer.stdout.splitlines() if ":" in line[:20])
    driver = fields.get("Driver", "").strip()
    if not driver:
        name = f"builder `{builder}`" if builder else "the current builder"
        raise Unavailable(
            f"{name} cannot be inspected: {shown(fields.get('Error', '').strip())[:300] or answer.last_words}",
            hint="run `docker buildx ls` to list the builders",
        )
    name = next((line.split(":", 1)[1].strip() for line in answer.stdout.splitlines() if line[:5] == "Name:"), "")
    return driver, name, platforms_in(answer.stdout)


def platforms_in(inspected: str) -> Platforms:
    """Return what `buildx inspect` says of platforms: those that run without emulation, and all of them.

    The first of a machine is its own (moby/buildkit, `util/archutil`); those with an asterisk were given to it by hand.
    """
    native, known = dict[str, None](), dict[str, None]()
    for line in inspected.splitlines():
        name, _, rest = line.partition(":")
        words = [word.strip() for word in rest.split(",")] if name == "Platforms" else []
        found = [word for word in words if _PLATFORM.fullmatch(word)]
        native.update(dict.fromkeys([*found[:1], *(word for word in found if word.endswith("*"))]))
        known.update(dict.fromkeys(found))
    return tuple(each.rstrip("*") for each in native), tuple(each.rstrip("*") for each in known)


def docker_information(command: Sequence[str]) -> Mapping[str, Any]:
    """Return the answer of `docker info`: about the client always, about the engine if it answers."""
    answer = answer_of((*command, "info", "--format", "{{json .}}"))
    try:
        information = object_of(answer.stdout, most=MOST_OUTPUT)
    except ValueError as error:
        why = answer.last_words if answer.exit_code else f"`docker info` prints {beginning(answer.stdout)}: {error}"
        return {"ServerErrors": [why]}
    return information if _text(information, "ServerVersion") else {"ServerErrors": [answer.last_words], **information}


def check_engine(information: Mapping[str, Any]) -> None:
    """Raise `Unavailable` if no engine gave its part of this information."""
    if not _text(information, "ServerVersion"):
        errors = information.get("ServerErrors")
        reasons = errors if isinstance(errors, list) and errors else ["no reason given"]
        raise Unavailable(
            f"no docker engine is reachable: {shown(str(reasons[0]))[:300]}",
            hint="start the engine, or point `DOCKER_HOST` to one that runs",
        )


def has_containerd_store(information: Mapping[str, Any]) -> bool:
    """Whether the engine that gave this information keeps images in containerd's store."""
    status = information.get("DriverStatus")
    pairs = status if isinstance(status, list) else []
    return any("io.containerd.snapshotter" in str(pair[-1]) for pair in pairs if pair and isinstance(pair, list))


def _text(information: Mapping[str, Any], name: str) -> str:
    value = information.get(name)
    return value if isinstance(value, str) else ""


def beginning(output: str) -> str:
    """Return the beginning of what a command printed, for a message."""
    return f"`{shown(output.strip()[:80])}`" if output.strip() else "nothing"


def answer_of(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float | None = ANSWER_SECONDS,
) -> Answer:
    """Run a short command to its end.

    Raises `Unavailable` if it cannot start or prints more than 16 MiB, `NoAnswer` if it does not end in time.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
        )
    except OSError as error:
        raise Unavailable(f"`{_brief(command)}` cannot be started: {error.strerror}") from error
    try:
        stdout, stderr = _outputs(process, command, seconds)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Answer(exit_code=process.returncode, stdout=stdout, stderr=stderr)


def _outputs(process: subprocess.Popen[bytes], command: Sequence[str], seconds: float | None) -> tuple[str, str]:
    """Return what a process prints until it ends; raises `Unavailable` where that is too much, or takes too long."""
    until = None if seconds is None else time.monotonic() + seconds
    late = NoAnswer(
        f"`{_brief(command)}` gave no answer in {seconds or 0:g} seconds",
        hint="check the engine with `docker info`, which should answer at once",
    )
    held = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, bytes_of in zip((process.stdout, process.stderr), held, strict=True):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, bytes_of)
        while selector.get_map():
            if until is not None and time.monotonic() > until:
                raise late
            for key, _ in selector.select(None if until is None else max(0.0, until - time.monotonic())):
                piece = os.read(key.fd, _PIECE)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
                if len(key.data) > MOST_OUTPUT:
                    raise Unavailable(f"`{_brief(command)}` printed more than {MOST_OUTPUT >> 20} MiB")
    try:
        process.wait(None if until is None else max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise late from None
    return held[0].decode("utf-8", "replace"), held[1].decode("utf-8", "replace")


def _brief(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:4]])
