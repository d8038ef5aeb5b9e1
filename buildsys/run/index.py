"""What is published for a stack: the index of its images with data of the run, and when its public tags move."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Protocol

from buildsys.errors import BuildsysError, Unavailable
from buildsys.events.history import History
from buildsys.names import KEY_LABEL
from buildsys.oci.artifacts import time_text
from buildsys.oci.client import ImageRegistry, ask_many, in_threads, missing_parts
from buildsys.oci.http import DigestMismatch, NotFound, RegistryProblem, UnexpectedAnswer, UnreadableManifest
from buildsys.oci.reference import OCI_INDEX, Descriptor, Manifest, Reference
from buildsys.plan.keys import Fingerprint, Keys
from buildsys.plan.plan import Plan
from buildsys.project.revision import Origin
from buildsys.resolve.node import ImageTarget
from buildsys.values import dataclass

INPUTS = "dev.buildsys.inputs"
# https://github.com/opencontainers/image-spec/blob/main/annotations.md
_STANDARD = "org.opencontainers.image"
REVISION = f"{_STANDARD}.revision"
_TAG_ATTEMPTS = 3
# https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
_SPDX = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


class TagMoved(BuildsysError):
    """A public tag that a different run moved during this one; it is not moved back."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="run the command again if this checkout is the newer one")


class WrongResult(UnexpectedAnswer):
    """What was pushed is not what its key says; a second bake would push the same."""


def platform_tag(key: str) -> str:
    """Return the tag of a stack's image for one platform."""
    return f"platform-{key}"


def child_tag(child: Descriptor) -> str | None:
    """Return the tag of an image that an index names, by the key in its annotations; None without one."""
    key = dict(child.annotations).get(KEY_LABEL)
    return platform_tag(key) if key else None


def index_of(parts: Mapping[str, tuple[Descriptor, Fingerprint]], annotations: Mapping[str, str]) -> bytes:
    """Return the index of images by platform, each with its key."""
    manifests = []
    for platform, (descriptor, keyed) in parts.items():
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        manifests.append(
            {
                "mediaType": descriptor.media_type,
                "digest": descriptor.digest,
                "size": descriptor.size,
                "platform": {"architecture": architecture, "os": system, **({"variant": variant} if variant else {})},
                "annotations": {KEY_LABEL: keyed.key},
            }
        )
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": manifests,
        "annotations": dict(sorted(annotations.items())),
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def annotations_of(keyed: Fingerprint) -> Mapping[str, str]:
    """Return the annotations by which a manifest carries its key."""
    return {INPUTS: keyed.text, KEY_LABEL: keyed.key}


def run_annotations(plan: Plan, image: ImageTarget, origin: Origin, version: str, seconds: float) -> Mapping[str, str]:
    """Return what an index says of an image, and of the run that wrote it at a time in seconds since 1970."""
    parent = plan.parent(image.parent.name).locked
    found = {
        "created": time_text(seconds),
        "title": image.stack,
        "description": image.description,
        "licenses": _licences(image),
        "base.name": parent.reference,
        "base.digest": parent.digest or "",
        "source": origin.source,
        "revision": origin.revision,
        "version": version,
    }
    return {f"{_STANDARD}.{name}": value for name, value in found.items() if value}


def _licences(image: ImageTarget) -> str:
    """Return an SPDX expression; a licence that is described in words gets a name by its layer."""
    found = {
        each.recipe.licence if _SPDX.fullmatch(each.recipe.licence) else f"LicenseRef-{each.name}"
        for each in (layer for layer in image.layers if not layer.is_own)
    }
    return " AND ".join(f"({each})" if " OR " in each else each for each in sorted(found))


def wrong_index(reference: str, index: Manifest, keyed: Fingerprint, parts: Mapping[str, Fingerprint]) -> str:
    """Return why what is under the key of a stack is not its index, empty if it is; `parts` are keys by platform."""
    if not index.manifests:
        return f"`{reference}` is one image, expected an index"
    if wrong := _wrong_annotations(reference, dict(index.annotations), keyed):
        return wrong
    found = {each.platform or "": dict(each.annotations).get(KEY_LABEL) for each in index.manifests}
    if found != {platform: each.key for platform, each in parts.items()} or len(found) != len(index.manifests):
        return f"`{reference}` is an index of other images than those of its key"
    return ""


def wrong_image(reference: str, manifest: Manifest, keyed: Fingerprint) -> str:
    """Return why what is under the key of a node or image is not the result for it, empty if it is."""
    if manifest.manifests:
        return f"`{reference}` is an index, expected one image"
    return _wrong_annotations(reference, dict(manifest.annotations), keyed)


def _wrong_annotations(reference: str, annotations: Mapping[str, str], keyed: Fingerprint) -> str:
    """Return why a manifest is not the result for a key, empty if it is."""
    found = annotations.get(KEY_LABEL)
    if found is None:
        return f"`{reference}` does not name the key it was built for"
    if found != keyed.key:
        return f"`{reference}` was built for another key, {found[:12]}"
    if annotations.get(INPUTS) != keyed.text:
        return f"`{reference}` was built from other inputs than its key's"
    return ""


def put_index(
    registry: ImageRegistry,
    target: Reference,
    keyed: Fingerprint,
    images: Mapping[str, tuple[str, Fingerprint]],
    annotations: Mapping[str, str],
) -> str:
    """Put an index under its key, and return its reference; `images` are references with digests, by platform.

    One that was put there meanwhile is used as it is, unless a part of its images is missing or it cannot be read.
    Raises `RegistryProblem`, also for an image that is missing.
    """
    try:
        held = registry.manifest(target)
    except (DigestMismatch, UnreadableManifest):
        held = None
    parts = {platform: key for platform, (_, key) in images.items()}
    # The index of a damaged image has the right keys, and the image that was built in its place may have other bytes.
    if held is not None and not wrong_index(str(target), held, keyed, parts) and not missing_parts(registry, target):
        for each in held.manifests:
            image, key = images[each.platform or ""]
            if each.digest != Reference.parse(image).digest:
                # Two runs at once may publish two images of one key: the one in the index keeps its tag.
                registry.tag(target.with_digest(each.digest), platform_tag(key.key))
        return str(target.with_digest(held.descriptor.digest))
    found = {}
    for platform, (image, key) in images.items():
        reference = Reference.parse(image)
        descriptor = registry.head(reference)
        if descriptor is None:
            raise NotFound(f"`{reference}` does not exist, so no index can name it", host=reference.host)
        found[platform] = descriptor, key
    raw = index_of(found, {**annotations, **annotations_of(keyed)})
    return str(target.with_digest(registry.put_manifest(target, raw, OCI_INDEX).digest))


@dataclass(kw_only=True, slots=True)
class Indexes:
    """The indexes of stacks, each written when the last image of its stack exists; safe to share between threads.

    `written` maps stack to reference, `images` target to that of each image that exists. `place` returns where the
    index of a stack is by its repository and key, `describe` what an index says of an image and of the run.
    """

    plan: Plan
    keys: Keys
    registry: ImageRegistry
    place: Callable[[str, str], Reference]
    describe: Callable[[ImageTarget], Mapping[str, str]]
    written: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, image: ImageTarget, reference: str) -> str:
        """Take an image that exists now, and return its reference: in its index, where that is complete."""
        with self._lock:
            self.images[image.name] = reference
        self.write(image.stack)
        return self.written.get(image.stack, reference)

    def write(self, stack: str) -> None:
        """Write the index of a stack if it is missing and all its images exist; raises `RegistryProblem`."""
        parts = self.plan.indexes[stack]
        with self._lock:
            if stack in self.written or any(each.name not in self.images for each in parts):
                return
            keyed = self.keys.indexes[stack]
            found = {each.platform: (self.images[each.name], self.keys.of(each.name)) for each in parts}
            target = self.place(parts[0].repository, keyed.key)
            self.written[stack] = put_index(self.registry, target, keyed, found, self.describe(parts[0]))


def tagged(registry: ImageRegistry, tags: Iterable[str]) -> Mapping[str, str | None]:
    """Return the digest that each of some tags names, None for one that names nothing which can be read.

    A tag of damaged content is for a run to move, like one that does not exist. Raises the first other problem, by tag.
    """

    def readable(reference: Reference) -> Descriptor | None:
        try:
            return registry.head(reference)
        except (DigestMismatch, UnreadableManifest):
            return None

    wanted = sorted({*tags})
    found = ask_many(map(Reference.parse, wanted), readable, ends=lambda _: True)
    held: dict[str, str | None] = {}
    for tag in wanted:
        answer = found[Reference.parse(tag)]
        if isinstance(answer, RegistryProblem):
            raise answer
        held[tag] = answer.digest if answer else None
    return held


def put_tag(registry: ImageRegistry, index: Reference, tag: str) -> None:
    """Give an index a tag; who deletes it at the same moment, by its digest, deletes the new tag too."""
    found = registry.manifest(index)
    if found is None:
        raise NotFound(f"`{index}` does not exist, so it cannot be tagged", host=index.host, status=404)
    for _ in range(_TAG_ATTEMPTS):
        registry.put_manifest(index.with_tag(tag), found.raw, found.descriptor.media_type)
        if registry.head(index) is not None:
            return
    raise NotFound(f"`{index}` is deleted while `{tag}` moves to it", host=index.host, status=404)


def move_tags(
    registry: ImageRegistry,
    published: Mapping[str, str],
    tags: Mapping[str, tuple[str, ...]],
    seen: Mapping[str, str | None],
    begin: Callable[[Mapping[str, str | None]], None] = lambda _: None,
) -> tuple[tuple[str, ...], Mapping[str, BuildsysError]]:
    """Give public tags to stacks that exist; return the tags that moved, and the first problem of each stack.

    `seen` is what each tag named when the run began: one that names something else by now was moved by a different
    run, and stays. A tag that was right is not changed, and if any tag moves it is looked up again too. One that fails
    does not stop the others: each of them is of a whole image. `begin` is called before the first one moves, with those
    that are to move and what each names.
    """
    pairs = {tag: target for target in sorted(published) for tag in tags.get(target, ())}
    sources = {tag: Reference.parse(published[target]) for tag, target in pairs.items()}
    for tag, source in sources.items():
        if Reference.parse(tag).name != source.name:
            raise Unavailable(f"`{tag}` is in another repository than `{source.name}`")
    # A run that moves no tag built nothing, and what it saw is not a second old.
    moving = any(seen.get(tag) != source.digest for tag, source in sources.items())
    held = tagged(registry, sources if moving else ())

    def move(tag: str) -> BuildsysError | None:
        if held[tag] != seen.get(tag):
            return TagMoved(f"`{tag}` was moved to {held[tag] or 'nothing'} while this run built, and stays there")
        try:
            put_tag(registry, sources[tag], Reference.parse(tag).target)
        except RegistryProblem as problem:
            return problem
        return None

    moves = [tag for tag, source in sources.items() if moving and held[tag] != source.digest]
    free = {tag: held[tag] for tag in moves if held[tag] == seen.get(tag)}
    if free:
        begin(free)
    moved = []
    failed: dict[str, BuildsysError] = {}
    for tag, problem in zip(moves, in_threads(move, moves), strict=True):
        if problem is None:
            moved.append(tag)
        else:
            failed.setdefault(pairs[tag], problem)
    return tuple(moved), failed


@dataclass(frozen=True, kw_only=True, slots=True)
class TagMove:
    """That tags of a stack are to name an image, a reference with its digest, which has a key and a reason."""

    stack: str
    repository: str
    image: str
    tags: tuple[str, ...]
    key: str
    reason: str


class TagHistory(Protocol):
    """What remembers which images public tags named, and how long nodes took."""

    def estimates(self, history: History, plan: Plan, names: Iterable[str]) -> History:
        """Return a history of this machine with the times of nodes that it lacks."""

    def held(self, keys: Mapping[str, str]) -> Mapping[str, str]:
        """Return why the tags of stacks stay where they are; `keys` has the key of the image of each stack."""

    def moving(self, moves: Iterable[TagMove], now: Mapping[str, str | None]) -> None:
        """Remember that tags move, before they do; `now` has what each names."""


def move_unheld(
    registry: ImageRegistry, moves: Mapping[str, TagMove], seen: Mapping[str, str | None], history: TagHistory | None
) -> tuple[tuple[str, ...], dict[str, BuildsysError], dict[str, str]]:
    """Give public tags to targets as `move_tags` does, unless the history holds them; return also why some are held."""
    late = {
        each.stack: each.key
        for each in moves.values()
        if any(seen.get(tag) != Reference.parse(each.image).digest for tag in each.tags)
    }
    held = history.held(late) if history and late else {}
    free = {target: each for target, each in moves.items() if each.stack not in held}
    images, tags = {t: each.image for t, each in free.items()}, {t: each.tags for t, each in free.items()}

    def begin(now: Mapping[str, str | None]) -> None:
        own = {each.stack: replace(each, tags=tuple(tag for tag in each.tags if tag in now)) for each in free.values()}
        if history:
            history.moving([each for each in own.values() if each.tags], now)

    moved, failed = move_tags(registry, images, tags, seen, begin)
    return moved, dict(failed), {target: held[each.stack] for target, each in moves.items() if each.stack in held}
