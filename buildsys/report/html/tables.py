"""The tables of the page: sizes and what is shared, slowest steps, what differs from the run before, all targets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from buildsys.report.html.figures import Change, Sizes, changes, sizes, slowest_steps
from buildsys.report.html.markup import Markup, element, joined, moment_text, more_text, seconds_text, share_text
from buildsys.report.html.run import Run, Step, Target
from buildsys.report.html.timeline import mark, outcome_class, step_class
from buildsys.report.text import format_count, format_size, step_words

SLOWEST = 25
# A whole digest says no more to a reader than its beginning; the details have it.
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def section(name: str, title: str, *content: str, about: str = "") -> Markup:
    """Return a section of the page with a heading that can be linked to."""
    heading = element("h2", title, id=f"{name}-heading")
    told = element("p", about, class_="about") if about else Markup("")
    return element("section", heading, told, *content, id=name, aria_labelledby=f"{name}-heading")


def cell(text: str, *, value: float | None = None, number: bool = False) -> Markup:
    """A cell of a table; `value` is what it is sorted by, if that is not its text."""
    return element("td", text, data_value=value, class_="number" if number else None)


def table(heads: Sequence[tuple[str, bool]], rows: Sequence[Markup], *, identity: str | None = None) -> Markup:
    """A table whose columns can be sorted; a head says whether its column holds numbers."""
    head = (
        element("th", element("button", name, type="button"), scope="col", class_="number" if number else None)
        for name, number in heads
    )
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *rows), id=identity)
    return element("div", whole, class_="scroll")


def target_button(target: Target) -> Markup:
    """A target's title, which opens its details."""
    return element("button", target.title, type="button", class_="link", data_target=target.name)


def chip(outcome: str) -> Markup:
    """An outcome with its sign and colour."""
    sign = element("span", mark(outcome), class_="mark", aria_hidden="true")
    return element("span", sign, f" {outcome}", class_=f"chip {outcome_class(outcome)}")


def bar(part: float, whole: float, kind: str = "") -> Markup:
    """A bar for a part of a whole."""
    width = f"{100 * min(part / whole, 1.0) if whole else 0:.2f}%"
    track = element("rect", width="100%", height=8, rx=4, class_="track")
    filled = element("rect", width=width, height=8, rx=4, class_=f"part {kind}".rstrip())
    return element("svg", track, filled, class_="bar", height=8, aria_hidden="true")


def size_section(run: Run) -> Markup:
    """What the images hold, by layer of this project, and what they share."""
    found = sizes(run.targets)
    if not found.layers:
        parts = [_images(found)] if found.images else []
        return section("sizes", "Sizes", *parts, about="Of no image it is known which blobs it holds.")
    silent = f" Of {format_count(found.silent, 'image')} it is not known which blobs they hold." if found.silent else ""
    saved = found.apart - found.once
    known = sum(each.own is not None for each in found.images)
    about = (
        f"{format_count(known, 'image')} of {format_size(found.apart)} in all are stored as"
        f" {format_size(found.once)} ({share_text(found.once, found.apart)}): {format_size(saved)} are shared.{silent}"
    )
    return section("sizes", "Sizes", _whole(found), _layers(found), _images(found), about=about)


def _whole(found: Sizes) -> Markup:
    return element(
        "dl",
        element("dt", "each blob once"),
        element("dd", bar(found.once, found.apart, "once"), element("b", format_size(found.once))),
        element("dt", "sum over the images"),
        element("dd", bar(found.apart, found.apart, "apart"), element("b", format_size(found.apart))),
        class_="whole",
    )


def _layers(found: Sizes) -> Markup:
    most = max(each.apart for each in found.layers)
    rows = [
        element(
            "tr",
            cell(each.layer),
            cell(str(each.blobs), number=True),
            cell(str(each.images), number=True),
            cell(format_size(each.once), value=each.once, number=True),
            cell(format_size(each.apart), value=each.apart, number=True),
            cell(format_size(each.apart - each.once), value=each.apart - each.once, number=True),
            element("td", bar(each.apart, most, "apart"), bar(each.once, most, "once"), class_="gauge"),
        )
        for each in found.layers
    ]
    heads = [("Layer", False), ("Blobs", True), ("Images", True), ("Stored", True), ("Unshared", True)]
    return table([*heads, ("Saved", True), ("Stored of unshared", False)], rows, identity="layer-sizes")


def _images(found: Sizes) -> Markup:
    most = max(each.size for each in found.images)
    rows = [
        element(
            "tr",
            element("td", target_button(each.target)),
            cell(format_size(each.size), value=each.size, number=True),
            cell(format_size(each.own) if each.own is not None else "not known", value=each.own or 0, number=True),
            element("td", bar(each.size, most, "apart"), bar(each.own or 0, most, "once"), class_="gauge"),
        )
        for each in found.images
    ]
    heads = [("Image", False), ("Size", True), ("Only its own", True), ("Own of all", False)]
    name = f"By image ({len(found.images)})"
    return element("details", element("summary", name), table(heads, rows), open=len(found.images) <= 12)


def slowest_section(run: Run) -> Markup:
    """The steps that took longest."""
    steps = slowest_steps(run, SLOWEST)
    if not steps:
        return section("steps", "Slowest steps", about="No step was run.")
    titles = {target.name: target for target in run.targets}
    every = sum(step.seconds for target in run.targets for step in target.steps if not step.cached)
    rows = [_step(step, steps[0].seconds, titles[step.target]) for step in steps]
    told = sum(step.seconds for step in steps)
    several = f"These {format_count(len(steps), 'step')} took" if len(steps) > 1 else "This step took"
    about = f"{several} {share_text(told, every)} of the {seconds_text(every)} that all steps took together."
    heads = [("Took", True), ("", False), ("Step", False), ("Target", False), ("Kind", False)]
    return section("steps", "Slowest steps", table(heads, rows), about=about)


def _step(step: Step, longest: float, target: Target) -> Markup:
    # What it does is enough here; its whole name is in the details.
    words = element("code", step_words(step.name, step.kind) or step.name)
    return element(
        "tr",
        cell(seconds_text(step.seconds), value=step.seconds, number=True),
        element("td", bar(step.seconds, longest, step_class(step)), class_="gauge"),
        element("td", words, class_="long", title=step.name),
        element("td", target_button(target)),
        cell("did not end" if step.open else "failed" if step.error else step.kind),
    )


def comparison_section(run: Run, before: Run | None) -> Markup:
    """What differs from the run before."""
    if before is None:
        return section("before", "Compared with the run before", about="No run before this one is known.")
    found = changes(run, before)
    whole = "" if before.done and run.done else " One of the two did not come to its end."
    about = (
        f"This run took {seconds_text(run.seconds)}, the one of {moment_text(before.began)} took"
        f" {seconds_text(before.seconds)} ({more_text(run.seconds - before.seconds)}).{whole}"
    )
    if not found:
        return section("before", "Compared with the run before", about=f"{about} No target differs.")
    heads = [("Target", False), ("Then", False), ("Now", False), ("Took then", True), ("Took now", True)]
    rows = [_change(each) for each in found]
    return section("before", "Compared with the run before", table([*heads, ("Difference", True)], rows), about=about)


def _change(change: Change) -> Markup:
    known = change.now or change.before
    title = known.title if known else change.name
    name = target_button(change.now) if change.now else title
    worse = "worse" if change.more > 0 else "better" if change.more < 0 else ""
    more = element(
        "td", more_text(change.more) if change.more else "", class_=f"number {worse}", data_value=change.more
    )
    return element("tr", element("td", name), *_outcomes(change), *_took(change), more)


def _outcomes(change: Change) -> list[Markup]:
    sides = ((change.before, "was not there"), (change.now, "is not there"))
    return [element("td", chip(side.outcome) if side else absent) for side, absent in sides]


def _took(change: Change) -> list[Markup]:
    sides = [side.seconds if side else 0.0 for side in (change.before, change.now)]
    return [cell(seconds_text(each) if each else "", value=each, number=True) for each in sides]


def targets_section(run: Run) -> Markup:
    """Every target, with a field that filters them."""
    rows = [
        element(
            "tr",
            element("td", target_button(each), class_="target"),
            element("td", chip(each.outcome)),
            cell(each.plan.kind),
            cell(each.plan.action),
            element("td", _DIGEST.sub(r"\1…", each.plan.reason), class_="reason", title=each.plan.reason or None),
            cell(seconds_text(each.seconds) if each.seconds else "", value=each.seconds, number=True),
            _size(each),
        )
        for each in run.targets
    ]
    heads = [("Target", False), ("Outcome", False), ("Kind", False), ("Action", False), ("Reason", False)]
    search = element(
        "input", type="search", id="filter", placeholder="filter: name, outcome, reason", autocomplete="off"
    )
    label = element("label", joined(element("span", "Filter", class_="unseen"), search), class_="filter")
    whole = table([*heads, ("Took", True), ("Size", True)], rows, identity="targets-table")
    return section("targets", f"All targets ({len(rows)})", label, whole)


def _size(target: Target) -> Markup:
    size = target.ended.size if target.ended else None
    return cell(format_size(size) if size is not None else "", value=size or 0, number=True)
