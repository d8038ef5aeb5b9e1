"""What people and programs read about images in use: new epochs, history of tags, what is promoted and unneeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from buildsys.commands.query import Freshened
from buildsys.fleet.gc import Collected
from buildsys.fleet.history import Entry, History
from buildsys.fleet.needs import Entry as Unneeded
from buildsys.fleet.promote import Promoted
from buildsys.fleet.rollback import Back
from buildsys.plan.actions import short
from buildsys.report.console import Screen, columns
from buildsys.report.documents import changes_document, lock_document
from buildsys.report.tables import show_lock
from buildsys.report.text import clean, format_count, format_remaining, format_size

# Of a key.
_DIGITS = 12


def show_fresh(found: Freshened, screen: Screen) -> None:
    """Write the entries that moved, each node that this rebuilds with its time, and the counts."""
    show_lock(found.entries, screen)
    nodes = [each for each in found.changes if each.kind == "node"]
    images = [each for each in found.changes if each.kind == "image"]
    for line in columns([("build", each.title, _time(found.seconds.get(each.target))) for each in nodes]):
        screen.line(line)
    compiled = sum(node.name in {each.target for each in nodes} for node in found.plan.nodes if node.recipe.prefix)
    verb = "changes" if len(images) == 1 else "change"
    time = format_remaining(found.left.seconds, whole=found.left.whole).removesuffix(" left") if found.left else ""
    screen.line(
        f"{format_count(len(nodes), 'node')} to rebuild{f' ({time})' if time else ''}, "
        f"{format_count(compiled, 'artifact') if compiled else 'no artifact'} among them; "
        f"{len(images)} of {format_count(len(found.plan.stacks), 'image')} {verb}"
    )


def fresh_document(found: Freshened) -> dict[str, Any]:
    """Return the JSON document of `fresh`."""
    return {
        "entries": lock_document(found.entries),
        "changes": changes_document(found.changes),
        "seconds": {each.target: found.seconds.get(each.target) for each in found.changes if each.kind == "node"},
        "estimate": found.left.seconds if found.left else None,
    }


def show_history(found: History, screen: Screen) -> None:
    """Write what tags named, the newest first, and whether they are held."""
    rows = [
        (
            str(each.number),
            datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%d %H:%M"),
            short(each.digest),
            short(each.key) if each.key else "",
            clean(", ".join(each.tags)),
            clean(each.commit[:12]),
            clean(each.reason),
        )
        for each in reversed(found.entries)
    ]
    for line in columns([("", "time (UTC)", "image", "key", "tags", "commit", "reason"), *rows]):
        screen.line(line)
    if found.hold is not None:
        screen.line(f"held at {short(found.hold.digest)} since a rollback, until `--release` or a new key")


def history_document(found: History) -> dict[str, Any]:
    """Return the JSON document of `history`."""
    return {
        "stack": found.stack,
        "repository": found.repository,
        "held": found.hold.digest if found.hold else None,
        "entries": [_entry(each) for each in reversed(found.entries)],
    }


def _entry(each: Entry) -> dict[str, Any]:
    return {
        "number": each.number,
        "time": datetime.fromtimestamp(each.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "by": each.by,
        "tags": list(each.tags),
        "digest": each.digest,
        "key": each.key or None,
        "reason": each.reason,
        "commit": each.commit or None,
    }


def show_back(back: Back, screen: Screen) -> None:
    """Write which tags went back, and to which image."""
    image = f"image {short(back.entry.digest)} of {back.entry.number}"
    if back.moved:
        screen.line(f"{back.stack}: {', '.join(back.moved)} → {image}, and held there")
    if back.kept:
        screen.line(f"{back.stack}: {', '.join(back.kept)} named {image} already, and held there")
    if back.others:
        screen.line(f"{back.stack}: {', '.join(back.others)} not moved, named by another stack since")
    screen.line(f"`buildsys rollback {back.stack} --release` lets bakes move the tags again; so does a new key")


def back_document(back: Back, problems: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON document of `rollback`; `problems` are those of further registries."""
    return {
        "stack": back.stack,
        "to": _entry(back.entry),
        "moved": list(back.moved),
        "kept": list(back.kept),
        "others": list(back.others),
        "problems": dict(problems),
    }


def show_promoted(done: Promoted, prefix: str, screen: Screen) -> None:
    """Write what a registry got, and what it lacks and why."""
    images, nodes = format_count(len(done.images), "image"), format_count(done.nodes, "node")
    sent = f"{format_count(done.sent, 'blob')} sent" + (f" ({format_size(done.size)})" if done.sent else "")
    screen.line(f"{prefix}: {images}, {nodes} and what is beside them, {format_count(done.copied, 'manifest')} copied")
    screen.line(f"  {sent}, {done.mounted} mounted, {format_count(len(done.tags), 'tag')} moved")
    for note in done.notes:
        screen.line(f"  {clean(note)}")
    for name, why in done.lacking.items():
        screen.line(f"  lacks {name}: {clean(why)}")
    if done.lacking:
        screen.line("  no tag was moved; the same command copies what is missing")


def promoted_document(done: Promoted, prefix: str) -> dict[str, Any]:
    """Return the JSON document of `promote`."""
    return {
        "registry": prefix,
        "images": list(done.images),
        "nodes": done.nodes,
        "documents": done.documents,
        "copied": done.copied,
        "tags": list(done.tags),
        "notes": list(done.notes),
        "lacking": dict(done.lacking),
        "mounted": done.mounted,
        "sent": done.sent,
        "size": done.size,
    }


def _time(seconds: float | None) -> str:
    return format_remaining(seconds, whole=True).removesuffix(" left") if seconds else ""


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


def _shown_tags(entry: Unneeded) -> str:
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


def _entries(entries: Sequence[Unneeded]) -> list[dict[str, Any]]:
    return [{"kind": each.kind.value, "reference": str(each.reference), "tags": list(each.tags)} for each in entries]
