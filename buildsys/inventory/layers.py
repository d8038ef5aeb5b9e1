"""The inventory of an image that was pushed, read from its layers: tar archives, the later one over the earlier."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from buildsys.inventory.model import (
    FILE,
    FOLDER,
    LINK,
    LONGEST_PATH,
    MOST_ENTRIES,
    MOST_ID,
    MOST_MODE,
    MOST_SIZE,
    Entry,
    Inventory,
    Package,
    UnreadableInventory,
    inventory_of,
    path_text,
)
from buildsys.inventory.packages import database_of, packages_in
from buildsys.inventory.step import inflated
from buildsys.values import dataclass

_BLOCK = 512
# Of the text before one entry: a name, a symlink's target, extended attributes.
_MOST_HEADER = 1 << 20
# What a hard link of a layer may name without a copy of its content.
_MOST_LAYER = 1 << 40
_REMOVED, _EMPTIED = ".wh.", ".wh..wh..opq"
_TYPES = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"2": LINK, b"3": "c", b"4": "b", b"6": "p"}
_HARD_LINK, _PAX, _PAX_OF_ALL, _LONG_NAME, _LONG_TARGET = b"1", b"x", b"g", b"L", b"K"


def read_layers(layers: Iterable[Iterable[bytes]]) -> Inventory:
    """Return the inventory of an image; each layer is a tar archive in pieces, packed by gzip or not, the lowest first.

    Raises `UnreadableInventory` for anything else, and for what is more than an inventory may have.
    """
    root = _Path()
    for layer in layers:
        _Layer(root=root, stream=_Stream(_plain(layer))).apply()
    entries, packages = list[Entry](), list[Package]()
    waiting = [*root.below.values()]
    while waiting:
        path = waiting.pop()
        waiting += path.below.values()
        if path.entry is not None:
            entries.append(path.entry)
            packages += path.packages
    return inventory_of(entries, packages)


@dataclass(slots=True)
class _Path:
    """One path of the file system so far."""

    entry: Entry | None = None
    packages: tuple[Package, ...] = ()
    below: dict[str, _Path] = field(default_factory=dict)


def _plain(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a layer without its compression."""
    pieces = iter(pieces)
    first = next(pieces, b"")
    rest = _joined(first, pieces)
    if first.startswith(b"\x1f\x8b"):
        return inflated(rest, most=_MOST_LAYER)
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        raise UnreadableInventory("a layer is packed by zstd, which is not read")
    return rest


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


@dataclass(slots=True)
class _Stream:
    """Bytes that come in pieces, read in order."""

    pieces: Iterator[bytes]
    piece: bytes = b""
    position: int = 0

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        found = io.BytesIO()
        self.skip(size, found)
        return found.getvalue()

    def skip(self, size: int, into: io.BytesIO | None = None) -> None:
        """Pass over so many bytes; raises `UnreadableInventory` where they end early and are not wanted."""
        while size:
            if self.position == len(self.piece):
                piece = next(self.pieces, None)
                if piece is None:
                    if into is None:
                        raise UnreadableInventory("a layer ends early")
                    return
                self.piece, self.position = piece, 0
            taken = min(size, len(self.piece) - self.position)
            if into is not None:
                into.write(self.piece[self.position : self.position + taken])
            self.position += taken
            size -= taken


@dataclass(slots=True, kw_only=True)
class _Layer:
    """One layer that is put over a file system."""

    root: _Path
    stream: _Stream
    count: int = 0
    own: set[int] = field(default_factory=set)

    def apply(self) -> None:
        named: dict[bytes, bytes] = {}
        while (header := self.stream.read(_BLOCK)).strip(b"\0"):
            kind, size = _checked(header)
            if kind in (_PAX, _PAX_OF_ALL, _LONG_NAME, _LONG_TARGET):
                text = self._text(size)
                if kind == _PAX:
                    named |= _records(text)
                elif kind != _PAX_OF_ALL:
                    named[b"path" if kind == _LONG_NAME else b"linkpath"] = text.rstrip(b"\0")
                continue
            self.count += 1
            if self.count > MOST_ENTRIES:
                raise UnreadableInventory(f"a layer has more than {MOST_ENTRIES} paths")
            self._put(header, kind, named)
            named = {}
        # What follows the end is read too: it counts for the digest.
        while next(self.stream.pieces, None) is not None:
            pass

    def _text(self, size: int) -> bytes:
        if size > _MOST_HEADER:
            raise UnreadableInventory("a layer has a header that is too large")
        text = self.stream.read(size)
        self.stream.skip(-size % _BLOCK)
        return text

    def _put(self, header: bytes, kind: bytes, named: dict[bytes, bytes]) -> None:
        prefix = _field(header, 345, 155) if header[257:263] == b"ustar\0" else b""
        name = named.get(b"path") or b"/".join(part for part in (prefix, _field(header, 0, 100)) if part)
        linked = named.get(b"linkpath") or _field(header, 157, 100)
        target = path_text(linked)
        path, size = _normal(name), _number(named.get(b"size"), header[124:136])
        has_content = kind in _TYPES and _TYPES[kind] == FILE
        content = self._content(path, size if has_content else 0)
        parts = path.split("/") if path else []
        if not parts:
            return
        if max(len(path), len(target)) > LONGEST_PATH or ".." in parts:
            raise UnreadableInventory("a layer has a path that no system has")
        if parts[-1].startswith(_REMOVED):
            self._remove(parts)
            return
        place = self._folder(parts[:-1]).below.setdefault(parts[-1], _Path())
        self.own.add(id(place))
        if kind == _HARD_LINK:
            source = self._find(_normal(linked).split("/"))
            if source is None or source.entry is None:
                raise UnreadableInventory("a layer has a hard link to nothing")
            place.entry, place.packages, place.below = replace(source.entry, path=path), (), {}
            return
        if kind not in _TYPES:
            raise UnreadableInventory("a layer has a path of a type that no system has")
        owner = tuple(_number(named.get(key), header[at : at + 8]) for key, at in ((b"uid", 108), (b"gid", 116)))
        mode = _number(None, header[100:108]) & MOST_MODE
        if max(owner) > MOST_ID or size > MOST_SIZE:
            raise UnreadableInventory("a layer has a path with an owner or size that no system has")
        type_ = _TYPES[kind]
        if type_ != FOLDER:
            place.below = {}
        place.entry = Entry(
            path=path,
            type=type_,
            mode=0o777 if type_ == LINK else mode,
            user=owner[0],
            group=owner[1],
            size=size if type_ == FILE else 0,
            target=target if type_ == LINK else "",
        )
        place.packages = packages_in(path, content) if content else ()

    def _content(self, path: str, size: int) -> bytes:
        """Return the content of a package database, nothing of any other file, and pass over the rest."""
        database = database_of(path)
        content = self.stream.read(min(size, database.most)) if database else b""
        self.stream.skip(size - len(content) + -size % _BLOCK)
        return content

    def _folder(self, parts: list[str]) -> _Path:
        """Return a folder, created as an engine does where the layer does not say how it is."""
        place = self.root
        for number, part in enumerate(parts, 1):
            place = place.below.setdefault(part, _Path())
            if place.entry is None or place.entry.type != FOLDER:
                path = "/".join(parts[:number])
                place.entry = Entry(path=path, type=FOLDER, mode=0o755, user=0, group=0)
                place.packages = ()
        return place

    def _find(self, parts: list[str]) -> _Path | None:
        place: _Path | None = self.root
        for part in parts:
            place = place.below.get(part) if place else None
        return place

    def _remove(self, parts: list[str]) -> None:
        """Remove what a whiteout names, or all of a folder but what this layer itself puts there."""
        folder = self._find(parts[:-1])
        if folder is None:
            return
        if parts[-1] == _EMPTIED:
            folder.below = {name: place for name, place in folder.below.items() if id(place) in self.own}
        else:
            folder.below.pop(parts[-1].removeprefix(_REMOVED), None)


def _checked(header: bytes) -> tuple[bytes, int]:
    """Return type and size of an entry; raises `UnreadableInventory` for anything else."""
    if len(header) < _BLOCK:
        raise UnreadableInventory("a layer ends early")
    if _number(None, header[148:156]) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise UnreadableInventory("a layer is no tar archive")
    return header[156:157], _number(None, header[124:136])


def _number(stated: bytes | None, raw: bytes) -> int:
    """Return a number of a header: as text in base 10 if it is stated so, else in base 8, or in binary."""
    try:
        if stated is not None:
            return max(0, int(stated[:20]))
        if raw[0] & 0x80:
            return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        return int(raw.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise UnreadableInventory("a layer has a number that cannot be read") from error


def _field(header: bytes, start: int, length: int) -> bytes:
    return header[start : start + length].split(b"\0", 1)[0]


def _records(text: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header, `<length> <key>=<value>` with a newline, that say something known."""
    found = {}
    while text:
        length, blank, _ = text.partition(b" ")
        if not blank or not length.isdigit() or len(length) > 8 or not len(length) < int(length) <= len(text):
            raise UnreadableInventory("a layer has a header that cannot be read")
        key, _, value = text[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key] = value
        text = text[int(length) :]
    return found


def _normal(name: bytes) -> str:
    return "/".join(part for part in path_text(name).split("/") if part not in ("", "."))
