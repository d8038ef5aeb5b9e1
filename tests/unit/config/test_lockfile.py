"""What a lock contains, and which errors in it are reported."""

from __future__ import annotations

import pytest

from buildsys.config.lockfile import overlaid, parse_lock
from buildsys.errors import InvalidInput
from buildsys.names import OVERLAY_FILE

DIGEST = f"sha256:{'ab' * 32}"


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
    text = "version: 2\nepochs: {a: today}\nparents:\n  b: {reference: x, digest: sha256:12}\nmore: 1\n"
    with pytest.raises(InvalidInput) as caught:
        parse_lock(text)
    assert [each.location.line for each in caught.value.diagnostics() if each.location] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("text", "location", "message"),
    [
        ("epochs: {}", "1:1", "`version` is missing"),
        ("version: 2", "1:10", "`2`: expected `1`, the version that this buildsys reads"),
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
        ("version: 1\nepochs: {a: 2026-02-30}", "2:13", "`2026-02-30`: expected a day such as `2026-11-23`"),
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
