"""What a run saved, what others waited for, and how its images are named: only what its events say."""

from __future__ import annotations

from dataclasses import replace

from buildsys.events.events import FAILED, REUSED, Event, RunBegan, RunEnded, TagsMoved, TargetPlanned
from buildsys.events.model import run_model
from buildsys.report.html.effects import delays, images, savings
from tests.support.report_runs import BEGAN, Story, eventful
from tests.unit.report.html.test_page import page, plain


def test_saved_time_is_that_of_reused_nodes_with_a_recorded_time() -> None:
    found = savings(run_model(eventful()))
    assert (found.reused, found.known, found.seconds) == (2, 2, 80.0)
    unknown = [
        replace(each, estimate=None) if isinstance(each, TargetPlanned) and each.name == "miniconda" else each
        for each in eventful()
    ]
    found = savings(run_model(unknown))
    assert (found.reused, found.known, found.seconds) == (2, 1, 40.0)
    assert "which saved about 0:40 of building (1 of 2 have a recorded time)" in plain(page(unknown))
    none = [replace(each, estimate=None) if isinstance(each, TargetPlanned) else each for each in eventful()]
    assert "2 nodes were reused; no run on this machine has recorded how long they take." in plain(page(none))


def test_shared_node_would_be_built_once_more_for_each_further_image() -> None:
    found = {each.target.name: each for each in savings(run_model(eventful())).shared}
    # Also the images that failed use it, and those that need it through another node.
    assert found["git-debian-12"].images == found["debian-os-12"].images == 5
    assert (found["openmpi-4_1_4"].images, found["openmpi-4_1_4"].saved) == (3, 2 * 118.5)
    assert (found["miniconda"].images, found["miniconda"].saved) == (3, 2 * 40.0)
    # It failed, so no image shares it.
    assert "ucx-1_9_0" not in found
    assert "openmpi 4.1.4 on debian 12 ✓ built 3 1:58 3:57" in plain(page(eventful()))


def test_run_that_reuses_and_shares_nothing_saved_nothing() -> None:
    story = Story()
    story.began()
    story.planned("a", layer="a")
    story.planned("image", "a")
    story.worked("a", 1, 5)
    found = savings(run_model(story.events()))
    assert (found.reused, found.seconds, found.shared, found.sharing) == (0, 0.0, (), 0.0)
    assert "0 nodes were reused." in plain(page(story.events()))


def diamond() -> list[Event]:
    """`top` needs `slow` and `quick`; `late` needs only `quick` and starts long after it."""
    story = Story()
    story.began()
    for name, needs in (("slow", ()), ("quick", ()), ("top", ("slow", "quick")), ("late", ("quick",))):
        story.planned(name, *needs, layer="layer")
    story.worked("slow", 1, 61)
    story.worked("quick", 1, 11)
    story.worked("top", 61, 71)
    story.worked("late", 41, 51)
    return story.events()


def test_target_delays_those_that_need_it_from_the_end_of_their_other_needs() -> None:
    found = delays(run_model(diamond()))
    assert [(each.target.name, each.waiting, each.seconds) for each in found.targets] == [
        ("slow", 1, 50.0),
        ("quick", 1, 11.0),
    ]
    # A second before the first two, and thirty before `late`.
    assert found.queued == 32.0
    assert "Targets that were ready waited 0:32 in all for a free place." in plain(page(diamond()))


def test_target_that_was_reused_delays_no_other() -> None:
    story = Story()
    story.began()
    story.planned("there", layer="layer", action="reuse")
    story.planned("top", "there", layer="layer")
    story.ended("there", 9, REUSED)
    story.worked("top", 1, 10)
    assert delays(run_model(story.events())).targets == ()
    assert "No target waited for another." in plain(page(story.events()))


def pushed(*, registry: str = "r.example.com/ml", tags: TagsMoved | None = None) -> list[Event]:
    story = Story()
    story.began()
    story.planned("one")
    story.planned("two")
    story.worked("one", 1, 5, reference="r.example.com/ml/one:key-1@sha256:" + "a" * 64, tags=("r/one:1", "r/one:2"))
    story.ended("two", 6, FAILED, reference="", tags=("r/two:1",))
    events = [replace(each, registry=registry) if isinstance(each, RunBegan) else each for each in story.events()]
    return [*events, *([tags] if tags else []), RunEnded(at=BEGAN + 9, exit_code=0, seconds=9)]


def tags_of(events: list[Event]) -> tuple[str, ...]:
    return images(run_model(events))[0].tags


def test_image_is_listed_with_reference_digest_and_size_and_one_that_failed_without() -> None:
    one, two = images(run_model(pushed()))
    assert one.reference == f"r.example.com/ml/one:key-1@{one.digest}"
    assert (one.digest, one.size) == ("sha256:" + "a" * 64, 42_000_000)
    assert (two.reference, two.digest, two.size, two.tags) == ("", "", None, ())


def test_image_has_only_the_tags_that_name_it_after_the_run() -> None:
    assert tags_of(pushed()) == ()
    assert tags_of(pushed(tags=TagsMoved(at=BEGAN + 8))) == ("r/one:1", "r/one:2")
    assert tags_of(pushed(tags=TagsMoved(at=BEGAN + 8, missing=("two",)))) == ()
    assert tags_of(pushed(tags=TagsMoved(at=BEGAN + 8, tags=("r/one:2",), missing=("two",)))) == ("r/one:2",)
    # Without a registry they are names in the engine's store.
    assert tags_of(pushed(registry="")) == ("r/one:1", "r/one:2")


def test_image_in_the_store_of_an_engine_has_an_identity_and_no_reference() -> None:
    story = Story()
    story.began()
    story.planned("one")
    story.worked("one", 1, 5, reference="sha256:" + "b" * 64)
    (one,) = images(run_model(story.events()))
    assert (one.reference, one.digest) == ("", "sha256:" + "b" * 64)
    assert "image ID sha256:bbb" in plain(page(story.events()))
