"""References, descriptors and manifests as docker and registries understand them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildsys.errors import InvalidInput
from buildsys.oci.reference import (
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Reference,
    digest_of,
    name_of,
    registry_prefix,
    split_host,
)

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("team/app", "docker.io/team/app:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("127.0.0.1:5000/a/b:1.0", "127.0.0.1:5000/a/b:1.0"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("Host/app:1", "Host/app:1"),
        ("r.example.com/app", "r.example.com/app:latest"),
        (f"r.example.com/app@{DIGEST}", f"r.example.com/app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}"),
    ],
)
def test_reference_is_read_as_docker_reads_it(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full
    assert Reference.parse(full) == Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "`library/` is not a repository"),
        ("Team", "`library/Team` is not a repository"),
        ("r.example.com/", "`` is not a repository"),
        ("a//b", "`a//b` is not a repository"),
        ("app:", "`` is not a tag"),
        ("app:-x", "`-x` is not a tag"),
        ("app@", "`` is not a digest"),
        ("app@sha256:12", "`sha256:12` is not a digest"),
        ("-.x/app", "`-.x` is not a host"),
    ],
)
def test_invalid_reference_is_refused_with_its_part(text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Reference.parse(text)
    assert caught.value.message == f"`{text}` is not an image reference: {wrong}"


def test_digest_goes_before_the_tag_and_each_can_be_exchanged() -> None:
    reference = Reference.parse(f"r.example.com/app:1@{DIGEST}")
    assert reference.target == DIGEST
    assert str(reference.with_tag("2")) == "r.example.com/app:2"
    assert str(Reference.parse("app:1").with_digest(DIGEST)) == f"docker.io/library/app@{DIGEST}"
    with pytest.raises(InvalidInput, match="is not a tag of an image"):
        reference.with_tag("a b")


def test_docker_hub_answers_under_another_name() -> None:
    assert Reference.parse("debian").api_host == "registry-1.docker.io"
    assert Reference.parse("r.example.com/x").api_host == "r.example.com"


def test_descriptor_has_a_platform_only_where_it_is_said() -> None:
    found = {
        "mediaType": "m",
        "digest": DIGEST,
        "size": 7,
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
    }
    assert Descriptor.from_json(found) == Descriptor(media_type="m", digest=DIGEST, size=7, platform="linux/arm/v7")
    assert Descriptor.from_json({"digest": DIGEST, "size": 1}).platform is None


def manifest(kind: str = "", **fields: Any) -> Manifest:
    return Manifest.parse(json.dumps({"schemaVersion": 2, **fields}).encode(), kind)


def test_type_of_a_manifest_is_the_answers_else_its_own_else_what_it_holds() -> None:
    assert manifest(f"{DOCKER_LIST}; charset=utf-8", mediaType=OCI_INDEX).descriptor.media_type == DOCKER_LIST
    assert manifest("application/json", mediaType=OCI_INDEX).descriptor.media_type == OCI_INDEX
    assert manifest(manifests=[]).descriptor.media_type == OCI_INDEX
    assert manifest(layers=[]).descriptor.media_type == OCI_MANIFEST


def test_digest_covers_the_bytes_as_they_came() -> None:
    raw = b'{ "schemaVersion": 2,\n "layers": [] }'
    found = Manifest.parse(raw, OCI_MANIFEST)
    assert (found.descriptor.digest, found.descriptor.size, found.raw) == (digest_of(raw), len(raw), raw)
    assert digest_of(b"", "sha512:").startswith("sha512:cf83e1357eefb8bd")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schemaVersion": 1}, "no manifest of schema version 2"),
        ({"mediaType": "text/html"}, "unknown media type `text/html`"),
        ({"layers": [{"digest": DIGEST}]}, "no number of bytes"),
        ({"layers": [1]}, "`layers` is no list of objects"),
        ({"manifests": [{}] * 20_000}, "too many values"),
    ],
)
def test_invalid_manifest_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        manifest(**fields)


def test_annotations_are_sorted_pairs() -> None:
    assert manifest(annotations={"b": "2", "a": "1"}).annotations == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("debian:12", "docker.io", "library/debian:12"),
        ("docker.io/debian", "docker.io", "library/debian"),
        ("index.docker.io/team/app:1", "docker.io", "team/app:1"),
        (f"team/app:1@{DIGEST}", "docker.io", f"team/app:1@{DIGEST}"),
        ("localhost/app", "localhost", "app"),
        ("Host/app", "Host", "app"),
        ("[::1]:5000/a/b:1", "[::1]:5000", "a/b:1"),
    ],
)
def test_registry_of_a_name_is_the_one_that_docker_asks(text: str, host: str, path: str) -> None:
    assert split_host(text) == (host, path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian", "debian"),
        ("docker.io/library/debian:12-slim", "docker.io/library/debian"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a"),
        (f"127.0.0.1:5000/a:1@{DIGEST}", "127.0.0.1:5000/a"),
    ],
)
def test_name_of_a_reference_has_neither_tag_nor_digest_and_is_not_completed(text: str, name: str) -> None:
    assert name_of(text) == name


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("registry.example.com/ml/", "registry.example.com/ml"),
        ("localhost/ml", "localhost/ml"),
        ("127.0.0.1:5000/ml", "127.0.0.1:5000/ml"),
        ("buildsys", None),
        ("team/ml", None),
        ("registry.example.com", None),
        ("", None),
    ],
)
def test_prefix_names_a_registry_by_its_first_part(text: str, prefix: str | None) -> None:
    assert registry_prefix(text) == prefix
