"""The one door to docker: which client and engine there are, what its store holds, running a container."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from buildsys.errors import Unavailable

ANSWER_SECONDS = 60.0
_FLAG = re.compile(r"^\s+(?:-\w, )?(--[a-z][a-z-]*)", re.MULTILINE)
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+\S*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Docker:
    """How to call docker, and what it is.

    `command` is the client with its global options. `engine_version` is empty where the builder is elsewhere
    and no engine answers. `bake_flags` are the options of this buildx' `bake`, each with its two dashes. `root` is the
    engine's folder on the machine `host`, `memory` that machine's in bytes; empty and 0 where no engine tells.
    """

    command: tuple[str, ...]
    buildx_version: str
    engine_version: str
    builder: str
    driver: str
    containerd_store: bool
    bake_flags: frozenset[str]
    root: str = ""
    memory: int = 0
    host: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command said and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line of stderr that says something."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with {self.exit_code} and said nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalImage:
    """An image in the engine's own store; `identity` is its digest there, `size` is in bytes."""

    identity: str
    size: int
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    references: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def find_docker(builder: str | None = None) -> Docker:
    """Return the docker that the environment points to (`PATH`, `DOCKER_HOST`, `DOCKER_CONFIG`, contexts).

    Raises `Unavailable` with a hint if the client, its buildx plugin, the engine or the builder is missing.
    """
    command = client_command()
    with ThreadPoolExecutor(max_workers=4) as pool:
        # Each is a process that waits for its answer.
        asked = pool.submit(inspect_builder, command, builder)
        told = pool.submit(engine_information, command, needed=False)
        help_text = pool.submit(answer_of, (*command, "buildx", "bake", "--help"))
        version = buildx_version(command)
        driver, name = asked.result()
        information, usage = told.result(), help_text.result()
    if not information and driver == "docker":
        information = engine_information(command, needed=True)
    return Docker(
        command=command,
        buildx_version=version,
        engine_version=str(information.get("ServerVersion") or ""),
        builder=name,
        driver=driver,
        containerd_store=has_containerd_store(information),
        bake_flags=frozenset(_FLAG.findall(usage.stdout)),
        root=str(information.get("DockerRootDir") or ""),
        memory=int(information.get("MemTotal") or 0),
        host=str(information.get("Name") or ""),
    )


def client_command() -> tuple[str, ...]:
    """Return the words that call docker; raises `Unavailable` if it is not installed."""
    # Imported late: `--version` and shell completion must not wait for it.
    from python_on_whales import DockerClient
    from python_on_whales.client_config import ClientNotFoundError

    try:
        return tuple(str(word) for word in DockerClient().client_config.docker_cmd)
    except ClientNotFoundError:
        raise Unavailable(
            "the command `docker` is not on PATH",
            hint="install Docker Engine 28 or later with buildx 0.29 or later",
        ) from None


def buildx_version(command: Sequence[str]) -> str:
    """Return the version of the buildx plugin; raises `Unavailable` if docker has none."""
    told = answer_of((*command, "buildx", "version"))
    if told.exit_code:
        raise Unavailable(
            "docker has no buildx",
            hint="install the buildx plugin 0.29 or later under `cli-plugins/` of docker's own folder",
        )
    found = _VERSION.search(told.stdout)
    return found[1] if found else told.stdout.strip()


def inspect_builder(command: Sequence[str], builder: str | None) -> tuple[str, str]:
    """Return driver and name of a builder, the current one if none is named; raises `Unavailable`."""
    told = answer_of((*command, "buildx", "inspect", *((builder,) if builder else ())))
    fields = dict(line.split(":", 1) for line in told.stdout.splitlines() if ":" in line[:20])
    driver = fields.get("Driver", "").strip()
    if not driver:
        name = f"builder `{builder}`" if builder else "the current builder"
        raise Unavailable(
            f"{name} cannot be inspected: {fields.get('Error', '').strip() or told.last_words}",
            hint="`docker buildx ls` shows the builders that exist",
        )
    return driver, next((line.split(":", 1)[1].strip() for line in told.stdout.splitlines() if line[:5] == "Name:"), "")


def engine_information(command: Sequence[str], *, needed: bool) -> Mapping[str, Any]:
    """Return what `docker info` says, {} if no engine answers; raises `Unavailable` if that is so and it is needed."""
    told = answer_of((*command, "info", "--format", "{{json .}}"))
    information = _json(told.stdout)
    if information.get("ServerVersion"):
        return information
    if needed:
        reasons = information.get("ServerErrors") or [told.last_words]
        raise Unavailable(
            f"no docker engine answers: {reasons[0]}",
            hint="start the engine, or point `DOCKER_HOST` to one that runs",
        )
    return {}


def has_containerd_store(information: Mapping[str, Any]) -> bool:
    """Whether the engine that gave this information keeps images in containerd's store."""
    status = information.get("DriverStatus") or []
    return any("io.containerd.snapshotter" in str(pair[-1]) for pair in status if pair)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def answer_of(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float | None = ANSWER_SECONDS,
) -> Answer:
    """Run a short command to its end; raises `Unavailable` if it cannot start or does not answer in time."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            cwd=folder,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"`{_brief(command)}` gave no answer in {seconds:g} seconds",
            hint="look at the engine: `docker info` should answer at once",
        ) from None
    except OSError as error:
        raise Unavailable(f"`{_brief(command)}` cannot be started: {error.strerror}") from error
    return Answer(
        exit_code=done.returncode,
        stdout=done.stdout.decode("utf-8", "replace"),
        stderr=done.stderr.decode("utf-8", "replace"),
    )


def _brief(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:4]])


def local_image(docker: Docker, reference: str) -> LocalImage | None:
    """Return an image of the engine's own store, or None if it has none of that name, key or digest."""
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException, NoSuchImage

    client = DockerClient(client_call=list(docker.command))
    try:
        image = client.image.inspect(reference)
        config = image.config
        return LocalImage(
            identity=image.id,
            size=int(image.size or 0),
            labels=MappingProxyType(dict(sorted((config.labels or {} if config else {}).items()))),
            references=tuple(sorted({*(image.repo_tags or ()), *(image.repo_digests or ())})),
            layers=tuple((image.root_fs.layers or ()) if image.root_fs else ()),
        )
    except NoSuchImage:
        return None
    except DockerException as error:
        raise Unavailable(
            f"the engine cannot tell about the image `{reference}`: {(error.stderr or '').strip()}"
        ) from error


def labelled_images(label: str) -> Mapping[str, tuple[str, ...]]:
    """Return the images of the engine's own store that have a label: its value to the names of the images.

    Without docker, and where no engine answers, there are none.
    """
    try:
        command = client_command()
        listed = answer_of((*command, "image", "ls", "--quiet", "--no-trunc", "--filter", f"label={label}"))
        identities = sorted(set(listed.stdout.split()))
        if listed.exit_code or not identities:
            return {}
        shown = "{{index .Config.Labels " + json.dumps(label) + '}} {{join .RepoTags " "}}'
        told = answer_of((*command, "image", "inspect", "--format", shown, *identities))
    except Unavailable:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for words in (line.split() for line in told.stdout.splitlines()):
        if len(words) > 1:
            found[words[0]] = (*found.get(words[0], ()), *words[1:])
    return found


def image_sizes(docker: Docker, references: Sequence[str]) -> Mapping[str, tuple[str, int]]:
    """Return digest and size in bytes of images in the engine's own store; what it does not have is left out."""
    shown = answer_of((*docker.command, "image", "inspect", "--format", "{{.Id}} {{.Size}}", *references))
    lines = [line.split() for line in shown.stdout.splitlines() if line]
    if shown.exit_code or len(lines) != len(references):
        return {}
    return {reference: (words[0], int(words[1])) for reference, words in zip(references, lines, strict=True)}


def pull_image(docker: Docker, reference: str) -> None:
    """Bring an image from its registry into the engine's own store; raises `Unavailable` if that fails."""
    answer = answer_of((*docker.command, "pull", "--quiet", reference), seconds=None)
    if answer.exit_code:
        raise Unavailable(f"`{reference}` cannot be loaded: {answer.last_words}")


def run_container(
    docker: Docker,
    image: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    mounts: Sequence[str] = (),
    entrypoint: str | None = None,
    user: str | None = None,
    network: str | None = None,
    seconds: float | None = None,
) -> Answer:
    """Run a command in a new container of an image, remove the container, and return how it ended.

    `mounts` are values of docker's `--mount`. Raises `Unavailable` if docker itself could not start it, which
    is status 125, or if it took longer than `seconds`.
    """
    words = [*docker.command, "run", "--rm"]
    for name, value in sorted((environment or {}).items()):
        words += ["--env", f"{name}={value}"]
    for mount in mounts:
        words += ["--mount", mount]
    for option, given in (("--entrypoint", entrypoint), ("--user", user), ("--network", network)):
        if given is not None:
            words += [option, given]
    answer = answer_of([*words, image, *command], seconds=seconds)
    if answer.exit_code == 125:
        raise Unavailable(f"a container of `{image}` cannot be started: {answer.last_words}")
    return answer
