"""What a run saved by what existed and what is shared, and which of its targets others waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from buildsys.events.events import MADE, REUSED
from buildsys.events.model import RunModel, Target
from buildsys.values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """A node that several images use; `seconds` is how long it takes, None if no run has recorded it."""

    target: Target
    images: int
    seconds: float | None

    @property
    def saved(self) -> float:
        """The seconds that it would take once more for each further image."""
        return (self.images - 1) * (self.seconds or 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Savings:
    """What a run saved: `reused` nodes, the `known` of these with a recorded time, `seconds` in all; `shared` nodes.

    `images` counts by node how many images of the run use it.
    """

    reused: int = 0
    known: int = 0
    seconds: float = 0.0
    shared: tuple[Shared, ...] = ()
    images: Mapping[str, int]

    @property
    def sharing(self) -> float:
        """The seconds that shared nodes would take if each image had its own."""
        return sum(each.saved for each in self.shared)


def savings(run: RunModel) -> Savings:
    """Return what a run saved, by the times that it and earlier runs recorded; the most shared time comes first."""
    images = _images_of(run.targets)
    nodes = [each for each in run.targets.values() if not each.is_image]
    reused = [each for each in nodes if each.outcome == REUSED]
    times = [each.plan.estimate for each in reused if each.plan.estimate is not None]
    shared = [
        Shared(target=each, images=images[each.name], seconds=_seconds(each))
        for each in nodes
        if images[each.name] > 1 and each.exists
    ]
    return Savings(
        reused=len(reused),
        known=len(times),
        seconds=sum(times),
        shared=tuple(sorted(shared, key=lambda each: (-each.saved, -each.images, each.target.name))),
        images=images,
    )


def _seconds(target: Target) -> float | None:
    return target.seconds if target.outcome == MADE else target.plan.estimate


def _images_of(targets: Mapping[str, Target]) -> Counter[str]:
    """Return by target how many images need it, directly or not."""
    found: Counter[str] = Counter()
    for target in targets.values():
        if target.is_image:
            found.update(_below(target, targets))
    return found


def _below(target: Target, targets: Mapping[str, Target]) -> set[str]:
    seen = set[str]()
    waiting = [*target.plan.needs]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in targets:
            seen.add(name)
            waiting += targets[name].plan.needs
    return seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A target that others waited for when all else that they need was there: how many, and how long in all."""

    target: Target
    waiting: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Delays:
    """The targets that others waited for, the longest wait first; `queued` are the seconds that ready ones waited."""

    targets: tuple[Delay, ...] = ()
    queued: float = 0.0


def delays(run: RunModel) -> Delays:
    """Return what kept the targets of a run waiting: the need that ended last, and then a free place."""
    number: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    queued = 0.0
    for target in run.targets.values():
        if not target.attempts:
            continue
        ends = sorted(_ends(target, run.targets), key=lambda each: each[0])
        ready = ends[-1][0] if ends else run.began
        queued += max(0.0, target.attempts[0].started - ready)
        if ends:
            before = ends[-2][0] if len(ends) > 1 else run.began
            number[ends[-1][1]] += 1
            seconds[ends[-1][1]] = seconds.get(ends[-1][1], 0.0) + max(0.0, ready - before)
    found = [Delay(target=run.targets[name], waiting=number[name], seconds=each) for name, each in seconds.items()]
    return Delays(
        targets=tuple(sorted((each for each in found if each.seconds > 0), key=_longest_first)),
        queued=queued,
    )


def _longest_first(delay: Delay) -> tuple[float, str]:
    return -delay.seconds, delay.target.name


def _ends(target: Target, targets: Mapping[str, Target]) -> Iterator[tuple[float, str]]:
    """Yield when each need of a target ended that was worked on in this run, with its name."""
    for name in dict.fromkeys(target.plan.needs):
        if name in targets and targets[name].attempts:
            yield targets[name].attempts[-1].ended, name


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image of a run: its reference with digest, or without a registry its ID, and the tags that it has."""

    target: Target
    reference: str
    digest: str
    size: int | None
    tags: tuple[str, ...]


def images(run: RunModel) -> tuple[Image, ...]:
    """Return the images of a run, in build order; one that does not exist has nothing but its target."""
    return tuple(_image(each, run) for each in run.targets.values() if each.is_image)


def _image(target: Target, run: RunModel) -> Image:
    ended = target.ended if target.exists else None
    reference = ended.reference if ended else ""
    name, _, digest = reference.rpartition("@")
    return Image(
        target=target,
        reference=reference if name else "",
        digest=digest if digest.startswith("sha256:") else "",
        size=ended.size if ended else None,
        tags=tuple(_tags(ended.tags, run)) if ended else (),
    )


def _tags(tags: Iterable[str], run: RunModel) -> Iterable[str]:
    """Return those of the tags of an image that name it after the run."""
    if run.head and run.head.registry:
        # A registry's tags move at the end, all or those of some images; one that was right does not move.
        last = run.tags[-1] if run.tags else None
        return [each for each in tags if last and (each in last.tags or not (last.missing or last.failed))]
    return tags
