"""The events of a run become one HTML file that needs nothing else: no network, no folder beside it.

All figures and pictures are in the page as it is; its script only chooses, filters and sorts. The page's own policy
allows this script and this style and nothing more, so no text of a build can become a program.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from buildsys.events.events import BLOCKED, FAILED, MADE, NOT_REACHED, REUSED, Event
from buildsys.report.html.details import details, place_of
from buildsys.report.html.diagram import graph
from buildsys.report.html.figures import Busy, busy, critical_path
from buildsys.report.html.markup import (
    Markup,
    element,
    joined,
    moment_text,
    more_text,
    script_data,
    seconds_text,
    share_text,
)
from buildsys.report.html.run import UNFINISHED, Run, Target, run_of
from buildsys.report.html.tables import (
    chip,
    comparison_section,
    section,
    size_section,
    slowest_section,
    target_button,
    targets_section,
)
from buildsys.report.html.timeline import timeline
from buildsys.report.text import format_count

OUTCOMES = (MADE, REUSED, FAILED, BLOCKED, NOT_REACHED, UNFINISHED)
SIGNALS = {2: "Ctrl-C", 15: "SIGTERM"}
KEYS = (
    ("step-run", "RUN"),
    ("step-file", "COPY, ADD"),
    ("step-pull", "pull"),
    ("step-push", "export, push"),
    ("step-other", "other"),
    ("key-idle", "nothing running"),
    ("key-critical", "critical path"),
    ("key-wait", "waits to be tried again"),
)


def page(events: Sequence[Event], before: Sequence[Event] = ()) -> str:
    """Return the page of one run; `before` are the events of the run before it, none if there was none."""
    run = run_of(events)
    earlier = run_of(before) if before else None
    known = {target.name: target for target in earlier.targets} if earlier else {}
    style, script = (
        resources.files("buildsys.report.html").joinpath(f"report.{each}").read_text("utf-8") for each in ("css", "js")
    )
    body = element(
        "body",
        element(
            "main",
            *_parts(run, earlier),
            element("footer", f"buildsys report of {moment_text(run.end)}" if events else "buildsys report"),
        ),
        element("aside", id="details", hidden=True, tabindex=-1, aria_label="Details of a target"),
        element("script", script_data(details(run, known)), id="data", type="application/json"),
        element("script", Markup(script)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script, style)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{_headline(run)[1]} · buildsys"),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _policy(script: str, style: str) -> str:
    def named(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {named(script)}; style-src {named(style)}; base-uri 'none'; form-action 'none'"
    )


def _headline(run: Run) -> tuple[str, str]:
    """How the run ended, as a class and in a few words."""
    failed = sum(target.outcome == FAILED for target in run.targets)
    several = f"{failed} of {format_count(len(run.targets), 'target')} failed" if failed else ""
    if not run.head and not run.targets:
        return "is-not-reached", "Nothing is known of this run"
    if run.done is None:
        return "is-unfinished", f"Did not come to its end{f'; {several}' if several else ''}"
    if run.done.signal:
        name = SIGNALS.get(run.done.signal, f"signal {run.done.signal}")
        return "is-unfinished", f"Stopped by {name}{f'; {several}' if several else ''}"
    if several:
        return "is-failed", several
    if run.done.exit_code:
        return "is-failed", f"Ended with exit code {run.done.exit_code}"
    if not any(target.outcome == MADE for target in run.targets):
        return "is-made", "Nothing to do"
    return "is-made", "All done"


def _header(run: Run) -> Markup:
    kind, words = _headline(run)
    head = run.head
    when = f"{moment_text(run.began)}, {seconds_text(run.seconds)}" if head or run.targets else ""
    builder = " ".join(filter(None, [head.driver, head.builder])) if head else ""
    slots = []
    if head and head.jobs:
        slots.append(f"{format_count(head.jobs, 'bake')} at once")
    if head and head.max_targets:
        slots.append(f"at most {format_count(head.max_targets, 'target')}")
    facts = [
        ("Began", when),
        ("Builder", builder),
        ("Registry", head.registry if head else ""),
        ("Limits", ", ".join(slots)),
    ]
    told = [joined(element("dt", name), element("dd", text)) for name, text in facts if text]
    sections = [("failures", "Failures")] if any(each.outcome == FAILED for each in run.targets) else []
    sections += [("timeline", "Time"), ("graph", "Graph"), ("sizes", "Sizes"), ("steps", "Steps")]
    sections += [("before", "Run before"), ("targets", "Targets")]
    links = [element("a", title, href=f"#{name}") for name, title in sections if run.targets]
    return element(
        "header",
        element("div", element("h1", words), class_=f"headline {kind}"),
        element("p", element("code", head.command), class_="command") if head and head.command else Markup(""),
        element("dl", *told, class_="facts"),
        element("nav", *links, aria_label="Sections") if links else Markup(""),
    )


def _tiles(run: Run, before: Run | None, stretches: Sequence[Busy], path: Sequence[Target]) -> Markup:
    number = {each: sum(target.outcome == each for target in run.targets) for each in OUTCOMES}
    shown = [each for each in OUTCOMES if number[each] or each in (MADE, REUSED)]
    chips = [element("li", element("b", str(number[each])), chip(each)) for each in shown]
    ended = [target.ended for target in run.targets if target.ended]
    steps, cached = sum(each.steps for each in ended), sum(each.cached for each in ended)
    idle = sum(each.seconds for each in stretches if not each.targets)
    work = sum(each.seconds * each.targets for each in stretches)
    long = sum(target.seconds for target in path)
    since = f"{more_text(run.seconds - before.seconds)} against the run before" if before else ""
    retries = run.done.retries if run.done else sum(len(target.retries) for target in run.targets)
    tiles = [
        ("Time", seconds_text(run.seconds), since),
        ("Critical path", seconds_text(long), f"{share_text(long, run.seconds)} of the time"),
        ("Nothing running", f"{idle:.1f} s", f"{share_text(idle, run.seconds)} of the time"),
        ("At work on average", f"{work / run.seconds if run.seconds else 0:.1f}", "targets at once"),
        ("Steps from a cache", share_text(cached, steps), f"{cached} of {steps}"),
        ("RUN steps executed", str(run.done.runs) if run.done else "not known", ""),
        ("Tried again", str(retries), ""),
    ]
    figures = [
        element("li", element("span", name), element("b", value), element("small", more) if more else Markup(""))
        for name, value, more in tiles
    ]
    return joined(element("ul", *chips, class_="outcomes"), element("ul", *figures, class_="tiles"))


def _parts(run: Run, before: Run | None) -> list[Markup]:
    if not run.targets:
        # Of a run that had to do with nothing there is nothing to draw.
        return [_header(run), *_told(run)]
    path = critical_path(run.targets)
    stretches = busy(run)
    return [
        _header(run),
        _tiles(run, before, stretches, path),
        *_failures(run),
        *_told(run),
        _time(run, stretches, path),
        _graph(run, path),
        size_section(run),
        slowest_section(run),
        comparison_section(run, before),
        targets_section(run),
    ]


def _failures(run: Run) -> list[Markup]:
    failed = [target for target in run.targets if target.outcome == FAILED]
    blocked: dict[str, list[Target]] = {}
    for target in run.targets:
        if target.ended and target.ended.blocked_by:
            blocked.setdefault(target.ended.blocked_by, []).append(target)
    cards = [_failure(target, blocked.get(target.name, [])) for target in failed]
    return [section("failures", "What failed", *cards)] if cards else []


def _failure(target: Target, blocked: Sequence[Target]) -> Markup:
    ended = target.ended
    failure = ended.failure if ended else None
    rows: list[Markup] = []
    if failure:
        rows.append(element("p", failure.message.strip().partition("\n")[0], class_="message"))
    if failure and failure.last_words:
        rows.append(element("pre", "\n".join(failure.last_words), tabindex=0))
    facts = [
        ("alone", element("code", ended.alone, class_="copy") if ended and ended.alone else ""),
        ("log", element("code", ended.log) if ended and ended.log else ""),
        ("blocks", joined(*(joined(target_button(each), " ") for each in blocked)) if blocked else ""),
    ]
    told = [joined(element("dt", name), element("dd", text)) for name, text in facts if text]
    location = place_of(target)
    heading = element("h3", target_button(target), element("code", location) if location else Markup(""))
    return element("article", heading, *rows, element("dl", *told) if told else Markup(""), class_="failure")


def _told(run: Run) -> list[Markup]:
    rows = [joined(element("dt", each.about), element("dd", each.text)) for each in run.notes]
    for moved in run.tags:
        if moved.tags:
            tags = joined(*(joined(element("code", tag), " ") for tag in moved.tags))
            rows.append(joined(element("dt", format_count(len(moved.tags), "tag") + " moved"), element("dd", tags)))
        if moved.missing:
            missing = f"{', '.join(moved.missing)}: tags that wait for {'them' if len(moved.missing) > 1 else 'it'}"
            rows.append(joined(element("dt", "missing"), element("dd", f"{missing} were not moved")))
    return [section("told", "Told on the way", element("dl", *rows, class_="notes"))] if rows else []


def _time(run: Run, stretches: Sequence[Busy], path: Sequence[Target]) -> Markup:
    resting = [target for target in run.targets if not target.attempts]
    if len(resting) == len(run.targets):
        return section("timeline", "Time", about="No target was worked on.")
    gaps = [each for each in stretches if not each.targets]
    idle = sum(each.seconds for each in gaps)
    longest = max((each.seconds for each in gaps), default=0.0)
    long = sum(each.seconds for each in path)
    about = (
        f"Nothing ran for {idle:.1f} s of {run.seconds:.1f} s ({share_text(idle, run.seconds)})"
        f"{f', the longest stretch {longest:.1f} s' if len(gaps) > 1 else ''}."
        f" The critical path, {format_count(len(path), 'target')}, took {seconds_text(long)}."
    )
    if resting:
        about += (
            f" {format_count(len(resting), 'target')} without work {'are' if len(resting) > 1 else 'is'} not shown."
        )
    keys = [element("li", element("i", class_=f"key {kind}"), name) for kind, name in KEYS]
    zoom = [
        element("button", f"{each}×", type="button", data_zoom=each, aria_pressed="true" if each == 1 else "false")
        for each in (1, 2, 4, 8)
    ]
    bar = element("div", element("ul", *keys, class_="keys"), element("div", *zoom, class_="zoom"), class_="toolbar")
    picture = element("div", timeline(run, stretches, frozenset(each.name for each in path)), class_="scroll tall")
    return section("timeline", "Time", bar, picture, about=about)


def _graph(run: Run, path: Sequence[Target]) -> Markup:
    picture = element("div", graph(run.targets, frozenset(each.name for each in path)), class_="scroll tall")
    about = "What stands on what, from left to right; images are outlined. Choose a target to see it and its kin."
    return section("graph", "Graph", picture, about=about)
