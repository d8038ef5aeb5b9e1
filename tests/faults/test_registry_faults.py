"""A registry that fails in every way that registries fail, and the result of a bake then."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.faults.conftest import Record
from tests.faults.rules import Answer, Break, Down, Fault, Hang, Rule, Slow, Wrong
from tests.faults.workload import LARGE_BLOB
from tests.faults.world import World

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.parents]

DONE, FAILED, UNAVAILABLE = 0, 1, 5
# Requests by purpose.
LOOK_UP = ("GET", r"/x/nodes/manifests/[0-9a-f]{64}$")
NODE_MANIFEST = ("PUT", r"/x/nodes/manifests/incoming-")
KEY_TAG = ("PUT", r"/x/nodes/manifests/[0-9a-f]{64}$")
NODE_READ = ("GET", r"/x/nodes/manifests/sha256:")
NODE_CONFIG = ("GET", r"/x/nodes/blobs/sha256:")
UPLOAD_BEGINS = ("POST", r"/x/nodes/blobs/uploads/")
UPLOAD = ("PUT", r"/x/nodes/blobs/uploads/")
COMPOSED = ("PUT", r"/x/(one|four)/manifests/key-")
ASSEMBLED = ("PUT", r"/x/(two|three)/manifests/incoming-")
MOUNT = ("POST", r"/x/one/blobs/uploads/\?mount=")
PUBLIC_TAG = ("PUT", r"/x/\w+/manifests/latest$")
PARENT_LOOK_UP = ("HEAD", r"/bootstrap/debian/manifests/")
PARENT_BLOB = ("GET", r"/bootstrap/debian/blobs/")

BUSY = Answer(status=429, headers=(("Retry-After", "2"),), body=b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')
NO_DIGEST = "sha256:" + "0" * 64


def rule(what: tuple[str, str], fault: Fault, *, first: int = 1, times: int | None = 1) -> Rule:
    return Rule(method=what[0], path=what[1], fault=fault, first=first, times=times)


def answers(status: int) -> Answer:
    return Answer(status=status, body=b'{"errors":[{"code":"UNKNOWN","message":"on purpose"}]}')


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A fault, and which exit codes are right. `layers` are those that the version changes, by default all."""

    name: str
    fault: str
    rules: tuple[Rule, ...]
    codes: tuple[int, ...] = (DONE,)
    layers: tuple[str, ...] = ()
    empty_engine: bool = False
    partly: bool = False
    seconds: float = 240


def case(name: str, fault: str, *rules: Rule, **more: object) -> Case:
    return Case(name=name, fault=fault, rules=rules, **more)  # type: ignore[arg-type]


CASES = [
    case("429-look-up", "429, Retry-After 2 s, for 3 look-ups", rule(LOOK_UP, BUSY, times=3)),
    case("429-push", "429 for 12 pushes of a manifest", rule(NODE_MANIFEST, BUSY, times=12)),
    case("429-parent", "429 for 6 look-ups of the base image", rule(PARENT_LOOK_UP, BUSY, times=6), empty_engine=True),
    case("500-upload", "500 for 4 uploads", rule(UPLOAD_BEGINS, answers(500), times=4)),
    case("500-manifest-once", "500 for the push of one manifest, once", rule(NODE_MANIFEST, answers(500))),
    case("502-push", "502 for 12 pushes of a manifest", rule(NODE_MANIFEST, answers(502), times=12)),
    case(
        "503-parent",
        "503 for 5 look-ups of the base image",
        rule(PARENT_LOOK_UP, answers(503), times=5),
        empty_engine=True,
    ),
    case("503-key-tag", "503 for 3 tags of keys", rule(KEY_TAG, answers(503), times=3)),
    case(
        "500-key-tag-always",
        "permanent 500, for the tags of keys",
        rule(KEY_TAG, answers(500), times=None),
        codes=(FAILED, UNAVAILABLE),
    ),
    case("503-compose", "503 for 3 composed images", rule(COMPOSED, answers(503), times=3)),
    case("503-assemble", "503 for 12 assembled images", rule(ASSEMBLED, answers(503), times=12)),
    case("503-tag", "503 for 3 public tags", rule(PUBLIC_TAG, answers(503), times=3)),
    case(
        "500-compose-always",
        "permanent 500, for the parts of one image",
        rule(MOUNT, answers(500), times=None),
        codes=(FAILED, UNAVAILABLE),
    ),
    case(
        "500-push-always",
        "permanent 500, for the manifests of nodes",
        rule(NODE_MANIFEST, answers(500), times=None),
        codes=(FAILED, UNAVAILABLE),
    ),
    case(
        "500-tag-always",
        "permanent 500, from the third public tag on",
        rule(PUBLIC_TAG, answers(500), first=3, times=None),
        codes=(FAILED, UNAVAILABLE),
        partly=True,
    ),
    case(
        "reset-upload",
        "reset in the middle of an upload, once",
        rule(UPLOAD, Break(after=LARGE_BLOB // 2, sending=True)),
    ),
    case(
        "reset-upload-often",
        "reset in the middle of an upload, 12 times",
        rule(UPLOAD, Break(after=LARGE_BLOB // 2, sending=True), times=12),
    ),
    case(
        "reset-download",
        "reset in the middle of the blob of the base image, 3 times",
        rule(PARENT_BLOB, Break(after=4_000_000), times=3),
        empty_engine=True,
    ),
    case("hang-look-up", "a look-up that hangs for 75 s", rule(LOOK_UP, Hang(seconds=75))),
    case("hang-push", "an upload that hangs for 45 s", rule(UPLOAD, Hang(seconds=45))),
    case(
        "slow",
        "a connection of 250 kB/s to the published images",
        rule(("GET|PUT", "/x/"), Slow(rate=250_000), times=None),
    ),
    case(
        "wrong-digest-look-up",
        "a look-up that gets a wrong digest, once",
        rule(LOOK_UP, Wrong(digest=NO_DIGEST)),
        layers=("gamma",),
        codes=(DONE, FAILED, UNAVAILABLE),
    ),
    case(
        "wrong-manifest",
        "a manifest with one wrong byte for the engine, once",
        rule(NODE_READ, Wrong(body=True)),
        layers=("gamma",),
        codes=(DONE, FAILED, UNAVAILABLE),
    ),
    case(
        "wrong-config",
        "a config with one wrong byte, once",
        rule(NODE_CONFIG, Wrong(body=True)),
        layers=("alpha",),
        codes=(DONE, FAILED, UNAVAILABLE),
    ),
    case(
        "wrong-parent",
        "the blob of the base image with one wrong byte, once",
        rule(("GET", r"/bootstrap/debian/blobs/"), Wrong(body=True), first=2),
        empty_engine=True,
        codes=(DONE, FAILED),
    ),
    case(
        "wrong-answer-push",
        "a push of a manifest that gets a wrong digest, once",
        rule(COMPOSED, Wrong(digest=NO_DIGEST)),
        codes=(DONE, FAILED, UNAVAILABLE),
    ),
    case(
        "401-push",
        "401 for the push of a manifest, once",
        rule(NODE_MANIFEST, answers(401)),
        codes=(DONE, FAILED),
    ),
    case(
        "401-look-up",
        "401 for a look-up, once",
        rule(LOOK_UP, answers(401)),
        codes=(DONE, UNAVAILABLE),
    ),
    case("down-look-up", "down for 20 s at the first look-up", rule(LOOK_UP, Down(seconds=20))),
    case("down-push", "down for 20 s at the first push of a manifest", rule(NODE_MANIFEST, Down(seconds=20))),
    case("down-key-tag", "down for 20 s at the first tag of a key", rule(KEY_TAG, Down(seconds=20))),
    case("down-assemble", "down for 20 s at an assembled image", rule(ASSEMBLED, Down(seconds=20))),
    case("down-tag", "down for 20 s at the first public tag", rule(PUBLIC_TAG, Down(seconds=20))),
]


# Cases that `make test` runs too.
QUICK = ("429-look-up", "502-push", "503-key-tag")


@pytest.mark.parametrize(
    "chosen",
    [pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.long) for each in CASES],
)
def test_registry_fault(world: World, record: Record, chosen: Case) -> None:
    world.next_version(*chosen.layers)
    if chosen.empty_engine:
        world.engine.reset()
    world.proxy.meet(*chosen.rules)
    first = world.project.bake(seconds=chosen.seconds)
    story = world.recover(first, partly=chosen.partly)
    record("A registry that fails", chosen.fault, story)
    assert story.met, "no request met the fault"
    assert first.code in chosen.codes, first.output
    # If even the first request failed, there is no summary.
    assert first.summed_up or (first.code == UNAVAILABLE and not first.runs), first.output


@pytest.mark.long
def test_token_that_has_run_out_is_renewed(world: World, record: Record) -> None:
    challenge = f'Bearer realm="http://{world.proxy.address}/token",service="proxy"'
    refused = Answer(status=401, headers=(("WWW-Authenticate", challenge),))
    token = Answer(status=200, headers=(("Content-Type", "application/json"),), body=b'{"token":"new"}')
    story = world.suffer(
        rule(("GET|POST", "^/token"), token, times=None),
        Rule(method="GET|HEAD|POST|PUT", path="/x/", fault=refused, first=30, times=None, unless="Bearer new"),
    )
    record("A registry that fails", "401 with a challenge from the 30th request on: a token is needed now", story)
    assert story.first.code == DONE, story.first.output
