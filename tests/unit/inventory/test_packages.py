"""Package databases are reduced to what a bill of materials needs."""

from __future__ import annotations

import json

import pytest

from buildsys.inventory.packages import database_of, packages_in

DPKG = b"""\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.20-1)
Version: 3.0.20-1+b1
Description: one
 of several lines
 Version: 9

Package: removed
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2-1
"""


def test_dpkg_has_source_packages_and_leaves_out_what_was_removed() -> None:
    found = packages_in("var/lib/dpkg/status", DPKG)
    assert [(each.name, each.version, each.source, each.source_version) for each in found] == [
        ("libssl3", "3.0.20-1+b1", "openssl", "3.0.20-1"),
        ("bash", "5.2-1", "bash", "5.2-1"),
    ]


def test_record_without_a_status_in_a_folder_of_records_counts_as_installed() -> None:
    (found,) = packages_in("var/lib/dpkg/status.d/base", b"Package: base-files\nVersion: 12\nArchitecture: amd64\n")
    assert (found.type, found.name, found.architecture) == ("deb", "base-files", "amd64")


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("License: MIT\n", "MIT"),
        ("License-Expression: Apache-2.0\nLicense: long\n", "Apache-2.0"),
        ("Classifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        ("License: Copyright\n  of the text\n  in lines\n", ""),
        ("\nLicense: in the description\n", ""),
    ],
)
def test_metadata_has_name_version_and_a_short_licence(text: str, licence: str) -> None:
    (found,) = packages_in("opt/x/numpy-2.0.dist-info/METADATA", f"Name: numpy\nVersion: 2.0\n{text}".encode())
    assert (found.type, found.name, found.version, found.licence) == ("pypi", "numpy", "2.0", licence)


def test_conda_has_build_and_channel_without_the_address_of_a_mirror() -> None:
    value = {
        "name": "zlib",
        "version": "1.3",
        "build": "h4ab18f5_1",
        "channel": "https://user:secret@mirror.example.com/conda-forge/linux-64",
        "license": "Zlib",
        "arch": "x86_64",
        "files": ["lib/libz.so"],
    }
    (found,) = packages_in("opt/conda/conda-meta/zlib-1.3-h4ab18f5_1.json", json.dumps(value).encode())
    assert found.qualifiers == (("build", "h4ab18f5_1"), ("channel", "conda-forge"), ("subdir", "linux-64"))
    assert (found.name, found.version, found.licence, found.architecture) == ("zlib", "1.3", "Zlib", "x86_64")
    assert "secret" not in str(found)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": 1}', b"\xff", b"{" * 10_000])
def test_conda_record_that_cannot_be_read_has_the_name_of_its_file(content: bytes) -> None:
    (found,) = packages_in("opt/conda/conda-meta/python-dateutil-2.9-py_0.json", content)
    assert (found.name, found.version, found.qualifiers) == ("python-dateutil", "2.9", (("build", "py_0"),))


@pytest.mark.parametrize("path", ["var/lib/dpkg/status", "var/lib/dpkg/status.d/x", "a/b.dist-info/METADATA"])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe: x", b": :\n :", b"Package\n\n\nName"])
def test_content_that_says_nothing_has_no_packages(path: str, content: bytes) -> None:
    assert packages_in(path, content) == ()


@pytest.mark.parametrize(
    "path",
    ["opt/var/lib/dpkg/status", "var/lib/dpkg/status-old", "a/METADATA", "a/conda-meta/history", "xconda-meta/a.json"],
)
def test_other_files_are_no_databases(path: str) -> None:
    assert database_of(path) is None
