"""What a clean-up of a registry found and did, as lines and as a JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from buildsys.report.console import Screen, columns
from buildsys.report.text import clean, format_count, format_size

if TYPE_CHECKING:
    from buildsys.fleet.gc import Collected
    from buildsys.fleet.needs import Entry

_DIGITS = 12


def show_collected(result: Collected, screen: Screen, *, delete: bool) -> None:
    """Write what is unneeded, or with `delete` what was deleted, and how many bytes that frees."""
    found = result.found
    shown = result.deleted if delete else found.unneeded
    rows = [(each.kind.value, each.reference.name, _shown_tags(each)) for each in shown]
    for line in columns([tuple(map(clean, row)) for row in rows]) if rows else ():
        screen.line(line)
    counts = Counter(each.kind.value for each in shown)
    words = ", ".join(map(_counted, counts.values(), counts)) or "nothing"
    size = f", {format_size(found.size)}" if shown else ""
    verb = "deleted" if delete else "unneeded"
    screen.line(f"{verb}: {words}{size}; kept: {format_count(found.kept, 'manifest')}")


def gc_notes(result: Collected, uncleaned: str) -> Iterator[str]:
    """Yield what a person has to know to understand what is kept; `uncleaned` is why caches are not looked at."""
    if result.restored:
        yield f"put back, since it is needed by now: {format_count(len(result.restored), 'manifest')}"
    if result.found.undated:
        what = format_count(len(result.found.undated), "manifest")
        yield f"{what} without a time of writing: a day after the first `gc --yes` they count as old"
    if not result.has_catalog:
        yield "the registry shows no catalog: only repositories of the sources and of kept revisions are looked at"
    if uncleaned:
        yield f"caches are not looked at: {uncleaned}"
    if result.deleted:
        yield "the registry frees the bytes when it collects its garbage"


def _counted(number: int, kind: str) -> str:
    return f"{number} indexes" if kind == "index" and number != 1 else format_count(number, kind)


def _shown_tags(entry: Entry) -> str:
    return " ".join(_shortened(tag) for tag in entry.tags)


def _shortened(tag: str) -> str:
    """Return a tag with the first digits of the key in it."""
    prefix, dash, rest = tag.rpartition("-")
    is_key = len(rest) == 64 and set(rest) <= set("0123456789abcdef")
    return f"{prefix}{dash}{rest[:_DIGITS]}" if is_key else tag


def gc_document(result: Collected) -> dict[str, Any]:
    """Return what was found and done."""
    return {
        "unneeded": _entries(result.found.unneeded),
        "deleted": _entries(result.deleted),
        "restored": _entries(result.restored),
        "undated": _entries(result.found.undated),
        "kept": result.found.kept,
        "size": result.found.size,
    }


def _entries(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [{"kind": each.kind.value, "reference": str(each.reference), "tags": list(each.tags)} for each in entries]
