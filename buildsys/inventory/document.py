"""Format version 1 of a stored inventory (docs/inventory.md): equal inventories are equal bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

from buildsys.foreign import list_of, object_of, texts_of
from buildsys.inventory.model import (
    FILE,
    LINK,
    LONGEST_PATH,
    MOST_ENTRIES,
    MOST_ID,
    MOST_MODE,
    MOST_PACKAGES,
    MOST_SIZE,
    TYPES,
    Entry,
    Inventory,
    Package,
    UnreadableInventory,
    inventory_of,
)
from buildsys.inventory.step import MOST_PRINTED, inflated, is_path
from buildsys.texts import shown

FORMAT_VERSION = 1
_TEXTS = ("type", "name", "version", "path", "architecture", "source", "source_version", "licence")


def document(inventory: Inventory) -> dict[str, Any]:
    """Return an inventory as a JSON document of format version 1."""
    return {
        "version": FORMAT_VERSION,
        "packages": [_package_value(each) for each in inventory.packages],
        "paths": [_entry_value(each) for each in inventory.entries.values()],
    }


def write(inventory: Inventory) -> bytes:
    """Return the bytes of an inventory: JSON with one line for each package and path, packed by gzip."""
    value = document(inventory)
    lists = (
        f'"{name}":[{",".join(f"{chr(10)}{_json(each)}" for each in value[name])}\n]' for name in ("packages", "paths")
    )
    text = f'{{"version":{FORMAT_VERSION},\n{f",{chr(10)}".join(lists)}}}\n'
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _entry_value(entry: Entry) -> list[Any]:
    value: list[Any] = [entry.path, entry.type, f"{entry.mode:o}", entry.user, entry.group]
    return [*value, entry.size] if entry.type == FILE else [*value, entry.target] if entry.type == LINK else value


def _package_value(package: Package) -> dict[str, Any]:
    texts = {name: text for name in _TEXTS if (text := getattr(package, name))}
    return {**texts, **({"qualifiers": dict(package.qualifiers)} if package.qualifiers else {})}


def read(raw: bytes) -> Inventory:
    """Return the inventory in the bytes of `write`; raises `UnreadableInventory` for anything else."""
    try:
        value = object_of(b"".join(inflated([raw], most=MOST_PRINTED)), most=MOST_PRINTED)
        if value.get("version") != FORMAT_VERSION:
            raise UnreadableInventory(f"it has format version {shown(str(value.get('version')))[:20]}")
        paths, packages = list_of(value, "paths", list), list_of(value, "packages", dict)
        if len(paths) > MOST_ENTRIES or len(packages) > MOST_PACKAGES:
            raise UnreadableInventory("it has more paths or packages than an inventory")
        return inventory_of(map(_entry, paths), map(_package, packages))
    except UnreadableInventory:
        raise
    except ValueError as error:
        raise UnreadableInventory(str(error)) from error


def _entry(value: list[Any]) -> Entry:
    path, kind, mode, user, group, last = (value + [None] * 6)[:6]
    texts = (path, kind, mode, *([last] if kind == LINK else []))
    if not all(isinstance(each, str) and len(each) <= LONGEST_PATH for each in texts) or kind not in TYPES:
        raise UnreadableInventory("it has a path without its fields")
    octal = int(mode, 8) if mode.isascii() and mode.isdecimal() and not set(mode) & {"8", "9"} else MOST_MODE + 1
    numbers = ((octal, MOST_MODE), (user, MOST_ID), (group, MOST_ID), (last if kind == FILE else 0, MOST_SIZE))
    if not all(type(number) is int and 0 <= number <= most for number, most in numbers) or not is_path(path):
        raise UnreadableInventory("it has a path with a mode, owner or size that no system has")
    return Entry(
        path=path,
        type=kind,
        mode=octal,
        user=user,
        group=group,
        size=int(last) if kind == FILE else 0,
        target=str(last) if kind == LINK else "",
    )


def _package(value: Mapping[str, Any]) -> Package:
    texts = {name: value.get(name, "") for name in _TEXTS}
    if not all(isinstance(each, str) for each in texts.values()) or not texts["name"] or not texts["type"]:
        raise UnreadableInventory("it has a package without its fields")
    return Package(**texts, qualifiers=tuple(sorted(texts_of(value, "qualifiers").items())))
