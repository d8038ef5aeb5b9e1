"""What tags named is kept in the registry, tags go back by digest and are held until there is a new key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput, Unavailable
from buildsys.fleet.history import (
    MOST_ENTRIES,
    Archive,
    Entry,
    History,
    Hold,
    Record,
    UnreadableHistory,
    read,
    write,
)
from buildsys.fleet.rollback import follow, release, roll_back
from buildsys.oci.reference import Descriptor, Reference
from buildsys.run.publish import Published, publish
from tests.support.world import PREFIX, World

GRAPH = """
a:
b:
one = a
two = b
"""
DIGEST = f"sha256:{'1' * 64}"
FURTHER = "second.example.com/ml"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def archive(world: World) -> Archive:
    return Archive(registry=world.registry, prefix=PREFIX)


def bake(world: World, at: float, *names: str) -> Published:
    """Publish as `bake --push` does; return how it ended."""
    session, plan = world.session(), world.plan
    notes = world.notes
    record = Record(archive=archive(world), clock=lambda: at, note=notes.append)
    targets = tuple(map(world.target, names)) or tuple(stack.name for stack in plan.stacks)
    return publish(session, world.store, plan, targets, record=record)


def named(world: World, stack: str, tag: str = "latest") -> str | None:
    found = world.registry.head(Reference.parse(f"{PREFIX}/{stack}:{tag}"))
    return found.digest if found else None


def entries(world: World, stack: str = "one") -> list[tuple[int, int, str, tuple[str, ...]]]:
    found = archive(world).find(stack)
    return [(each.number, each.time, each.by, each.tags) for each in found.entries] if found else []


def test_each_move_of_tags_is_an_entry_with_key_digest_and_reason(world: World) -> None:
    bake(world, 10)
    first, key = named(world, "one"), world.selection.keys.indexes["one"].key
    world.edit("a")
    bake(world, 20)
    found = archive(world).find("one")
    assert found is not None
    assert [(each.number, each.time, each.digest, each.tags) for each in found.entries] == [
        (1, 10, first, ("latest",)),
        (2, 20, named(world, "one"), ("latest",)),
    ]
    assert (found.entries[0].key, found.repository) == (key, "one")
    assert found.entries[1].reason == "a: layers/a/Dockerfile changed"
    assert entries(world, "two") == [(1, 10, "bake", ("latest",))]


def test_run_that_moves_no_tag_reads_and_writes_no_history(world: World) -> None:
    bake(world, 10)
    world.registry.asked.clear()
    world.registry.written.clear()
    bake(world, 20)
    assert [each for each in world.registry.asked if "history" in each] == []
    assert world.registry.written == []


def test_rollback_moves_tags_to_the_image_before_and_holds_them(world: World) -> None:
    bake(world, 10)
    first = named(world, "one")
    world.edit("a")
    bake(world, 20)
    bad = named(world, "one")
    back = roll_back(archive(world), "one", None, clock=lambda: 30.0)
    assert (back.entry.number, back.moved, back.kept, back.others) == (1, ("latest",), (), ())
    assert named(world, "one") == first != bad
    assert entries(world)[-1] == (3, 30, "rollback", ("latest",))

    # The same key again, and an image that tags have named before, are no reason to move them.
    result = bake(world, 40)
    assert (result.complete, result.moved, named(world, "one")) == (True, (), first)
    assert [each.partition(";")[0] for each in world.notes] == [
        f"the tags of `one` are held at {(first or '')[:19]} since a rollback"
    ]
    with pytest.raises(InvalidInput, match="the tags of `one` named no image before"):
        roll_back(archive(world), "one", None, clock=lambda: 50.0)

    # A new key ends it.
    world.edit("a")
    assert bake(world, 60).moved == (f"{PREFIX}/one:latest",)
    held = archive(world).find("one")
    assert held is not None
    assert (held.hold, held.entries[-1].number) == (None, 4)


def test_released_tags_move_with_the_next_bake(world: World) -> None:
    bake(world, 10)
    world.edit("a")
    bake(world, 20)
    bad = named(world, "one")
    roll_back(archive(world), "one", None, clock=lambda: 30.0)
    assert release(archive(world), "one")
    assert named(world, "one") != bad
    assert bake(world, 40).moved == (f"{PREFIX}/one:latest",)
    assert named(world, "one") == bad
    assert not release(archive(world), "one")


def test_rollback_takes_a_number_a_key_or_a_digest(world: World) -> None:
    digests, keys = [], []
    for at in (10, 20, 30):
        bake(world, at)
        digests.append(named(world, "one") or "")
        keys.append(world.selection.keys.indexes["one"].key)
        world.edit("a")
    for word, digest in (
        ("2", digests[1]),
        (keys[0][:12], digests[0]),
        (digests[2], digests[2]),
        (digests[1][:20], digests[1]),
    ):
        roll_back(archive(world), "one", word, clock=lambda: 40.0)
        assert named(world, "one") == digest
    for wrong in ("9", "0123456789abcdef", "latest"):
        with pytest.raises(InvalidInput, match=f"`{wrong}` is not an image in the history of `one`"):
            roll_back(archive(world), "one", wrong, clock=lambda: 40.0)


def test_tags_that_another_stack_has_taken_or_that_came_later_stay(world: World) -> None:
    world.declare("one", "repository: app, tags: [x, latest]")
    world.declare("two", "repository: app, tags: [y]")
    bake(world, 10)
    first = named(world, "app", "x")
    world.edit("a")
    text = (world.root / "stacks.yaml").read_text(encoding="utf-8")
    text = text.replace("tags: [x, latest]", "tags: [x, later]").replace("tags: [y]", "tags: [y, latest]")
    (world.root / "stacks.yaml").write_text(text, encoding="utf-8")
    world._selection = None
    bake(world, 20)
    other, later = named(world, "app", "latest"), named(world, "app", "later")
    assert other == named(world, "app", "y")
    back = roll_back(archive(world), "one", None, clock=lambda: 30.0)
    assert (back.moved, back.others) == (("x",), ("latest",))
    assert [named(world, "app", tag) for tag in ("x", "latest", "later")] == [first, other, later]


def test_image_that_lacks_a_part_is_refused_and_no_tag_moves(world: World) -> None:
    bake(world, 10)
    first = named(world, "one")
    world.edit("a")
    bake(world, 20)
    bad = named(world, "one")
    index = world.registry.manifest(Reference.parse(f"{PREFIX}/one@{first}"))
    assert index is not None
    world.registry.lose(f"{PREFIX}/one@{index.manifests[0].digest}")
    with pytest.raises(Unavailable, match="is missing from the registry"):
        roll_back(archive(world), "one", None, clock=lambda: 30.0)
    assert (named(world, "one"), len(entries(world))) == (bad, 2)


def test_further_registry_follows_where_it_has_the_image(world: World) -> None:
    bake(world, 10)
    world.edit("a")
    bake(world, 20)
    back = roll_back(archive(world), "one", None, clock=lambda: 30.0)
    assert "is missing" in follow(archive(world), back, "one", FURTHER)
    for place in list(world.registry.blobs):
        world.registry.blobs[place[0].replace(PREFIX, FURTHER), place[1]] = world.registry.blobs[place]
    for (name, target), raw in list(world.registry.manifests_by_name.items()):
        if ":" in target:
            world.registry.manifests_by_name[name.replace(PREFIX, FURTHER), target] = raw
    assert follow(archive(world), back, "one", FURTHER) == ""
    found = world.registry.head(Reference.parse(f"{FURTHER}/one:latest"))
    assert found is not None
    assert found.digest == named(world, "one")


def test_stack_without_a_history_is_an_error(world: World) -> None:
    with pytest.raises(InvalidInput, match=f"`{PREFIX}` has no history of a stack `three`"):
        roll_back(archive(world), "three", None, clock=lambda: 1.0)


def test_entry_that_another_run_wrote_over_is_written_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(number=0, time=1, tags=("x",), key="k", digest=DIGEST)
    put = world.registry.put_manifest
    others = [replace(entry, time=2)]
    seen = archive(world).change("one", "one", lambda old: old.add(replace(entry, time=0)))

    def put_and_be_overtaken(reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        done = put(reference, raw, media_type)
        if others:
            # It had read the history before this run wrote.
            other = others.pop()
            put(reference, before, media_type)
            archive(world).change("one", "one", lambda old: old.add(other))
        return done

    before = world.registry.manifests_by_name[archive(world).location("one").name, "history-one"]
    monkeypatch.setattr(world.registry, "put_manifest", put_and_be_overtaken)
    found = archive(world).change("one", "one", lambda old: old.add(entry))
    assert found == archive(world).find("one") != seen
    assert [(each.number, each.time) for each in found.entries] == [(1, 0), (2, 2), (3, 1)]


def test_history_is_read_as_it_was_written_and_the_oldest_entries_go() -> None:
    entry = Entry(number=0, time=1, tags=("a", "b"), key="k", digest=DIGEST, reason='say "é"', commit="c", by="promote")
    history = History(stack="one", repository="app", hold=Hold(time=3, digest=DIGEST))
    for at in range(MOST_ENTRIES + 3):
        history = history.add(replace(entry, time=at))
    assert (len(history.entries), history.entries[0].number) == (MOST_ENTRIES, 4)
    assert read(write(history)) == history


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"version":2}',
        b'{"version":1,"stack":"a"}',
        b'{"version":1,"stack":1,"repository":"a"}',
        b'{"version":1,"stack":"a","repository":"a","hold":{"time":1,"digest":"x"}}',
        b'{"version":1,"stack":"a","repository":"a","hold":3}',
        b'{"version":1,"stack":"a","repository":"a","entries":[{"number":true}]}',
    ],
)
def test_history_of_another_format_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableHistory, match="a history of tags cannot be read"):
        read(raw)


def test_tags_stay_where_a_history_cannot_be_read(world: World) -> None:
    from buildsys.fleet.history import HISTORY
    from buildsys.oci.artifacts import put_artifact

    bake(world, 10)
    world.edit("a")
    put_artifact(world.registry, archive(world).location("one"), HISTORY, b'{"version":2}')
    assert bake(world, 20).moved == ()
    assert "the tags of `one` stay where they are" in world.notes[0]
