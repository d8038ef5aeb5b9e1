"""Which image holds a user's own environment file or Dockerfile on top of a stack: found by content, or built."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from buildsys.addresses import tokens_in
from buildsys.bake.definition import Definition, Target
from buildsys.bake.secrets import secret_references
from buildsys.bake.targets import Publication, image_time, published
from buildsys.buildkit.entitlements import check_paths
from buildsys.buildkit.failure import Failure, FailureKind
from buildsys.buildkit.invocation import BakeCall, BakeResult
from buildsys.buildkit.progress import Status, Text
from buildsys.commands.plan import make_plan
from buildsys.commands.requirements import IN_CACHES, NAME_INDEX, has_credentials, problems
from buildsys.config.catalog import load
from buildsys.config.model import Catalog, File, LayerUse, Stack
from buildsys.dockerfile.lint import frontend_problems
from buildsys.dockerfile.mounts import SecretMount, secret_mounts
from buildsys.dockerfile.parser import Dockerfile
from buildsys.dockerfile.remote import moving
from buildsys.dockerfile.sources import context_sources, filled_name
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.names import CUSTOM_SUFFIX, MIRRORS_SECRET, STATE_FOLDER, secret_variable, tag_problem
from buildsys.oci.reference import Reference, is_digest
from buildsys.plan.keys import Fingerprint, context_files, index_key, readable_inputs
from buildsys.plan.keys import keyed as keyed_by
from buildsys.plan.plan import Plan
from buildsys.plan.selection import unknown_stack
from buildsys.plan.sources import missing, moving_diagnostic
from buildsys.project.contexts import files_of
from buildsys.project.files import Home, decoded, is_there, read_file, read_named
from buildsys.project.revision import Origin
from buildsys.project.settings import mask_of
from buildsys.project.state import State
from buildsys.project.workspace import PRIVATE, Workspace, write_whole
from buildsys.records.source import read
from buildsys.run.contexts import copy_context
from buildsys.run.decision import selection_of
from buildsys.run.index import annotations_of, move_tags, put_index, run_annotations, tagged
from buildsys.run.publish import publish
from buildsys.run.session import Session
from buildsys.run.step_events import StepEvents
from buildsys.run.store import Store, incoming_tag
from buildsys.run.variables import bake_environment, check_names, missing_secret
from buildsys.values import dataclass

ENVIRONMENTS = f"{STATE_FOLDER}/environments"
TARGET = "custom"
BASE = "base"
# Of a file with the packages of an environment: a lock file may be long.
_LIMIT = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomImage:
    """An image of a user's own: `reference` with its digest, None if it could not be built."""

    reference: str | None
    built: bool
    moved: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked for: a file on a stack, and the tag that the image gets in addition to that of its content."""

    file: Path
    stack: str
    tag: str | None = None


def check(workspace: Workspace, request: Request, *, dockerfile: bool) -> frozenset[str]:
    """Return the secrets that its build may mount, those of all layers of the project too.

    Raises `InvalidInput` for a request that cannot be met, before any registry or engine is asked.
    """
    if request.tag is not None and (problem := tag_problem(request.tag)):
        raise InvalidInput([Diagnostic(message=f"`--tag`: {problem}", hint="use a tag such as `2026-11`")])
    data = _read(_real(workspace, request.file), request.file)
    text = decoded(data, str(request.file))
    if not dockerfile:
        _kind(request.file, text)
    catalog = load(workspace.tree())
    _stack(catalog, request.stack)
    recipes = (recipe for layer in catalog.layers.values() for recipe in layer.recipes.values())
    own = secret_mounts(Dockerfile.parse(text, str(request.file))) if dockerfile else ()
    return frozenset({*(each.id for recipe in recipes for each in recipe.secrets), *(each.id for each in own)})


def environment_image(session: Session, store: Store, request: Request) -> CustomImage:
    """Return the image of a conda YAML, requirements or lock file on a stack; it is built if it does not exist.

    Raises `InvalidInput` if the file cannot be read, is neither kind, or the stack does not exist.
    """
    workspace = session.workspace
    data = _read(_real(workspace, request.file), request.file)
    text = decoded(data, str(request.file))
    layer, name = _kind(request.file, text)
    if diagnostics := tuple(_foreign_lines(request.file, text, name)):
        raise InvalidInput(diagnostics)
    digest = hashlib.sha256(data).hexdigest()[:12]
    folder = f"{ENVIRONMENTS}/{digest}"
    state = State(workspace.root)
    with state.locked():
        state.fill(folder, {name: data})
    plan = make_plan(
        workspace.tree(),
        overlay=True,
        change=lambda catalog: _with_environment(catalog, request.stack, layer, folder, digest),
    )
    targets = tuple(image.name for image in plan.stacks)
    check_names(plan, session.environ)
    if request.tag:
        context = replace(session.context, environ={**session.environ, "BUILDSYS_TAG": request.tag})
        session = replace(session, context=context)
    result = publish(session, store, plan, targets)
    return CustomImage(
        reference=result.reference(targets[0]) if result.complete else None,
        built=not result.references.keys().isdisjoint(targets),
        moved=result.moved,
        failures=result.failures,
    )


def _with_environment(catalog: Catalog, name: str, layer: str, folder: str, digest: str) -> Catalog:
    """Return the catalog with one stack: the one named, and the environment on top of it."""
    stack = _stack(catalog, name)
    if layer not in catalog.layers:
        message = f"the project has no layer `{layer}`, which builds such environments"
        hint = f"add `layers/{layer}`, as buildsys's own project has it"
        raise InvalidInput([Diagnostic(message=message, hint=hint)])
    others = tuple(use for use in stack.layers if use.layer != layer)
    use = LayerUse(layer=layer, parameters=MappingProxyType({"folder": folder}), location=stack.location)
    own = replace(
        stack,
        name=f"{stack.name}-{digest}",
        family=None,
        groups=(),
        description=f"{stack.name} with an environment",
        repository=f"{stack.name}-{digest}",
        tags=(),
        layers=(*others, use),
    )
    return replace(catalog, stacks=(own,))


def _stack(catalog: Catalog, name: str) -> Stack:
    found = next((stack for stack in catalog.stacks if stack.name == name), None)
    if found is None:
        raise InvalidInput([unknown_stack(name, (stack.name for stack in catalog.stacks))])
    return found


def _real(workspace: Workspace, file: Path) -> Path:
    """Return where a file really is; one that is named in the project must not point outside it."""
    given = Path(os.path.normpath(Path.cwd() / file))
    if given.is_relative_to(workspace.root):
        return workspace.home.find(given.relative_to(workspace.root).as_posix())
    return Path(os.path.realpath(given))


def _read(real: Path, shown: Path) -> bytes:
    if not is_there(real):
        read_named(shown)
    return read_file(real, Home(root=real.parent, shown=str(shown.parent)), shown.name, limit=_LIMIT)


def _kind(file: Path, text: str) -> tuple[str, str]:
    """Return the layer that installs the environment of a file, and the name that the layer expects."""
    if file.suffix in (".yml", ".yaml"):
        found = read(text, file.name).data
        if isinstance(found, dict) and "dependencies" in found:
            return "conda-environment", "environment.yml"
        message = f"`{file}` has no `dependencies`, which a conda environment needs"
        raise InvalidInput([Diagnostic(message=message, hint="list its packages under `dependencies:`")])
    if file.name.endswith(".txt"):
        return "python-environment", "requirements.txt"
    if file.name.startswith("pylock") and file.suffix == ".toml":
        return "python-environment", "pylock.toml"
    hint = "give a conda YAML file, a requirements `.txt`, a `pylock.toml`, or a Dockerfile with --dockerfile"
    raise InvalidInput([Diagnostic(message=f"`{file}` is not a supported kind of environment", hint=hint)])


def _foreign_lines(file: Path, text: str, name: str) -> Iterator[Diagnostic]:
    """Yield what lines for pip name that a build does not see, those in a conda environment too, and credentials."""
    if name == "requirements.txt":
        yield from problems(text, str(file))
    elif name == "environment.yml":
        source = read(text, str(file))
        for path, place in source.values.items():
            line = source.text(path) or ""
            if "pip" in path:
                yield from problems(line, str(file), place.line, place.column)
            elif has_credentials(line) or any(tokens_in(line)):
                yield Diagnostic(message=IN_CACHES, location=place, hint=NAME_INDEX)
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if has_credentials(line):
                yield Diagnostic(message=IN_CACHES, location=Location(file=str(file), line=number), hint=NAME_INDEX)


def dockerfile_image(session: Session, store: Store, request: Request) -> CustomImage:
    """Return the image of a user's own Dockerfile, which says `FROM base`, on a stack.

    Its folder is the build context. The key covers the stack's key and every file that the Dockerfile can read. It is
    for the first platform of the stack.
    """
    workspace = session.workspace
    real = _real(workspace, request.file)
    text = decoded(_read(real, request.file), str(request.file))
    dockerfile = Dockerfile.parse(text, str(request.file))
    if diagnostics := frontend_problems(dockerfile):
        raise InvalidInput(diagnostics)
    plan = make_plan(
        workspace.tree(),
        overlay=True,
        change=lambda catalog: replace(catalog, stacks=(_stack(catalog, request.stack),)),
    )
    # What is refused is refused before anything is built.
    check_names(plan, session.environ)
    bake_environment(plan, workspace, session.environ)
    own = _OwnDockerfile.read(real, secret_mounts(dockerfile))
    folder = str(request.file.parent)
    given = context_sources(dockerfile)
    own_sources = [each for each in given if not each.context]
    found = (*_moving(dockerfile, plan), *missing(own_sources, {}, own.files, folder, str(request.file)))
    if found:
        raise InvalidInput(found)
    stack = plan.stacks[0]
    keys = selection_of(workspace, plan, (stack.name,)).keys
    key = own.key(keys.of(stack.name).key, stack.platform)
    index = index_key(f"{stack.stack}{CUSTOM_SUFFIX}", {stack.platform: key})
    wanted = store.index(f"{stack.stack}{CUSTOM_SUFFIX}", index.key)
    tags = (f"{wanted.name}:{request.tag}",) if request.tag else ()
    seen = tagged(store.registry, tags)
    existing, why = store.published(wanted, index, {stack.platform: key})
    if why:
        session.note("registry", f"rebuilding {TARGET}: {why}")
    if existing:
        image = CustomImage(reference=existing, built=False)
    else:
        image = own.build(session, store, plan, key)
        if image.reference is not None:
            # The Dockerfile is a user's own, and from no known source.
            annotations = run_annotations(plan, stack, Origin(), request.tag or "", session.context.clock())
            part = {stack.platform: (image.reference, key)}
            image = replace(image, reference=put_index(store.registry, wanted, index, part, annotations))
    if image.reference is None:
        return image
    moved, failed = move_tags(store.registry, {TARGET: image.reference}, {TARGET: tags}, seen)
    for problem in failed.values():
        raise problem
    return replace(image, moved=moved)


def _moving(dockerfile: Dockerfile, plan: Plan) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each image, and each address of ADD, that a user's own Dockerfile names and may change.

    Its key covers its text, so only what has a digest, a checksum or a full commit there is in the key.
    """
    stages = {stage.name for stage in dockerfile.stages if stage.name}
    for one in dockerfile.references:
        name = filled_name(dockerfile, one.name) if one.how == "FROM" else one.name
        if name not in (BASE, "scratch", *stages) and not is_digest((name or "").partition("@")[2]):
            said = {"FROM": f"FROM {one.name}", "--from": f"--from={one.name}", "mount": f"from={one.name}"}[one.how]
            message = f"`{said}` has no digest, and what a tag names changes"
            location = Location(file=dockerfile.file, line=one.line, column=one.column, length=len(one.name))
            yield Diagnostic(message=message, location=location, hint=_with_digest(name or one.name, plan))
    for source in context_sources(dockerfile):
        found = moving(source.path, source.checksum, source.definitions, {}) if source.keyword == "ADD" else None
        if found:
            hint = "write `ADD --checksum=sha256:…`, with the checksum of the file"
            if found.is_git:
                hint = "write the full commit behind `#`, 40 hexadecimal digits"
            elif found.address is None:
                hint = "write the address itself with `--checksum`; for a file of the folder, begin with `./`"
            yield moving_diagnostic(source, found, dockerfile.file, hint)


def _with_digest(name: str, plan: Plan) -> str:
    """Return the hint how to name an image by its digest, by that of the lock where a parent is this image."""
    with contextlib.suppress(InvalidInput):
        image = Reference.parse(name)
        for parent in plan.parents:
            if parent.locked.digest and Reference.parse(parent.locked.reference) == image:
                return f"write `{name}@{parent.locked.digest}`, which the lock has, or `{BASE}` for the stack"
    return f"write `{BASE}` for the stack, or add `@sha256:…`, which `docker buildx imagetools inspect` prints"


@dataclass(frozen=True, kw_only=True, slots=True)
class _OwnDockerfile:
    """A user's own Dockerfile with the files of its folder as they are now; symlinks do not leave the folder."""

    path: Path
    home: Home
    files: Mapping[str, File]
    secrets: tuple[SecretMount, ...]

    @classmethod
    def read(cls, path: Path, secrets: tuple[SecretMount, ...]) -> _OwnDockerfile:
        """Return the Dockerfile at a path; raises `InvalidInput` for files that it must not be able to read."""
        home = Home(root=path.parent, shown=str(path.parent), word=f"`{path.parent}`")
        diagnostics: list[Diagnostic] = []
        files = files_of(home, "", diagnostics)
        diagnostics = diagnostics or list(_private(path, files))
        if diagnostics:
            raise InvalidInput(diagnostics)
        return cls(path=path, home=home, files=files, secrets=secrets)

    def key(self, stack: str, platform: str) -> Fingerprint:
        """Return the key of its image on a stack with a key, for a platform."""
        return keyed_by({"stack": stack, "platform": platform, **dict(readable_inputs(self.path.name, self.files))})

    def build(self, session: Session, store: Store, plan: Plan, key: Fingerprint) -> CustomImage:
        """Publish the image on the one image of a plan, which is published first where it does not exist.

        Raises `InvalidInput` for a secret that a RUN needs and that has no value.
        """
        needed = dict.fromkeys(each.id for each in self.secrets if each.required and each.id != MIRRORS_SECRET)
        unset = [each for each in needed if not session.environ.get(secret_variable(each))]
        if unset:
            raise InvalidInput([missing_secret(each, f"`{self.path}`") for each in unset])
        stack = plan.stacks[0].name
        wanted = store.image(f"{plan.stacks[0].stack}{CUSTOM_SUFFIX}", key.key)
        folder = session.journal.run.work()
        try:
            # Before minutes go by: what is built must be what the key names.
            files = dict(context_files(self.path.name, self.files))
            copy = copy_context(self.home, "", files, folder, timestamp=plan.timestamp)
            # The stack is not what was asked for: its own tags stay.
            base = publish(session, store, plan, (stack,), tag=False)
            reference = base.reference(stack)
            if reference is None:
                return CustomImage(reference=None, built=False, failures=base.failures)
            publication = Publication(name=str(wanted.with_tag(incoming_tag(TARGET))), annotations=annotations_of(key))
            ids = frozenset(each.id for each in self.secrets)
            result = _bake(session, copy / self.path.name, reference, publication, plan, secrets=ids)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        failure, digest = result.failure, result.digests.get(TARGET)
        if failure is None and digest is None:
            message = "bake succeeded but reported no pushed digest for this target"
            failure = Failure(kind=FailureKind.PUSH, message=message, target=TARGET)
        if failure is not None or digest is None:
            return CustomImage(reference=None, built=False, failures=(failure,) if failure else ())
        return CustomImage(reference=str(store.accept(wanted.with_digest(digest), wanted, key)), built=True)


def _private(dockerfile: Path, files: Mapping[str, File]) -> Iterator[Diagnostic]:
    """Yield an error where a Dockerfile could read private files of a checkout: a token in `.git/config`."""
    names = {path.split("/")[0] for path, _ in context_files(dockerfile.name, files)} & PRIVATE
    for name in sorted(names):
        message = f"`{dockerfile}` could copy `{name}` of its folder into the image"
        hint = f"add the line `{name}` to `{dockerfile.parent / '.dockerignore'}`"
        yield Diagnostic(message=message, hint=hint)


def _bake(
    session: Session, dockerfile: Path, base: str, publication: Publication, plan: Plan, *, secrets: Collection[str]
) -> BakeResult:
    root, builder = session.workspace.root, session.find_builder()
    target = Target(
        name=TARGET,
        context=dockerfile.parent.relative_to(root).as_posix(),
        dockerfile=dockerfile.name,
        contexts={BASE: f"docker-image://{base}"},
        platforms=(plan.stacks[0].platform,),
        args=image_time(plan),
        secret=secret_references(secrets),
    )
    values = {name: session.environ.get(name, "") for name in map(secret_variable, secrets)}
    file = dockerfile.parent.parent / "custom.json"
    write_whole(file, Definition(targets=(published(target, publication),)).to_json().encode())
    call = BakeCall(
        root=root,
        files=(file.relative_to(root).as_posix(),),
        targets=(TARGET,),
        environment={**values, **bake_environment(plan, session.workspace, session.environ)},
        mask=mask_of(root, session.environ),
    )
    if diagnostics := check_paths(builder.print(call), root):
        raise InvalidInput(diagnostics)
    steps = StepEvents((TARGET,), (), lambda _target, _text: None)

    def take(event: Status | Text) -> None:
        for each in steps.take(event, session.context.clock()):
            session.journal.emit(each)

    return builder.bake(call, take, stop=session.stop)
