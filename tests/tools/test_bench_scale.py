"""Planning at scale: how growth is computed, the text of the page, and that the diagram is readable."""

from __future__ import annotations

import itertools
import math
from typing import Any
from xml.etree import ElementTree

import pytest

from compare.curve import GAP, HEIGHT, WIDTH, Line, growth, picture, spread
from compare.scale import LIMIT, ending, lines_of, section

SVG = "{http://www.w3.org/2000/svg}"
READ = {"seconds": 0.5, "code": 0, "memory": 80.0, "words": "", "processor": 0.4}


def run(seconds: float, whole: dict[str, Any] | None) -> dict[str, Any]:
    figures = {"plan": seconds, "keys": seconds / 10, "render": seconds / 5, "lookup": seconds * 2}
    count = {"nodes": 300, "asked": 400, "memory": 50.0, "whole_bytes": 300_000, "one_bytes": 5000, "one_render": 0.002}
    read = {"one": READ, "family": READ, **({"whole": whole} if whole else {})}
    processor = {step: each / 2 for step, each in figures.items()}
    both = {"total": sum(figures.values()), "processor": {**processor, "total": sum(processor.values())}}
    return {**figures, **count, **read, **both}


DOCUMENT: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "c" * 40,
    "command": "bench/plan_scale.py",
    "machine": {"cores": 2, "memory": 2**34, "system": "Debian", "load": 0.0},
    "versions": {"Docker": "28", "buildx": "0.29"},
    "seconds": 300.0,
    "sizes": [
        {
            "stacks": 100,
            "runs": [
                run(seconds, {**READ, "seconds": seconds * 4, "processor": seconds}) for seconds in (0.1, 9.0, 0.2)
            ],
        },
        {"stacks": 1000, "runs": [run(2.0, {**READ, "seconds": 80.0, "processor": 20.0})]},
        {"stacks": 3000, "runs": [run(6.0, {**READ, "seconds": 120.1, "code": None, "memory": 600.0})]},
        {"stacks": 10000, "runs": [run(20.0, None)]},
    ],
}


def test_growth_is_one_in_proportion_and_two_for_the_square() -> None:
    assert growth([(10, 1.0), (30, 3.0), (60, 12.0)]) == pytest.approx({(10, 30): 1.0, (30, 60): 2.0})
    assert growth([(10, 1.0)]) == {}


def test_labels_keep_a_line_apart_and_stay_where_there_is_room() -> None:
    assert spread([100.0, 300.0]) == (100.0, 300.0)
    assert spread([100.0, 100.0]) == (100.0 - GAP / 2, 100.0 + GAP / 2)
    locations = spread([210.0, 100.0, 104.0, 90.0, 200.0])
    ordered = sorted(locations)
    assert min(later - earlier for earlier, later in itertools.pairwise(ordered)) >= GAP - 1e-9
    assert [locations.index(location) for location in ordered] == [3, 1, 2, 4, 0]


def test_page_shows_medians_growth_and_where_bake_did_not_finish() -> None:
    text = section(DOCUMENT)
    assert "| 100 | 300 | 0.20 s | 0.02 s | 0.04 s | 0.40 s (400) | 0.66 s (0.33 s) | 50 MiB | 0.3 MB |" in text
    assert "| 100 | 0.80 s, 80 MiB | 0.50 s, 80 MiB | 0.50 s, 80 MiB (5.0 kB, 2 ms) |" in text
    assert f"| 3,000 | not finished within {LIMIT} s |" in text
    assert "| 10,000 | not run, as a smaller one did not finish |" in text
    assert "| 100 to 1,000 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 2.00 |" in text
    assert "| 1,000 to 3,000 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | – |" in text
    assert "medians of 3 rounds, above 100 stacks one." in text


def test_last_output_of_a_failed_or_stopped_bake_is_in_the_table() -> None:
    failed = {**READ, "code": 1, "words": "ERROR: a|b"}
    assert ending({"runs": [run(1.0, failed)]}, "whole") == "failed with 1: `ERROR: a\\|b`"
    stopped = {**READ, "code": None, "words": "#1 DONE 0.0s"}
    assert (
        ending({"runs": [run(1.0, stopped)]}, "whole") == f"not finished within {LIMIT} s; last output: `#1 DONE 0.0s`"
    )


def test_curve_shows_a_limit_where_bake_did_not_end_and_nothing_beyond() -> None:
    whole = next(line for line in lines_of(DOCUMENT) if "whole file" in line.title)
    assert [size for size, _ in whole.points] == [100, 1000]
    assert whole.beyond == (3000, LIMIT)
    assert whole.title.endswith(f"> {LIMIT} s")


def test_picture_has_a_ground_a_title_and_every_line_with_its_name_inside() -> None:
    lines = lines_of(DOCUMENT)
    text = picture("a < b", "stacks", "seconds", lines)
    root = ElementTree.fromstring(text)
    ground = root.find(f"{SVG}rect")
    assert ground is not None
    assert ground.attrib == {"width": str(WIDTH), "height": str(HEIGHT), "fill": "#ffffff"}
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert {"a < b", "stacks", "seconds", "100", "10,000", "0.01", *(line.title for line in lines)} <= set(words)
    assert root.findtext(f"{SVG}title") == "a < b"
    for each in root.iter(f"{SVG}text"):
        # A letter of the widest of the fonts named takes eight.
        reach = 8 * len(each.text or "") if each.attrib["text-anchor"] == "start" else 0
        assert 0 < float(each.attrib["x"]) < WIDTH - reach
        assert 0 < float(each.attrib["y"]) < HEIGHT
    dots = [each for each in root.iter(f"{SVG}circle") if each.attrib["r"] == "3.5"]
    assert len(dots) == sum(len(line.points) for line in lines)
    assert text == picture("a < b", "stacks", "seconds", lines)


def test_both_axes_are_logarithmic() -> None:
    line = Line(title="x", colour="#000000", points=((10, 0.1), (100, 1.0), (1000, 10.0)))
    root = ElementTree.fromstring(picture("t", "a", "u", [line]))
    dots = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter(f"{SVG}circle")]
    (left, low), (middle, centre), (right, high) = dots
    assert math.isclose(middle - left, right - middle)
    assert math.isclose(low - centre, centre - high)
    assert low > high
