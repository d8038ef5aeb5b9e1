"""What a registry holds under the keys of targets, and how results get there and under public tags."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

from buildsys.errors import Unavailable
from buildsys.events.events import Retried
from buildsys.events.journal import Journal
from buildsys.foreign import list_of, object_of, texts_of
from buildsys.names import KEY_LABEL, shortened
from buildsys.oci.bounds import Bounds
from buildsys.oci.client import CONCURRENCY, ImageRegistry, Registry, ask_many, missing_parts
from buildsys.oci.credentials import docker_credentials
from buildsys.oci.http import (
    DigestMismatch,
    RegistryProblem,
    Retries,
    RetryNotice,
    UnexpectedAnswer,
    UnreadableManifest,
)
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Manifest, Reference, is_digest
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.project.files import read_named
from buildsys.project.settings import Settings, docker_config_dir, read_settings
from buildsys.project.workspace import Workspace, named_prefix, prefix_location
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import Composed, Part, compose
from buildsys.values import dataclass

NODES = "nodes"
INPUTS = "dev.buildsys.inputs"
_MOST_PLATFORMS = 64
T = TypeVar("T")
R = TypeVar("R")
Before = Callable[[Descriptor], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedImage:
    """An image with its digest, and its blobs with the layer that each comes from, empty for the base layer."""

    reference: str
    layers: tuple[tuple[Descriptor, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """What is under the keys of targets: `references` with digests, and `foreign`: why content is not a result."""

    references: Mapping[str, str]
    foreign: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A repository prefix of a registry, such as `registry.example.com/ml`.

    A node is `<prefix>/nodes:<key>`, a stack `<prefix>/<stack>:key-<key>`. An advisory tag, `last-<node>` or `last`,
    moves to the latest result of a name; only explanations are read from it. An engine pushes to `incoming-<target>`,
    and the image gets the tag of its key after a check.
    """

    registry: ImageRegistry
    prefix: str

    def node(self, key: str) -> Reference:
        """Return the reference of the node with this key."""
        return Reference.parse(f"{self.prefix}/{NODES}:{key}")

    def stack(self, stack: str, key: str) -> Reference:
        """Return the reference of the stack with this key."""
        return Reference.parse(f"{self.prefix}/{stack}:key-{key}")

    def accept(
        self, pushed: Reference, key_reference: Reference, keyed: Fingerprint, before: Before = lambda _: None
    ) -> Reference:
        """Put a pushed image under the tag of its key; return its reference there, with the digest.

        `before` is called with its descriptor when it is checked, and before it has the tag.
        Raises `RegistryProblem`, also if the registry does not have the image or if it does not carry its key.
        """
        manifest = self.registry.manifest(pushed)
        wrong = f"`{pushed}` was pushed, and the registry does not have it" if manifest is None else ""
        if manifest is not None:
            wrong = self.foreign(pushed, manifest, keyed)
        if manifest is None or wrong:
            raise UnexpectedAnswer(wrong, host=pushed.host)
        before(manifest.descriptor)
        self.registry.put_manifest(key_reference, manifest.raw, manifest.descriptor.media_type)
        return key_reference.with_digest(manifest.descriptor.digest)

    def existing(self, plan: Plan, keys: Keys, targets: Collection[str] | None = None) -> Existing:
        """Return what exists under its key, of all or of some targets.

        One request each, concurrent. Raises the first problem of the registry, by name; 404 is none.
        """
        wanted = {node.name: self.node(keys.nodes[node.name].key) for node in plan.nodes}
        wanted |= {stack.name: self.stack(stack.stack, keys.stacks[stack.name].key) for stack in plan.stacks}
        if targets is not None:
            wanted = {name: reference for name, reference in wanted.items() if name in targets}
        found = ask_many(wanted.values(), self.registry.manifest, ends=_ends_look_ups)
        references, foreign = {}, {}
        for target, reference in wanted.items():
            answer = found[reference]
            if isinstance(answer, RegistryProblem):
                if _ends_look_ups(answer):
                    raise answer
                foreign[target] = str(answer)
            elif answer is not None and (wrong := self.foreign(reference, answer, keys.of(target))):
                foreign[target] = wrong
            elif answer is not None:
                references[target] = str(reference.with_digest(answer.descriptor.digest))
        return Existing(references=MappingProxyType(references), foreign=MappingProxyType(foreign))

    def foreign(self, reference: Reference, manifest: Manifest, keyed: Fingerprint) -> str:
        """Return why the content of a key is not the result for it, empty if it is.

        Each manifest, of an index each of its manifests, carries its key and the inputs that give this key.
        """
        if not manifest.manifests:
            return _wrong_annotations(reference, dict(manifest.annotations), keyed)
        if len(manifest.manifests) > _MOST_PLATFORMS:
            return f"`{reference}` is an index of {len(manifest.manifests)} manifests, expected one for each platform"
        for child in manifest.manifests:
            try:
                platform = self.registry.manifest(reference.with_digest(child.digest))
            except (DigestMismatch, UnreadableManifest) as problem:
                return str(problem)
            if platform is None:
                return f"`{reference}` is an index without its manifest {child.digest}"
            if wrong := _wrong_annotations(reference, dict(platform.annotations), keyed):
                return wrong
        return ""

    def previous(self, plan: Plan, targets: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the inputs of the latest results of targets, without those that cannot be read."""
        stacks = {stack.name: stack for stack in plan.stacks}

        def last(target: str) -> Reference:
            name = f"{stacks[target].stack}:last" if target in stacks else f"{NODES}:last-{target}"
            return Reference.parse(f"{self.prefix}/{name}")

        wanted = {target: last(target) for target in targets}
        # Nothing but explanations depends on them.
        found = ask_many(wanted.values(), self.registry.manifest, ends=_ends_look_ups)
        inputs = {
            target: read_inputs(answer)
            for target, reference in wanted.items()
            if not isinstance(answer := found[reference], RegistryProblem)
        }
        return {target: known for target, known in inputs.items() if known is not None}

    def verify(self, existing: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Return the missing or damaged parts of targets, blobs too, in the order given; whole ones are left out."""
        parts = _each(lambda reference: self.missing(Reference.parse(reference)), existing.values())
        return {target: missing for target, missing in zip(existing, parts, strict=True) if missing}

    def missing(self, reference: Reference) -> tuple[str, ...]:
        """Return the names of the missing or damaged parts of an image."""
        return missing_parts(self.registry, reference)

    def part(self, reference: str) -> Part:
        """Return an image as a part of others; raises `RegistryProblem` for anything but an image of one platform."""
        parsed = Reference.parse(reference)
        manifest = self.registry.manifest(parsed)
        if manifest is None or manifest.config is None:
            raise UnreadableManifest(f"`{reference}` is not an image that can be composed", host=parsed.host)
        try:
            config = _config_of(self.registry.blob(parsed, manifest.config.digest), len(manifest.layers))
        except ValueError as error:
            raise UnreadableManifest(
                f"`{reference}` has a config that cannot be read: {error}", host=parsed.host
            ) from error
        return Part(layers=manifest.layers, config=config)

    def publish(self, stack: ImageTarget, keyed: Fingerprint, nodes: Mapping[str, str]) -> PublishedImage | None:
        """Compose a stack of nodes, given as references with digests, and put it under its key; return the image.

        No layer is transferred: blobs are mounted from the nodes' repository. Returns None if the registry does not
        mount, or if the stack cannot be composed.
        """
        base = stack.base
        if base is None or not can_compose(stack):
            return None
        artifacts = [nodes[node] for _, node in stack.artifacts]
        annotations = annotations_of(keyed)
        parts = [self.part(reference) for reference in (nodes[base], *artifacts)]
        image = compose(stack, parts[0], parts[1:], annotations)
        target = self.stack(stack.stack, keyed.key)
        if not self._blobs(target, image):
            return None
        self.registry.put_blob(target, image.config)
        self.registry.put_manifest(target, image.manifest, OCI_MANIFEST)
        names = ["", *(layer for layer, _ in stack.artifacts)]
        origins = [name for name, part in zip(names, parts, strict=True) for _ in part.layers]
        layers = tuple(zip(image.layers, origins, strict=True))
        return PublishedImage(reference=str(target.with_digest(image.digest)), layers=layers)

    def _blobs(self, target: Reference, image: Composed) -> bool:
        source = self.node("0" * 64)
        for layer in dict.fromkeys(image.layers):
            if self.registry.blob_exists(target, layer.digest, layer.size):
                continue
            if not self.registry.mount_blob(target, layer.digest, source):
                return False
        return True

    def remember(self, plan: Plan, published: Mapping[str, str]) -> None:
        """Move the advisory tags to results: target to reference with digest."""
        stacks = {stack.name for stack in plan.stacks}
        moves = [(reference, "last" if name in stacks else f"last-{name}") for name, reference in published.items()]
        _each(lambda move: self.registry.tag(Reference.parse(move[0]), move[1]), sorted(moves))

    def move_tags(
        self, published: Mapping[str, str], tags: Mapping[str, tuple[str, ...]]
    ) -> tuple[tuple[str, ...], Mapping[str, RegistryProblem]]:
        """Give public tags to stacks that exist; return the tags that moved, and the first problem of each stack.

        Nothing moves before all tags were looked up: the first problem of that, by stack, is raised. A tag that is
        right is not changed. One that fails does not stop the others: each of them is of a whole image.
        """
        moves: list[tuple[str, str, Reference]] = []
        pairs = [(target, tag) for target in sorted(published) for tag in tags.get(target, ())]
        current = ask_many((Reference.parse(tag) for _, tag in pairs), self.registry.head, ends=lambda _: True)
        for target, tag in pairs:
            source, wanted = Reference.parse(published[target]), Reference.parse(tag)
            held = current[wanted]
            if isinstance(held, RegistryProblem):
                raise held
            if held is not None and held.digest == source.digest:
                continue
            if wanted.name != source.name:
                raise Unavailable(f"`{tag}` is in another repository than `{source.name}`")
            moves.append((target, tag, source))

        def move(each: tuple[str, str, Reference]) -> RegistryProblem | None:
            _, tag, source = each
            try:
                self.registry.tag(source, Reference.parse(tag).target)
            except RegistryProblem as problem:
                return problem
            return None

        moved = []
        failed: dict[str, RegistryProblem] = {}
        for (target, tag, _), problem in zip(moves, _each(move, moves), strict=True):
            if problem is None:
                moved.append(tag)
            else:
                failed.setdefault(target, problem)
        return tuple(moved), failed


def _each(action: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of an action on several threads, in the order of the items.

    Of several errors the first by this order is raised, when nothing runs any more; what has not begun then does not.
    """
    with ThreadPoolExecutor(max_workers=CONCURRENCY) as pool:
        return list(pool.map(action, items))


def can_compose(stack: ImageTarget) -> bool:
    """Return whether a manifest over the blobs of nodes is enough for a stack; else an engine assembles it.

    A stack whose base is a parent image has blobs of another registry; WORKDIR creates its folder, which is a layer;
    several platforms need an index. All other settings of an image are in its config alone.
    """
    return stack.base is not None and not stack.config.workdir and len(stack.platforms) == 1


def incoming_tag(target: str) -> str:
    """Return the tag under which an engine pushes a target before it gets that of its key."""
    return f"incoming-{shortened(target)}"


def annotations_of(keyed: Fingerprint) -> Mapping[str, str]:
    """Return the annotations by which a manifest carries its key."""
    return {INPUTS: keyed.text, KEY_LABEL: keyed.key}


def _wrong_annotations(reference: Reference, annotations: Mapping[str, str], keyed: Fingerprint) -> str:
    found = annotations.get(KEY_LABEL)
    if found is None:
        return f"`{reference}` does not name the key it was built for"
    if found != keyed.key:
        return f"`{reference}` was built for another key, {found[:12]}"
    if annotations.get(INPUTS) != keyed.text:
        return f"`{reference}` was built from other inputs than its key's"
    return ""


def _config_of(raw: bytes, layers: int) -> dict[str, Any]:
    """Return the config of an image with a number of layers; raises ValueError for one that cannot be composed."""
    value = object_of(raw)
    settings, rootfs, created = (value.get(name) for name in ("config", "rootfs", "created"))
    if not isinstance(settings, dict | None) or not isinstance(rootfs, dict) or not isinstance(created, str | None):
        raise ValueError("`config`, `rootfs` or `created` has a value of a wrong type")
    if len(digests := list_of(rootfs, "diff_ids", str)) != layers or not all(map(is_digest, digests)):
        raise ValueError("its `diff_ids` are not the digests of its layers")
    list_of(value, "history", dict)
    if settings:
        texts_of(settings, "Labels")
        if not all("=" in entry for entry in list_of(settings, "Env", str)):
            raise ValueError("`Env` has an entry without a value")
        if not isinstance(settings.get("ExposedPorts"), dict | None):
            raise ValueError("`ExposedPorts` is no object")
    return value


def read_inputs(manifest: Manifest | None) -> Mapping[str, str] | None:
    """Return the inputs in an annotation, None if there are none that can be read."""
    text = dict(manifest.annotations).get(INPUTS) if manifest else None
    try:
        return texts_of({INPUTS: object_of(text)}, INPUTS) if text else None
    except ValueError:
        return None


def _ends_look_ups(problem: RegistryProblem) -> bool:
    """Whether a problem is of the registry, rather than of the one thing that was looked up."""
    return not isinstance(problem, DigestMismatch | UnreadableManifest)


@contextlib.contextmanager
def open_store(
    workspace: Workspace,
    environ: Mapping[str, str],
    *,
    attempts: int = 5,
    outages: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    listener: Callable[[RetryNotice], None] = lambda _notice: None,
) -> Iterator[Store]:
    """Yield the store; raises `Unavailable` if neither the environment nor stacks.yaml names a registry.

    A request is sent up to `attempts` times while its problem is transient, with `outages` also if the connection is
    refused; `listener` receives each retry, `sleep` waits before it.
    """
    prefix = named_prefix(workspace, environ)
    if prefix is None:
        raise Unavailable(
            "no registry is set to publish to",
            hint="set BUILDSYS_REGISTRY or `registry:` in stacks.yaml, such as `registry.example.com/ml`",
        )
    settings, retries = read_settings(workspace.root, environ), Retries(attempts=attempts, outages=outages)
    # In a run a registry checks what it is given; a look-up should take no time.
    bounds = Bounds(answer=60.0) if outages else None
    with registry_of(settings, environ, retries=retries, bounds=bounds, listener=listener, sleep=sleep) as registry:
        try:
            yield Store(registry=registry, prefix=prefix)
        except RegistryProblem as problem:
            if problem.host == Reference.parse(f"{prefix}/{NODES}").host:
                problem.name_origin(prefix_location(workspace, environ))
            raise


def registry_of(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    retries: Retries | None = None,
    bounds: Bounds | None = None,
    sleep: Callable[[float], None] = time.sleep,
    listener: Callable[[RetryNotice], None] = lambda _notice: None,
) -> Registry:
    """Return a client of registries as this machine's settings say, with docker's own credentials."""
    return Registry(
        environ=environ,
        credentials=docker_credentials(docker_config_dir(environ), reader=read_named),
        insecure=settings.insecure,
        retries=retries,
        bounds=bounds,
        listener=listener,
        sleep=sleep,
    )


def on_retry(journal: Journal) -> Callable[[RetryNotice], None]:
    """Return a listener that reports the retries of requests to a registry as events."""

    def emit(notice: RetryNotice) -> None:
        attempt, why = notice.attempt + 1, str(notice.problem)
        journal.emit(Retried(at=time.time(), target="", attempt=attempt, of=notice.attempts, wait=notice.wait, why=why))

    return emit
