"""What a registry holds under keys, and what gets a key or a public tag; the registry is a port with a memory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from buildsys.errors import BuildsysError, Unavailable
from buildsys.names import KEY_LABEL
from buildsys.oci.client import ImageRegistry, in_threads
from buildsys.oci.http import (
    DigestMismatch,
    NotFound,
    RegistryProblem,
    ServerError,
    UnexpectedAnswer,
    UnreadableManifest,
)
from buildsys.oci.reference import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest, Reference, digest_of
from buildsys.plan.keys import Keys
from buildsys.plan.keys import keyed as key_of
from buildsys.run.index import INPUTS, Indexes, annotations_of, move_tags, put_index, tagged
from buildsys.run.store import Store, incoming_tag
from tests.support import trees
from tests.support.keyed import keyed

KEYED = key_of({"layer": "conf"})
PREFIX = "127.0.0.1:1/x"
PLACE = Reference.parse(f"{PREFIX}/nodes:{KEYED.key}")
MINE = dict(annotations_of(KEYED))
DOWN = ServerError("registry `127.0.0.1:1` failed (500)", host="127.0.0.1:1", status=500)


@dataclass(kw_only=True)
class Memory:
    """A registry that accepts a manifest only after its blobs, as real ones do; `asked` is everything it was asked.

    What is under a name in `broken` is answered with that problem; one that `mounts` links blobs between repositories.
    """

    manifests: dict[Reference, bytes] = field(default_factory=dict)
    blobs: dict[Reference, bytes] = field(default_factory=dict)
    broken: dict[str, RegistryProblem] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    mounts: bool = True

    def _ask(self, what: str, reference: Reference) -> None:
        self.asked.append((what, str(reference).removeprefix(f"{PREFIX}/")))
        for part in (reference.target, str(reference)):
            if part in self.broken:
                raise self.broken[part]

    def head(self, reference: Reference) -> Descriptor | None:
        self._ask("head", reference)
        raw = self.manifests.get(reference)
        return Descriptor.of(raw, OCI_MANIFEST) if raw else None

    def manifest(self, reference: Reference) -> Manifest | None:
        self._ask("manifest", reference)
        raw = self.manifests.get(reference)
        return Manifest.parse(raw, "") if raw else None

    def blob(self, repository: Reference, digest: str) -> bytes:
        return self.blobs[repository.with_digest(digest)]

    def blob_part(self, repository: Reference, digest: str, first: int, last: int) -> bytes:
        return self.blob(repository, digest)[first : last + 1]

    def blob_exists(self, repository: Reference, digest: str, size: int | None = None) -> bool:
        self._ask("blob", repository.with_digest(digest))
        held = self.blobs.get(repository.with_digest(digest))
        return held is not None and size in (None, len(held))

    def mount_blob(self, target_repository: Reference, digest: str, source_repository: Reference) -> bool:
        if self.mounts and (held := self.blobs.get(source_repository.with_digest(digest))) is not None:
            self.blobs[target_repository.with_digest(digest)] = held
            return True
        return False

    def send_blob(self, repository: Reference, digest: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        raise AssertionError("what a store writes is small")

    def put_blob(self, repository: Reference, data: bytes) -> Descriptor:
        self.blobs[repository.with_digest(digest_of(data))] = data
        return Descriptor.of(data, "application/vnd.oci.image.config.v1+json")

    def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        self._ask("put", reference)
        found = Manifest.parse(raw, media_type)
        blobs = [*([found.config] if found.config else []), *found.layers]
        if missing := [each for each in blobs if reference.with_digest(each.digest) not in self.blobs]:
            raise UnexpectedAnswer(f"MANIFEST_BLOB_UNKNOWN {missing[0].digest}", host=reference.host, status=400)
        descriptor = Descriptor.of(raw, media_type)
        self.manifests |= {reference: raw, reference.with_digest(descriptor.digest): raw}
        return descriptor

    def tag(self, source: Reference, new_tag: str) -> Descriptor:
        found = self.manifest(source)
        if found is None:
            raise NotFound(f"`{source}` does not exist", host=source.host, status=404)
        return self.put_manifest(source.with_tag(new_tag), found.raw, found.descriptor.media_type)

    def push(self, reference: Reference, word: str, annotations: dict[str, str]) -> Reference:
        """Store an image of one layer, `word`, as an engine would; return it by its digest."""
        layer = replace(self.put_blob(reference, word.encode()), media_type="application/vnd.oci.image.layer.v1.tar")
        rootfs = {"type": "layers", "diff_ids": [digest_of(word.encode())]}
        said = {"os": "linux", "architecture": "amd64", "rootfs": rootfs, "config": {}}
        config = self.put_blob(reference, json.dumps(said).encode())
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": _listed(config),
                "layers": [_listed(layer)],
                "annotations": annotations,
            }
        ).encode()
        return reference.with_digest(self.put_manifest(reference, raw, OCI_MANIFEST).digest)

    def index(self, reference: Reference, annotations: dict[str, str], *children: Reference) -> Reference:
        """Store an index of images in the same repository."""
        listed = [_listed(Descriptor.of(self.manifests[each], OCI_MANIFEST)) for each in children]
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed, "annotations": annotations}
        return reference.with_digest(self.put_manifest(reference, json.dumps(value).encode(), OCI_INDEX).digest)

    def lose(self, word: str) -> None:
        """Lose a layer in every repository."""
        for each in [each for each in self.blobs if each.digest == digest_of(word.encode())]:
            del self.blobs[each]

    def tags(self, repository: str) -> dict[str, str]:
        """Return digest by tag."""
        name = f"{PREFIX}/{repository}"
        return {r.tag: digest_of(raw) for r, raw in self.manifests.items() if r.tag and r.name == name}


def _listed(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def port(memory: Memory) -> ImageRegistry:
    return memory


def store(memory: Memory) -> Store:
    return Store(registry=port(memory), prefix=PREFIX)


def incoming(memory: Memory, annotations: dict[str, str], word: str = "a") -> Reference:
    return memory.push(PLACE.with_tag(incoming_tag("conf")), word, annotations)


# What gets the tag of a key.

WRONG = [
    {},
    {**MINE, KEY_LABEL: "0" * 64},
    {**MINE, INPUTS: "{}"},
    {INPUTS: MINE[INPUTS]},
    {KEY_LABEL: MINE[KEY_LABEL]},
]


def test_what_carries_its_key_gets_its_tag_and_only_that() -> None:
    memory = Memory()
    pushed = incoming(memory, MINE)
    accepted = store(memory).accept(pushed, PLACE, KEYED)
    assert accepted == PLACE.with_digest(pushed.digest or "")
    assert memory.tags("nodes") == {incoming_tag("conf"): pushed.digest, KEYED.key: pushed.digest}


@pytest.mark.parametrize("annotations", WRONG)
def test_what_does_not_carry_its_key_gets_no_tag(annotations: dict[str, str]) -> None:
    memory = Memory()
    pushed = incoming(memory, annotations)
    with pytest.raises(UnexpectedAnswer):
        store(memory).accept(pushed, PLACE, KEYED)
    assert set(memory.tags("nodes")) == {incoming_tag("conf")}


def test_what_the_registry_does_not_have_gets_no_tag() -> None:
    memory = Memory()
    with pytest.raises(UnexpectedAnswer, match="was pushed, and the registry does not have it"):
        store(memory).accept(PLACE.with_digest(digest_of(b"x")), PLACE, KEYED)
    assert memory.tags("nodes") == {}


def test_accepted_is_what_was_pushed_and_not_what_another_run_staged_since() -> None:
    memory = Memory()
    pushed = incoming(memory, MINE, "first")
    incoming(memory, MINE, "second")
    store(memory).accept(pushed, PLACE, KEYED)
    assert memory.tags("nodes")[KEYED.key] == pushed.digest


def test_index_is_not_accepted_for_a_node_or_image() -> None:
    memory = Memory()
    pushed = memory.index(PLACE.with_tag("staged"), MINE, incoming(memory, MINE))
    with pytest.raises(UnexpectedAnswer, match="is an index, expected one image"):
        store(memory).accept(pushed, PLACE, KEYED)
    assert KEYED.key not in memory.tags("nodes")


def test_staging_tag_is_a_tag_whatever_the_name() -> None:
    assert PLACE.with_tag(incoming_tag("a" * 250)).tag


# A plan: a system, a toolchain, an artifact, and the stack `one` of them. Ask; mark something done; ask again.

PLAN, KEYS = keyed(trees.tree())
SYSTEM, FAST = (next(n.name for n in PLAN.nodes if n.recipe.layer == layer) for layer in ("system", "fast"))


def place(target: str, keys: Keys = KEYS) -> Reference:
    key = keys.of(target).key
    return store(Memory()).image("one", key) if target == "one" else store(Memory()).node(key)


def done(memory: Memory, *targets: str) -> dict[str, str]:
    """Publish targets as a run does, and return their references."""
    return {
        target: str(memory.push(place(target), target, dict(annotations_of(KEYS.of(target))))) for target in targets
    }


def test_what_was_published_exists_from_then_on() -> None:
    memory = Memory()
    assert store(memory).existing(PLAN, KEYS).references == {}
    system = done(memory, SYSTEM)
    assert store(memory).existing(PLAN, KEYS).references == system
    both = system | done(memory, FAST)
    found = store(memory).existing(PLAN, KEYS)
    assert (found.references, found.foreign) == (both, {})


def test_only_the_targets_in_question_are_asked_for_once_each() -> None:
    memory = Memory()
    done(memory, SYSTEM, FAST)
    memory.asked.clear()
    assert set(store(memory).existing(PLAN, KEYS, [FAST]).references) == {FAST}
    assert memory.asked == [("manifest", str(place(FAST)).removeprefix(f"{PREFIX}/"))]


@pytest.mark.parametrize("annotations", WRONG)
@pytest.mark.parametrize("target", [FAST, "one"])
def test_content_of_a_stranger_under_a_key_does_not_exist_and_is_named(
    target: str, annotations: dict[str, str]
) -> None:
    memory = Memory()
    memory.push(place(target), "theirs", annotations)
    found = store(memory).existing(PLAN, KEYS)
    assert (found.references, list(found.foreign)) == ({}, [target])


def test_content_that_cannot_be_read_is_foreign_and_a_registry_that_fails_is_an_error() -> None:
    memory = Memory()
    system = done(memory, SYSTEM)
    memory.broken[KEYS.of(FAST).key] = UnreadableManifest("no image", host="127.0.0.1:1")
    found = store(memory).existing(PLAN, KEYS)
    assert (found.references, found.foreign) == (system, {FAST: "no image"})
    memory.broken[KEYS.of(FAST).key] = DOWN
    with pytest.raises(ServerError):
        store(memory).existing(PLAN, KEYS)


def test_damage_is_every_missing_or_cut_blob_and_manifest_by_target_in_the_order_given() -> None:
    memory = Memory()
    existing = done(memory, "one", SYSTEM, FAST)
    assert store(memory).verify(existing) == {}
    memory.lose(FAST)
    layer = str(place(FAST).with_digest(digest_of(FAST.encode())))
    assert store(memory).verify(existing) == {FAST: (layer,)}
    memory.blobs[Reference.parse(layer)] = b"cut"
    assert store(memory).verify(existing) == {FAST: (layer,)}
    del memory.manifests[Reference.parse(existing["one"])]
    assert list(store(memory).verify(existing).items()) == [("one", (existing["one"],)), (FAST, (layer,))]


def test_damage_of_an_index_is_looked_for_in_its_manifests() -> None:
    memory = Memory()
    child = incoming(memory, MINE)
    reference = str(memory.index(PLACE, {}, child))
    assert store(memory).verify({"x": reference}) == {}
    memory.lose("a")
    assert store(memory).verify({"x": reference}) == {"x": (str(PLACE.with_digest(digest_of(b"a"))),)}


def test_registry_that_fails_while_it_is_verified_is_an_error_and_not_damage() -> None:
    memory = Memory()
    existing = done(memory, SYSTEM, FAST)
    memory.broken[digest_of(FAST.encode())] = DOWN
    with pytest.raises(ServerError):
        store(memory).verify(existing)


def test_targets_are_verified_at_the_same_time() -> None:
    # Each of two look-ups waits for the other: one after the other, they would break the barrier.
    both = threading.Barrier(2, timeout=10)

    class Slow(Memory):
        def manifest(self, reference: Reference) -> Manifest | None:
            both.wait()
            return super().manifest(reference)

    memory = Slow()
    references = {target: place(target).with_digest(digest_of(b"none")) for target in (SYSTEM, FAST)}
    found = store(memory).verify({target: f"{each}" for target, each in references.items()})
    assert list(found) == [SYSTEM, FAST]


# Stacks.


def publish(memory: Memory, nodes: dict[str, str]) -> str | None:
    image = store(memory).publish(trees.stack(PLAN), KEYS.stacks["one"], nodes)
    return image.reference if image else None


def test_stack_is_composed_of_its_nodes_blobs_and_exists_then() -> None:
    memory = Memory()
    reference = publish(memory, done(memory, SYSTEM, FAST))
    assert store(memory).existing(PLAN, KEYS, ["one"]).references == {"one": reference}
    assert store(memory).verify({"one": reference or ""}) == {}
    assert digest_of(FAST.encode()) in [each.digest for each in memory.blobs if each.name.endswith("/one")]


def test_blobs_of_a_stack_and_of_what_exists_are_known_without_another_request() -> None:
    memory = Memory()
    image = store(memory).publish(trees.stack(PLAN), KEYS.stacks["one"], done(memory, SYSTEM, FAST))
    assert image is not None
    assert [each.digest for each in image.layers] == [digest_of(SYSTEM.encode()), digest_of(FAST.encode())]
    memory.asked.clear()
    found = store(memory).existing(PLAN, KEYS, [FAST])
    assert {name: [each.digest for each in layers] for name, layers in found.layers.items()} == {
        FAST: [digest_of(FAST.encode())]
    }
    assert len(memory.asked) == 1


@pytest.mark.parametrize("lost", [SYSTEM, FAST])
def test_stack_whose_blobs_cannot_be_linked_gets_no_key(lost: str) -> None:
    memory = Memory()
    nodes = done(memory, SYSTEM, FAST)
    memory.lose(lost)
    assert publish(memory, nodes) is None
    memory = Memory(mounts=False)
    assert publish(memory, done(memory, SYSTEM, FAST)) is None
    assert memory.tags("one") == {}


def test_images_that_are_composed_at_the_same_time_link_each_blob_once() -> None:
    # A second image would look for the blob while the first one links it: the barrier is broken if it has to wait.
    meanwhile = threading.Barrier(2, timeout=0.2)
    linked: list[str] = []

    class Slow(Memory):
        def mount_blob(self, target_repository: Reference, digest: str, source_repository: Reference) -> bool:
            linked.append(digest)
            with contextlib.suppress(threading.BrokenBarrierError):
                meanwhile.wait()
            return super().mount_blob(target_repository, digest, source_repository)

    memory = Slow()
    nodes = done(memory, SYSTEM, FAST)
    one = store(memory)
    in_threads(lambda _: one.publish(trees.stack(PLAN), KEYS.stacks["one"], nodes), range(2))
    assert sorted(linked) == sorted({*linked})


def test_blob_of_a_wrong_size_in_the_stacks_repository_is_linked_again() -> None:
    memory = Memory()
    nodes = done(memory, SYSTEM, FAST)
    cut = place("one").with_digest(digest_of(FAST.encode()))
    memory.blobs[cut] = b"cut"
    assert publish(memory, nodes) is not None
    assert memory.blobs[cut] == FAST.encode()


def test_node_other_than_a_single_image_cannot_be_composed() -> None:
    memory = Memory()
    nodes = done(memory, SYSTEM, FAST)
    nodes[FAST] = str(memory.index(place(FAST), {}, Reference.parse(nodes[FAST])))
    with pytest.raises(Unavailable, match="not an image that can be composed"):
        publish(memory, nodes)
    assert memory.tags("one") == {}


# Advisory tags.


def test_latest_results_are_remembered_by_name_and_read_back() -> None:
    memory = Memory()
    store(memory).remember(done(memory, SYSTEM, FAST, "one"))
    assert set(memory.tags("nodes")) >= {f"last-{SYSTEM}", f"last-{FAST}"}
    assert "last-one" in memory.tags("one")
    previous = store(memory).previous(PLAN, [FAST, "one", SYSTEM])
    assert previous == {name: KEYS.of(name).inputs for name in (FAST, "one", SYSTEM)}


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"a": 1}'])
def test_inputs_that_cannot_be_read_are_left_out(text: str) -> None:
    memory = Memory()
    memory.push(place(FAST).with_tag(f"last-{FAST}"), "x", {INPUTS: text})
    assert store(memory).previous(PLAN, [FAST]) == {}


# Public tags.


def tags(*names: str) -> dict[str, tuple[str, ...]]:
    return {"one": tuple(f"{PREFIX}/one:{name}" for name in names)}


def moving(
    memory: Memory, published: dict[str, str], names: dict[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], Mapping[str, BuildsysError]]:
    """Move tags in a run that began now."""
    seen = tagged(port(memory), [each for own in names.values() for each in own])
    return move_tags(port(memory), published, names, seen)


def test_tags_move_once_and_those_that_are_right_stay() -> None:
    memory = Memory()
    published = done(memory, "one")
    moved, failed = moving(memory, published, tags("b", "a"))
    assert (moved, failed) == (tags("b", "a")["one"], {})
    assert {memory.tags("one")[name] for name in "ab"} == {Reference.parse(published["one"]).digest}
    assert moving(memory, published, tags("a", "b")) == ((), {})


def test_tag_of_a_missing_image_does_not_move() -> None:
    memory = Memory()
    published = done(memory, "one")
    moving(memory, published, tags("a"))
    before = memory.tags("one")["a"]
    gone = {"one": str(place("one").with_digest(digest_of(b"gone")))}
    moved, failed = moving(memory, gone, tags("a"))
    assert (moved, list(failed)) == ((), ["one"])
    assert memory.tags("one")["a"] == before


def test_one_tag_that_fails_does_not_keep_the_others() -> None:
    class Refusing(Memory):
        def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
            if reference.tag == "b":
                raise DOWN
            return super().put_manifest(reference, raw, media_type)

    memory = Refusing()
    moved, failed = moving(memory, done(memory, "one"), tags("a", "b", "c"))
    assert (moved, failed) == ((f"{PREFIX}/one:a", f"{PREFIX}/one:c"), {"one": DOWN})


@pytest.mark.parametrize("names", [("a", "broken"), ("broken", "a")])
def test_no_tag_moves_before_all_were_looked_up(names: tuple[str, ...]) -> None:
    memory = Memory(broken={"broken": DOWN})
    published = done(memory, "one")
    with pytest.raises(ServerError):
        moving(memory, published, tags(*names))
    assert "a" not in memory.tags("one")


@pytest.mark.parametrize("kind", [UnreadableManifest, DigestMismatch])
def test_tag_of_content_that_cannot_be_read_moves_like_one_that_does_not_exist(kind: type[RegistryProblem]) -> None:
    """Before, each run ended with it before anything was built, and no run could replace it."""

    class Damaged(Memory):
        def head(self, reference: Reference) -> Descriptor | None:
            if reference.tag == "damaged" and reference not in self.manifests:
                raise kind("not an image", host=reference.host)
            return super().head(reference)

    memory = Damaged()
    published = done(memory, "one")
    assert moving(memory, published, tags("a", "damaged")) == (tags("a", "damaged")["one"], {})
    assert memory.tags("one")["damaged"] == Reference.parse(published["one"]).digest


def test_no_tag_moves_if_one_is_in_another_repository() -> None:
    memory = Memory()
    published = done(memory, "one")
    with pytest.raises(Unavailable, match="is in another repository"):
        moving(memory, published, {"one": (f"{PREFIX}/one:a", f"{PREFIX}/other:a")})
    assert "a" not in memory.tags("one")


@pytest.mark.parametrize("before", [None, "first"])
def test_tag_that_another_run_moved_meanwhile_stays_and_the_others_move(before: str | None) -> None:
    memory = Memory()
    published = done(memory, "one")
    if before:
        memory.push(place("one").with_tag("a"), before, {})
    seen = tagged(port(memory), tags("a", "b")["one"])
    theirs = memory.push(place("one").with_tag("a"), "theirs", {})
    moved, failed = move_tags(port(memory), published, tags("a", "b"), seen)
    assert moved == (f"{PREFIX}/one:b",)
    assert "was moved to" in str(failed["one"])
    assert failed["one"].exit_code == 1
    assert memory.tags("one")["a"] == theirs.digest


def test_tag_that_was_right_and_that_another_run_moved_meanwhile_is_reported() -> None:
    memory = Memory()
    published = done(memory, "one")
    memory.tag(Reference.parse(published["one"]), "right")
    names = tags("right", "new")
    seen = tagged(port(memory), names["one"])
    memory.push(place("one").with_tag("right"), "theirs", {})
    moved, failed = move_tags(port(memory), published, names, seen)
    assert moved == (f"{PREFIX}/one:new",)
    assert "was moved to" in str(failed["one"])


def test_tag_that_another_run_moved_to_the_same_image_is_right() -> None:
    memory = Memory()
    published = done(memory, "one")
    seen = tagged(port(memory), tags("a")["one"])
    memory.tag(Reference.parse(published["one"]), "a")
    assert move_tags(port(memory), published, tags("a"), seen) == ((), {})


# Indexes.


def index(memory: Memory, images: dict[str, str], **annotations: str) -> str:
    keyed = KEYS.indexes["one"]
    found = {"linux/amd64": (images["one"], KEYS.of("one"))}
    return put_index(port(memory), store(memory).index("one", keyed.key), keyed, found, annotations)


def test_stack_exists_by_its_index_and_without_one_by_its_image() -> None:
    memory = Memory()
    alone = done(memory, "one")
    found = store(memory).existing(PLAN, KEYS, ["one"])
    assert (found.references, found.indexes) == (alone, {})
    reference = index(memory, alone, created="now")
    found = store(memory).existing(PLAN, KEYS, ["one"])
    assert (found.references, found.indexes) == ({"one": reference}, {"one": reference})
    assert Reference.parse(reference).with_digest("").name == place("one").name
    assert store(memory).verify({"one": reference}) == {}


def test_index_that_exists_is_used_as_it_is() -> None:
    memory = Memory()
    images = done(memory, "one")
    assert index(memory, images, created="first") == index(memory, images, created="second")


def test_image_in_an_index_keeps_its_tag_where_two_runs_published_two_images_of_one_key() -> None:
    memory = Memory()
    first = done(memory, "one")
    reference = index(memory, first)
    second = memory.push(place("one"), "other", dict(annotations_of(KEYS.of("one"))))
    assert index(memory, {"one": str(second)}) == reference
    assert memory.tags("one")[place("one").target] == Reference.parse(first["one"]).digest


def test_index_names_platform_and_key_of_its_image_and_data_of_its_run() -> None:
    memory = Memory()
    raw = json.loads(memory.manifests[Reference.parse(index(memory, done(memory, "one"), created="now"))])
    (child,) = raw["manifests"]
    assert child["platform"] == {"architecture": "amd64", "os": "linux"}
    assert child["annotations"] == {KEY_LABEL: KEYS.of("one").key}
    assert raw["annotations"] == {**annotations_of(KEYS.indexes["one"]), "created": "now"}


def test_index_of_an_image_that_missing_is_not_written() -> None:
    memory = Memory()
    gone = str(place("one").with_digest(digest_of(b"gone")))
    with pytest.raises(NotFound):
        index(memory, {"one": gone})
    assert memory.tags("one") == {}


@pytest.mark.parametrize("annotations", WRONG)
def test_index_of_a_stranger_is_named_and_replaced(annotations: dict[str, str]) -> None:
    memory = Memory()
    images = done(memory, "one")
    place_of_index = store(memory).index("one", KEYS.indexes["one"].key)
    theirs = memory.index(place_of_index, annotations, Reference.parse(images["one"]))
    found = store(memory).existing(PLAN, KEYS, ["one"])
    assert found.indexes == {}
    assert found.references == images
    assert index(memory, images) != str(theirs)
    assert store(memory).existing(PLAN, KEYS, ["one"]).indexes


@pytest.mark.parametrize(
    ("keys", "is_result"),
    [
        ([KEYS.of("one").key], True),
        ([KEYS.of(FAST).key], False),
        ([None], False),
        ([KEYS.of("one").key, KEYS.of("one").key], False),
        ([], False),
    ],
    ids=["the key", "another key", "no key", "twice", "no image"],
)
def test_index_is_a_result_only_with_one_image_of_the_right_key(keys: list[str | None], is_result: bool) -> None:
    memory = Memory()
    reference = index(memory, done(memory, "one"))
    raw = json.loads(memory.manifests[Reference.parse(reference)])
    (child,) = raw["manifests"]
    raw["manifests"] = [{**child, "annotations": {KEY_LABEL: key} if key else {}} for key in keys]
    memory.put_manifest(store(memory).index("one", KEYS.indexes["one"].key), json.dumps(raw).encode(), OCI_INDEX)
    found = store(memory).existing(PLAN, KEYS, ["one"])
    assert ("one" in found.indexes) is is_result
    assert "one" in found.references


def test_index_is_written_when_the_last_of_its_images_exists() -> None:
    memory = Memory()
    plan, keys = keyed(trees.on_two_platforms())
    first, second = plan.indexes["one"]
    images = {
        each.name: str(
            memory.push(store(memory).location(each, keys), each.name, dict(annotations_of(keys.of(each.name))))
        )
        for each in (first, second)
    }
    indexes = Indexes(
        plan=plan, keys=keys, registry=port(memory), place=store(memory).index, describe=lambda _image: {}
    )
    assert indexes.add(second, images[second.name]) == images[second.name]
    assert indexes.written == {}
    assert store(memory).existing(plan, keys, [second.name]).indexes == {}
    assert indexes.add(first, images[first.name]) == indexes.written["one"]
    raw = json.loads(memory.manifests[Reference.parse(indexes.written["one"])])
    assert [child["platform"]["architecture"] for child in raw["manifests"]] == ["amd64", "arm64"]
    assert store(memory).existing(plan, keys).indexes == indexes.written


def test_index_of_other_images_is_not_that_of_the_key() -> None:
    memory = Memory()
    images = done(memory, "one")
    right = dict(annotations_of(KEYS.indexes["one"]))
    memory.index(store(memory).index("one", KEYS.indexes["one"].key), right, Reference.parse(images["one"]))
    assert store(memory).existing(PLAN, KEYS, ["one"]).indexes == {}
