"""What a lock contains, and which errors in it are reported."""

from __future__ import annotations

import pytest

from buildsys.config.lockfile import (
    DEFAULT_TIMESTAMP,
    copied_layers,
    epoch_parts,
    lock_text,
    overlaid,
    parse_lock,
    timestamp_text,
)
from buildsys.errors import InvalidInput
from buildsys.names import OVERLAY_FILE

DIGEST = f"sha256:{'ab' * 32}"
LIKE_EPOCH = "a day such as `2026-11-23`, or with a counter from 2 on, `2026-11-23.2`"
LIKE_TIME = "a time in UTC such as `2026-11-23T00:00:00Z`"


def test_digest_takes_the_place_of_the_tag() -> None:
    text = f'version: 1\nparents:\n  a: {{reference: "host:5000/x/y:1", digest: "{DIGEST}"}}\n'
    assert parse_lock(text).parents["a"].pinned == f"host:5000/x/y@{DIGEST}"


def test_unknown_digest_leaves_the_tag_and_needs_a_reason() -> None:
    entry = "version: 1\nparents:\n  a: {reference: x:1, digest: unknown"
    assert parse_lock(f"{entry}, reason: gone}}\n").parents["a"].pinned == "x:1"
    with pytest.raises(InvalidInput, match="no `reason` says why"):
        parse_lock(f"{entry}}}\n")


def test_overlay_goes_before_the_lock_and_is_marked_local() -> None:
    lock = parse_lock("version: 1\nparents:\n  a: {reference: x:1, digest: unknown, reason: r}\n")
    overlay = parse_lock(f'version: 1\nparents:\n  a: {{reference: l/x, digest: "{DIGEST}"}}\n', OVERLAY_FILE)
    found = overlaid(lock, overlay).parents["a"]
    assert (found.pinned, found.local) == (f"l/x@{DIGEST}", True)


def test_all_errors_in_a_lock_are_reported_with_their_lines() -> None:
    text = "version: one\nepochs: {a: today}\nparents:\n  b: {reference: x, digest: sha256:12}\nmore: 1\n"
    with pytest.raises(InvalidInput) as caught:
        parse_lock(text)
    assert [each.location.line for each in caught.value.diagnostics() if each.location] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("text", "location", "message"),
    [
        ("epochs: {}", "1:1", "`version` is missing"),
        ("version: 2", "1:10", "`buildsys.lock` has format 2, this buildsys reads up to 1"),
        ("version: 1\nepochs: [a]", "2:9", "`epochs`: expected a mapping, found a list"),
        (
            "version: 1\nparents: {a: {digest: unknown, reason: r}}",
            "2:11",
            "the entry `a` has no `reference`",
        ),
        ("version: 1\nparents: {a: x}", "2:14", "`a`: expected a mapping, found a text"),
        (
            "version: 1\ndownloads: {a: {sha256: b, size: 1}}",
            "2:25",
            "`b`: expected 64 hexadecimal digits, or `unknown`",
        ),
        ("version: 1\nepochs: {a: 2026-02-30}", "2:13", f"`2026-02-30`: expected {LIKE_EPOCH}"),
        ("version: 1\nepochs: {a: 2026-11-23.1}", "2:13", f"`2026-11-23.1`: expected {LIKE_EPOCH}"),
        ("version: 1\nepochs: {a: 2026-11-23.02}", "2:13", f"`2026-11-23.02`: expected {LIKE_EPOCH}"),
        ("version: 1\ntimestamp: 2026-11-23", "2:12", f"`2026-11-23`: expected {LIKE_TIME}"),
        ("version: 1\ntimestamp: 1795392000", "2:12", f"`1795392000`: expected {LIKE_TIME}"),
        ("version: 1\ntimestamp: 2026-02-30T00:00:00Z", "2:12", f"`2026-02-30T00:00:00Z`: expected {LIKE_TIME}"),
        (
            "version: 1\ntimestamp: 1980-01-01T23:59:59Z",
            "2:12",
            "`1980-01-01T23:59:59Z`: expected a time from 1980-01-02T00:00:00Z on",
        ),
        (
            "version: 1\ndownloads: {a: {sha256: unknown}}",
            "2:25",
            "the checksum of `a` is unknown, and that is not `accepted`",
        ),
    ],
)
def test_lock_is_checked_against_its_shape(text: str, location: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_lock(f"{text}\n")
    (found,) = caught.value.diagnostics()
    assert (str(found.location), found.message) == (f"buildsys.lock:{location}", message)


def test_unknown_field_of_a_lock_is_reported_with_the_nearest_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_lock(f"version: 1\nparents:\n  a: {{reference: x, digest: {DIGEST!r}, platform: {{}}}}\n")
    (found,) = caught.value.diagnostics()
    assert (found.message, found.hint) == ("unknown key `platform`", "did you mean `platforms`?")
    assert found.location is not None
    assert found.location.line == 3


def test_empty_sections_of_a_lock_hold_nothing() -> None:
    assert parse_lock("version: 1\nparents:\nepochs:\ndownloads:\n") == parse_lock("version: 1\n")


def test_first_of_several_images_is_the_reference() -> None:
    text = f"version: 1\nparents: {{a: {{images: [one, two], digest: {DIGEST!r}}}}}\n"
    assert parse_lock(text).parents["a"].reference == "one"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1980-01-02T00:00:00Z", 315619200), ("2026-11-23T00:00:00Z", 1795392000), ("9999-12-31T23:59:59Z", 253402300799)],
)
def test_timestamp_is_read_as_seconds_and_written_as_it_was(text: str, seconds: int) -> None:
    lock = parse_lock(f"version: 1\ntimestamp: {text}\n")
    assert lock.timestamp == seconds
    assert lock_text(lock).splitlines()[1:] == ["version: 1", f"timestamp: {text}"]


def test_lock_without_a_timestamp_is_written_without_one_and_means_a_day_that_zip_archives_can_hold() -> None:
    assert parse_lock("version: 1\n").timestamp is None
    assert "timestamp" not in lock_text(parse_lock("version: 1\n"))
    assert timestamp_text(DEFAULT_TIMESTAMP) == "1980-01-02T00:00:00Z"


def test_overlay_without_a_timestamp_keeps_that_of_the_lock() -> None:
    lock, overlay = (parse_lock(f"version: 1\n{line}") for line in ("timestamp: 2026-11-23T00:00:00Z\n", ""))
    assert overlaid(lock, overlay).timestamp == 1795392000
    assert overlaid(overlay, lock).timestamp == 1795392000


def test_epochs_are_ordered_by_day_and_then_by_counter() -> None:
    ordered = ["2026-11-16.3", "2026-11-23", "2026-11-23.2", "2026-11-23.10", "2026-11-30"]
    lock = parse_lock("version: 1\nepochs:\n" + "".join(f"  l{n}: {each}\n" for n, each in enumerate(ordered)))
    assert sorted(lock.epochs.values(), key=epoch_parts) == ordered


COPIED = f"""\
version: 1
layers:
  one:
    origin: "buildsys"
    revision: "0.1.0"
    sha256: {"a" * 64}
  two:
    origin: "https://example.com/layers.git"
    ref: "main"
    revision: "{"b" * 40}"
    sha256: {"c" * 64}
"""


def test_copied_layers_are_written_as_they_are_read_and_no_overlay_replaces_them() -> None:
    lock = parse_lock(COPIED)
    assert lock_text(lock).partition("\n")[2] == COPIED
    assert overlaid(lock, parse_lock("version: 1\n", OVERLAY_FILE)).layers == lock.layers
    assert copied_layers(COPIED) == {"one", "two"}


@pytest.mark.parametrize("ref", ["--upload-pack=x", "+refs/*:refs/*", "a b", "@"])
def test_revision_of_a_copied_layer_is_neither_an_option_nor_a_pattern(ref: str) -> None:
    with pytest.raises(InvalidInput, match="expected a branch, a tag or a commit"):
        parse_lock(COPIED.replace("main", ref))


def test_wrong_lock_has_no_copied_layers_and_is_reported_elsewhere() -> None:
    assert copied_layers(COPIED.replace("sha256: a", "sha256: x")) == set()
    assert copied_layers("version: 1\n") == set()
    with pytest.raises(InvalidInput, match="64 hexadecimal digits"):
        parse_lock(COPIED.replace("sha256: a", "sha256: x"))
