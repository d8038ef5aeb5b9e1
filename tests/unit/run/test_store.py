"""What the registry has under a key, and what gets a key: annotations decide. Answers come from a script."""

from __future__ import annotations

import json

import pytest

from buildsys.names import KEY_LABEL
from buildsys.oci.client import Registry
from buildsys.oci.http import Request, Response, UnexpectedAnswer
from buildsys.oci.reference import OCI_INDEX, OCI_MANIFEST, Reference, digest_of
from buildsys.plan.keys import keyed
from buildsys.run.store import INPUTS, Store, annotations_of, incoming_tag

KEYED = keyed({"layer": "conf"})
PLACE = Reference.parse(f"127.0.0.1:1/x/nodes:{KEYED.key}")
MINE = dict(annotations_of(KEYED))


class Memory:
    """A registry of one repository that holds manifests, and keeps what it was asked."""

    def __init__(self, **manifests: bytes) -> None:
        self.held, self.put = dict(manifests), list[str]()

    def send(self, request: Request) -> Response:
        name = request.url.rpartition("/")[2]
        if request.method == "PUT":
            self.put.append(name)
            return Response(status=201)
        found = next((raw for tag, raw in self.held.items() if name in (tag, digest_of(raw))), None)
        if found is None:
            return Response(status=404)
        kind = json.loads(found)["mediaType"]
        return Response(
            status=200, headers={"content-type": kind, "docker-content-digest": digest_of(found)}, body=found
        )

    def close(self) -> None:
        """Hold nothing open."""


def manifest(annotations: dict[str, str]) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "annotations": annotations}
    ).encode()


def index(annotations: dict[str, str], *children: bytes) -> bytes:
    listed = [{"mediaType": OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw)} for raw in children]
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed, "annotations": annotations}
    return json.dumps(value).encode()


def store(memory: Memory) -> Store:
    return Store(registry=Registry(transport=memory), prefix="127.0.0.1:1/x")


def accept(memory: Memory, raw: bytes) -> Reference:
    return store(memory).accept(PLACE.with_digest(digest_of(raw)), PLACE, KEYED)


def test_what_carries_its_key_gets_its_tag() -> None:
    raw = manifest(MINE)
    memory = Memory(incoming=raw)
    assert accept(memory, raw) == PLACE.with_digest(digest_of(raw))
    assert memory.put == [KEYED.key]


@pytest.mark.parametrize(
    "annotations",
    [{}, {**MINE, KEY_LABEL: "0" * 64}, {**MINE, INPUTS: "{}"}, {INPUTS: MINE[INPUTS]}, {KEY_LABEL: MINE[KEY_LABEL]}],
)
def test_what_does_not_carry_its_key_gets_no_tag(annotations: dict[str, str]) -> None:
    raw = manifest(annotations)
    memory = Memory(incoming=raw)
    with pytest.raises(UnexpectedAnswer):
        accept(memory, raw)
    assert memory.put == []


def test_what_the_registry_does_not_have_gets_no_tag() -> None:
    memory = Memory()
    with pytest.raises(UnexpectedAnswer, match="was pushed, and the registry does not have it"):
        accept(memory, manifest(MINE))
    assert memory.put == []


def test_index_is_accepted_by_the_annotations_of_its_manifests_and_not_by_its_own() -> None:
    mine, theirs = manifest(MINE), manifest({})
    good = index({}, mine)
    assert accept(Memory(incoming=good, child=mine), good).digest == digest_of(good)
    bad = index(MINE, mine, theirs)
    memory = Memory(incoming=bad, child=mine, other=theirs)
    with pytest.raises(UnexpectedAnswer, match="does not say for which key"):
        accept(memory, bad)
    assert memory.put == []


def test_index_that_lacks_a_manifest_is_not_accepted() -> None:
    raw = index({}, manifest(MINE))
    with pytest.raises(UnexpectedAnswer, match="without its manifest"):
        accept(Memory(incoming=raw), raw)


def test_staging_tag_is_a_tag_whatever_the_name() -> None:
    assert Reference.parse("127.0.0.1:1/x").with_tag(incoming_tag("a" * 250)).tag
