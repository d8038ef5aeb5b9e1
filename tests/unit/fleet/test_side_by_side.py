"""A clean-up beside what uses old images: whichever comes first and is killed, each image that is left is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from buildsys.errors import Unavailable
from buildsys.fleet.gc import Collector
from buildsys.fleet.history import Archive
from buildsys.fleet.needs import DAY, Roots
from buildsys.fleet.promote import Promoted, Request, promote
from buildsys.fleet.rollback import roll_back
from buildsys.fleet.roots import with_history
from buildsys.image_tests.records import TESTS
from buildsys.oci.artifacts import dated, put_artifact
from buildsys.oci.client import missing_parts
from buildsys.oci.reference import Reference
from buildsys.run.decision import decide_published
from buildsys.run.store import Store
from tests.support.world import PREFIX, World
from tests.unit.fleet.test_history import bake, named

GRAPH = """
a:
b: a
c:
one = a b
two = c b
"""
FAR = "other.example.com/prod"
DAYS = 30
NOW = 100 * DAY
T = TypeVar("T")


class Killed(BaseException):
    """The end of a process, which nothing catches."""


class Fleet(World):
    """Images of long ago."""

    kept: tuple[dict[Any, bytes], dict[Any, bytes]] = ({}, {})

    def keep(self) -> None:
        """Let each use of `beside` begin with the registry as it is now."""
        self.kept = {**self.registry.manifests_by_name}, {**self.registry.blobs}

    @contextlib.contextmanager
    def beside(self, moment: int, action: Callable[[], T], further: int = 1000) -> Iterator[list[T]]:
        """Do something behind a write or deletion of a manifest, by its number, and end the process `further` later.

        The registry begins as it was kept; what the action returns is in the list.
        """
        registry, numbers, found, is_beside = self.registry, count(), list[T](), False
        registry.manifests_by_name, registry.blobs = {**self.kept[0]}, {**self.kept[1]}

        def counted(write: Callable[..., Any]) -> Callable[..., Any]:
            def call(*words: Any) -> Any:
                nonlocal is_beside
                done = write(*words)
                if is_beside:
                    return done
                number = next(numbers)
                if number == moment:
                    is_beside = True
                    found.append(action())
                    is_beside = False
                if number >= moment + further:
                    raise Killed
                return done

            return call

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            for name in ("put_manifest", "delete"):
                patch.setattr(registry, name, counted(getattr(registry, name)))
            yield found

    def promote(self) -> Promoted:
        targets = tuple(each.name for each in self.plan.stacks)
        request = Request(plan=self.plan, keys=self.selection.keys, targets=targets)
        return promote(self.store, Store(registry=self.registry, prefix=FAR), request, {}, clock=lambda: NOW)

    def collect(self, prefix: str) -> None:
        """Clean up as `gc --yes` does in a checkout that needs none of these images."""
        Collector(
            registry=self.registry,
            prefix=prefix,
            roots=lambda: with_history(Roots(keys=frozenset()), self.registry, prefix, NOW - DAYS * DAY),
            repositories=frozenset(),
            days=DAYS,
            now=NOW,
        ).run(delete=True)

    def incomplete(self) -> list[str]:
        """Return what has a tag and lacks a part."""
        tagged = [f"{name}:{tag}" for name, tag in [*self.registry.manifests_by_name] if ":" not in tag]
        return [each for each in tagged if missing_parts(self.registry, Reference.parse(each))]

    def assert_promoted(self) -> None:
        done = self.promote()
        assert (done.lacking, done.notes, self.incomplete()) == ({}, (), [])
        for stack in ("one", "two"):
            assert self.registry.head(Reference.parse(f"{FAR}/{stack}:latest")) == self.registry.head(self.index(stack))
        there = Store(registry=self.registry, prefix=FAR)
        images = tuple(each.name for each in self.plan.stacks)
        assert decide_published(self.workspace, there, self.plan, (*images, *map(self.target, "abc")), {}).built == ()


@pytest.fixture
def world(tmp_path: Path) -> Fleet:
    world = Fleet(tmp_path, GRAPH)
    bake(world, 10)
    world.keep()
    return world


def copied_without_tags(world: Fleet) -> None:
    """Let a promotion have copied everything, and have ended before its tags."""
    world.promote()
    manifests = world.registry.manifests_by_name
    for name, tag in [*manifests]:
        if name.startswith(FAR) and (tag == "latest" or tag.startswith(("history-", "last-"))):
            del manifests[name, tag]
    world.keep()


@pytest.mark.parametrize("is_copied", [False, True])
def test_promotion_during_which_old_images_are_deleted_reports_it_and_the_next_one_finishes(
    world: Fleet, is_copied: bool
) -> None:
    if is_copied:
        copied_without_tags(world)
    for moment in count():
        with world.beside(moment, lambda: world.collect(FAR)) as found:
            done = world.promote()
        assert world.incomplete() == []
        if not (done.lacking or done.notes):
            assert sorted(done.tags) == [f"{FAR}/one:latest", f"{FAR}/two:latest"]
        world.assert_promoted()
        if not found:
            break
    assert moment > 6


@pytest.mark.parametrize("further", [1, 4, 1000])
def test_clean_up_during_which_images_are_promoted_leaves_them_whole_also_if_it_is_killed(
    world: Fleet, further: int
) -> None:
    copied_without_tags(world)
    for moment in count():
        with world.beside(moment, world.promote, further) as found:
            world.collect(FAR)
        assert world.incomplete() == []
        if not found:
            break
        assert (found[0].lacking, found[0].notes) == ({}, ())
        world.assert_promoted()
    assert moment > 10


@pytest.mark.parametrize("further", [1, 4, 1000])
@pytest.mark.parametrize("command", ["rollback", "test"])
def test_clean_up_beside_a_rollback_or_a_test_leaves_images_whole_also_if_it_is_killed(
    world: Fleet, command: str, further: int
) -> None:
    first, index = named(world, "one"), world.index("one")
    for at in (20, 30):
        world.edit("a")
        bake(world, at)
    world.keep()

    def roll() -> bool:
        with contextlib.suppress(Unavailable):
            roll_back(Archive(registry=world.registry, prefix=PREFIX), "one", "1", clock=lambda: NOW)
            return True
        return False

    def test() -> bool:
        if held := world.registry.head(index):
            place = index.with_tag(f"tests-{'1' * 64}")
            put_artifact(world.registry, place, TESTS, b"{}", held, annotations=dated(NOW))
        return False

    for moment in count():
        with world.beside(moment, roll if command == "rollback" else test, further) as found:
            world.collect(PREFIX)
        assert world.incomplete() == []
        assert named(world, "one")
        if not found:
            break
        assert not found[0] or named(world, "one") == first
    assert moment > 10


def test_rollback_during_which_old_images_are_deleted_keeps_its_image(world: Fleet) -> None:
    first = named(world, "one")
    for at in (20, 30):
        world.edit("a")
        bake(world, at)
    world.keep()
    archive = Archive(registry=world.registry, prefix=PREFIX)
    for moment in count():
        with world.beside(moment, lambda: world.collect(PREFIX)) as found:
            roll_back(archive, "one", "1", clock=lambda: NOW)
        assert (world.incomplete(), named(world, "one")) == ([], first)
        if not found:
            break
    assert moment == 2
