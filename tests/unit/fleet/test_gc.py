"""What a clean-up deletes and keeps, on a graph of a few lines, with and without others that publish meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.commands.plan import make_plan
from buildsys.errors import ExitCode, Unavailable
from buildsys.fleet.gc import Collected, Collector
from buildsys.fleet.needs import DAY, Entry, Roots
from buildsys.fleet.roots import source_roots
from buildsys.fleet.use import in_use
from buildsys.oci.artifacts import TIME, put_time, subject_of
from buildsys.oci.client import missing_parts
from buildsys.oci.http import UnexpectedAnswer
from buildsys.oci.reference import OCI_MANIFEST, Reference
from tests.support.world import PREFIX, World

GRAPH = """
a:
b: a
c:
one = a b
two = c
"""
# What the world publishes was written a few seconds after 1970 began.
LATER = 100 * DAY


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, GRAPH)


def collector(world: World, *, now: float = LATER, days: int = 30, roots: Roots | None = None) -> Collector:
    found, repositories = source_roots(world.workspace, (), {}, make_plan)
    return Collector(
        registry=world.registry,
        prefix=PREFIX,
        roots=lambda: roots or found,
        repositories=repositories,
        days=days,
        now=now,
    )


def collect(world: World, *, now: float = LATER, delete: bool = True) -> Collected:
    return collector(world, now=now).run(delete=delete)


def places(world: World) -> set[tuple[str, str]]:
    return {*world.registry.manifests_by_name}


def whole(world: World) -> bool:
    """Whether every public tag, and every image under its key, has all of its parts."""
    named = [Reference.parse(f"{name}:{tag}") for name, tag in places(world) if ":" not in tag]
    return not any(missing_parts(world.registry, each) for each in named)


def kinds(result: Collected) -> list[str]:
    return [each.kind.value for each in result.deleted]


def test_what_the_sources_and_public_tags_need_stays(world: World) -> None:
    world.publish()
    before = places(world)
    result = collect(world)
    assert (result.deleted, result.found.size) == ((), 0)
    assert places(world) == before


def test_old_keys_go_with_their_inventories_and_nothing_else_does(world: World) -> None:
    world.publish()
    old = [world.location("a"), world.location("b"), world.location("one"), world.index("one")]
    kept = [world.location("c"), world.location("tools"), world.location("system"), world.index("two")]
    world.edit("a")
    world.publish()
    kept += [world.location("a"), world.location("b"), world.location("one"), world.index("one")]
    result = collect(world)
    assert [each for each in old if world.registry.head(each)] == []
    assert all(world.registry.head(each) for each in kept)
    # The records are the inventories of both nodes, and the time of the image.
    assert kinds(result) == ["index", "image", "node", "node", "record", "record", "record"]
    assert whole(world)
    assert collect(world).deleted == ()


def test_it_is_only_shown_without_being_asked_to_delete(world: World) -> None:
    world.publish()
    world.edit("a")
    world.publish()
    before = places(world)
    result = collect(world, delete=False)
    assert len(result.found.unneeded) == 6
    assert (places(world), world.registry.deleted) == (before, [])


def test_size_is_that_of_blobs_which_nothing_kept_names(world: World) -> None:
    world.publish()
    old = [world.registry.manifest(world.location(name)) for name in ("a", "b")]
    world.edit("a")
    world.publish()
    result = collect(world, delete=False)
    kept = {each.digest for name in "ab" for each in world.registry.manifest(world.location(name)).blobs}  # type: ignore[union-attr]
    own = sum(each.size for manifest in old if manifest for each in manifest.layers if each.digest not in kept)
    manifests = sum(len(each.manifest.raw) for each in result.found.unneeded)
    assert result.found.size > own + manifests
    # The layers of `system` and the empty document are in what is kept too.
    assert result.found.size < manifests + sum(len(each) for each in world.registry.blobs.values())


def test_a_node_that_only_a_public_tag_needs_stays(world: World) -> None:
    world.publish()
    image = world.index("one")
    digest = world.registry.head(image).digest  # type: ignore[union-attr]
    world.registry.tag(image, "v1")
    old = world.location("b")
    world.edit("a")
    world.publish()
    collect(world)
    assert world.registry.head(image.with_digest(digest))
    assert world.registry.head(old)


def test_what_history_names_stays_with_what_it_was_built_from(world: World) -> None:
    world.publish()
    digest = world.registry.head(world.index("one")).digest  # type: ignore[union-attr]
    old = world.location("a")
    world.edit("a")
    world.publish()
    roots = replace(source_roots(world.workspace, (), {}, make_plan)[0], digests=frozenset({digest}))
    assert collector(world, roots=roots).run(delete=True).deleted == ()
    assert world.registry.head(old)


def test_nothing_younger_than_a_day_is_deleted(world: World) -> None:
    world.publish()
    world.edit("a")
    world.publish()
    assert collect(world, now=5.0 + DAY).deleted == ()
    assert collect(world, now=6.0 + DAY).deleted


def test_what_has_no_time_counts_from_the_first_look(world: World) -> None:
    world.publish()
    key = "0" * 64
    place = Reference.parse(f"{PREFIX}/nodes:{key}")
    digest = world.registry.push(place, "by an older version", {"dev.buildsys.key": key, "dev.buildsys.inputs": "{}"})
    assert [each.tags for each in collect(world, delete=False).found.undated] == [(key,)]
    assert world.registry.head(place.with_tag(f"seen-{digest.partition(':')[2]}")) is None
    assert collect(world).deleted == ()
    assert collect(world, now=LATER + DAY / 2).deleted == ()
    assert kinds(collect(world, now=LATER + 2 * DAY)) == ["node", "record"]
    assert world.registry.head(place) is None


def test_what_others_put_there_is_never_deleted(world: World) -> None:
    world.publish()
    theirs = Reference.parse(f"{PREFIX}/theirs:key-{'1' * 64}")
    world.registry.push(theirs, "an image", {})
    assert collect(world, now=LATER * 9).deleted == ()
    assert world.registry.head(theirs)


@pytest.mark.parametrize("moment", range(6))
def test_a_clean_up_that_ends_early_leaves_images_whole_and_the_next_one_finishes(world: World, moment: int) -> None:
    world.publish()
    world.edit("a")
    world.publish()
    left = iter(range(moment))

    def end(_: Reference) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    world.registry.before_deletion = end
    with pytest.raises(KeyboardInterrupt):
        collect(world)
    assert len(world.registry.deleted) == moment
    assert whole(world)
    world.registry.before_deletion = lambda _: None
    collect(world)
    assert whole(world)
    assert collect(world).deleted == ()
    assert len([tag for name, tag in places(world) if name.endswith("/nodes") and len(tag) == 64]) == 5


def test_an_image_that_a_run_begins_to_use_meanwhile_is_put_back(world: World) -> None:
    world.publish()
    image = world.index("one")
    held = world.registry.manifest(image)
    assert held is not None
    world.edit("a")
    world.publish()

    def use(reference: Reference) -> None:
        # When its children are deleted, the index that names them gets a tag again.
        if reference.repository.endswith("/one") and reference.target != held.descriptor.digest:
            world.registry.put_manifest(image.with_tag("back"), held.raw, OCI_MANIFEST)

    world.registry.before_deletion = use
    restored = [each.kind.value for each in collect(world).restored]
    assert "image" in restored
    assert "node" in restored
    assert missing_parts(world.registry, image.with_tag("back")) == ()
    assert whole(world)


def test_an_index_that_gets_a_public_tag_just_before_its_deletion_stays(world: World) -> None:
    world.publish()
    world.edit("a")
    world.publish()
    world.edit("c")
    world.publish()
    first: list[Entry] = []
    collected = collector(world)
    indexes = [each for each in collected.run(delete=False).found.unneeded if each.kind.value == "index"]
    assert len(indexes) == 2

    def tag(reference: Reference) -> None:
        other = next(each for each in indexes if each.reference.target != reference.target)
        if not first:
            first.append(other)
            world.registry.tag(other.reference, "back")

    world.registry.before_deletion = tag
    collected.run(delete=True)
    assert world.registry.head(first[0].reference.with_tag("back"))
    assert whole(world)


@pytest.mark.parametrize("parts", ["index", "index and image", "all"])
def test_a_run_whose_image_is_deleted_before_its_tag_moves_composes_it_again(world: World, parts: str) -> None:
    world.publish()
    old = world.index("one")
    lost = {"index": [old], "index and image": [old, world.location("one")]}
    gone = lost.get(parts, [old, *map(world.location, ("one", "a", "b"))])
    world.edit("a")
    world.publish()
    world.undo("a")
    assert str(world.index("one")) == str(old)
    world.edit("c")
    # While `c` is built, the image that exists and is to get a tag is deleted.
    push = world.builder.push

    def deleting(target: str) -> tuple[str, str] | None:
        while gone:
            reference = gone.pop()
            found = world.registry.head(reference)
            assert found is not None
            world.registry.delete(reference.with_digest(found.digest))
        return push(target)

    world.builder.push = deleting
    result = world.publish()
    assert result.complete
    assert world.registry.head(old)
    assert whole(world)
    latest = world.registry.head(Reference.parse(f"{PREFIX}/one:latest"))
    assert latest == world.registry.head(old)


def test_a_tag_that_is_deleted_with_its_digest_while_it_moves_is_written_again(world: World) -> None:
    world.publish()
    old = world.index("one")
    digest = world.registry.head(old).digest  # type: ignore[union-attr]
    world.edit("a")
    world.publish()
    world.undo("a")
    put, deleted = world.registry.put_manifest, list[str]()

    def deleting(reference: Reference, raw: bytes, media_type: str) -> object:
        found = put(reference, raw, media_type)
        if reference.target == "latest" and not deleted:
            deleted.append(digest)
            world.registry.delete(old.with_digest(digest))
        return found

    world.registry.put_manifest = deleting  # type: ignore[method-assign,assignment]
    assert world.publish().moved == (f"{PREFIX}/one:latest",)
    assert deleted
    latest = world.registry.head(old.with_tag("latest"))
    assert latest is not None
    assert latest.digest == digest


def test_an_environment_stays_while_it_is_used_and_a_tag_of_a_person_always_does(world: World) -> None:
    world.publish()
    image = world.index("one")
    found = world.registry.head(image)
    assert found is not None
    reference = str(image.with_digest(found.digest))
    in_use(world.registry, lambda: reference, lambda each: each, LATER)
    record = world.registry.manifest(image.with_tag(f"used-{found.digest.partition(':')[2]}"))
    assert record is not None
    assert subject_of(record) == (TIME.manifest, found.digest)
    nothing = Roots(keys=frozenset())
    assert not any(each.reference.name == image.name for each in unneeded(world, nothing, LATER + 29 * DAY))
    # `latest` of an environment is a default; that of a stack keeps it.
    gone = {each.reference.repository for each in unneeded(world, nothing, LATER + 31 * DAY)}
    assert "ml/one" in gone
    assert "ml/two" not in gone
    world.registry.tag(image, "mine")
    assert not any(each.kind.value == "index" for each in unneeded(world, nothing, LATER + 31 * DAY))


def unneeded(world: World, roots: Roots, now: float) -> tuple[Entry, ...]:
    return collector(world, roots=roots, now=now).run(delete=False).found.unneeded


def test_a_use_is_recorded_once_a_day(world: World) -> None:
    world.publish()
    image = world.index("one")
    reference = str(image.with_digest(world.registry.head(image).digest))  # type: ignore[union-attr]
    for now in (LATER, LATER + DAY / 2, LATER + 2 * DAY):
        world.registry.written.clear()
        in_use(world.registry, lambda: reference, lambda each: each, now)
        assert len(world.registry.written) == (0 if now == LATER + DAY / 2 else 1)


def test_an_environment_that_is_deleted_while_it_is_used_is_rebuilt(world: World) -> None:
    world.publish()
    image = world.index("one")
    held = world.registry.manifest(image)
    assert held is not None
    reference, calls = image.with_digest(held.descriptor.digest), list[int]()

    def find() -> str:
        calls.append(1)
        if len(calls) == 1:
            world.registry.delete(reference)
        else:
            world.registry.put_manifest(image, held.raw, OCI_MANIFEST)
        return str(reference)

    in_use(world.registry, find, lambda each: each, LATER)
    assert len(calls) == 2
    assert world.registry.head(reference)


def test_caches_of_targets_that_no_longer_exist_go_a_day_after_they_were_seen(world: World) -> None:
    world.publish()
    cache = Reference.parse("r.example.com/cache:x")
    node = world.plan.nodes[0].name
    for tag in (node, "gone"):
        world.registry.push(cache.with_tag(tag), f"cache of {tag}", {})

    def run(now: float) -> list[str]:
        return kinds(replace(collector(world, now=now), cache=cache).run(delete=True))

    assert run(LATER) == []
    assert run(LATER + 2 * DAY) == ["cache", "record"]
    assert [tag for name, tag in places(world) if name == cache.name and ":" not in tag] == [node]


def test_without_a_catalog_only_known_repositories_are_looked_at(world: World) -> None:
    world.publish()
    world.edit("a")
    world.publish()
    world.registry.catalog = False
    result = collect(world)
    assert not result.has_catalog
    assert "node" in kinds(result)
    assert whole(world)


def test_a_registry_that_does_not_allow_deletion_is_named_with_its_setting(world: World) -> None:
    world.publish()
    world.edit("a")
    world.publish()

    def refuse(reference: Reference) -> None:
        raise UnexpectedAnswer("UNSUPPORTED", host=reference.host, status=405)

    world.registry.before_deletion = refuse
    with pytest.raises(Unavailable, match="does not allow deletion") as caught:
        collect(world)
    assert caught.value.exit_code is ExitCode.UNAVAILABLE
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in (caught.value.hint or "")


def test_a_record_outlives_what_it_dates_by_no_run(world: World) -> None:
    world.publish()
    place = Reference.parse(f"{PREFIX}/nodes:seen-{'2' * 64}")
    image = world.registry.head(world.location("a"))
    assert image is not None
    put_time(world.registry, place, replace(image, digest=f"sha256:{'2' * 64}"), 5.0)
    assert kinds(collect(world)) == ["record"]
