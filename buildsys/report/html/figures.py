"""What the figures of a run amount to: where its time went, what its images share, what differs from the run before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildsys.events.events import TargetEnded
from buildsys.report.html.run import Run, Step, Target

UNKNOWN_LAYER = "no layer of this project"
# Below these two a difference of time says more about the machine than about the target.
LEAST_SECONDS = 1.0
LEAST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """How many targets were worked on from `start` to `end`, in seconds since the run began."""

    start: float
    end: float
    targets: int

    @property
    def seconds(self) -> float:
        """How long that was so."""
        return self.end - self.start


def busy(run: Run) -> tuple[Busy, ...]:
    """Return the run as stretches with equally many targets at work, without holes; waits for a retry are no work."""
    changes: dict[float, int] = {}
    for attempt in (attempt for target in run.targets for attempt in target.attempts):
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

    Targets come in build order; among equals the one planned first wins. Those that nothing was done for are left out.
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


def slowest_steps(run: Run, number: int) -> tuple[Step, ...]:
    """Return the steps that took longest, the longest first; what came from a cache took nothing."""
    steps = (step for target in run.targets for step in target.steps if not step.cached and round(step.seconds, 1) > 0)
    return tuple(sorted(steps, key=lambda step: (-step.seconds, step.target, step.name))[:number])


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """What the blobs of one buildsys layer take: stored once, and if each image had its own; sizes in bytes."""

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
    """The blobs of all images: `once` is what a registry stores of them, `apart` the sum over the images."""

    layers: tuple[LayerSize, ...] = ()
    images: tuple[ImageSize, ...] = ()
    silent: int = 0

    @property
    def once(self) -> int:
        """The bytes of all blobs, each once."""
        return sum(each.once for each in self.layers)

    @property
    def apart(self) -> int:
        """The bytes of all blobs, as often as an image has them."""
        return sum(each.apart for each in self.layers)


def sizes(targets: Iterable[Target]) -> Sizes:
    """Return what images hold and share; `silent` counts those that exist and told nothing of their blobs."""
    images = [target for target in targets if target.plan.kind == "image" and target.ended]
    told = [(target, _blobs(target.ended)) for target in images if target.ended and target.ended.layers]
    users: dict[str, int] = {}
    size_of: dict[str, int] = {}
    layer_of: dict[str, str] = {}
    for target, blobs in told:
        users.update({digest: users.get(digest, 0) + 1 for digest in blobs})
        size_of.update(blobs)
        for blob in target.ended.layers if target.ended else ():
            layer_of[blob.digest] = layer_of.get(blob.digest) or blob.layer
    layers: dict[str, list[str]] = {}
    for digest in size_of:
        layers.setdefault(layer_of[digest] or UNKNOWN_LAYER, []).append(digest)
    images_of: dict[str, int] = {}
    for _, blobs in told:
        for layer in {layer_of[digest] or UNKNOWN_LAYER for digest in blobs}:
            images_of[layer] = images_of.get(layer, 0) + 1
    found = [
        LayerSize(
            layer=layer,
            blobs=len(digests),
            images=images_of[layer],
            once=sum(size_of[digest] for digest in digests),
            apart=sum(size_of[digest] * users[digest] for digest in digests),
        )
        for layer, digests in layers.items()
    ]
    alone = [
        ImageSize(
            target=target,
            size=sum(blobs.values()),
            own=sum(size for digest, size in blobs.items() if users[digest] == 1),
        )
        for target, blobs in told
    ]
    whole = [
        ImageSize(target=target, size=target.ended.size, own=None)
        for target in images
        if target.ended and target.ended.size is not None and not target.ended.layers
    ]
    return Sizes(
        layers=tuple(sorted(found, key=lambda each: (-each.apart, each.layer))),
        images=tuple(sorted([*alone, *whole], key=lambda each: (-each.size, each.target.name))),
        silent=sum(1 for target in images if target.outcome in ("made", "reused")) - len(told),
    )


def _blobs(ended: TargetEnded | None) -> Mapping[str, int]:
    # An image may hold one blob twice; it is stored, and pulled, once.
    return {blob.digest: blob.size for blob in ended.layers} if ended else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How a target differs from the run before; `before` is None if that run had none of its name, and so is `now`."""

    name: str
    before: Target | None
    now: Target | None

    @property
    def more(self) -> float:
        """How many seconds more it took; 0.0 unless something was done for it in both runs."""
        if self.before is None or self.now is None or not self.before.seconds or not self.now.seconds:
            return 0.0
        return self.now.seconds - self.before.seconds


def changes(now: Run, before: Run) -> tuple[Change, ...]:
    """Return targets that came, went, ended otherwise, or took a tenth and a second more or less.

    Those that did not end as before come first, then the largest difference.
    """
    mine, theirs = ({target.name: target for target in run.targets} for run in (now, before))
    found = (Change(name=name, before=theirs.get(name), now=mine.get(name)) for name in {**mine, **theirs})
    told = filter(_worth_telling, found)
    return tuple(sorted(told, key=lambda each: (_outcome_stayed(each), -abs(each.more), each.name)))


def _outcome_stayed(change: Change) -> bool:
    return bool(change.before and change.now and change.before.outcome == change.now.outcome)


def _worth_telling(change: Change) -> bool:
    if change.before is None or not _outcome_stayed(change):
        return True
    return abs(change.more) >= max(LEAST_SECONDS, LEAST_SHARE * change.before.seconds)
