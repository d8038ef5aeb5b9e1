"""The table of docs/reliability.md describes each case, and an update replaces only the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.table import DOCUMENT, Row, placed, row, text_of, write
from tests.faults.workload import NODES, STACKS, Ended
from tests.faults.world import Published, Story

OLD = dict.fromkeys(STACKS, "sha256:old")
NEW = dict.fromkeys(STACKS, "sha256:new")


def ended(code: int | None, *runs: str, retries: int = 0) -> Ended:
    return Ended(code=code, seconds=12.3, stdout="", stderr="", runs=runs, retries=retries)


def story(code: int | None, nodes: int, stacks: int, tags: dict[str, str], *, retries: int = 0) -> Story:
    after = Published(nodes=frozenset(list(NODES.values())[:nodes]), stacks=frozenset(list(STACKS)[:stacks]), tags=tags)
    runs = tuple(list(NODES.values())[nodes:])
    return Story(first=ended(code, retries=retries), met=1, after=after, before=OLD, second=ended(0, *runs))


def row_of(story: Story) -> Row:
    return row("c", "g", "f", story, commit="abc", day="2026-01-02")


def test_row_of_a_run_that_continued_shows_its_retries() -> None:
    found = row_of(story(0, 6, 4, NEW, retries=2))
    assert found.did == "exit 0 after 12 s, 2 retries"
    assert found.published == "6 of 6 nodes, 4 of 4 images; new tags"
    assert found.then == "no RUN step, exit 0"


def test_row_of_a_failed_run_shows_what_it_published() -> None:
    found = row_of(story(1, 2, 0, OLD, retries=1))
    assert found.did == "exit 1 after 12 s, 1 retry"
    assert found.published == "2 of 6 nodes, 0 of 4 images; old tags"
    assert found.then == "4 of 6 RUN steps, exit 0"


@pytest.mark.parametrize(("code", "words"), [(None, "did not end, was killed after 12 s"), (-9, "killed after 12 s")])
def test_row_of_a_killed_run_says_killed(code: int | None, words: str) -> None:
    assert row_of(story(code, 0, 0, OLD)).did == words


def test_moved_tags_are_counted_if_only_some_moved() -> None:
    assert "1 of 4 tags new" in row_of(story(5, 6, 4, {**OLD, "one": "sha256:new"})).published


def some(case: str, group: str, fault: str, commit: str = "abc") -> Row:
    return Row(case=case, commit=commit, day="2026-01-02", group=group, fault=fault, did="d", published="p", then="t")


def test_rows_are_grouped_and_dated() -> None:
    text = text_of([some("1", "a", "x"), some("2", "b", "y"), some("3", "a", "z")], machine="a machine")
    assert "Measured on a machine" in text
    assert text.index("### a") < text.index("| x | d | p | t | 2026-01-02, `abc` |") < text.index("| z |")
    assert text.index("| z |") < text.index("### b")


def test_new_rows_take_the_places_of_their_cases(tmp_path: Path) -> None:
    document, kept = tmp_path / "page.md", tmp_path / "kept" / "rows"
    document.write_text("<!-- written by tests/faults, do not edit --><!-- end -->", encoding="utf-8")
    write([some("1", "a", "x"), some("2", "a", "y")], document, kept)
    write([some("1", "a", "new text", "def")], document, kept)
    text = document.read_text(encoding="utf-8")
    assert "| x |" not in text
    assert text.index("| new text | d | p | t | 2026-01-02, `def` |") < text.index("| y |")


def test_only_the_table_is_replaced() -> None:
    before = "head\n<!-- written by tests/faults, do not edit -->\nold\n<!-- end -->\ntail\n"
    after = placed(before, "new")
    assert after == "head\n<!-- written by tests/faults, do not edit -->\n\nnew\n<!-- end -->\ntail\n"
    assert placed(after, "new") == after
    with pytest.raises(ValueError, match="lacks"):
        placed("no place", "new")


def test_document_has_a_place_for_the_table() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert placed(document, "x") != document
