"""The inventory of an image by its layers: what an engine would unpack, and nothing that it would not."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import random
import tarfile
from collections.abc import Callable

import pytest

from buildsys.inventory.layers import read_layers
from buildsys.inventory.model import UnreadableInventory

Member = tuple[str, str, str | bytes]


def layer(*members: Member, form: int = tarfile.PAX_FORMAT, mode: int = 0o644) -> bytes:
    """Return a tar archive of path, type letter, and content or target."""
    raw = io.BytesIO()
    kinds = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}
    with tarfile.open(fileobj=raw, mode="w", format=form) as archive:
        for path, kind, what in members:
            info = tarfile.TarInfo(path)
            info.type, info.mode, info.uid, info.gid = kinds[kind], 0o755 if kind == "d" else mode, 1000, 2_000_000
            content = what.encode() if isinstance(what, str) else what
            if kind in "lh":
                info.linkname = content.decode()
            info.size = len(content) if kind == "f" else 0
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def pieces(raw: bytes, size: int = 777) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def paths(*layers: bytes) -> list[str]:
    return [*read_layers(map(pieces, layers)).entries]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress])
def test_archives_of_both_forms_are_read(form: int, pack: Callable[[bytes], bytes]) -> None:
    long = "/".join(["folder"] * 40)
    raw = layer((long, "f", "x" * 1000), ("ü", "l", "t" * 150), form=form)
    found = read_layers([pieces(pack(raw))]).entries
    assert (found[long].size, found[long].user, found[long].group) == (1000, 1000, 2_000_000)
    assert found["ü"].target == "t" * 150
    assert found["folder/folder"].is_plain_folder


def test_later_layer_replaces_and_removes_what_an_earlier_one_has() -> None:
    lower = layer(("a", "d", ""), ("a/b", "f", "1"), ("a/c", "d", ""), ("a/c/d", "f", "1"), ("e", "f", "1"))
    upper = layer(("a/.wh.c", "f", ""), ("a/b", "f", "22"), (".wh.e", "f", ""), ("f", "l", "a"))
    found = read_layers(map(pieces, (lower, upper))).entries
    assert [*found] == ["a", "a/b", "f"]
    assert found["a/b"].size == 2


def test_folder_that_is_emptied_keeps_what_its_own_layer_puts_there() -> None:
    lower = layer(("a", "d", ""), ("a/old", "f", "1"))
    assert paths(lower, layer(("a/new", "f", ""), ("a/.wh..wh..opq", "f", ""))) == ["a", "a/new"]


def test_folder_that_becomes_a_symlink_has_nothing_below_it() -> None:
    assert paths(layer(("a", "d", ""), ("a/b", "f", "")), layer(("a", "l", "x"))) == ["a"]


def test_hard_link_is_a_file_of_its_own() -> None:
    found = read_layers([pieces(layer(("a", "f", "123"), ("b", "h", "a")))]).entries
    assert (found["b"].type, found["b"].size, found["b"].path) == ("f", 3, "b")


def test_databases_are_those_of_the_last_layer() -> None:
    status = "Package: bash\nStatus: install ok installed\nVersion: %s\n"
    layers = [layer(("var/lib/dpkg/status", "f", status % version)) for version in ("1", "2")]
    assert [each.version for each in read_layers(map(pieces, layers)).packages] == ["2"]


def test_removed_database_has_no_packages() -> None:
    lower = layer(("var/lib/dpkg/status", "f", "Package: bash\nVersion: 1\n"))
    assert read_layers(map(pieces, (lower, layer(("var/lib/.wh.dpkg", "f", ""))))).packages == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"x" * 512,
        b"\x28\xb5\x2f\xfd rest",
        b"\x1f\x8b" + b"x" * 600,
        layer(("a", "f", "content"))[:700],
        layer(("../a", "f", "")),
        layer(("a", "h", "nothing")),
        layer(("a", "f", "")).replace(b"ustar", b"USTAR"),
    ],
    ids=itertools.count(),
)
def test_bytes_that_are_not_a_layer_are_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableInventory):
        read_layers([pieces(raw)])


def test_damaged_bytes_are_refused_or_read_and_end_in_no_other_error() -> None:
    whole = layer(*[(f"{'long/' * 30}{number}", "f", "x" * number) for number in range(9)], ("s", "l", "t" * 200))
    chance = random.Random(7)
    for _ in range(500):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        with contextlib.suppress(UnreadableInventory):
            read_layers([pieces(bytes(raw[: chance.randrange(len(raw))]))])
