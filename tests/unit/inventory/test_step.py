"""What the step on the builder prints is read whole, or refused: every byte of it may be chosen by an adversary."""

from __future__ import annotations

import gzip
import itertools

import pytest

from buildsys.bake.inventory import inventory_target
from buildsys.inventory.model import Entry, UnreadableInventory, path_text
from buildsys.inventory.step import MOST_PRINTED, NO_TOOLS, dockerfile, read_printed

STATUS = b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n"


def printed(*records: bytes) -> bytes:
    return b"".join(records) + b"Z"


def record(path: bytes, words: bytes = b"f 644 0 0 0", target: bytes = b"") -> bytes:
    return b"E%b %b\0%b\0" % (words, path, target)


def test_record_becomes_an_entry_with_mode_owner_and_size() -> None:
    found = read_printed(printed(record(b"usr/bin/su", b"f 4755 0 42 71")))
    assert found.entries == {"usr/bin/su": Entry(path="usr/bin/su", type="f", mode=0o4755, user=0, group=42, size=71)}


def test_folder_and_symlink_have_no_size_and_a_symlink_its_target() -> None:
    found = read_printed(printed(record(b"lib", b"l 755 0 0 7", b"usr/lib"), record(b"usr", b"d 755 0 0 4096")))
    assert [(each.path, each.size, each.target, each.mode) for each in found.entries.values()] == [
        ("lib", 0, "usr/lib", 0o777),
        ("usr", 0, "", 0o755),
    ]


def test_paths_are_sorted_whatever_the_order_of_the_folder() -> None:
    one, other = record(b"a"), record(b"b")
    assert read_printed(printed(other, one)) == read_printed(printed(one, other))
    assert [*read_printed(printed(other, one)).entries] == ["a", "b"]


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"E f 644 0 0 0 x", b"back\\slash", "ü".encode()])
def test_any_name_that_a_file_system_takes_is_one_path(name: bytes) -> None:
    found = read_printed(printed(record(name), record(b"z")))
    assert {*found.entries} == {path_text(name), "z"}


def test_two_names_never_become_one_path() -> None:
    names = [b"\xff", b"\\xff", b"\\\\xff", b"\xc3\xbf", b"\xc3"]
    assert len({path_text(name) for name in names}) == len(names)


def test_database_is_read_behind_its_record_and_may_hold_anything() -> None:
    content = STATUS + b"Description: x\0E f 644 0 0 0 faked\0\0Z\n"
    size = len(content)
    found = read_printed(
        printed(record(b"var/lib/dpkg/status", b"f 644 0 0 %d" % size), b"C%d\0" % size, content, record(b"w"))
    )
    assert [package.name for package in found.packages] == ["bash"]
    assert [*found.entries] == ["var/lib/dpkg/status", "w"]


def test_packed_and_plain_output_are_the_same() -> None:
    raw = printed(record(b"a"))
    assert read_printed(gzip.compress(raw)) == read_printed(raw)


def test_newer_files_are_those_that_the_base_does_not_have_with_the_same_time() -> None:
    paths = [record(b"own") + b"N17.5\0", record(b"kept") + b"N18.0\0", record(b"changed") + b"N19.0\0", record(b"old")]
    base = [b"B18.0 kept\0", b"B18.5 changed\0", b"B20.0 removed\0"]
    assert sorted(read_printed(printed(*paths, *base)).newer) == ["changed", "own"]
    assert read_printed(printed(record(b"old"))).newer == ()


def test_list_is_of_one_build_whatever_the_cache_has() -> None:
    target = inventory_target("x", "target:x", "docker-image://h", platform="linux/amd64", folder="f", timestamp=17)
    assert dict(target.attributes())["no-cache"] is True
    assert "-newermt @17 " in dockerfile(timestamp=17)
    assert "from=base" not in dockerfile(timestamp=17)
    assert "--mount=type=bind,from=base,target=/base" in dockerfile(timestamp=17, has_base=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Z ",
        NO_TOOLS,
        record(b"a"),
        printed(record(b"a"))[:-3] + b"Z",
        printed(b"E"),
        printed(record(b"a", b"x 644 0 0 0")),
        printed(record(b"a", b"f 999 0 0 0")),
        printed(record(b"a", b"f 77777 0 0 0")),
        printed(record(b"a", b"f 644 -1 0 0")),
        printed(record(b"a", b"f 644 9999999999 0 0")),
        printed(record(b"../a")),
        printed(record(b"/a")),
        printed(record(b"a//b")),
        printed(record(b"a/./b")),
        printed(record(b"a" * 20_000)),
        printed(record(b"a", b"l 777 0 0 0")),
        printed(record(b"a", b"f 644 0 0 0", b"target")),
        printed(record(b"a"), b"C1\0x"),
        printed(b"N1\0", record(b"a")),
        printed(record(b"a"), b"Nx\0"),
        printed(record(b"a"), b"N1.0\0N2.0\0"),
        printed(record(b"a"), b"B1.0 a\0", record(b"b")),
        printed(record(b"a"), b"B1.0\0"),
        printed(record(b"var/lib/dpkg/status", b"f 644 0 0 5"), b"C4\0xxxx"),
        printed(record(b"var/lib/dpkg/status", b"d 755 0 0 5"), b"C5\0xxxxx"),
        printed(record(b"var/lib/dpkg/status", b"f 644 0 0 99"), b"C99\0x"),
        gzip.compress(printed(record(b"a")))[:-12],
        b"\x1f\x8bnothing",
        gzip.compress(b"\0" * (MOST_PRINTED + 1)),
    ],
    ids=itertools.count(),
)
def test_what_is_not_a_whole_list_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableInventory):
        read_printed(raw)
