"""What a copy between registries sends and mounts, in which order it writes, and what a registry that fails lacks."""

from __future__ import annotations

import json

import pytest

from buildsys.oci.copies import Copy, Stopped, copy_all, lacking
from buildsys.oci.http import ServerError, UnexpectedAnswer
from buildsys.oci.reference import OCI_INDEX, OCI_MANIFEST, Descriptor, Reference
from tests.support.image_registry import FakeRegistry

FIRST, OTHER = "first.example.com/ml", "other.example.com/ml"


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def published(registry: FakeRegistry, name: str, *contents: str) -> Reference:
    """Store an index of images, one for each content, and return its reference with its digest."""
    place = Reference.parse(f"{FIRST}/{name}:key")
    manifests = []
    for content in contents:
        digest = registry.push(place.with_tag(f"platform-{content}"), content, {})
        raw = registry.manifests_by_name[place.name, digest]
        annotations = {"tag": f"platform-{content}"}
        found = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(raw), "annotations": annotations}
        manifests.append(found)
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return place.with_digest(registry.put_manifest(place, json.dumps(value).encode(), OCI_INDEX).digest)


def copy_of(source: Reference, target: str) -> Copy:
    def child_tag(child: Descriptor) -> str | None:
        return dict(child.annotations).get("tag")

    return Copy(source=source, target=Reference.parse(target), child_tag=child_tag)


def test_index_is_written_after_its_images_and_each_image_has_its_tag(registry: FakeRegistry) -> None:
    source = published(registry, "app", "a", "b")
    registry.written.clear()
    copy = copy_of(source, f"{OTHER}/app:key")
    done = copy_all(registry, [copy])
    assert registry.written == ["app:platform-a", "app:platform-b", "app:key"]
    # A layer and a config for each image; both images have one config here or two.
    assert (done.problems, done.mounted, done.sent) == ({}, 0, len(registry.sent))
    assert registry.head(copy.target) == registry.head(source)
    assert lacking(registry, [copy], verify=True) == ((), {})


def test_blob_of_two_repositories_is_sent_once_and_mounted_in_the_other(registry: FakeRegistry) -> None:
    one, two = published(registry, "one", "same"), published(registry, "two", "same")
    done = copy_all(registry, [copy_of(one, f"{OTHER}/one:key"), copy_of(two, f"{OTHER}/two:key")])
    assert (done.problems, done.sent, done.mounted) == ({}, 2, 2)
    assert len({each.partition("@")[2] for each in registry.sent}) == len(registry.sent)


def test_blobs_that_exist_are_neither_sent_nor_mounted(registry: FakeRegistry) -> None:
    source = published(registry, "app", "a")
    copy_all(registry, [copy_of(source, f"{OTHER}/app:key")])
    sent = list(registry.sent)
    done = copy_all(registry, [copy_of(source, f"{OTHER}/app:again")])
    assert (done.sent, done.mounted, registry.sent, registry.mounted) == (0, 0, sent, [])
    assert registry.head(Reference.parse(f"{OTHER}/app:again")) is not None


def test_blob_of_an_image_beside_is_mounted(registry: FakeRegistry) -> None:
    copy_all(registry, [copy_of(published(registry, "one", "same"), f"{OTHER}/one:key")])
    registry.sent.clear()
    beside = [Reference.parse(f"{OTHER}/{name}:key") for name in ("none", "one")]
    done = copy_all(registry, [copy_of(published(registry, "two", "same"), f"{OTHER}/two:key")], beside=beside)
    assert (done.sent, done.mounted, registry.sent) == (0, 2, [])


def test_within_one_host_no_blob_is_sent(registry: FakeRegistry) -> None:
    done = copy_all(registry, [copy_of(published(registry, "app", "a", "b"), "first.example.com/prod/app:key")])
    assert (done.problems, done.sent, registry.sent) == ({}, 0, [])
    assert done.mounted == len(registry.mounted) > 0


def test_registry_that_mounts_nothing_gets_the_bytes(registry: FakeRegistry) -> None:
    registry.mounts = False
    done = copy_all(registry, [copy_of(published(registry, "app", "a"), "first.example.com/prod/app:key")])
    assert (done.problems, done.mounted, done.sent) == ({}, 0, 2)


def test_registry_that_is_down_keeps_no_other_from_its_copies(registry: FakeRegistry) -> None:
    source = published(registry, "app", "a")
    copies = [copy_of(source, f"{OTHER}/app:key"), copy_of(source, "down.example.com/ml/app:key")]
    registry.down.add("down.example.com")
    assert [str(each) for each in lacking(registry, copies)[1]] == ["down.example.com/ml/app:key"]
    done = copy_all(registry, copies)
    assert [str(each) for each in done.problems] == ["down.example.com/ml/app:key"]
    assert registry.head(copies[0].target) is not None


def test_copy_whose_blob_is_lost_is_not_written(registry: FakeRegistry) -> None:
    copy, whole = (copy_of(published(registry, name, name), f"{OTHER}/{name}:key") for name in ("app", "whole"))
    broken = FakeRegistry(manifests_by_name=registry.manifests_by_name, blobs=registry.blobs)

    def refuse(repository: Reference, digest: str, pieces: object) -> None:
        if repository.repository == "ml/app":
            raise UnexpectedAnswer("413", host=repository.host, status=413)
        FakeRegistry.send_blob(broken, repository, digest, pieces)  # type: ignore[arg-type]

    broken.send_blob = refuse  # type: ignore[method-assign]
    done = copy_all(broken, [copy, whole])
    assert list(done.problems) == [copy.target]
    assert (broken.head(copy.target), broken.head(whole.target) is None) == (None, False)


def test_host_that_fails_is_given_up(registry: FakeRegistry) -> None:
    copies = [copy_of(published(registry, name, name), f"{OTHER}/{name}:key") for name in ("a", "b", "c")]
    asked = []

    def fail(repository: Reference, digest: str, size: int | None = None) -> bool:
        asked.append(digest)
        raise ServerError("500", host=repository.host)

    registry.blob_exists = fail  # type: ignore[method-assign]
    done = copy_all(registry, copies)
    assert len(done.problems) == 3
    # As many as begin at the same time.
    assert len(asked) <= 8


def test_nothing_is_begun_after_a_stop(registry: FakeRegistry) -> None:
    copy = copy_of(published(registry, "app", "a"), f"{OTHER}/app:key")
    registry.written.clear()
    done = copy_all(registry, [copy], stopped=lambda: True)
    assert isinstance(done.problems[copy.target], Stopped)
    assert (registry.written, registry.sent) == ([], [])


def test_tag_of_another_image_counts_as_missing(registry: FakeRegistry) -> None:
    source = published(registry, "app", "a")
    copy = copy_of(source, f"{OTHER}/app:key")
    registry.push(copy.target, "other", {})
    assert lacking(registry, [copy]) == ((copy,), {})


def test_lost_blob_of_a_copy_counts_only_if_blobs_are_verified(registry: FakeRegistry) -> None:
    copy = copy_of(published(registry, "app", "a"), f"{OTHER}/app:key")
    copy_all(registry, [copy])
    registry.blobs = {place: data for place, data in registry.blobs.items() if not place[0].startswith(OTHER)}
    assert lacking(registry, [copy]) == ((), {})
    assert lacking(registry, [copy], verify=True) == ((copy,), {})
    assert copy_all(registry, [copy]).sent == 2
    assert lacking(registry, [copy], verify=True) == ((), {})
