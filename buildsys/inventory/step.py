"""What the step on the builder runs, and how an inventory is read from what it prints.

It prints a record for each path, `E<type> <mode> <user> <group> <size> <path> NUL <target> NUL` with the mode in octal,
behind that of a path newer than images may be `N<time> NUL`, behind that of a package database `C<length> NUL` and so
many bytes of it. Then come records `B<time> <path> NUL` of what is newer in the base already, and `Z` at the end. All
of it is text of others: the author of the node chose its paths, and nothing here is longer or more than it may be.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

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
    path_text,
)
from buildsys.inventory.packages import DATABASES, database_of, packages_in

RESULT = "inventory"
"""The file that the step writes."""
HELPER, NODE, BASE = "helper", "node", "base"
"""The contexts of its Dockerfile: the image that it runs on, what is listed, and what that was built on."""
NO_TOOLS = b"T"
"""What it prints on an image without a `find` that has `-printf`."""
MOST_PRINTED = 256 << 20
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_RECORD = re.compile(rb"E(\w) ([0-7]{1,5}) ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,15}) ([^\0]+)\0([^\0]*)\0")
_CONTENT = re.compile(rb"C([0-9]{1,9})\0")
_NEWER = re.compile(rb"N([0-9.]{1,40})\0")
_OF_BASE = re.compile(rb"B([0-9.]{1,40}) ([^\0]+)\0")


def dockerfile(*, timestamp: int, has_base: bool = False) -> str:
    """Return the Dockerfile of the step: it mounts a node, lists it, and results in the list alone.

    `timestamp` is the time, in seconds since 1970, that no file of a published image is newer than.

    It starts no program of the node. `find` flushes what it has printed before it starts another program, so records
    and contents do not mix (findutils 4.9, 4.10). Without a network the step starts in half the time.
    """
    mounted = (NODE, BASE) if has_base else (NODE,)
    mounts = " ".join(f"--mount=type=bind,from={each},target=/{each}" for each in mounted)
    command = json.dumps(["/bin/sh", "-c", _script(timestamp, has_base=has_base)])
    return (
        f"FROM --platform=$BUILDPLATFORM {HELPER} AS list\n"
        "USER 0:0\n"
        f"RUN --network=none {mounts} {command}\n"
        "FROM scratch\n"
        f"COPY --from=list /{RESULT} /\n"
    )


def _script(timestamp: int, *, has_base: bool) -> str:
    tests = " -o ".join(
        f"-path '/{NODE}/{each.pattern}' -size -{each.most}c -printf 'C%s\\0' -exec cat '{{}}' ';'"
        f" -o -path '/{NODE}/{each.pattern}' -printf 'C{each.most}\\0' -exec head -c {each.most} '{{}}' ';'"
        for each in DATABASES
    )
    newer = f"-newermt @{timestamp} -printf"
    listed = (
        f"find /{NODE} -mindepth 1 -printf 'E%y %m %U %G %s %P\\0%l\\0' '(' {newer} 'N%T@\\0' -o -true ')' "
        f"-type f '(' {tests} ')'"
    )
    if has_base:
        listed += f"; find /{BASE} -mindepth 1 {newer} 'B%T@ %P\\0'"
    return (
        "pack=cat; if command -v gzip >/dev/null; then pack='gzip -1'; fi; "
        f"if find / -maxdepth 0 -printf '' && command -v head cat >/dev/null; then "
        f"{{ {listed}; printf Z; }} | head -c {MOST_PRINTED} | $pack; "
        f"else printf {NO_TOOLS.decode()}; fi >/{RESULT}"
    )


def read_printed(raw: bytes) -> Inventory:
    """Return the inventory that the step printed; raises `UnreadableInventory` for anything else."""
    data = _unpacked(raw)
    entries: list[Entry] = []
    packages: list[Package] = []
    newer: dict[bytes, bytes] = {}
    position = 0
    while (record := _RECORD.match(data, position)) is not None:
        entry = _entry(record)
        entries.append(entry)
        if len(entries) > MOST_ENTRIES:
            raise UnreadableInventory(f"it has more than {MOST_ENTRIES} paths")
        position = record.end()
        if time := _NEWER.match(data, position):
            newer[record[6]] = time[1]
            position = time.end()
        if content := _CONTENT.match(data, position):
            end = content.end() + int(content[1])
            database = database_of(entry.path)
            if database is None or entry.type != FILE or int(content[1]) != min(entry.size, database.most):
                raise UnreadableInventory("it has the content of a file that is not a package database")
            packages += packages_in(entry.path, data[content.end() : end])
            position = end
    while (record := _OF_BASE.match(data, position)) is not None:
        if newer.get(record[2]) == record[1]:
            del newer[record[2]]
        position = record.end()
    if data[position:] != b"Z":
        raise UnreadableInventory(f"it ends at byte {position} of {len(data)}")
    if len(packages) > MOST_PACKAGES:
        raise UnreadableInventory(f"it has more than {MOST_PACKAGES} packages")
    return replace(inventory_of(entries, packages), newer=tuple(map(path_text, newer)))


def _entry(record: re.Match[bytes]) -> Entry:
    kind, path = record[1].decode("ascii", "replace"), path_text(record[6])
    mode, user, group, size = int(record[2], 8), int(record[3]), int(record[4]), int(record[5])
    target = path_text(record[7])
    if kind not in TYPES or mode > MOST_MODE or max(user, group) > MOST_ID or size > MOST_SIZE:
        raise UnreadableInventory("it has a path with a type, mode, owner or size that no system has")
    if max(len(path), len(target)) > LONGEST_PATH or not is_path(path) or bool(target) != (kind == LINK):
        raise UnreadableInventory("it has a path that no system has")
    return Entry(
        path=path,
        type=kind,
        mode=0o777 if kind == LINK else mode,
        user=user,
        group=group,
        size=size if kind == FILE else 0,
        target=target,
    )


def is_path(path: str) -> bool:
    """Whether a text is a path as an inventory has it: relative, without empty parts and dots."""
    return not {"", ".", ".."} & {*path.split("/")}


def _unpacked(raw: bytes) -> bytes:
    if len(raw) > MOST_PRINTED:
        raise UnreadableInventory(f"it has more than {MOST_PRINTED >> 20} MiB")
    if not raw.startswith(_GZIP):
        return raw
    return b"".join(inflated([raw], most=MOST_PRINTED))


def inflated(pieces: Iterable[bytes], *, most: int) -> Iterator[bytes]:
    """Yield what gzip packed, of at most `most` bytes, in pieces; raises `UnreadableInventory`."""
    total, unpacker = 0, zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            rest = piece
            while True:
                found = unpacker.decompress(rest, _PIECE)
                total += len(found)
                if total > most:
                    raise UnreadableInventory(f"it has more than {most >> 20} MiB")
                yield found
                rest = unpacker.unconsumed_tail
                if unpacker.eof:
                    # A file of several members has the contents of all of them.
                    rest, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
                    if not rest:
                        break
                elif not rest and len(found) < _PIECE:
                    break
    except zlib.error as error:
        raise UnreadableInventory("it is packed in a way that cannot be read") from error
