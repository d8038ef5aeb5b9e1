"""The registry as the memory: what exists under which key, what was published last, and publishing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from buildsys.errors import Unavailable
from buildsys.names import KEY_LABEL, shortened
from buildsys.oci.client import Registry
from buildsys.oci.http import DigestMismatch, RegistryProblem, UnexpectedAnswer, UnreadableManifest
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Manifest, Reference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.resolve.node import ImageTarget
from buildsys.run.compose import Composed, Part, compose

NODES = "nodes"
_CONCURRENCY = 8
INPUTS = "dev.buildsys.inputs"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedImage:
    """An image with its digest; each blob of it with the layer that it comes from, empty for the system below."""

    reference: str
    layers: tuple[tuple[Descriptor, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """What is under the keys of targets: `references` with digests, and `foreign`: why something else is no result."""

    references: Mapping[str, str]
    foreign: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A repository prefix of a registry, such as `registry.example.com/ml`.

    A node is `<prefix>/nodes:<key>`, a stack `<prefix>/<stack>:key-<key>`. Beside it an advisory tag, `last-<node>` or
    `last`, moves to what was published last under a name; nothing but explanations is read from it. What an engine
    pushes comes to `incoming-<target>` first, and gets the tag of its key once it was checked.
    """

    registry: Registry
    prefix: str

    def node(self, key: str) -> Reference:
        """Return where a node with this key is."""
        return Reference.parse(f"{self.prefix}/{NODES}:{key}")

    def stack(self, stack: str, key: str) -> Reference:
        """Return where a stack with this key is."""
        return Reference.parse(f"{self.prefix}/{stack}:key-{key}")

    def accept(self, pushed: Reference, key_reference: Reference, keyed: Fingerprint) -> Reference:
        """Give what was pushed, by its digest, the tag of its key; return the reference with the digest.

        Raises `RegistryProblem`, also where what was pushed is not there or does not carry its key.
        """
        manifest = self.registry.manifest(pushed)
        wrong = f"`{pushed}` was pushed, and the registry does not have it" if manifest is None else ""
        if manifest is not None:
            wrong = self.foreign(pushed, manifest, keyed)
        if manifest is None or wrong:
            raise UnexpectedAnswer(wrong, host=pushed.host)
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
        found = self.registry.manifests(wanted.values())
        references, foreign = {}, {}
        for target, reference in wanted.items():
            answer = found[reference]
            if isinstance(answer, DigestMismatch | UnreadableManifest):
                foreign[target] = str(answer)
            elif isinstance(answer, RegistryProblem):
                raise answer
            elif answer is not None and (wrong := self.foreign(reference, answer, keys.of(target))):
                foreign[target] = wrong
            elif answer is not None:
                references[target] = str(reference.with_digest(answer.descriptor.digest))
        return Existing(references=MappingProxyType(references), foreign=MappingProxyType(foreign))

    def foreign(self, reference: Reference, manifest: Manifest, keyed: Fingerprint) -> str:
        """Return why what is under a key is not what was published for it, empty if it is.

        Each manifest, of an index each of its manifests, carries its key and the inputs that give this key.
        """
        if not manifest.manifests:
            return _wrong_annotations(reference, dict(manifest.annotations), keyed)
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
        """Return the inputs of what was last published under the names of targets; what cannot be read is left out."""
        stacks = {stack.name: stack for stack in plan.stacks}

        def inputs(target: str) -> tuple[str, Mapping[str, str] | None]:
            name = f"{stacks[target].stack}:last" if target in stacks else f"{NODES}:last-{target}"
            return target, read_inputs(self.registry.manifest(Reference.parse(f"{self.prefix}/{name}")))

        with ThreadPoolExecutor(max_workers=_CONCURRENCY) as pool:
            return {target: known for target, known in pool.map(inputs, targets) if known is not None}

    def verify(self, existing: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Return for each target what is missing of it in the registry, blobs too; only those that miss something."""
        found = {}
        for target, reference in existing.items():
            if missing := self.registry.verify(Reference.parse(reference)):
                found[target] = missing
        return found

    def part(self, reference: str) -> Part:
        """Return an image that exists as a part of others; raises `Unavailable` if it is no single image."""
        parsed = Reference.parse(reference)
        manifest = self.registry.manifest(parsed)
        if manifest is None or manifest.config is None:
            raise Unavailable(f"`{reference}` is not an image that can be composed")
        config = json.loads(self.registry.blob(parsed, manifest.config.digest))
        return Part(layers=manifest.layers, config=config)

    def publish(self, stack: ImageTarget, keyed: Fingerprint, nodes: Mapping[str, str]) -> PublishedImage | None:
        """Compose a stack of nodes, given as references with digests, and put it under its key; return what is there.

        No layer byte moves: blobs are mounted from the nodes' repository. Returns None where the registry does not
        mount, or where the stack cannot be composed at all.
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
        """Move the advisory tags to what was published: target to reference with digest."""
        stacks = {stack.name for stack in plan.stacks}
        for target, reference in sorted(published.items()):
            self.registry.tag(Reference.parse(reference), "last" if target in stacks else f"last-{target}")

    def move_tags(
        self, published: Mapping[str, str], tags: Mapping[str, tuple[str, ...]]
    ) -> tuple[tuple[str, ...], Mapping[str, RegistryProblem]]:
        """Give public tags to stacks that exist; return those that moved, and by stack why one could not be moved.

        A tag that is right is left alone. One that fails does not keep the others: each of them is of a whole image.
        """
        moved = []
        failed: dict[str, RegistryProblem] = {}
        current = self.registry.head_many(Reference.parse(tag) for target in published for tag in tags.get(target, ()))
        for target, reference in sorted(published.items()):
            source = Reference.parse(reference)
            for tag in tags.get(target, ()):
                wanted = Reference.parse(tag)
                there = current[wanted]
                if isinstance(there, RegistryProblem):
                    raise there
                if there is not None and there.digest == source.digest:
                    continue
                if wanted.name != source.name:
                    raise Unavailable(f"`{tag}` is in another repository than `{source.name}`")
                try:
                    self.registry.tag(source, wanted.tag or "latest")
                except RegistryProblem as problem:
                    failed[target] = problem
                else:
                    moved.append(tag)
        return tuple(moved), failed


def can_compose(stack: ImageTarget) -> bool:
    """Whether a manifest over the blobs of nodes is all that a stack needs; else an engine assembles it.

    A stack that stands on a parent itself has blobs of another registry; WORKDIR makes its folder, which is a layer of
    its own; several platforms need an index. All else that layers say of an image stands in its config alone.
    """
    return stack.base is not None and not stack.config.workdir and len(stack.platforms) == 1


def incoming_tag(target: str) -> str:
    """Return the tag under which an engine pushes a target before it gets that of its key."""
    return f"incoming-{shortened(target)}"


def annotations_of(keyed: Fingerprint) -> Mapping[str, str]:
    """Return what a manifest carries of its key."""
    return {INPUTS: keyed.text, KEY_LABEL: keyed.key}


def _wrong_annotations(reference: Reference, annotations: Mapping[str, str], keyed: Fingerprint) -> str:
    found = annotations.get(KEY_LABEL)
    if found is None:
        return f"`{reference}` does not say for which key it was built"
    if found != keyed.key:
        return f"`{reference}` was built for another key, {found[:12]}"
    if annotations.get(INPUTS) != keyed.text:
        return f"`{reference}` was built from other inputs than its key's"
    return ""


def read_inputs(manifest: Manifest | None) -> Mapping[str, str] | None:
    """Return the inputs that an annotation holds; None where there is none, or none that can be read."""
    text = dict(manifest.annotations).get(INPUTS) if manifest else None
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        return None
    return value
