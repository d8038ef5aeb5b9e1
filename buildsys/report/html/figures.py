"""What the figures of a run amount to: where its time went, what its images share, how it differs from the previous."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from buildsys.events.events import FolderSize, ImageLayer
from buildsys.events.model import RunModel, Step, Target
from buildsys.values import dataclass

UNKNOWN_LAYER = "not known"
# Below these two a difference of time says more about the machine than about the target.
LEAST_SECONDS = 1.0
LEAST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """How many targets were at work from `start` to `end`, in seconds since the run began."""

    start: float
    end: float
    targets: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def busy(run: RunModel) -> tuple[Busy, ...]:
    """Return the run as stretches with equally many targets at work, without holes; waits for a retry are no work."""
    changes: dict[float, int] = {}
    for attempt in (attempt for target in run.targets.values() for attempt in target.attempts):
        start, end = (min(max(at - run.began, 0.0), run.seconds) for at in (attempt.started, attempt.ended))
        if end > start:
            changes[start] = changes.get(start, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    found: list[Busy] = []
    at, number = 0.0, 0
    for moment in sorted({*changes, run.seconds}):
        if moment > at:
            if found and found[-1].targets == number:
                found[-1] = Busy(start=found[-1].start, end=moment, targets=number)
            else:
                found.append(Busy(start=at, end=moment, targets=number))
        at, number = moment, number + changes.get(moment, 0)
    return tuple(found)


def critical_path(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the chain of needs that took longest in all: a run cannot be shorter, however much runs at once.

    Targets come in build order; among equals the one planned first wins. Those that took no time are left out.
    """
    longest: dict[str, tuple[float, Target | None]] = {}
    by_name = {target.name: target for target in targets}
    for target in targets:
        known = [name for name in target.plan.needs if name in longest]
        below = max(known, key=lambda name: longest[name][0], default=None)
        seconds = longest[below][0] if below else 0.0
        longest[target.name] = (seconds + target.seconds, by_name[below] if below else None)
    if not longest:
        return ()
    found: list[Target] = []
    last: Target | None = by_name[max(longest, key=lambda name: longest[name][0])]
    while last is not None:
        found.append(last)
        last = longest[last.name][1]
    return tuple(target for target in reversed(found) if target.seconds > 0)


def slowest_steps(targets: Iterable[Target], number: int) -> tuple[Step, ...]:
    """Return the steps that took longest, the longest first; what came from a cache took nothing."""
    steps = (step for target in targets for step in target.steps if not step.cached and round(step.seconds, 1) > 0)
    return tuple(sorted(steps, key=lambda step: (-step.seconds, step.target, step.name))[:number])


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """What the blobs of one buildsys layer take: each stored once, and if each image had its own; sizes in bytes."""

    layer: str
    blobs: int
    images: int
    once: int
    apart: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSize:
    """The size of an image in bytes, and the part of it that no other image of the run has, None if it is not known."""

    target: Target
    size: int
    own: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The blobs of all images; `silent` counts the images that exist and did not report their blobs."""

    layers: tuple[LayerSize, ...] = ()
    images: tuple[ImageSize, ...] = ()
    silent: int = 0

    @property
    def known(self) -> int:
        """How many images reported their blobs."""
        return sum(each.own is not None for each in self.images)

    @property
    def once(self) -> int:
        """The bytes of all blobs, each once: what a registry stores."""
        return sum(each.once for each in self.layers)

    @property
    def apart(self) -> int:
        """The bytes of all blobs, as often as an image has them."""
        return sum(each.apart for each in self.layers)


@dataclass(kw_only=True, slots=True)
class _Blob:
    """A blob: its size in bytes, the buildsys layer that it comes from, and how many images have it."""

    size: int
    layer: str = ""
    users: int = 0


def image_sizes(targets: Iterable[Target]) -> Sizes:
    """Return what images hold and share, the largest first."""
    images = [target for target in targets if target.is_image and target.ended]
    # An image may hold one blob twice; it is stored, and pulled, once.
    held = {
        target.name: {layer.digest: layer for layer in target.ended.layers}
        for target in images
        if target.ended and target.ended.layers
    }
    blobs: dict[str, _Blob] = {}
    images_of: Counter[str] = Counter()
    for layers in held.values():
        for digest, layer in layers.items():
            blob = blobs.setdefault(digest, _Blob(size=layer.size))
            blob.layer = blob.layer or layer.layer
            blob.users += 1
    for layers in held.values():
        images_of.update({blobs[digest].layer for digest in layers})
    by_layer: dict[str, list[_Blob]] = {}
    for blob in blobs.values():
        by_layer.setdefault(blob.layer, []).append(blob)
    found = [
        LayerSize(
            layer=layer or UNKNOWN_LAYER,
            blobs=len(each),
            images=images_of[layer],
            once=sum(blob.size for blob in each),
            apart=sum(blob.size * blob.users for blob in each),
        )
        for layer, each in by_layer.items()
    ]
    return Sizes(
        layers=tuple(sorted(found, key=lambda each: (-each.apart, each.layer))),
        images=tuple(_image_sizes(images, held, blobs)),
        silent=sum(target.exists for target in images) - len(held),
    )


def _image_sizes(
    images: Iterable[Target], held: Mapping[str, Iterable[str]], blobs: Mapping[str, _Blob]
) -> list[ImageSize]:
    found = []
    for target in images:
        if target.name in held:
            mine = [blobs[digest] for digest in held[target.name]]
            own = sum(blob.size for blob in mine if blob.users == 1)
            found.append(ImageSize(target=target, size=sum(blob.size for blob in mine), own=own))
        elif target.ended and target.ended.size is not None:
            found.append(ImageSize(target=target, size=target.ended.size, own=None))
    return sorted(found, key=lambda each: (-each.size, each.target.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSize:
    """What a node adds to what it is built on, in bytes, None if it is not known: its blobs, and its files."""

    target: Target
    stored: int | None
    unpacked: int | None
    folders: tuple[FolderSize, ...]


def node_sizes(targets: Iterable[Target]) -> tuple[NodeSize, ...]:
    """Return what nodes add, the largest first, without those that recorded no size."""
    ends = [(target, target.ended) for target in targets if not target.is_image and target.ended]
    found = [
        NodeSize(target=target, stored=_own_size(target, end.layers), unpacked=end.unpacked, folders=end.folders)
        for target, end in ends
    ]
    known = (each for each in found if each.stored is not None or each.unpacked is not None)
    return tuple(sorted(known, key=lambda each: (-(each.stored or 0), -(each.unpacked or 0), each.target.name)))


def _own_size(target: Target, layers: Sequence[ImageLayer]) -> int | None:
    if not layers or not all(each.layer for each in layers):
        return None
    return sum(size for size in {each.digest: each.size for each in layers if each.layer == target.plan.layer}.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How a target differs from the previous run; `before` is None if that run had none of its name, so is `now`."""

    name: str
    before: Target | None
    now: Target | None

    @property
    def more(self) -> float:
        """How many seconds more it took; 0.0 unless it took time in both runs."""
        if self.before is None or self.now is None or not self.before.seconds or not self.now.seconds:
            return 0.0
        return self.now.seconds - self.before.seconds


def changes(now: RunModel, before: RunModel) -> tuple[Change, ...]:
    """Return targets that came, went, ended otherwise, or took a tenth and a second more or less.

    Those with another outcome come first, then the largest difference.
    """
    found = (
        Change(name=name, before=before.targets.get(name), now=now.targets.get(name))
        for name in {**now.targets, **before.targets}
    )
    notable = filter(_is_notable, found)
    return tuple(sorted(notable, key=lambda each: (_has_same_outcome(each), -abs(each.more), each.name)))


def _has_same_outcome(change: Change) -> bool:
    return bool(change.before and change.now and change.before.outcome == change.now.outcome)


def _is_notable(change: Change) -> bool:
    if change.before is None or not _has_same_outcome(change):
        return True
    return abs(change.more) >= max(LEAST_SECONDS, LEAST_SHARE * change.before.seconds)
