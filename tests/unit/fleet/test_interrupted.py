"""Runs that are killed: the history has every image that a public tag named, whatever a run had still to write."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path

import pytest

from buildsys.fleet.history import Archive, Entry, History
from buildsys.fleet.promote import Request, promote
from buildsys.fleet.rollback import roll_back
from buildsys.names import is_own_tag
from buildsys.oci.reference import Descriptor, Reference, digest_of
from buildsys.run.index import TagMoved
from buildsys.run.store import Store
from tests.support.world import PREFIX, World
from tests.unit.fleet.test_history import bake

GRAPH = """
a:
one = a
two = a
"""
FAR = "other.example.com/prod"
Moved = dict[tuple[str, str], list[str]]


class Killed(BaseException):
    """The end of a process, which nothing catches."""


class Fleet(World):
    """Two stacks of two tags; `moved` has what each tag named, and writes of tags and histories end with `left`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for stack in ("one", "two"):
            self.declare(stack, "tags: [x, latest]")
        self.moved: Moved = {}
        self.left = count()
        self.put = self.registry.put_manifest
        self.registry.put_manifest = self.write  # type: ignore[method-assign]

    def write(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        is_public = not is_own_tag(reference.target) and not reference.name.endswith("/nodes")
        if (is_public or reference.target.startswith("history-")) and next(self.left, None) is None:
            raise Killed
        if is_public and reference.tag:
            self.moved.setdefault((reference.name, reference.tag), []).append(digest_of(raw))
        return self.put(reference, raw, media_type)

    def said(self, prefix: str) -> Moved:
        """Return what histories say of tags, as `moved` does."""
        found: Moved = {}
        for stack in ("one", "two"):
            history = Archive(registry=self.registry, prefix=prefix).find(stack)
            for entry in history.entries if history else ():
                for tag in entry.tags:
                    found.setdefault((f"{prefix}/{stack}", tag), []).append(entry.digest)
        return found

    def run(self, command: str, at: float) -> None:
        if command == "bake":
            bake(self, at)
        elif command == "rollback":
            for stack in ("one", "two"):
                roll_back(Archive(registry=self.registry, prefix=PREFIX), stack, "1", clock=lambda: at)
        else:
            bake(self, at)
            target = Store(registry=self.registry, prefix=FAR)
            targets = tuple(each.name for each in self.plan.stacks)
            request = Request(plan=self.plan, keys=self.selection.keys, targets=targets)
            promote(self.store, target, request, {}, clock=lambda: at)


@pytest.mark.parametrize("command", ["bake", "promote", "rollback"])
@pytest.mark.parametrize("then", ["again", "another image"])
def test_history_has_what_tags_named_and_nothing_else_wherever_a_run_is_killed(
    tmp_path: Path, command: str, then: str
) -> None:
    prefix = FAR if command == "promote" else PREFIX
    first = "promote" if command == "promote" else "bake"
    for moment in count():
        world = Fleet(tmp_path / str(moment), GRAPH)
        world.run(first, 10)
        world.edit("a")
        if command != "bake":
            bake(world, 20)
        world.left = iter(range(moment))  # type: ignore[assignment]
        with contextlib.suppress(Killed):
            world.run(command, 30)
        is_killed = next(world.left, None) is None
        world.left = count()
        moved = {place: digests for place, digests in world.moved.items() if place[0].startswith(prefix)}
        for place, digests in moved.items():
            assert digests[-1] in world.said(prefix)[place]
        if then == "another image":
            world.edit("a")
        world.run(first if then == "another image" else command, 10_000)
        moved = {place: digests for place, digests in world.moved.items() if place[0].startswith(prefix)}
        assert {place: [each for each, _ in groupby(digests)] for place, digests in moved.items()} == world.said(prefix)
        if not is_killed:
            break
    assert moment > 6


def test_tag_that_another_run_moved_meanwhile_is_not_in_the_history_of_this_one(tmp_path: Path) -> None:
    world = Fleet(tmp_path, GRAPH)
    bake(world, 10)
    world.edit("a")
    push = world.builder.push

    def overtaken(target: str) -> tuple[str, str] | None:
        world.registry.push(Reference.parse(f"{PREFIX}/one:x"), "theirs", {})
        return push(target)

    world.builder.push = overtaken
    with pytest.raises(TagMoved, match="/one:x` was moved to"):
        bake(world, 20)
    history = Archive(registry=world.registry, prefix=PREFIX).find("one")
    assert history is not None
    assert [each.tags for each in history.entries] == [("x", "latest"), ("latest",)]


def test_entry_of_a_run_that_may_still_be_moving_its_tags_stays() -> None:
    digests = [f"sha256:{number}" for number in range(3)]
    first, second, third = (
        Entry(number=0, time=1000 * number, tags=("x",), key="", digest=digest) for number, digest in enumerate(digests)
    )
    history = History(stack="one", repository="one").add(first).add(second)
    now = {"x": first.digest}
    assert [each.digest for each in history.next(third, now).entries] == [digests[0], digests[2]]
    assert [each.digest for each in history.next(replace(third, time=1500), now).entries] == digests
    # The tag had named the second, and was moved or deleted by hand.
    for theirs in ("sha256:9", None):
        assert [each.digest for each in history.next(third, {"x": theirs}).entries] == digests
    only = History(stack="one", repository="one").add(first)
    assert [each.digest for each in only.next(third, {"x": None}).entries] == [digests[0], digests[2]]
