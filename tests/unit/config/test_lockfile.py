"""What a lock says, and what of it is a mistake."""

from __future__ import annotations

import pytest

from buildsys.config.lockfile import OVERLAY_FILE, overlaid, parse_lock
from buildsys.errors import InvalidInput

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


def test_all_mistakes_of_a_lock_are_told_with_their_lines() -> None:
    text = "version: 2\nepochs: {a: today}\nparents:\n  b: {reference: x, digest: sha256:12}\nmore: 1\n"
    with pytest.raises(InvalidInput) as caught:
        parse_lock(text)
    assert [each.location.line for each in caught.value.diagnostics() if each.location] == [1, 2, 4, 5]
