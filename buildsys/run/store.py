"""What a registry holds under the keys of targets, and how results get there and under public tags."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field
from types import MappingProxyType

from buildsys.errors import Unavailable
from buildsys.events.events import Retried
from buildsys.events.journal import Journal
from buildsys.foreign import object_of, texts_of
from buildsys.names import NODES, shortened
from buildsys.oci.bounds import Bounds
from buildsys.oci.client import ImageRegistry, Registry, ask_many, in_threads, missing_parts
from buildsys.oci.config import Config, misfit
from buildsys.oci.credentials import docker_credentials
from buildsys.oci.http import (
    DigestMismatch,
    RegistryProblem,
    Retries,
    RetryNotice,
    UnexpectedAnswer,
    UnreadableManifest,
)
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Manifest, Reference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.project.files import read_named
from buildsys.project.settings import Settings, docker_config_dir, read_settings
from buildsys.project.workspace import Workspace, named_prefix, prefix_location
from buildsys.resolve.node import ImageTarget, Node
from buildsys.run.compose import Composed, Part, compose
from buildsys.run.index import INPUTS, WrongResult, annotations_of, platform_tag, wrong_image, wrong_index
from buildsys.values import dataclass

Before = Callable[[Manifest], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedImage:
    """An image with its digest, and its blobs."""

    reference: str
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """What is under the keys of targets: `references` with digests, and `foreign`: why content is not a result.

    The reference of an image is that of the index of its stack if there is one; `indexes` has these, by stack.
    `layers` are the blobs of nodes, and of images that are in no index.
    """

    references: Mapping[str, str]
    foreign: Mapping[str, str]
    indexes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    layers: Mapping[str, tuple[Descriptor, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A repository prefix of a registry, such as `registry.example.com/ml`; docs/registry.md lists all references.

    A node is `<prefix>/nodes:<key>`, the image of a stack for one platform `<prefix>/<repository>:platform-<key>`, and
    the index of these `<prefix>/<repository>:key-<key>`. An advisory tag, `last-<target>`, moves to the latest result
    of a name; only explanations are read from it. An engine pushes to `incoming-<target>`, and the image gets the tag
    of its key after a check.
    """

    registry: ImageRegistry
    prefix: str
    _mounting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def node(self, key: str) -> Reference:
        """Return the reference of the node with this key."""
        return Reference.parse(f"{self.prefix}/{NODES}:{key}")

    def image(self, repository: str, key: str) -> Reference:
        """Return the reference of a stack's image for one platform, in the stack's repository."""
        return Reference.parse(f"{self.prefix}/{repository}:{platform_tag(key)}")

    def index(self, repository: str, key: str) -> Reference:
        """Return the reference of what is published for a stack, in its repository."""
        return Reference.parse(f"{self.prefix}/{repository}:key-{key}")

    def location(self, target: Node | ImageTarget, keys: Keys) -> Reference:
        """Return where a node or image is under its key."""
        key = keys.of(target.name).key
        return self.image(target.repository, key) if isinstance(target, ImageTarget) else self.node(key)

    def accept(
        self, pushed: Reference, key_reference: Reference, keyed: Fingerprint, before: Before = lambda _: None
    ) -> Reference:
        """Put a pushed image under the tag of its key; return its reference there, with the digest.

        `before` is called with its manifest when it is checked, and before it has the tag.
        Raises `WrongResult` if it does not carry its key or is for another platform, and `RegistryProblem`, also if the
        registry does not have it.
        """
        manifest = self.registry.manifest(pushed)
        if manifest is None:
            message = f"`{pushed}` was pushed, and the registry does not have it"
            raise UnexpectedAnswer(message, host=pushed.host)
        if wrong := wrong_image(str(pushed), manifest, keyed) or self._misfit(pushed, manifest, keyed):
            raise WrongResult(wrong, host=pushed.host)
        before(manifest)
        self.registry.put_manifest(key_reference, manifest.raw, manifest.descriptor.media_type)
        return key_reference.with_digest(manifest.descriptor.digest)

    def _misfit(self, reference: Reference, manifest: Manifest, keyed: Fingerprint) -> str:
        """Return why the config of an image of one platform is not its own, empty if it is."""
        platform = keyed.inputs.get("platform")
        if manifest.config is None or platform is None:
            return ""
        raw = self.registry.blob(reference, manifest.config.digest)
        problem = misfit(raw, layers=len(manifest.layers), platform=platform)
        return f"`{reference}` is not a result: {problem}" if problem else ""

    def existing(
        self, plan: Plan, keys: Keys, targets: Collection[str] | None = None, *, lost: Collection[str] = ()
    ) -> Existing:
        """Return what exists under its key, of all or of some targets; the indexes of `lost` stacks are not used.

        One request each, concurrent; where a stack has no index, one more for each of its images. Raises the first
        problem of the registry, by name; 404 is none.
        """
        chosen = [each for name, each in plan.targets.items() if targets is None or name in targets]
        images = [each for each in chosen if isinstance(each, ImageTarget)]
        nodes = {each.name: self.location(each, keys) for each in chosen if isinstance(each, Node)}
        stacks = {
            each.stack: self.index(each.repository, keys.indexes[each.stack].key)
            for each in images
            if each.stack not in lost
        }
        found = self._look_up([*nodes.values(), *stacks.values()])
        references, indexes, foreign = dict[str, str](), dict[str, str](), dict[str, str]()
        layers = dict[str, tuple[Descriptor, ...]]()
        for stack, reference in stacks.items():
            parts = {each.platform: keys.of(each.name) for each in plan.indexes[stack]}
            check = functools.partial(wrong_index, str(reference), keyed=keys.indexes[stack], parts=parts)
            right, wrong = _judged(reference, found[reference], check)
            indexes |= {stack: right} if right else {}
            foreign |= {each.name: wrong for each in plan.indexes[stack] if wrong}
        alone = {each.name: self.location(each, keys) for each in images if each.stack not in indexes}
        found = {**found, **self._look_up(alone.values())}
        for name, reference in {**nodes, **alone}.items():
            check = functools.partial(wrong_image, str(reference), keyed=keys.of(name))
            right, wrong = _judged(reference, found[reference], check)
            references |= {name: right} if right else {}
            layers |= {name: manifest.layers} if right and isinstance(manifest := found[reference], Manifest) else {}
            foreign |= {name: wrong} if wrong else {}
        references |= {each.name: indexes[each.stack] for each in images if each.stack in indexes}
        return Existing(
            references=MappingProxyType(references),
            foreign=MappingProxyType({name: why for name, why in foreign.items() if name not in references}),
            indexes=MappingProxyType(indexes),
            layers=MappingProxyType(layers),
        )

    def image_layers(self, plan: Plan, keys: Keys, targets: Iterable[str]) -> Mapping[str, tuple[Descriptor, ...]]:
        """Return the blobs of the images among some targets, one request each; of one that has no manifest nothing."""
        places = {name: self.location(plan.targets[name], keys) for name in targets}
        found = ask_many(places.values(), self.registry.manifest, ends=_ends_look_ups)
        return {name: each.layers for name, at in places.items() if isinstance(each := found[at], Manifest)}

    def published(self, reference: Reference, keyed: Fingerprint, parts: Mapping[str, Fingerprint]) -> tuple[str, str]:
        """Return the index under a key, with its digest, or why what exists is not that; empty texts for nothing."""
        check = functools.partial(wrong_index, str(reference), keyed=keyed, parts=parts)
        return _judged(reference, self._look_up([reference])[reference], check)

    def _look_up(self, references: Iterable[Reference]) -> Mapping[Reference, Manifest | RegistryProblem | None]:
        found = ask_many(references, self.registry.manifest, ends=_ends_look_ups)
        for answer in found.values():
            if isinstance(answer, RegistryProblem) and _ends_look_ups(answer):
                raise answer
        return found

    def previous(self, plan: Plan, targets: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the inputs of the latest results of targets, without those that cannot be read."""
        wanted = {name: self._last(plan.targets[name]) for name in targets}
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
        parts = in_threads(lambda reference: self.missing(Reference.parse(reference)), existing.values())
        return {target: missing for target, missing in zip(existing, parts, strict=True) if missing}

    def missing(self, reference: Reference) -> tuple[str, ...]:
        """Return the names of the missing or damaged parts of an image."""
        return missing_parts(self.registry, reference)

    def part(self, reference: str, platform: str) -> Part:
        """Return an image as a part of others; raises `RegistryProblem` for anything but an image for this platform."""
        parsed = Reference.parse(reference)
        manifest = self.registry.manifest(parsed)
        if manifest is None or manifest.config is None:
            raise UnreadableManifest(f"`{reference}` is not an image that can be composed", host=parsed.host)
        try:
            raw = self.registry.blob(parsed, manifest.config.digest)
            if problem := misfit(raw, layers=len(manifest.layers), platform=platform):
                raise ValueError(problem)
            return Part(layers=manifest.layers, config=Config.parse(raw))
        except ValueError as error:
            raise UnreadableManifest(f"`{reference}` cannot be composed: {error}", host=parsed.host) from error

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
        parts = [self.part(reference, stack.platform) for reference in (nodes[base], *artifacts)]
        target = self.image(stack.repository, keyed.key)
        try:
            image = compose(stack, parts[0], parts[1:], annotations)
        except ValueError as error:
            raise UnexpectedAnswer(f"`{target}` cannot be composed: {error}", host=target.host) from error
        if not self._blobs(target, image):
            return None
        self.registry.put_blob(target, image.config)
        self.registry.put_manifest(target, image.manifest, OCI_MANIFEST)
        return PublishedImage(reference=str(target.with_digest(image.digest)), layers=image.layers)

    def _blobs(self, target: Reference, image: Composed) -> bool:
        source = self.node("0" * 64)
        # docker-registry empties its link to a blob while it mounts it once more: images of one repository take turns.
        with self._mounting:
            return all(
                self.registry.blob_exists(target, layer.digest, layer.size)
                or self.registry.mount_blob(target, layer.digest, source)
                for layer in dict.fromkeys(image.layers)
            )

    def _last(self, target: Node | ImageTarget) -> Reference:
        repository = target.repository if isinstance(target, ImageTarget) else NODES
        return Reference.parse(f"{self.prefix}/{repository}:{last_tag(target.name)}")

    def remember(self, published: Mapping[str, str]) -> None:
        """Move the advisory tags to results: target to reference with digest."""
        moves = [(reference, last_tag(name)) for name, reference in published.items()]
        in_threads(lambda move: self.registry.tag(Reference.parse(move[0]), move[1]), sorted(moves))


def _judged(
    reference: Reference, answer: Manifest | RegistryProblem | None, check: Callable[[Manifest], str]
) -> tuple[str, str]:
    """Return what is under a key as a reference with its digest, or why it is not the result; empty texts for none."""
    if answer is None:
        return "", ""
    wrong = str(answer) if isinstance(answer, RegistryProblem) else check(answer)
    return (
        ("", wrong)
        if isinstance(answer, RegistryProblem) or wrong
        else (str(reference.with_digest(answer.descriptor.digest)), "")
    )


def can_compose(stack: ImageTarget) -> bool:
    """Return whether a manifest over the blobs of nodes is enough for a stack; else an engine assembles it.

    A stack whose base is a parent image has blobs of another registry; WORKDIR creates its folder, which is a layer.
    All other settings of an image are in its config alone.
    """
    return stack.base is not None and not stack.config.workdir


def incoming_tag(target: str) -> str:
    """Return the tag under which an engine pushes a target before it gets that of its key."""
    return f"incoming-{shortened(target)}"


def last_tag(target: str) -> str:
    """Return the tag of the latest result of a target's name."""
    return f"last-{shortened(target)}"


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
