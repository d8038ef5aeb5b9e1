"""How far a run is, for a screen: what is done, what runs, how long is left."""

from __future__ import annotations

from collections.abc import Iterable

from buildsys.buildkit.progress import StepKind
from buildsys.events.events import Event, Retried, StepBegan, TargetPlanned
from buildsys.events.model import RunModel, Target
from buildsys.report.outcomes import step_words
from buildsys.report.text import clean, distinct_parts, format_count, format_remaining, format_retries
from buildsys.run.scheduler import IMAGE_SECONDS, Left, duration
from buildsys.values import dataclass

# An image runs nothing; it takes a few requests to a registry, or an export.


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A target at work, and since when its step runs, or itself if no step does; `again` is the time of its retry.

    All times are in seconds since 1970.
    """

    target: str
    title: str
    step: str
    since: float
    again: float | None = None


class RunStatus:
    """Takes the events of a run in their order; a screen asks it for what it shows."""

    def __init__(self) -> None:
        self.model = RunModel()
        self._titles: dict[str, str] = {}
        self._longest = 0

    def take(self, event: Event) -> None:
        """Take the next event."""
        self.model.take(event)
        if isinstance(event, TargetPlanned):
            self._titles = {}

    def title(self, target: str) -> str:
        """Return a target's title on a screen, with what distinguishes it from others of the same title."""
        self._name_targets()
        return self._titles.get(target) or clean(target)

    @property
    def longest_title(self) -> int:
        """The columns that the titles of the targets to be built need."""
        self._name_targets()
        return self._longest

    def _name_targets(self) -> None:
        if not self._titles:
            self._titles = _distinct_titles(self.model.targets.values())
            self._longest = max((len(self._titles[each.name]) for each in self.model.work), default=0)

    def running(self, now: float) -> tuple[Running, ...]:
        """Return what is at work in the order in which it began, then what waits for a retry."""
        steps: dict[str, StepBegan] = {}
        for step in self.model.running.values():
            known = steps.get(step.target)
            # Of several at once a RUN says most, and of those the one that began last.
            if known is None or (step.kind == StepKind.RUN) >= (known.kind == StepKind.RUN):
                steps[step.target] = step
        waiting = {name: event for name, event in self.model.waiting.items() if now < event.at + event.wait}
        # A step shows that its target is at work, although no event reported it.
        at_work = [name for name in dict.fromkeys((*self.model.at_work, *steps)) if name not in waiting]
        return (
            *(self._at_work(name, steps.get(name)) for name in at_work),
            *(self._waiting(event) for event in waiting.values()),
        )

    def _at_work(self, name: str, step: StepBegan | None) -> Running:
        if step is None:
            return Running(target=name, title=self.title(name), step="", since=self.model.at_work[name])
        return Running(target=name, title=self.title(name), step=step_words(step.name, step.kind), since=step.at)

    def _waiting(self, event: Retried) -> Running:
        again = event.at + event.wait
        return Running(
            target=event.target, title=self.title(event.target), step=clean(event.why), since=event.at, again=again
        )

    def left(self, now: float) -> Left | None:
        """Return how long the run still takes: the longest remaining path, or all the work shared by the jobs.

        `now` is in seconds since 1970. None if the time of nothing that is left was ever recorded.
        """
        whole, known = True, False
        times: dict[str, float] = {}
        for target in self.model.work:
            if target.ended or target.name in self.model.blocked:
                continue
            seconds = target.plan.estimate
            known = known or seconds is not None
            if seconds is None:
                whole = whole and target.is_image
                seconds = IMAGE_SECONDS if target.is_image else 0.0
            if target.name in self.model.at_work:
                seconds -= now - self.model.at_work[target.name]
            times[target.name] = max(0.0, seconds)
        if not times or not known:
            return None
        needs = {name: self.model.targets[name].plan.needs for name in times}
        jobs = self.model.head.jobs if self.model.head else 0
        return Left(seconds=duration(times, needs, jobs), whole=whole)

    def heading(self) -> str:
        """Return what a run builds: `baking 3 images and 4 nodes`."""
        work = self.model.work
        images = sum(each.is_image for each in work)
        counts = [
            format_count(number, word) for number, word in ((images, "image"), (len(work) - images, "node")) if number
        ]
        return f"baking {' and '.join(counts)}"

    def progress(self, now: float) -> list[str]:
        """Return how far a run is, the most important first; empty if nothing was planned."""
        work = self.model.work
        parts = [f"{sum(each.exists for each in work)}/{len(work)}"] if work else []
        if failed := sum(each.failed for each in self.model.targets.values()):
            blocked = len(self.model.blocked)
            parts.append(f"{failed} failed" + (f", {blocked} blocked" if blocked else ""))
        left = self.left(now)
        if left and (words := format_remaining(left.seconds, whole=left.whole)):
            parts.append(words)
        if self.model.retries:
            parts.append(format_retries(self.model.retries))
        return parts


def _distinct_titles(targets: Iterable[Target]) -> dict[str, str]:
    titles: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for target in targets:
        title = titles[target.name] = clean(target.title)
        if target.plan.action != "leave":
            names.setdefault(title, []).append(target.name)
    for same in names.values():
        parts = distinct_parts(same) if len(same) > 1 else {}
        titles |= {name: f"{titles[name]} ({part})" for name, part in parts.items() if part}
    return titles


def foremost(running: Iterable[Running], rows: int) -> tuple[Running, ...]:
    """Return at most `rows` of what runs, in its order: those in a step or waiting before those between steps."""
    every = tuple(running)
    first = sorted(range(len(every)), key=lambda index: (not every[index].step, index))[:rows]
    return tuple(every[index] for index in sorted(first))
