"""What is mutable resolved into the lock: which source is asked, what moves, what stays and what is said of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType

import pytest

from buildsys.commands.lock import Change, missing_entries, next_timestamp, outdated, resolved
from buildsys.config.lockfile import Lock, LockedDownload, LockedParent, lock_text, parse_lock
from buildsys.errors import InvalidInput, WrongUsage
from buildsys.oci.client import Registry
from buildsys.oci.http import Request, Response
from buildsys.oci.reference import OCI_INDEX, OCI_MANIFEST, digest_of
from buildsys.plan.plan import Plan, stale
from buildsys.project.settings import Settings
from tests.support.trees import FAST, diagnostics, planned, tree

WEDNESDAY, MONDAY = date(2026, 11, 25), "2026-11-23"
OLD = f"sha256:{'1' * 64}"
URL = "https://example.com/archive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transport:
    """A registry that has these manifests, by host, repository and tag, and blobs; `asked` is in order.

    `kinds` are the media types of manifests that are no indexes.
    """

    manifests: Mapping[str, bytes]
    kinds: Mapping[str, str] = field(default_factory=dict)
    broken: Collection[str] = ()
    asked: list[str] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        name = request.url.removeprefix("https://").replace("/v2/", "/").replace("/manifests/", ":")
        self.asked.append(name)
        body = self.manifests.get(name)
        if name in self.broken or body is None:
            return Response(status=500 if name in self.broken else 404)
        headers = {
            "content-type": self.kinds.get(name, OCI_INDEX),
            "docker-content-digest": digest_of(body),
            "content-length": "1",
        }
        return Response(status=200, headers=headers, body=b"" if request.method == "HEAD" else body)

    def close(self) -> None:
        pass


def registry(transport: Transport) -> Registry:
    return Registry(transport=transport, sleep=lambda _: None)


def index(word: str, **platforms: str) -> bytes:
    """Return an index with a manifest for each platform, and the attestation of a build, which has none."""
    listed = [
        {"mediaType": "m", "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": name}}
        for name, digest in platforms.items()
    ]
    attestation = {"mediaType": "m", "digest": OLD, "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "word": word, "manifests": [*listed, attestation]}
    ).encode()


LINUX, MIRROR, TOOLS = index("linux", arm64=OLD, amd64=OLD), index("mirror"), index("tools")
ALL = {"example.com/linux:1": LINUX, "example.org/linux:1": MIRROR, "example.com/tools:1": TOOLS}


def project() -> Plan:
    """Return a plan with a parent of two sources, a toolchain, an epoch, and a download without a checksum."""
    system = tree()["layers/system/layer.yaml"] + "freshness: week\n"
    two = '["example.com/linux:{release}", "example.org/linux:{release}"]'
    system = system.replace('["example.com/linux:{release}"]', two)
    fast = FAST + f"downloads: {{source: {{url: '{URL}', sha256: unknown, reason: r}}}}\n"
    files = tree(system=system, fast=fast)
    files["layers/system/Dockerfile"] += "ARG EPOCH\n"
    files["layers/fast/Dockerfile"] = (
        "FROM scratch AS s\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + tree()["layers/fast/Dockerfile"]
    )
    return planned({**files, "buildsys.lock": 'version: 1\nepochs: {system: "2026-11-02"}\n'})


PLAN = project()
HELD = Lock(
    parents=MappingProxyType(
        {
            "linux-1": LockedParent(reference="example.com/linux:1", digest=OLD),
            "tools-1": LockedParent(reference="example.com/tools:1", digest=OLD),
            "not-used": LockedParent(reference="example.com/x:1", digest=OLD),
        }
    ),
    epochs=MappingProxyType({"system": "2026-11-02", "not-used": "2026-11-02"}),
    downloads=MappingProxyType({URL: LockedDownload(sha256="1" * 64, size=3)}),
)


def ask(
    held: Lock, transport: Transport | None, update: Collection[str] | None = None, settings: Settings | None = None
) -> tuple[Lock, dict[str, Change]]:
    """Return the new lock and what is said of each entry; no transport is offline."""
    asked = registry(transport) if transport else None
    found, changes = resolved(
        PLAN, held, update=update, registry=asked, settings=settings or Settings(), today=WEDNESDAY
    )
    return found, {each.name: each for each in changes}


def served(folder: Path, data: bytes) -> Settings:
    """Return settings in which the host of the download is a folder that has it."""
    (folder / "archive").write_bytes(data)
    return Settings(downloads={"https://example.com": folder.as_uri()})


def test_what_is_missing_is_added(tmp_path: Path) -> None:
    found, changes = ask(Lock(), Transport(manifests=ALL), settings=served(tmp_path, b"abc"))
    assert found == Lock(
        parents={
            "linux-1": LockedParent(
                reference="example.com/linux:1",
                digest=digest_of(LINUX),
                platforms={"linux/amd64": OLD, "linux/arm64": OLD},
            ),
            "tools-1": LockedParent(reference="example.com/tools:1", digest=digest_of(TOOLS), platforms={}),
        },
        epochs={"system": MONDAY},
        downloads={URL: LockedDownload(sha256=hashlib.sha256(b"abc").hexdigest(), size=3)},
    )
    assert {name: (each.before, each.note) for name, each in changes.items()} == dict.fromkeys(
        ["linux-1", "tools-1", "system", URL], (None, "")
    )


def test_existing_entries_stay_and_no_source_is_asked() -> None:
    transport = Transport(manifests=ALL)
    found, changes = ask(HELD, transport)
    assert transport.asked == []
    assert {name: parent.digest for name, parent in found.parents.items()} == {"linux-1": OLD, "tools-1": OLD}
    assert (dict(found.epochs), dict(found.downloads)) == ({"system": "2026-11-02"}, dict(HELD.downloads))
    assert [each for each in changes.values() if each.before != each.after or each.note] == []


def test_unknown_parent_is_resolved_from_the_second_source_and_reports_it() -> None:
    unknown = LockedParent(reference="example.com/linux:1", digest=None, reason="no file records it")
    held = Lock(parents={**HELD.parents, "linux-1": unknown}, epochs=HELD.epochs, downloads=HELD.downloads)
    found, changes = ask(held, Transport(manifests={"example.org/linux:1": MIRROR}))
    assert found.parents["linux-1"] == LockedParent(
        reference="example.org/linux:1", digest=digest_of(MIRROR), platforms={}
    )
    assert changes["linux-1"] == Change(
        name="linux-1",
        before=None,
        after=digest_of(MIRROR),
        note="from source 2, example.org/linux:1: `example.com/linux:1` does not exist",
        answered=True,
    )


def test_image_in_no_index_has_the_platform_of_its_config() -> None:
    config = json.dumps({"os": "linux", "architecture": "arm64", "variant": "v8"}).encode()
    descriptor = {"mediaType": "c", "digest": digest_of(config), "size": len(config)}
    alone = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": []}).encode()
    blob = f"example.com/linux/blobs/{digest_of(config)}"
    for manifests, platforms in (({blob: config}, {"linux/arm64/v8": digest_of(alone)}), ({}, {})):
        answers = Transport(manifests={**ALL, "example.com/linux:1": alone, **manifests})
        lock, _ = ask(Lock(downloads=HELD.downloads), answers)
        assert lock.parents["linux-1"].digest == digest_of(alone)
        # What cannot be read is left out, and the plan warns of it where it matters.
        assert lock.parents["linux-1"].platforms == platforms


def test_first_source_is_asked_first_and_a_later_one_only_if_it_must() -> None:
    transport = Transport(manifests=ALL)
    ask(HELD, transport, update=["linux-*"])
    assert transport.asked == ["example.com/linux:1"]


def test_parent_that_no_source_has_is_unknown_with_every_answer() -> None:
    without = Lock(epochs=HELD.epochs, downloads=HELD.downloads)
    found, changes = ask(without, Transport(manifests={}, broken=["example.org/linux:1"]))
    reason = found.parents["linux-1"].reason or ""
    assert found.parents["linux-1"].digest is None
    assert reason.startswith("`example.com/linux:1` does not exist; ")
    assert "example.org" in reason
    assert changes["linux-1"].note == reason


def test_update_that_reaches_no_source_keeps_the_entry_and_reports_it() -> None:
    found, changes = ask(HELD, Transport(manifests={}), update=["linux-1"])
    assert found.parents["linux-1"] == HELD.parents["linux-1"]
    assert changes["linux-1"].note == (
        "kept as it is: `example.com/linux:1` does not exist; `example.org/linux:1` does not exist"
    )


def test_offline_keeps_existing_entries_and_reports_it() -> None:
    unknown = LockedParent(reference="example.com/tools:1", digest=None, reason="not published")
    held = Lock(parents={"tools-1": unknown}, epochs=HELD.epochs)
    found, changes = ask(held, None, update=[])
    assert found.parents["tools-1"] == unknown
    assert changes["tools-1"].note == "kept as it is: offline"
    missing = LockedParent(reference="example.com/linux:1", digest=None, reason="not asked, offline")
    assert found.parents["linux-1"] == missing
    assert (dict(found.downloads), changes[URL].note) == ({}, "not asked, offline")
    found, changes = ask(HELD, None, update=[URL])
    assert (dict(found.downloads), changes[URL].note) == (dict(HELD.downloads), "kept as it is: offline")
    assert changes["linux-1"].note == ""


def test_update_without_names_moves_everything_but_toolchains(tmp_path: Path) -> None:
    found, changes = ask(HELD, Transport(manifests=ALL), update=[], settings=served(tmp_path, b"new"))
    assert found.parents["linux-1"].digest == digest_of(LINUX)
    assert found.parents["tools-1"].digest == OLD
    assert found.epochs["system"] == MONDAY
    assert found.downloads[URL].sha256 == hashlib.sha256(b"new").hexdigest()
    assert {name for name, each in changes.items() if each.before != each.after} == {"linux-1", "system", URL}


@pytest.mark.parametrize(
    ("pattern", "moved"),
    [
        ("tools-1", {"tools-1"}),
        ("tools-*", {"tools-1"}),
        ("*-1", {"linux-1", "tools-1"}),
        ("system", {"system"}),
        ("https://example.com/*", {URL}),
    ],
)
def test_update_moves_what_its_patterns_name(tmp_path: Path, pattern: str, moved: set[str]) -> None:
    _, changes = ask(HELD, Transport(manifests=ALL), update=[pattern], settings=served(tmp_path, b"new"))
    assert {name for name, each in changes.items() if each.before != each.after} == moved


def test_pattern_that_means_nothing_is_an_error_with_a_way_out() -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(HELD, Transport(manifests=ALL), update=["linux-1", "linux-9", "x*"])
    assert [(each.message, each.hint) for each in caught.value.diagnostics()] == [
        ("the lock has no entry `linux-9`", "did you mean `linux-1`?"),
        ("the lock has no entry `x*`", "run `buildsys lock --json` to list all entries"),
    ]


@pytest.mark.parametrize(
    ("today", "epoch"),
    [
        (date(2026, 11, 23), "2026-11-23"),
        (date(2026, 11, 29), "2026-11-23"),
        (date(2026, 11, 30), "2026-11-30"),
        (date(2027, 1, 1), "2026-12-28"),
    ],
)
def test_epoch_moves_to_the_monday_of_the_week(today: date, epoch: str) -> None:
    found, _ = resolved(PLAN, HELD, update=["system"], registry=None, settings=Settings(), today=today)
    assert dict(found.epochs) == {"system": epoch}


@pytest.mark.parametrize(
    ("held", "epoch"),
    [("2026-11-16.9", "2026-11-23"), ("2026-11-23.2", "2026-11-23.2"), ("2026-11-24", "2026-11-24")],
)
def test_update_never_moves_an_epoch_back(held: str, epoch: str) -> None:
    lock = replace(HELD, epochs={"system": held})
    found, changes = resolved(PLAN, lock, update=["system"], registry=None, settings=Settings(), today=WEDNESDAY)
    assert dict(found.epochs) == {"system": epoch}
    change = next(each for each in changes if each.name == "system")
    assert (change.before, change.after) == (held, epoch)
    assert change.note == ("of this week; `buildsys fresh system` renews it at once" if held == epoch else "")


@pytest.mark.parametrize("update", [None, [], ["*"]])
def test_no_update_moves_the_timestamp(update: list[str] | None) -> None:
    found, changes = ask(replace(HELD, timestamp=1795392000), None, update)
    assert found.timestamp == 1795392000
    assert changes["timestamp"].before == changes["timestamp"].after == "2026-11-23T00:00:00Z"


def test_timestamp_that_is_given_replaces_that_of_the_lock() -> None:
    found, changes = resolved(
        PLAN, HELD, update=None, registry=None, settings=Settings(), today=WEDNESDAY, timestamp=1795392000
    )
    assert found.timestamp == 1795392000
    assert [(each.before, each.after) for each in changes if each.name == "timestamp"] == [
        (None, "2026-11-23T00:00:00Z")
    ]


def test_next_timestamp_is_the_beginning_of_the_day_or_a_time_before_it() -> None:
    assert next_timestamp(None, WEDNESDAY) == 1795564800
    assert next_timestamp("2026-11-23T00:00:00Z", WEDNESDAY) == 1795392000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T00:00:01Z", "a time that has passed, at the latest 2026-11-25T00:00:00Z"),
        ("yesterday", "a time in UTC such as `2026-11-23T00:00:00Z`"),
        ("1979-12-31T00:00:00Z", "a time from 1980-01-02T00:00:00Z on"),
    ],
)
def test_next_timestamp_is_refused_where_files_of_a_build_would_keep_their_own_time(text: str, expected: str) -> None:
    with pytest.raises(WrongUsage, match=re.escape(f"`{text}` is not a timestamp, expected {expected}")):
        next_timestamp(text, WEDNESDAY)


def test_what_nothing_uses_is_dropped() -> None:
    found, changes = ask(HELD, Transport(manifests=ALL))
    assert "not-used" not in {*found.parents, *found.epochs, *changes}


def test_mirror_is_asked_and_the_lock_names_the_original() -> None:
    transport = Transport(manifests={"mirror.example.net/linux:1": LINUX})
    settings = Settings(parents={"example.com": "mirror.example.net"})
    found, _ = ask(HELD, transport, update=["linux-1"], settings=settings)
    assert transport.asked == ["mirror.example.net/linux:1"]
    assert found.parents["linux-1"].reference == "example.com/linux:1"


@pytest.mark.parametrize(("held", "note"), [(HELD, "kept as it is: "), (Lock(parents=HELD.parents), "unknown: ")])
def test_download_that_fails_is_kept_or_unknown_and_says_why(tmp_path: Path, held: Lock, note: str) -> None:
    settings = Settings(downloads={"https://example.com": tmp_path.as_uri()})
    found, changes = ask(held, Transport(manifests=ALL), update=[URL], settings=settings)
    assert dict(found.downloads) == dict(held.downloads)
    assert changes[URL].note.startswith(note)
    assert "archive" in changes[URL].note


def test_missing_are_the_parents_without_an_entry() -> None:
    assert missing_entries(PLAN, HELD) == ()
    assert missing_entries(PLAN, Lock()) == ("linux-1", "tools-1")


def locked(**digests: str | None) -> Plan:
    """Return the plan with these parents locked."""
    lock = Lock(
        parents={
            name.replace("_", "-"): LockedParent(
                reference=f"example.com/{name.replace('_', ':')}", digest=digest, reason="r"
            )
            for name, digest in digests.items()
        }
    )
    return planned({**tree(), "buildsys.lock": lock_text(lock)})


def test_outdated_is_what_its_tag_has_left() -> None:
    transport = Transport(manifests={"example.com/linux:1": LINUX, "example.com/tools:1": TOOLS})
    found, _ = outdated(locked(linux_1=OLD, tools_1=digest_of(TOOLS)), registry(transport), Settings(), WEDNESDAY)
    assert found == (Change(name="linux-1", before=OLD, after=digest_of(LINUX)),)


def test_outdated_reports_removed_and_unreachable_sources() -> None:
    transport = Transport(manifests={}, broken=["example.com/tools:1"])
    (first, second), _ = outdated(locked(linux_1=OLD, tools_1=OLD), registry(transport), Settings(), WEDNESDAY)
    assert (first.name, first.note) == ("linux-1", "`example.com/linux:1` no longer exists")
    assert (second.name, second.after) == ("tools-1", None)
    assert "500" in second.note


def test_outdated_asks_nothing_of_what_is_unknown() -> None:
    transport = Transport(manifests={})
    assert outdated(locked(linux_1=None, tools_1=None), registry(transport), Settings(), WEDNESDAY) == ((), None)
    assert transport.asked == []


def test_packages_are_stale_when_their_week_is_over() -> None:
    assert stale(PLAN, date(2026, 11, 8)) == ()
    assert stale(PLAN, date(2026, 11, 9)) == (("system", "2026-11-02"),)
    counted = replace(PLAN, epochs={"system": "2026-11-02.3"})
    assert stale(counted, date(2026, 11, 8)) == ()
    assert stale(counted, date(2026, 11, 9)) == (("system", "2026-11-02.3"),)


TRICKY = ['say "x"', "a: b # c", "back\\slash", "line\nend", "tab\tend", "é→☃", "{a}", "- x", "", "🙂"]


@pytest.mark.parametrize("text", TRICKY)
def test_text_of_a_lock_is_read_as_it_was(text: str) -> None:
    lock = Lock(
        parents={
            "b": LockedParent(reference="host:5000/a/b:1.0", digest=None, reason=text),
            "a-1.10": LockedParent(
                reference="example.com/a:1", digest=OLD, source=text or None, platforms={"linux/amd64": OLD}
            ),
        },
        timestamp=1795392001,
        epochs={"z-os": "2026-11-23", "a-os": "2026-11-16.12"},
        downloads={f"https://example.com/{text or 'x'}": LockedDownload(sha256="2" * 64, size=12)},
    )
    assert parse_lock(lock_text(lock)) == lock
    assert lock_text(parse_lock(lock_text(lock))) == lock_text(lock)


def test_what_the_lock_accepts_stays_accepted_until_it_is_known() -> None:
    accepted = LockedParent(reference="example.com/linux:1", digest=None, reason="no source has it", accepted=True)
    lock = Lock(parents={"linux-1": accepted}, downloads={"a.git#1": LockedDownload(sha256=None, accepted=True)})
    assert parse_lock(lock_text(lock)) == lock
    kept, _ = resolved(
        PLAN, lock, update=None, registry=registry(Transport(manifests={})), settings=Settings(), today=WEDNESDAY
    )
    assert kept.parents["linux-1"] == accepted
    has_it = Transport(manifests={"example.com/linux:1": index("one")})
    found, _ = resolved(PLAN, lock, update=None, registry=registry(has_it), settings=Settings(), today=WEDNESDAY)
    assert (found.parents["linux-1"].digest, found.parents["linux-1"].accepted) == (digest_of(index("one")), False)
    assert "accepted" not in lock_text(found)


def test_text_of_a_lock_is_sorted_and_exact() -> None:
    lock = Lock(
        parents={
            "b": LockedParent(reference="b:1", digest=None, reason="r"),
            "a": LockedParent(reference="a:1", digest=OLD, platforms={"linux/b": OLD, "linux/a": OLD}),
        },
        timestamp=1795392000,
        epochs={"b": "2026-11-23", "a": "2026-11-16"},
    )
    assert lock_text(lock) == (
        "# Written by `buildsys lock`; a person may edit it, the command keeps what it finds.\n"
        "version: 1\n"
        "timestamp: 2026-11-23T00:00:00Z\n"
        "epochs:\n"
        "  a: 2026-11-16\n"
        "  b: 2026-11-23\n"
        "parents:\n"
        "  a:\n"
        "    reference: a:1\n"
        f"    digest: {OLD}\n"
        "    platforms:\n"
        f"      linux/a: {OLD}\n"
        f"      linux/b: {OLD}\n"
        "  b:\n"
        "    reference: b:1\n"
        "    digest: unknown\n"
        '    reason: "r"\n'
    )
    assert parse_lock(lock_text(Lock())) == Lock()


@pytest.mark.parametrize(
    "platform",
    [
        f'linux/amd64: {OLD}\nepochs: {{system: "2000-01-03"}} #',
        "linux/amd64\x1b[31m",
        "linux/amd64: {",
    ],
)
def test_platform_that_is_none_brings_nothing_into_the_lock(platform: str) -> None:
    """Before, a registry wrote lines of its own into the lock, or left one that cannot be read."""
    name, _, architecture = platform.partition("/")
    listed = [{"mediaType": "m", "digest": OLD, "size": 1, "platform": {"os": name, "architecture": architecture}}]
    listed.append({"mediaType": "m", "digest": OLD, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}})
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
    lock, _ = ask(Lock(), Transport(manifests={**ALL, "example.com/linux:1": body}))
    written = lock_text(replace(lock, epochs={}))
    assert parse_lock(written).parents["linux-1"].platforms == {"linux/amd64": OLD}
    assert parse_lock(written).epochs == {}


def test_digest_of_a_platform_that_is_not_a_digest_brings_nothing_into_the_lock() -> None:
    platform = {"os": "linux", "architecture": "arm64"}
    listed = [{"mediaType": "m", "digest": "x: [", "size": 1, "platform": platform}]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
    lock, changes = ask(Lock(), Transport(manifests={**ALL, "example.com/linux:1": body}))
    assert lock.parents["linux-1"].reference == "example.org/linux:1"
    assert "a digest is none of sha256 or sha512" in changes["linux-1"].note


@pytest.mark.parametrize("word", ["\x1b[31mred", "half \ud800", "\x85", "\u202e"])
def test_words_of_a_registry_that_no_file_holds_are_escaped_in_the_lock(word: str) -> None:
    """Before, such a word in the reason of an entry gave a lock that could not be written or read."""

    class Refusing(Transport):
        def send(self, request: Request) -> Response:
            del request
            errors = [{"code": "DENIED", "message": word}]
            return Response(status=400, body=json.dumps({"errors": errors}).encode())

    lock, changes = ask(Lock(), Refusing(manifests={}))
    assert parse_lock(lock_text(lock).encode().decode()).parents["linux-1"].digest is None
    assert word not in changes["linux-1"].note


def test_epoch_of_one_flavour_begins_when_it_is_named_and_is_kept() -> None:
    system = (
        tree()["layers/system/layer.yaml"] + "freshness: week\nflavours: {slim: , full: {packages: [names: [x]]}}\n"
    )
    files = tree("stacks:\n  a: {layers: [system]}\n  b: {layers: [system], flavour: full}\n", system=system)
    files["layers/system/Dockerfile"] += "ARG EPOCH\n"
    plan = planned({**files, "buildsys.lock": 'version: 1\nepochs: {system: "2026-11-02"}\n'})
    held = Lock(epochs=MappingProxyType({"system": "2026-11-02"}))

    def epochs(lock: Lock, update: list[str] | None) -> Lock:
        return resolved(plan, lock, update=update, registry=None, settings=Settings(), today=WEDNESDAY)[0]

    begun = epochs(held, ["system/full"])
    assert dict(begun.epochs) == {"system": "2026-11-02", "system/full": MONDAY}
    assert dict(parse_lock(lock_text(begun)).epochs) == dict(begun.epochs)
    assert dict(epochs(begun, None).epochs) == dict(begun.epochs)
    assert dict(epochs(begun, ["system"]).epochs) == {"system": MONDAY, "system/full": MONDAY}
    # A pattern begins none.
    assert dict(epochs(held, ["system*"]).epochs) == {"system": MONDAY}
    later = replace(held, epochs={"system": "2026-11-30.2"})
    assert epochs(later, ["system/full"]).epochs["system/full"] == "2026-11-30.2"
    with pytest.raises(InvalidInput) as wrong:
        epochs(held, ["system/ful"])
    assert wrong.value.diagnostics()[0].hint == "did you mean `system/full`?"


def single(architecture: str, **config: object) -> tuple[bytes, bytes]:
    """Return the manifest and the config of an image of one platform."""
    raw = json.dumps({"os": "linux", "architecture": architecture, "config": config}).encode()
    held = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(raw), "size": len(raw)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": held, "layers": []}).encode(), raw


def test_platform_of_a_parent_that_is_one_manifest_comes_from_its_config_and_a_wrong_one_is_refused() -> None:
    manifest, config = single("arm64")
    transport = Transport(
        manifests={
            **ALL,
            "example.com/linux:1": manifest,
            f"example.com/linux/blobs/{digest_of(config)}": config,
        },
        kinds={"example.com/linux:1": OCI_MANIFEST},
    )
    found, changes = ask(Lock(), transport)
    parent = found.parents["linux-1"]
    assert dict(parent.platforms) == {"linux/arm64": digest_of(manifest)}
    assert changes["linux-1"].note == ""
    lock = lock_text(replace(found, downloads=MappingProxyType({})))
    assert [message for _, message, _ in diagnostics({**tree(), "buildsys.lock": lock})] == [
        "`one` is for `linux/amd64`, and its parent `linux-1` is not"
    ]


def test_platform_of_a_parent_whose_config_is_missing_stays_unknown_with_a_note() -> None:
    manifest, _ = single("amd64")
    transport = Transport(
        manifests={**ALL, "example.com/linux:1": manifest}, kinds={"example.com/linux:1": OCI_MANIFEST}
    )
    found, changes = ask(Lock(), transport)
    assert dict(found.parents["linux-1"].platforms) == {}
    assert changes["linux-1"].note.startswith("`example.com/linux:1`: its platform is unknown: ")


BARE = "description: a parent alone\nkind: system\nlicence: free\nparent: {name: bare, images: [example.com/bare:1]}\n"


@pytest.mark.parametrize("is_index", [False, True])
def test_triggers_of_a_parent_on_which_an_image_is_assembled_are_locked_and_refused(*, is_index: bool) -> None:
    stacks = "stacks:\n  one: {layers: [bare, files]}\n"
    files = "description: d\nkind: artifact\nlicence: MIT\nfiles: {/srv/a: a}\n"
    project = {**tree(stacks, bare=BARE), "layers/files/layer.yaml": files, "layers/files/a": "a"}
    manifest, config = single("amd64", OnBuild=["RUN id"])
    digest = digest_of(manifest)
    manifests = {f"example.com/bare/blobs/{digest_of(config)}": config, "example.com/bare:1": manifest}
    kinds = {"example.com/bare:1": OCI_MANIFEST}
    if is_index:
        manifests |= {"example.com/bare:1": index("bare", amd64=digest), f"example.com/bare:{digest}": manifest}
        kinds = {f"example.com/bare:{digest}": OCI_MANIFEST}
    found, _ = resolved(
        planned(project),
        Lock(),
        update=None,
        registry=registry(Transport(manifests=manifests, kinds=kinds)),
        settings=Settings(),
        today=WEDNESDAY,
    )
    assert "    triggers: true\n" in lock_text(found)
    assert [message for _, message, _ in diagnostics({**project, "buildsys.lock": lock_text(found)})] == [
        "`one` is assembled on its parent `bare`, whose ONBUILD triggers would run"
    ]
    under = {**project, "stacks.yaml": stacks.replace("[bare,", "[bare, tool,")}
    under["layers/tool/layer.yaml"] = "description: d\nkind: system\nlicence: MIT\nrun: 'true'\n"
    assert planned({**under, "buildsys.lock": lock_text(found)}).stacks[0].base
