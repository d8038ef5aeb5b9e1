"""Format version 1: equal inventories are equal bytes, and only such bytes are read."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import pytest

from buildsys.inventory.document import read, write
from buildsys.inventory.model import Entry, Inventory, Package, UnreadableInventory, inventory_of

ENTRIES = (
    Entry(path="usr/bin/su", type="f", mode=0o4755, user=0, group=42, size=71),
    Entry(path="usr", type="d", mode=0o755, user=0, group=0),
    Entry(path="bin", type="l", mode=0o777, user=0, group=0, target="usr/bin"),
    Entry(path="odd\nname \\xff \u2028", type="p", mode=0o600, user=1000, group=(1 << 32) - 1),
)
PACKAGES = (
    Package(type="deb", name="bash", version="5", path="var/lib/dpkg/status", source="bash", source_version="5"),
    Package(type="conda", name="a", version="1", path="c/conda-meta/a.json", qualifiers=(("build", "0"),)),
)
INVENTORY = inventory_of(ENTRIES, PACKAGES)


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


def test_what_is_written_is_read_back() -> None:
    assert read(write(INVENTORY)) == INVENTORY


def test_order_of_what_was_found_changes_no_byte() -> None:
    assert write(inventory_of(ENTRIES[::-1], PACKAGES[::-1])) == write(INVENTORY)


def test_each_path_and_package_is_a_line() -> None:
    lines = gzip.decompress(write(INVENTORY)).decode().splitlines()
    assert '["usr/bin/su","f","4755",0,42,71],' not in lines[:3]
    assert '["usr/bin/su","f","4755",0,42,71]' in lines


def test_empty_inventory_is_written_and_read() -> None:
    empty = Inventory(entries={})
    assert read(write(empty)) == empty


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        gzip.compress(b"[]"),
        gzip.compress(b"{"),
        packed({}),
        packed({"version": 2, "packages": [], "paths": []}),
        packed({"version": 1, "paths": {}}),
        packed({"version": 1, "paths": [{}]}),
        packed({"version": 1, "packages": [[]]}),
        packed({"version": 1, "packages": [{"type": "deb"}]}),
        packed({"version": 1, "packages": [{"type": "deb", "name": 1}]}),
        packed({"version": 1, "packages": [{"type": "deb", "name": "a", "qualifiers": {"a": 1}}]}),
        packed({"version": 1, "paths": [[]]}),
        packed({"version": 1, "paths": [["a", "f", "644", 0, 0]]}),
        packed({"version": 1, "paths": [["a", "f", "8", 0, 0, 1]]}),
        packed({"version": 1, "paths": [["a", "f", 644, 0, 0, 1]]}),
        packed({"version": 1, "paths": [["a", "f", "644", True, 0, 1]]}),
        packed({"version": 1, "paths": [["a", "f", "644", 0, -1, 1]]}),
        packed({"version": 1, "paths": [["a", "f", "644", 0, 0, 1.5]]}),
        packed({"version": 1, "paths": [["a", "x", "644", 0, 0]]}),
        packed({"version": 1, "paths": [["a", ["f"], "644", 0, 0]]}),
        packed({"version": 1, "paths": [["../a", "d", "755", 0, 0]]}),
        packed({"version": 1, "paths": [["a", "l", "777", 0, 0, None]]}),
        packed({"version": 1, "paths": [["a" * 20_000, "d", "755", 0, 0]]}),
    ],
    ids=itertools.count(),
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableInventory):
        read(raw)
