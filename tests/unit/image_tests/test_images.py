"""Which published image is tested: that of the present key, by the digest of its platform, and no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.errors import ExitCode, Unavailable
from buildsys.image_tests.images import present_images
from buildsys.run.decision import Selection
from tests.support.world import PREFIX, TwoPlatforms, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, "a:\nb:\none = a\ntwo = b")


def selected(world: World) -> Selection:
    return replace(world.selection, targets=tuple(each.name for each in world.plan.stacks))


def test_image_is_the_manifest_that_the_index_names_for_its_platform(tmp_path: Path) -> None:
    world = TwoPlatforms(tmp_path, "a:\none = a")
    world.publish("one-amd64", "one-arm64")
    images = present_images(world.store, selected(world))
    index = world.registry.manifest(world.index("one"))
    assert index is not None
    children = {each.platform: each.digest for each in index.manifests}
    assert {each.platform: each.digest for each in images.values()} == children
    assert {each.reference for each in images.values()} == {f"{PREFIX}/one@{each}" for each in children.values()}


def test_image_of_other_sources_is_refused_with_what_to_do(world: World) -> None:
    world.publish()
    world.edit("a")
    with pytest.raises(Unavailable) as refused:
        present_images(world.store, selected(world))
    assert refused.value.exit_code is ExitCode.UNAVAILABLE
    assert refused.value.message == "no image with the present key of `one` is published"
    hint = "run `buildsys bake one --push` first, or test local images with `--local`"
    assert refused.value.hint == hint


def test_all_missing_images_are_named_at_once(world: World) -> None:
    with pytest.raises(Unavailable, match="the present keys of `one`, `two` is published") as refused:
        present_images(world.store, selected(world))
    assert "`buildsys bake one two --push`" in (refused.value.hint or "")


def test_content_of_another_key_under_the_key_is_refused(world: World) -> None:
    world.publish()
    index = world.index("one")
    other = world.registry.manifest(world.index("two"))
    assert other is not None
    world.registry.put_manifest(index, other.raw, other.descriptor.media_type)
    image = world.location("one")
    for target in (image.target,):
        del world.registry.manifests_by_name[image.name, target]
    with pytest.raises(Unavailable, match="was built for another key"):
        present_images(world.store, selected(world))
