"""The pages match the committed measurements."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import family
import images
import many_stacks
import overhead
import start_up
from compare import page, scale
from compare.about import PAGE, README, ROOT, replaced
from compare.scenarios import full, long, quick

RESULTS = ROOT / "bench" / "results"
Section = Callable[[dict[str, Any]], str]
# The results, the name of their section, its program, and its page.
SECTIONS: dict[str, tuple[str, str, Path, Section]] = {
    "family": ("family", "family.py", PAGE, family.section),
    "many-stacks": ("many-stacks", "many_stacks.py", PAGE, many_stacks.section),
    "overhead": ("overhead", "overhead.py", PAGE, overhead.section),
    "start-up": ("start-up", "start_up.py", PAGE, start_up.section),
    "plan-scale": ("plan-scale", "plan_scale.py", PAGE, scale.section),
    "images-quick": ("images-quick", "images.py", PAGE, lambda d: page.section(d, quick(), images.TITLES["quick"])),
    "images-full": ("images-full", "images.py", PAGE, lambda d: page.section(d, full(), images.TITLES["full"])),
    "images-long": ("images-long", "images.py", PAGE, lambda d: page.section(d, long(), images.TITLES["long"])),
    "figures": ("images-full", "images.py", README, lambda d: page.summary(d, full()[0])),
}


@pytest.mark.parametrize("name", SECTIONS)
def test_section_matches_its_results(name: str) -> None:
    results, program, file, section = SECTIONS[name]
    kept = RESULTS / f"{results}.json"
    text = file.read_text(encoding="utf-8")
    if not kept.exists():
        # Without measurements there is no section.
        assert f"<!-- {name}: " not in text
        return
    document = json.loads(kept.read_text(encoding="utf-8"))
    assert replaced(text, name, program, section(document)) == text


def test_all_results_are_on_a_page() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} <= {results for results, *_ in SECTIONS.values()}
