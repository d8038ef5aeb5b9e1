"""A run's events become figures, places and one page that needs nothing else."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from buildsys.buildkit.failure import Checksum, Failure, FailureKind
from buildsys.events.events import (
    FAILED,
    Event,
    ImageLayer,
    Noted,
    RunBegan,
    RunEnded,
    TargetEnded,
    line_of,
    read_lines,
)
from buildsys.events.model import Target, run_model
from buildsys.report.html.diagram import layered
from buildsys.report.html.figures import busy, changes, critical_path, image_sizes, node_sizes, slowest_steps
from buildsys.report.html.page import CompiledTemplates
from buildsys.report.html.page import page as draw
from tests.support.report_runs import BEGAN, Story, before, blob, eventful, many, of

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--\x00\u202e\ud800"


class Reader(HTMLParser):
    """Reads a page as a browser would, and notes its elements; one that is not closed fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, each, value in self.attributes if each == name]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def data(text: str) -> dict[str, dict[str, object]]:
    """What the page's script reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert found
    value: dict[str, dict[str, object]] = json.loads(found[1])
    return value


def plain(text: str) -> str:
    """The words of a page, without its style, script and data."""
    without = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", without).split())


def page(events: Sequence[Event], earlier: Sequence[Event] = ()) -> str:
    return draw(run_model(events), run_model(earlier) if earlier else None)


def targets(events: Iterable[Event]) -> list[Target]:
    return list(run_model(events).targets.values())


def test_idle_stretches_and_busy_ones_together_are_the_run() -> None:
    stretches = busy(run_model(of(("a", (), 10, 30), ("b", (), 20, 40), ("c", (), 60, 90))))
    assert [(each.start, each.end, each.targets) for each in stretches] == [
        (0, 10, 0),
        (10, 20, 1),
        (20, 30, 2),
        (30, 40, 1),
        (40, 60, 0),
        (60, 90, 1),
        (90, 100, 0),
    ]


def test_one_target_after_the_other_leaves_no_gap() -> None:
    stretches = busy(run_model(of(("a", (), 0, 50), ("b", (), 50, 100))))
    assert [(each.start, each.end, each.targets) for each in stretches] == [(0, 100, 1)]


def test_the_critical_path_is_the_longest_chain_of_needs_not_the_last_to_end() -> None:
    run = targets(
        of(
            ("slow", (), 0, 50),
            ("quick", (), 0, 10),
            ("on-slow", ("slow", "quick"), 50, 60),
            ("alone", (), 60, 100),
            ("idle", ("on-slow",), 0, 0),
        )
    )
    assert [target.name for target in critical_path(run)] == ["slow", "on-slow"]
    assert critical_path(targets(of(("a", (), 0, 0)))) == ()
    assert critical_path(()) == ()


def test_blobs_are_counted_once_for_all_images_and_once_for_each() -> None:
    found = image_sizes(targets(eventful()))
    assert (found.once, found.apart) == (900_000_000, 229_000_000 + 260_000_000 + 900_000_000)
    by_layer = {each.layer: (each.blobs, each.images, each.once, each.apart) for each in found.layers}
    assert by_layer["openmpi"] == (1, 2, 31_000_000, 62_000_000)
    assert by_layer["not known"] == (1, 3, 48_000_000, 144_000_000)
    assert sum(each.apart for each in found.layers) == found.apart
    own = {each.target.name: each.own for each in found.images}
    assert own == {"gpu-mpi": 640_000_000, "cpu-mpi": 0, "cpu": 0}


def test_a_blob_that_an_image_holds_twice_is_one_and_a_silent_image_is_counted_as_such() -> None:
    story = Story()
    story.began()
    for name in ("twice", "silent", "failed"):
        story.planned(name)
    story.ended("twice", 1, layers=(blob("git", 10), blob("git", 10)))
    story.ended("silent", 1)
    story.ended("failed", 1, FAILED)
    found = image_sizes(targets(story.events()))
    assert (found.once, found.apart, found.silent) == (10, 10, 1)


def test_image_with_only_a_known_size_is_listed_with_it() -> None:
    story = Story()
    story.began()
    story.planned("image")
    story.ended("image", 1, size=5_000_000)
    found = image_sizes(targets(story.events()))
    assert [(each.size, each.own) for each in found.images] == [(5_000_000, None)]
    assert (found.once, found.apart) == (0, 0)
    assert "5 MB not known" in plain(page(story.events()))


def test_sizes_of_nodes_are_what_each_adds_to_its_base_system_nodes_too() -> None:
    found = {each.target.name: each for each in node_sizes(targets(eventful()))}
    assert list(found) == ["debian-os-12", "miniconda", "git-debian-12"]
    assert {name: (each.stored, each.unpacked) for name, each in found.items()} == {
        "debian-os-12": (109_000_000, 250_000_000),
        "miniconda": (98_000_000, None),
        "git-debian-12": (22_000_000, None),
    }
    words = plain(page(eventful()))
    assert "debian-os 12 debian-os 109 MB 250 MB 5 /usr/lib 130 MB, /usr/share 90 MB" in words
    assert "miniconda py312_24.9.2-0 miniconda 98 MB not known 3" in words


def test_slowest_steps_come_first_and_cached_ones_never() -> None:
    steps = slowest_steps(targets(eventful()), 3)
    assert [(step.target, step.kind) for step in steps] == [
        ("openmpi-4_1_4", "run"),
        ("cuda-12_4", "run"),
        ("debian-os-12", "run"),
    ]
    assert not any(step.cached for step in slowest_steps(targets(eventful()), 1000))


def test_the_comparison_has_other_outcomes_first_and_leaves_out_small_differences() -> None:
    found = changes(run_model(eventful()), run_model(before()))
    assert [each.name for each in found] == ["gpu-rdma", "rdma", "ucx-1_9_0", "openmpi-4_1_4"]
    assert found[-1].more == pytest.approx(51.0)
    earlier = run_model(of(("same", (), 0, 50), ("slower", (), 0, 50), ("short", (), 0, 0.5), ("gone", (), 0, 1)))
    later = run_model(of(("same", (), 0, 54), ("slower", (), 0, 56), ("short", (), 0, 1.4), ("came", (), 0, 1)))
    assert [each.name for each in changes(later, earlier)] == ["came", "gone", "slower"]


def test_target_is_to_the_right_of_everything_it_needs() -> None:
    needs = {"a": [], "b": [], "c": ["a"], "d": ["c", "b"], "e": ["a", "d"]}
    column = {name: location[0] for name, location in layered(needs).positions.items()}
    assert all(column[need] < column[name] for name, wanted in needs.items() for need in wanted)


def test_places_are_distinct_and_no_column_is_taller_than_the_picture() -> None:
    events = many(340)
    plan = layered({each.name: each.plan.needs for each in targets(events)})
    assert len(set(plan.positions.values())) == len(plan.positions) == 400
    assert plan.rows <= 25
    assert max(location[1] for location in plan.positions.values()) <= plan.rows - 1


def test_rows_are_ordered_so_that_straight_lines_do_not_cross() -> None:
    needs = {"a": [], "b": [], "c": [], "on-c": ["c"], "on-b": ["b"], "on-a": ["a"]}
    locations = layered(needs).positions
    assert [locations[f"on-{name}"][1] for name in "abc"] == [locations[name][1] for name in "abc"]


def test_a_need_that_is_unknown_or_in_a_circle_draws_no_line_and_breaks_nothing() -> None:
    assert layered({"a": ["b", "nowhere"], "b": ["a"]}).positions == {"a": (0, 0.0), "b": (1, 0.0)}
    assert layered({}).columns == 0


def nasty() -> list[Event]:
    """A run in which everything that a person or a build may write is an attack."""
    failure = Failure(
        kind=FailureKind.CHECKSUM,
        message=NASTY,
        file=NASTY,
        line=3,
        source=(NASTY,),
        command=NASTY,
        last_words=(NASTY,),
        checksum=Checksum(url=NASTY, expected=NASTY, found=NASTY),
    )
    story = Story()
    story.began(NASTY)
    story.planned(NASTY, NASTY, layer=NASTY, action=NASTY, reason=NASTY)
    story.planned("image", NASTY)
    story.started(NASTY, 1)
    story.step(NASTY, NASTY, NASTY, 2, 9, error=NASTY)
    story.retried(NASTY, 10, 1, 1, NASTY)
    story.started(NASTY, 11, 2)
    layers = (ImageLayer(digest=NASTY, size=3, layer=NASTY),)
    facts = {"reference": NASTY, "file": NASTY, "alone": NASTY, "log": NASTY, "tags": (NASTY,), "layers": layers}
    story.ended(NASTY, 12, FAILED, failure=failure, **facts)
    story.ended("image", 12, NASTY, blocked_by=NASTY, layers=layers)
    return [*story.events(), Noted(at=BEGAN + 13, about=NASTY, text=NASTY)]


def test_no_text_of_a_build_becomes_part_of_the_page() -> None:
    text = page(nasty(), nasty())
    text.encode("utf-8")
    reader = read(text)
    tags = {tag for tag, _, _ in reader.attributes}
    assert "img" not in tags
    assert len(re.findall(r"<script", text)) == 2
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    assert "\x00" not in text
    assert "\u202e" not in text
    assert data(text)["image"]["blocked"] != ""


def test_the_page_asks_for_nothing_and_allows_only_its_own_script_and_style() -> None:
    text = page(eventful(), before())
    reader = read(text)
    policy = next(value for value in reader.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert reader.values("src") == []
    assert all(value.startswith("#") for value in reader.values("href"))
    assert reader.values("style") == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)


def test_links_lead_to_parts_of_the_page_and_no_identity_is_given_twice() -> None:
    reader = read(page(eventful(), before()))
    identities = reader.values("id")
    assert len(identities) == len(set(identities))
    assert {value[1:] for value in reader.values("href")} <= set(identities)


def test_the_page_says_in_words_what_failed_and_how_to_reproduce_it() -> None:
    words = plain(page(eventful(), before()))
    assert "1 of 12 targets failed" in words
    assert "configure: error: rdma/rdma_cma.h not found" in words
    assert "layers/ucx/Dockerfile:14" in words
    assert "rerun buildsys bake ucx-1_9_0" in words
    assert "blocks openmpi4.1.4-rdma-debian12 openmpi4.1.4-cuda12.4-rdma" in words
    assert "ml/cache:debian12 does not exist: a cold build" in words
    assert "Nothing ran for 10.0 s of 185.0 s (5 %)" in words
    assert "The critical path, 2 targets, took 2:07." in words
    assert "3 images of 1.4 GB in all are stored as 900 MB (65 %): 489 MB are shared." in words
    assert "This run took 3:05, the one of 2026-09-20 14:13:20 UTC took 2:14 (+0:51)." in words


def test_each_target_is_in_the_details_the_graph_and_the_table_of_all() -> None:
    text = page(eventful())
    details = data(text)
    assert len(details) == 12
    boxes = re.findall(r'<g class="box [^"]*" transform="[^"]*" data-target="([^"]*)"', text)
    assert sorted(boxes) == sorted(details)
    ucx = details["ucx-1_9_0"]
    assert ucx["needs"] == ["toolchain-12"]
    assert ucx["users"] == ["rdma", "gpu-rdma"]
    assert ucx["failure"]["place"] == "layers/ucx/Dockerfile:14"  # type: ignore[index]
    assert details["debian-os-12"]["attempts"] == [
        ["1", "5.0 s", "registry said 503; retried after 4.0 s"],
        ["2", "0:25", ""],
    ]


def ends(events: list[Event], **facts: object) -> list[Event]:
    return [replace(each, **facts) if isinstance(each, RunEnded) else each for each in events]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("events", "headline"),
    [
        ([], "No events of this run"),
        (of(("a", (), 1, 5)), "All done"),
        (of(("a", (), 0, 0)), "Nothing to do"),
        (of(), "Nothing to do"),
        (eventful(ended=False), "Did not finish; 1 of 12 targets failed"),
        (ends(of(("a", (), 1, 5)), signal=2, exit_code=130), "Stopped by Ctrl-C"),
        (ends(of(("a", (), 1, 5)), signal=15, exit_code=143), "Stopped by SIGTERM"),
        (ends(of(("a", (), 1, 5)), exit_code=5), "Ended with exit code 5"),
    ],
)
def test_the_headline_says_how_the_run_ended(events: list[Event], headline: str) -> None:
    text = page(events)
    read(text)
    assert f"<h1>{headline}</h1>" in text


@pytest.mark.parametrize("number", range(0, 100, 9))
def test_a_run_may_be_cut_off_anywhere_and_still_makes_a_page(number: int) -> None:
    lines = [line_of(event) for event in eventful()]
    assert 100 < len(lines) < 120
    read(page(list(read_lines(lines[:number]))))


def test_events_without_their_plan_or_beginning_still_make_a_page() -> None:
    events = [event for event in eventful() if isinstance(event, TargetEnded)]
    assert "<h1>Did not finish; 1 of 12 targets failed</h1>" in page(events)
    read(page([RunBegan(at=BEGAN, command="buildsys bake")]))
    read(page(eventful(), [RunBegan(at=BEGAN - 9, command="buildsys bake")]))


def test_steps_that_ran_at_once_are_drawn_below_each_other_and_the_rest_with_all_the_room() -> None:
    story = Story()
    story.began()
    story.started("a", 0)
    for name, start, end in (("one", 0, 4), ("two", 1, 3), ("three", 5, 9)):
        story.step("a", name, "run", start, end)
    story.ended("a", 10)
    steps = re.findall(
        r'class="step [^"]*" x="([^"]*)" width="[^"]*" y="([^"]*)" height="([^"]*)"', page(story.events())
    )
    assert steps == [("0.000%", "7", "5.5"), ("10.000%", "13", "5.5"), ("50.000%", "7", "12")]


def test_the_same_events_give_the_same_bytes() -> None:
    assert page(eventful(), before()) == page(eventful(), before())


def test_the_work_of_writing_a_page_grows_with_the_targets_and_not_with_their_square() -> None:
    def calls(images: int) -> int:
        events = many(images, 40)
        number = 0

        def count(_frame: object, kind: str, _argument: object) -> None:
            nonlocal number
            number += kind in ("call", "c_call")

        sys.setprofile(count)
        try:
            page(events, events)
        finally:
            sys.setprofile(None)
        return number

    # A clock would also measure what else the machine does. The square would be sixteen times as much.
    assert calls(360) < 5 * calls(60)


def _rendered(folder: Path) -> str:
    environment = Environment(
        loader=DictLoader({"page": "{{ 1 + 1 }}"}), autoescape=True, bytecode_cache=CompiledTemplates(str(folder))
    )
    return environment.get_template("page").render()


@pytest.mark.parametrize("size", [0, 5, 14, 20, 80])
def test_compiled_template_that_is_not_whole_is_compiled_once_more(tmp_path: Path, size: int) -> None:
    assert _rendered(tmp_path) == "2"
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:size])
    assert _rendered(tmp_path) == "2"


def test_folder_that_takes_no_compiled_template_hides_no_page(tmp_path: Path) -> None:
    assert _rendered(tmp_path / "missing") == "2"
