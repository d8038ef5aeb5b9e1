"""What the engine's own store holds, and containers of it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from types import MappingProxyType
from typing import TypeVar

from buildsys.buildkit.docker import MOST_OUTPUT, Answer, Docker, answer_of, client_command, find_docker
from buildsys.errors import Unavailable
from buildsys.foreign import object_of
from buildsys.names import KEY_LABEL
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalImage:
    """An image in the engine's own store; `identity` is its digest there, `size` is in bytes."""

    identity: str
    size: int
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    references: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def local_image(docker: Docker, reference: str) -> LocalImage | None:
    """Return an image of the engine's own store, or None if it has none of that name, key or digest.

    Raises `Unavailable` if the engine does not answer, or with something else.
    """
    from python_on_whales import DockerClient
    from python_on_whales.client_config import ParsingError
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
            f"the engine cannot inspect the image `{reference}`: {(error.stderr or '').strip()}"
        ) from error
    except (ParsingError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unavailable(f"`docker image inspect {reference}` prints no description of an image") from error


_T = TypeVar("_T")
_CALLS = 4
_GPUS = ("--gpus", "all")
# What docker 28 and 29 print where no driver or no device is there, by runtime and by CDI.
_NO_GPU = re.compile(r"could not select device driver|gpu vendor|nvidia-container|CDI device", re.IGNORECASE)
_IDENTITY = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
DockerSnapshot = tuple[Docker, Mapping[str, tuple[str, ...]]]


def image_platforms(docker: Docker, reference: str) -> tuple[str, ...]:
    """Return the platforms of an image in a registry, sorted; none where they cannot be found out."""
    command = (*docker.buildx, "imagetools", "inspect", reference, "--format", "{{json .Image}}")
    try:
        answer = answer_of(command)
        found = object_of(answer.stdout, most=MOST_OUTPUT)
    except (Unavailable, ValueError):
        return ()
    configs = (found,) if "architecture" in found else tuple(each for each in found.values() if isinstance(each, dict))
    parts = [tuple(each.get(name) or "" for name in ("os", "architecture", "variant")) for each in configs]
    return tuple(sorted("/".join(filter(None, each)) for each in parts if all(isinstance(one, str) for one in each)))


def ask_docker(builder: str | None, environ: Mapping[str, str]) -> Callable[[], DockerSnapshot]:
    """Ask docker in the background what it is and which images its store has by their keys; return what waits for it.

    Its processes answer while this one loads what it needs. Who leaves without the answer does not wait. What is
    returned raises `Unavailable` as `find_docker` does.
    """
    found, images = _begun(lambda: find_docker(builder, environ)), _begun(own_images)
    return lambda: (found.result(), images.result())


def _begun(ask: Callable[[], _T]) -> Future[_T]:
    future = Future[_T]()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # The waiting thread raises it.
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def own_images() -> Mapping[str, tuple[str, ...]]:
    """Return the images of the engine's own store that buildsys built: their key to their names.

    Without docker, and where no engine answers, there are none.
    """
    try:
        command = client_command()
        listed = answer_of((*command, "image", "ls", "--quiet", "--no-trunc", "--filter", f"label={KEY_LABEL}"))
        identities = sorted({word for word in listed.stdout.split() if _IDENTITY.fullmatch(word)})
        if listed.exit_code or not identities:
            return {}
        shown = "{{index .Config.Labels " + json.dumps(KEY_LABEL) + '}} {{join .RepoTags " "}}'
        inspected = answer_of((*command, "image", "inspect", "--format", shown, *identities))
    except Unavailable:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for words in (line.split() for line in inspected.stdout.splitlines()):
        if len(words) > 1:
            found[words[0]] = (*found.get(words[0], ()), *words[1:])
    return found


def image_sizes(docker: Docker, references: Sequence[str]) -> Mapping[str, tuple[str, int]]:
    """Return digest and size in bytes of images in the engine's own store; what it does not have is left out.

    The engine looks at the images of one call one after the other: forty took 1.4 to 4.5 seconds, 0.8 in four calls.
    """
    shown = "{{.Id}} {{.Size}}"
    parts = [part for number in range(_CALLS) if (part := references[number::_CALLS])]
    with ThreadPoolExecutor(max_workers=_CALLS) as pool:
        calls = [(*docker.command, "image", "inspect", "--format", shown, *part) for part in parts]
        answers = list(pool.map(answer_of, calls))
    found: dict[str, tuple[str, int]] = {}
    for part, answer in zip(parts, answers, strict=True):
        lines = [line.split() for line in answer.stdout.splitlines() if line]
        if answer.exit_code == 0 and len(lines) == len(part) and all(map(_is_identity_and_size, lines)):
            found |= {name: (words[0], int(words[1])) for name, words in zip(part, lines, strict=True)}
    return found


def _is_identity_and_size(words: Sequence[str]) -> bool:
    return len(words) == 2 and words[1].isascii() and words[1].isdecimal() and len(words[1]) < 19


def pull_image(docker: Docker, reference: str, *, platform: str = "", names: Sequence[str] = ()) -> None:
    """Bring an image from its registry into the engine's own store; raises `Unavailable` if that fails.

    `platform` is that of an image which may be for another machine; with `names` it gets these in place of its own.
    """
    words = ("--platform", platform) if platform else ()
    calls = [("pull", "--quiet", *words, reference), *(("tag", reference, name) for name in names)]
    calls += [("image", "rm", reference)] if names else []
    for call in calls:
        answer = answer_of((*docker.command, *call), seconds=None)
        if answer.exit_code:
            raise Unavailable(f"`{reference}` cannot be loaded: {answer.last_words}")


class NoGpu(Unavailable):
    """The engine can give no GPU to a container."""


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
    platform: str | None = None,
    gpus: bool = False,
    seconds: float | None = None,
    name: str | None = None,
) -> Answer:
    """Run a command in a new container of an image, remove the container, and return how it ended.

    `mounts` are values of docker's `--mount`; `name` is that of the container. Raises `Unavailable` if docker itself
    could not start it, which is status 125, `NoGpu` for want of what `gpus` asks for, and `NoAnswer` if it took longer
    than `seconds`.
    """
    name = name or container_name()
    words = [*docker.command, "run", "--rm", "--name", name, *(_GPUS if gpus else ())]
    for name, value in sorted((environment or {}).items()):
        words += ["--env", f"{name}={value}"]
    for mount in mounts:
        words += ["--mount", mount]
    options = (("--entrypoint", entrypoint), ("--user", user), ("--network", network), ("--platform", platform))
    for option, given in options:
        if given is not None:
            words += [option, given]
    try:
        answer = answer_of([*words, image, *command], seconds=seconds)
    except BaseException:
        # The end of the client is not that of the container.
        remove_containers(docker, [name])
        raise
    if answer.exit_code == 125:
        raise _not_started(image, answer, gpus=gpus)
    return answer


def container_name() -> str:
    """Return a name that no container has."""
    return f"buildsys-{secrets.token_hex(8)}"


def remove_containers(docker: Docker, names: Collection[str]) -> None:
    """End containers at once and remove them, those that exist."""
    if names:
        answer_of([*docker.command, "rm", "--force", "--volumes", *names])


def engine_platform(docker: Docker) -> str:
    """Return the platform of the engine's machine, such as `linux/amd64`, empty if the engine does not name it."""
    answer = answer_of([*docker.command, "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"])
    return "" if answer.exit_code else answer.stdout.strip()


def _not_started(image: str, answer: Answer, *, gpus: bool) -> Unavailable:
    kind = NoGpu if gpus and _NO_GPU.search(answer.stderr) else Unavailable
    return kind(f"a container of `{image}` cannot be started: {answer.last_words}")


@contextlib.contextmanager
def running_container(
    docker: Docker,
    image: str,
    *,
    mounts: Sequence[str] = (),
    port: int | None = None,
    platform: str | None = None,
    gpus: bool = False,
    name: str | None = None,
) -> Iterator[RunningContainer]:
    """Start an image with its own command, and remove the container at the end.

    `port` is published on the engine's loopback. Raises `Unavailable` as `run_container` does.
    """
    name = name or container_name()
    words = [*docker.command, "run", "--detach", "--name", name, *(_GPUS if gpus else ())]
    words += ["--platform", platform] if platform else []
    words += [word for mount in mounts for word in ("--mount", mount)]
    words += ["--publish", f"127.0.0.1::{port}"] if port else []
    try:
        answer = answer_of([*words, image])
        if answer.exit_code:
            raise _not_started(image, answer, gpus=gpus)
        yield RunningContainer(docker=docker, identity=answer.stdout.strip())
    finally:
        # One that cannot be started exists too.
        remove_containers(docker, [name])


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningContainer:
    """A container with its image's own command."""

    docker: Docker
    identity: str

    def execute(self, script: str, *, seconds: float) -> Answer:
        """Run a shell command in it; raises `Unavailable` if that takes longer."""
        return answer_of([*self.docker.command, "exec", self.identity, "sh", "-c", script], seconds=seconds)

    def ended(self) -> int | None:
        """Return the exit code of its command, None while that runs."""
        shown = "{{.State.Running}} {{.State.ExitCode}}"
        answer = answer_of([*self.docker.command, "container", "inspect", "--format", shown, self.identity])
        state, _, code = answer.stdout.strip().partition(" ")
        return int(code) if state == "false" and code.isdecimal() else None

    def address(self, port: int) -> str:
        """Return host and port at which the engine's machine reaches a published port, empty if there is none."""
        answer = answer_of([*self.docker.command, "port", self.identity, f"{port}/tcp"])
        return next(iter(answer.stdout.split()), "")

    def log(self) -> str:
        """Return the last lines that its command printed."""
        answer = answer_of([*self.docker.command, "logs", "--tail", "50", self.identity])
        return answer.stdout + answer.stderr
