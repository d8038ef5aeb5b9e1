"""What one bake call is, how docker runs it in a process group of its own, and what came of it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

from buildsys.buildkit.diagnosis import failure_of
from buildsys.buildkit.docker import MOST_OUTPUT, Docker, answer_of
from buildsys.buildkit.failure import Failure
from buildsys.buildkit.images import image_platforms, image_sizes
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.progress import Line, MaskedProgress, Status, Text
from buildsys.buildkit.vertices import Snapshot, Steps, exported
from buildsys.errors import Diagnostic, InvalidInput, Unavailable
from buildsys.foreign import MOST_BYTES, list_of, object_of
from buildsys.masks import Mask
from buildsys.values import dataclass

_PRINT_SECONDS = 300.0
# BuildKit cuts the output of a step after 2 MiB.
_MOST_PROGRESS = 1 << 30
# Beginnings of what a caller's shell must not bring into a bake: what changes how it reads its file or reports, and
# what goes into images although no key covers it: labels of git, the time of everything (as in buildx 0.29).
_UNWANTED = ("BUILDKIT_PROGRESS", "BUILDX_BAKE_", "FORCE_COLOR", "BUILDX_GIT_", "SOURCE_DATE_EPOCH")
# buildx starts git in the folder of each context, and git believes files there that look like a repository: it ran a
# `core.sshCommand` out of a layer's folder (buildx 0.29.1, git 2.39).
_WANTED = MappingProxyType({"BUILDX_GIT_INFO": "false", "BUILDX_METADATA_PROVENANCE": "disabled", "NO_COLOR": "1"})


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeCall:
    """One `docker buildx bake`: `root` is where it runs, since bake resolves paths from there.

    `overrides` are values of `--set`, in order; `environment` is added to the caller's own, and so sets
    variables of the bake file; `allow` are values of `--allow`, given only to a bake that knows that option. `mask`
    knows the credentials that steps may print. To the `helpers` among the targets belong only steps that no other has.
    """

    root: Path
    files: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    push: bool = False
    load: bool = False
    no_cache: bool = False
    metadata_file: Path | None = None
    progress: str = "rawjson"
    allow: tuple[str, ...] = ()
    mask: Mask = field(default_factory=Mask, repr=False)

    def command(self, docker: Docker) -> tuple[str, ...]:
        """Return exactly what will run."""
        words = self._definition(docker)
        if self.metadata_file is not None:
            words += ["--metadata-file", str(self.metadata_file)]
        return (*words, "--progress", self.progress, *self.targets)

    def print_command(self, docker: Docker) -> tuple[str, ...]:
        """Return the command that prints the resolved definition instead of building it."""
        return (*self._definition(docker), "--print", *self.targets)

    def shown(self, docker: Docker) -> str:
        """Return one line to paste into a shell in `root`: the same bake, with docker's own progress."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(self.environment.items())]
        line = " ".join([*variables, shlex.join(["docker", "buildx", *self._bake(docker), *self.targets])])
        return self.mask.text(line)

    def child_environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the child for a caller's environment `base`."""
        kept = {name: value for name, value in base.items() if not name.startswith(_UNWANTED)}
        return {**kept, **_WANTED, **self.environment}

    def _definition(self, docker: Docker) -> list[str]:
        return [*docker.buildx, *self._bake(docker)]

    def _bake(self, docker: Docker) -> list[str]:
        words = ["bake"]
        if docker.chosen:
            words += ["--builder", docker.chosen]
        for file in self.files:
            words += ["--file", file]
        for override in self.overrides:
            words += ["--set", override]
        if "--allow" in docker.bake_flags:
            for path in self.allow:
                words += ["--allow", path]
        for flag, given in (("--push", self.push), ("--load", self.load), ("--no-cache", self.no_cache)):
            if given:
                words.append(flag)
        return words


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeResult:
    """How one bake ended.

    `digests` maps target to the digest that its tag gets, from the metadata file or, where bake failed and
    wrote none, from what was exported; `published` maps each reference that the registry took to its digest.
    `metadata` is bake's own file, target by target.
    """

    exit_code: int
    seconds: float
    steps: Snapshot
    failure: Failure | None = None
    digests: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    published: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Builder(Protocol):
    """Runs bakes; a test gives one of its own. `docker` is what it is."""

    @property
    def docker(self) -> Docker:
        """The docker that is called."""

    def bake(
        self, call: BakeCall, on_event: Callable[[Status | Text], None], *, stop: Stop, log: Path | None = None
    ) -> BakeResult:
        """Run one bake to its end and return how it went; a failure of the bake is a value, not an error."""

    def print(self, call: BakeCall) -> dict[str, Any]:
        """Return a call's definition as bake itself resolves it; raises `InvalidInput` with bake's message."""

    def sizes(self, references: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return digest and size in bytes of images that it has put into the engine's own store."""

    def image_platforms(self, reference: str) -> tuple[str, ...]:
        """Return the platforms of an image in a registry, none where they cannot be found out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerBuilder:
    """Runs bakes by `docker buildx`; `environ` is the environment of the caller, which its processes inherit."""

    docker: Docker
    environ: Mapping[str, str]

    def bake(
        self, call: BakeCall, on_event: Callable[[Status | Text], None], *, stop: Stop, log: Path | None = None
    ) -> BakeResult:
        """Run one bake to its end and return how it went; a failure of the bake is a value, not an error.

        Every event goes to `on_event` in its order, every raw line to the file `log`; output of steps, the file and the
        failure are masked. Ctrl-C, SIGTERM under `stop.on_signals()` and `stop.request()` from any thread end the whole
        process group: the result then has a failure of kind `interrupted`. If this process is killed itself, bake ends
        by SIGPIPE at its next line. Raises `Unavailable` if docker cannot be started.
        """
        steps = Steps(call.targets if len(call.targets) == 1 else (), helpers=call.helpers)

        def take(event: Status | Text) -> None:
            steps.add(event)
            on_event(event)

        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(_temporary_folder())
            raw = _begin(log) if log is not None else None
            if raw is not None:
                stack.callback(_close, raw)
            metadata_file = call.metadata_file or folder / "metadata.json"
            metadata_file.unlink(missing_ok=True)
            process = self._start(replace(call, metadata_file=metadata_file))
            with stop.watch(process):
                _read(process, take, raw, stop, MaskedProgress(call.mask))
            metadata = _metadata(metadata_file)
        exit_code = process.returncode
        # A bake that was done before the signal reached it is done.
        interrupted = stop.requested and exit_code != 0
        return _result(call, steps.snapshot(), metadata, exit_code, interrupted=interrupted, began=began)

    def print(self, call: BakeCall) -> dict[str, Any]:
        """Return a call's definition as bake itself resolves it; raises `InvalidInput` with bake's message."""
        answer = answer_of(
            call.print_command(self.docker),
            environment=call.child_environment(self.environ),
            folder=call.root,
            seconds=_PRINT_SECONDS,
        )
        if answer.exit_code:
            message = answer.last_words.removeprefix("ERROR: ")
            raise InvalidInput([Diagnostic(message=call.mask.text(f"bake does not accept the definition: {message}"))])
        try:
            return _definition(answer.stdout)
        except ValueError as error:
            message = f"`docker buildx bake` prints no definition that can be read: {error}"
            raise Unavailable(message, hint="check `docker buildx version`") from error

    def sizes(self, references: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return digest and size in bytes of images that it has put into the engine's own store."""
        return image_sizes(self.docker, references) if references and self.docker.driver == "docker" else {}

    def image_platforms(self, reference: str) -> tuple[str, ...]:
        """Return the platforms of an image in a registry, none where they cannot be found out."""
        return image_platforms(self.docker, reference)

    def _start(self, call: BakeCall) -> subprocess.Popen[bytes]:
        words = call.command(self.docker)
        try:
            return subprocess.Popen(
                words,
                cwd=call.root,
                env=call.child_environment(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"`{words[0]}` cannot be started: {error.strerror}") from error


def _definition(printed: str) -> dict[str, Any]:
    definition = object_of(printed, most=MOST_OUTPUT)
    targets = definition.get("target")
    if not isinstance(targets, dict):
        raise ValueError("`target` is no object")
    list_of({"target": [*targets.values()]}, "target", dict)
    for fields in targets.values():
        list_of(fields, "tags", str)
    return definition


def _result(
    call: BakeCall, steps: Snapshot, metadata: Mapping[str, Any], exit_code: int, *, interrupted: bool, began: float
) -> BakeResult:
    found = exported(steps)
    digests = {each.target: each.digest for each in found if each.target}
    digests |= {
        target: digest
        for target, entry in metadata.items()
        if isinstance(entry, dict) and isinstance(digest := entry.get("containerimage.digest"), str)
    }
    failure = failure_of(steps, exit_code, interrupted=interrupted)
    return BakeResult(
        exit_code=exit_code,
        seconds=time.monotonic() - began,
        steps=steps,
        failure=call.mask.value(failure, keep=("target",)),
        digests=MappingProxyType(dict(sorted(digests.items()))),
        published=MappingProxyType({name: digest for each in found for name, digest in each.pushed.items()}),
        metadata=MappingProxyType(metadata),
    )


def _read(
    process: subprocess.Popen[bytes],
    take: Callable[[Status | Text], None],
    raw: IO[bytes] | None,
    stop: Stop,
    masked: MaskedProgress,
) -> None:
    """Read the child's lines until it ends; on Ctrl-C, request a stop and read on: nothing is lost.

    A longer line than any of BuildKit's is taken in pieces. Raises `Unavailable` for output without an end.
    """
    assert process.stderr is not None
    size = 0

    def keep(line: Line) -> None:
        if raw is not None:
            # A log that cannot be kept fails no build.
            with contextlib.suppress(OSError):
                raw.write(line.kept)
        take(line.event)

    with process.stderr as stream:
        while True:
            try:
                while line := stream.readline(MOST_BYTES):
                    size += len(line)
                    if size > _MOST_PROGRESS:
                        raise Unavailable(f"`docker buildx bake` reported more than {_MOST_PROGRESS >> 20} MiB")
                    for each in masked.take(line):
                        keep(each)
                if rest := masked.rest():
                    keep(rest)
                process.wait()
                return
            except KeyboardInterrupt:
                stop.request()


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            folder = tempfile.TemporaryDirectory(prefix="buildsys-", ignore_cleanup_errors=True)
            name = stack.enter_context(folder)
        except OSError as error:
            path = error.filename or tempfile.gettempdir()
            raise Unavailable(f"`{path}` cannot be written: {error.strerror}") from error
        yield Path(name)


def _begin(log: Path) -> IO[bytes] | None:
    """Return a log to write to, None where it cannot be begun: that fails no build."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("wb")
    except OSError:
        return None


def _close(file: IO[bytes]) -> None:
    """Close a log; what its disk does not take is lost."""
    with contextlib.suppress(OSError):
        file.close()


def _metadata(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return object_of(file.read(MOST_OUTPUT + 1), most=MOST_OUTPUT)
    except (OSError, ValueError):
        return {}
