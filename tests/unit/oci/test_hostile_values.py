"""What a registry may answer with instead of a document is one named problem, whatever the document is."""

from __future__ import annotations

import pytest

from buildsys.oci.http import Response, UnexpectedAnswer, UnreadableManifest
from buildsys.oci.reference import OCI_MANIFEST, Reference
from buildsys.run.store import Store, read_inputs
from tests.support import hostile_values as values
from tests.unit.oci.test_client import IMAGE, bench
from tests.unit.oci.test_origins import bearer

OBJECTS = dict(values.no_objects())
MANIFESTS = OBJECTS | dict(values.no_manifests())
CONFIGS = dict(values.no_configs())
TOKENS = dict(values.no_tokens())
TAGS = dict(values.no_tags())


def answered(body: bytes, **headers: str) -> Response:
    return Response(status=200, headers={"content-type": OCI_MANIFEST, **headers}, body=body)


@pytest.mark.parametrize("name", [*MANIFESTS])
def test_document_that_is_not_a_manifest_is_named(name: str) -> None:
    with pytest.raises(UnreadableManifest, match=r"`r\.example\.com/team/app:1` is not an image that can be read"):
        bench(answered(MANIFESTS[name])).registry().manifest(IMAGE)


@pytest.mark.parametrize("name", [*MANIFESTS])
def test_document_that_is_not_a_manifest_is_a_missing_part(name: str) -> None:
    assert bench(answered(MANIFESTS[name])).registry().verify(IMAGE) == (str(IMAGE),)


@pytest.mark.parametrize("name", [*CONFIGS])
def test_config_that_cannot_be_composed_is_named(name: str) -> None:
    config = CONFIGS[name]
    manifest = values.image(config=values.descriptor(config, values.CONFIG_TYPE))
    store = Store(registry=bench(answered(manifest), answered(config)).registry(), prefix="r.example.com/x")
    with pytest.raises(UnreadableManifest, match="cannot be composed"):
        store.part(f"r.example.com/x/nodes@{values.digest(manifest)}", "linux/amd64")


def test_whole_config_is_a_part() -> None:
    config = values.raw(values.CONFIG)
    store = Store(registry=bench(answered(values.IMAGE), answered(config)).registry(), prefix="r.example.com/x")
    found = store.part(f"r.example.com/x/nodes@{values.digest(values.IMAGE)}", "linux/amd64")
    assert found.config.diff_ids == (values.digest(b"plain"),)


@pytest.mark.parametrize("name", [*TOKENS])
def test_answer_without_a_token_is_named(name: str) -> None:
    on = bench(bearer("https://auth.example.com/token"), answered(TOKENS[name]))
    with pytest.raises(UnexpectedAnswer, match=r"`auth\.example\.com` returned no"):
        on.registry().manifest(IMAGE)


@pytest.mark.parametrize("name", [*TAGS])
def test_answer_without_tags_is_named(name: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"`r\.example\.com` returned no"):
        bench(answered(TAGS[name])).registry().tags(IMAGE)


@pytest.mark.parametrize("name", [*OBJECTS])
def test_inputs_that_cannot_be_read_explain_nothing(name: str) -> None:
    text = OBJECTS[name].decode("utf-8", "replace")
    registry = bench(answered(values.image(annotations={"dev.buildsys.inputs": text}))).registry()
    try:
        manifest = registry.manifest(IMAGE)
    except UnreadableManifest:
        return
    assert read_inputs(manifest) is None


def test_tags_that_lead_to_themselves_end() -> None:
    link = {"link": '</v2/team/app/tags/list?n=1>; rel="next"'}
    on = bench(*[answered(values.raw({"tags": ["a"]}), **link)] * 3)
    with pytest.raises(UnexpectedAnswer, match="lists tags without an end"):
        on.registry().tags(IMAGE)
    assert len(on.script.asked) == 2


def test_indexes_in_indexes_end() -> None:
    """Before, one request followed another for as long as the registry had a next one."""
    chain = [values.IMAGE]
    for _ in range(50):
        chain.append(values.index(chain[-1], kind=values.INDEX_TYPE))
    answers = [Response(status=200, headers={"content-type": values.INDEX_TYPE}, body=each) for each in chain[::-1]]
    on = bench(*answers)
    assert on.registry().verify(IMAGE) == (str(IMAGE),)
    assert len(on.script.asked) < 10


def test_image_of_too_many_parts_is_not_looked_up_to_its_end() -> None:
    layers = [{**values.LAYER, "digest": values.digest(str(number).encode())} for number in range(3000)]
    on = bench(answered(values.image(layers=layers)), *[Response(status=200)] * 4000)
    assert on.registry().verify(IMAGE) == (str(IMAGE),)
    assert len(on.script.asked) < 1000


def test_part_that_is_listed_twice_is_looked_up_once() -> None:
    on = bench(answered(values.image(layers=[values.LAYER] * 500)), *[Response(status=200)] * 2)
    assert on.registry().verify(Reference.parse("r.example.com/team/app:1")) == ()
    assert len(on.script.asked) == 3
