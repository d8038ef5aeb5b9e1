"""Images of a user's own on top of a stack: an environment file or a Dockerfile, found again by its content."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from buildsys.bake.definition import Definition, Target
from buildsys.bake.targets import Publication, published
from buildsys.buildkit.docker import Docker
from buildsys.buildkit.entitlements import check_paths
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.interrupt import Stop
from buildsys.buildkit.invocation import BakeCall, BakeResult, print_bake, run_bake
from buildsys.buildkit.progress import Status, Text
from buildsys.commands.plan import make_plan
from buildsys.config.model import Catalog, File, LayerUse, Stack
from buildsys.config.source import read
from buildsys.dockerfile.lint import frontend_problems
from buildsys.dockerfile.parser import Dockerfile
from buildsys.errors import Diagnostic, InvalidInput, did_you_mean
from buildsys.events.events import Noted
from buildsys.events.journal import Journal
from buildsys.names import CUSTOM_SUFFIX, tag_problem
from buildsys.oci.reference import Reference
from buildsys.plan.keys import Fingerprint, context_files, readable_inputs
from buildsys.plan.keys import keyed as keyed_by
from buildsys.project.files import Home, read_file
from buildsys.project.settings import mask_of
from buildsys.project.state import State
from buildsys.project.workspace import PRIVATE, STATE_FOLDER, Workspace, files_of, write_whole
from buildsys.run.contexts import copy_context
from buildsys.run.decision import decide_published
from buildsys.run.options import RunOptions
from buildsys.run.publish import Published, publish
from buildsys.run.step_events import StepEvents
from buildsys.run.store import Store, annotations_of, incoming_tag
from buildsys.run.variables import bake_environment

ENVIRONMENTS = f"{STATE_FOLDER}/environments"
TARGET = "custom"
# Of a file with the packages of an environment: a lock file may be long.
_LIMIT = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomImage:
    """An image of a user's own: `reference` with its digest, None if it could not be made."""

    reference: str | None
    made: bool
    moved: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    published: Published | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked for: a file on a stack, and the tag that the image gets besides that of its content."""

    file: Path
    stack: str
    tag: str | None = None


Run = Callable[[], Docker]


def environment_image(
    workspace: Workspace,
    store: Store,
    request: Request,
    find: Run,
    journal: Journal,
    stop: Stop,
    environ: Mapping[str, str],
) -> CustomImage:
    """Return the image of a conda YAML, requirements or lock file on a stack; it is built where nobody has yet.

    Raises `InvalidInput` if the file cannot be read, is neither kind, or the stack does not exist.
    """
    _check_tag(request)
    data = _read(_real(workspace, request.file), request.file)
    layer, name = _kind(request.file, data)
    digest = hashlib.sha256(data).hexdigest()[:12]
    folder = f"{ENVIRONMENTS}/{digest}"
    state = State(workspace.root)
    with state.locked():
        state.fill(folder, {name: data})
    made = make_plan(
        workspace.tree(),
        overlay=True,
        change=lambda catalog: _with_environment(catalog, request.stack, layer, folder, digest),
    )
    target = made.stacks[0].name
    if request.tag:
        environ = {**environ, "BUILDSYS_TAG": request.tag}
    result = publish(workspace, store, made, (target,), RunOptions(), find, journal, stop, environ)
    reference = result.stacks.get(target) or result.decision.existing.get(target)
    return CustomImage(
        reference=reference,
        made=target in result.stacks,
        moved=result.moved,
        failures=result.failures,
        published=result,
    )


def _with_environment(catalog: Catalog, name: str, layer: str, folder: str, digest: str) -> Catalog:
    """Return the catalog with one stack: the one named, and the environment on top of it."""
    stack = _stack(catalog, name)
    if layer not in catalog.layers:
        raise InvalidInput([Diagnostic(message=f"the project has no layer `{layer}`, which makes such environments")])
    others = tuple(use for use in stack.layers if use.layer != layer)
    use = LayerUse(layer=layer, parameters=MappingProxyType({"folder": folder}), location=stack.location)
    own = replace(
        stack,
        name=f"{stack.name}-{digest}",
        family=None,
        groups=(),
        description=f"{stack.name} with an environment",
        layers=(*others, use),
    )
    return replace(catalog, stacks=(own,))


def _stack(catalog: Catalog, name: str) -> Stack:
    found = next((stack for stack in catalog.stacks if stack.name == name), None)
    if found is None:
        hint = did_you_mean(name, [stack.name for stack in catalog.stacks], "`buildsys list` shows all of them")
        raise InvalidInput([Diagnostic(message=f"no stack is named `{name}`", hint=hint)])
    return found


def _check_tag(request: Request) -> None:
    if request.tag and (problem := tag_problem(request.tag)):
        raise InvalidInput([Diagnostic(message=f"`--tag`: {problem}")])


def _real(workspace: Workspace, file: Path) -> Path:
    """Return where a file really is; one that is named in the project must not lead out of it."""
    given = Path(os.path.normpath(Path.cwd() / file))
    if given.is_relative_to(workspace.root):
        return workspace.home.find(given.relative_to(workspace.root).as_posix())
    return Path(os.path.realpath(given))


def _read(real: Path, shown: Path) -> bytes:
    return read_file(real, Home(root=real.parent, shown=str(shown.parent)), shown.name, limit=_LIMIT)


def _kind(file: Path, data: bytes) -> tuple[str, str]:
    """Return the layer that makes an environment of a file, and the name that the layer expects."""
    if file.suffix in (".yml", ".yaml"):
        found = read(data.decode("utf-8", "replace"), file.name).data
        if isinstance(found, dict) and "dependencies" in found:
            return "conda-environment", "environment.yml"
        raise InvalidInput([Diagnostic(message=f"`{file}` has no `dependencies`, as an environment of conda has")])
    if file.name.endswith(".txt"):
        return "python-environment", "requirements.txt"
    if file.name.startswith("pylock") and file.suffix == ".toml":
        return "python-environment", "pylock.toml"
    hint = "give a conda YAML file, a requirements `.txt`, a `pylock.toml`, or a Dockerfile with --dockerfile"
    raise InvalidInput([Diagnostic(message=f"`{file}` is no kind of environment that is known", hint=hint)])


def dockerfile_image(
    workspace: Workspace,
    store: Store,
    request: Request,
    find: Run,
    journal: Journal,
    stop: Stop,
    environ: Mapping[str, str],
) -> CustomImage:
    """Return the image of a user's own Dockerfile, which says `FROM base`, on a stack.

    Its folder is the build context. The key covers the stack's key and every file that the Dockerfile can read.
    """
    _check_tag(request)
    real = _real(workspace, request.file)
    text = _read(real, request.file).decode("utf-8", "replace")
    if diagnostics := frontend_problems(Dockerfile.parse(text, str(request.file))):
        raise InvalidInput(diagnostics)
    made = make_plan(
        workspace.tree(),
        overlay=True,
        change=lambda catalog: replace(catalog, stacks=(_stack(catalog, request.stack),)),
    )
    stack = made.stacks[0]
    environment = bake_environment(made, workspace, environ)
    home, files = _context(real.parent)
    if diagnostics := tuple(_kept_back(real, files)):
        raise InvalidInput(diagnostics)
    decision, _ = decide_published(workspace, store, made, (stack.name,), environ)
    keyed = _custom_key(decision.keys.stacks[stack.name].key, real.name, files)
    wanted = Reference.parse(f"{store.prefix}/{stack.stack}{CUSTOM_SUFFIX}:key-{keyed.key}")
    found = store.registry.manifest(wanted)
    if found is not None and (why := store.foreign(wanted, found, keyed)):
        journal.emit(Noted(at=time.time(), about="registry", text=f"rebuilding {TARGET}: {why}"))
        found = None
    is_new = found is None
    if found is not None:
        reference = wanted.with_digest(found.descriptor.digest)
    else:
        folder = journal.run.work()
        try:
            copy = copy_context(home, "", dict(context_files(real.name, files)), folder)
            base = publish(workspace, store, made, (stack.name,), RunOptions(), find, journal, stop, environ)
            on = base.stacks.get(stack.name) or base.decision.existing.get(stack.name)
            if on is None:
                return CustomImage(reference=None, made=False, failures=base.failures, published=base)
            incoming = Publication(name=str(wanted.with_tag(incoming_tag(TARGET))), annotations=annotations_of(keyed))
            file = copy / real.name
            result = _bake(workspace, file, on, incoming, find(), journal, stop, environment)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        failure, digest = result.failure, result.digests.get(TARGET)
        if failure is None and digest is None:
            message = "bake succeeded but reported no pushed digest"
            failure = Failure(kind=FailureKind.PUSH, message=message, target=TARGET)
        if failure is not None or digest is None:
            return CustomImage(reference=None, made=False, failures=(failure,) if failure else ())
        reference = store.accept(wanted.with_digest(digest), wanted, keyed)
    moved: tuple[str, ...] = ()
    if request.tag:
        store.registry.tag(reference, request.tag)
        moved = (f"{wanted.name}:{request.tag}",)
    return CustomImage(reference=str(reference), made=is_new, moved=moved)


def _context(folder: Path) -> tuple[Home, Mapping[str, File]]:
    """Return the folder of a user's own Dockerfile as what its symlinks do not leave, and its files as they are now."""
    home = Home(root=folder, shown=str(folder), word=f"`{folder}`")
    diagnostics: list[Diagnostic] = []
    files = files_of(home, "", diagnostics)
    if diagnostics:
        raise InvalidInput(diagnostics)
    return home, files


def _kept_back(dockerfile: Path, files: Mapping[str, File]) -> Iterator[Diagnostic]:
    """Yield a mistake where a Dockerfile could read what a checkout keeps to itself: a token in `.git/config`."""
    names = {path.split("/")[0] for path, _ in context_files(dockerfile.name, files)} & PRIVATE
    for name in sorted(names):
        message = f"`{dockerfile}` could copy `{name}` of its folder into the image"
        hint = f"write a line `{name}` to `{dockerfile.parent / '.dockerignore'}`"
        yield Diagnostic(message=message, hint=hint)


def _custom_key(stack: str, dockerfile: str, files: Mapping[str, File]) -> Fingerprint:
    return keyed_by({"stack": stack, **dict(readable_inputs(dockerfile, files))})


def _bake(
    workspace: Workspace,
    dockerfile: Path,
    base: str,
    publication: Publication,
    docker: Docker,
    journal: Journal,
    stop: Stop,
    environment: Mapping[str, str],
) -> BakeResult:
    target = Target(
        name=TARGET,
        context=dockerfile.parent.relative_to(workspace.root).as_posix(),
        dockerfile=dockerfile.name,
        contexts={"base": f"docker-image://{base}"},
    )
    file = dockerfile.parent.parent / "custom.json"
    write_whole(file, Definition(targets=(published(target, publication),)).to_json().encode())
    call = BakeCall(
        root=workspace.root,
        files=(file.relative_to(workspace.root).as_posix(),),
        targets=(TARGET,),
        environment=environment,
        mask=mask_of(workspace.root),
    )
    if diagnostics := check_paths(print_bake(docker, call), workspace.root):
        raise InvalidInput(diagnostics)
    steps = StepEvents((TARGET,), (), lambda _target, _text: None)

    def take(event: Status | Text) -> None:
        for each in steps.take(event, time.time()):
            journal.emit(each)

    return run_bake(docker, call, take, stop=stop)
