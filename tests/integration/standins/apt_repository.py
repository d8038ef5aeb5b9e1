"""A folder that replaces every package source of a build: empty packages with the names that are asked for.

It is used in place of the folder `mirrors`, so that a layer's own Dockerfile runs against it unchanged.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

_USE = "export APT_CONFIG=/run/mirrors/apt.conf\n"
_APT_CONF = """Dir::Etc::SourceList "/run/mirrors/sources.list";
Dir::Etc::SourceParts "/dev/null";
"""
_SOURCES = "deb [trusted=yes] file:/run/mirrors/repository ./\n"


def mirrors_folder(folder: Path, packages: Iterable[str], installed: Collection[str] = ()) -> Path:
    """Make a mirrors folder whose only package source has the packages, and return it.

    `packages` are names, or `name=version`. `installed` are the names of what the parent image has, as `dpkg-query`
    lists them: no stand-in is built for these, or an empty `tar` would replace the real one.
    """
    repository = folder / "repository"
    repository.mkdir(parents=True)
    stanzas: list[str] = []
    for package in sorted(set(packages)):
        name, _, version = package.partition("=")
        if name in installed:
            continue
        # High enough for whatever the parent's own packages say that they break.
        fields = _control(name, version or "9:9")
        # A colon in a file's name would have to be quoted in the index.
        file = f"{len(stanzas):03}-{name}.deb"
        data = deb(fields)
        (repository / file).write_bytes(data)
        stanzas.append(f"{fields}Filename: ./{file}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")
    (repository / "Packages").write_text("\n".join(stanzas))
    (folder / "use").write_text(_USE)
    (folder / "apt.conf").write_text(_APT_CONF)
    (folder / "sources.list").write_text(_SOURCES)
    return folder


def keyring_package(key: bytes) -> bytes:
    """Return a package that holds a key, in armour, where `cuda-keyring` has NVIDIA's, without its armour."""
    files = {"usr/share/keyrings/cuda-archive-keyring.gpg": dearmoured(key)}
    return deb(_control("cuda-keyring", "1.1-1"), files)


def fingerprint(key: bytes) -> str:
    """Return the fingerprint of an armoured version 4 key (RFC 4880, 12.2): SHA-1 over its first packet."""
    packets = dearmoured(key)
    # An old-style public key packet, whose length takes one byte or two.
    start = {0x98: 2, 0x99: 3}[packets[0]]
    length = int.from_bytes(packets[1:start], "big")
    hashed = b"\x99" + length.to_bytes(2, "big") + packets[start : start + length]
    return hashlib.sha1(hashed, usedforsecurity=False).hexdigest().upper()


def dearmoured(key: bytes) -> bytes:
    """Return the packets of an armoured key."""
    lines = key.decode("ascii").splitlines()
    begin = lines.index("", lines.index("-----BEGIN PGP PUBLIC KEY BLOCK-----"))
    end = next(n for n, line in enumerate(lines) if n > begin and line.startswith(("=", "-----END")))
    return base64.b64decode("".join(lines[begin:end]))


def deb(control: str, files: Mapping[str, bytes] = {}) -> bytes:
    """Return a package with these control fields and files, the same bytes every time."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar": _tar({"control": control.encode()}),
        "data.tar": _tar(files),
    }
    return b"!<arch>\n" + b"".join(_member(name, data) for name, data in members.items())


def _control(name: str, version: str) -> str:
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Stand-in <stand-in@example.com>",
        "Description": "stand-in for a package of this name",
    }
    return "".join(f"{field}: {value}\n" for field, value in fields.items())


def _tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        root = tarfile.TarInfo("./")
        root.type, root.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(root)
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
    return header.encode("ascii") + data + b"\n" * (len(data) % 2)
