"""Which packages the databases in a file system record, reduced to what a bill of materials needs.

Read are `var/lib/dpkg/status` and `status.d` (deb-status in dpkg's manual), `*.dist-info/METADATA` (core metadata of
Python packages) and `conda-meta/*.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from buildsys.foreign import object_of
from buildsys.inventory.model import MOST_PACKAGES, Package, UnreadableInventory
from buildsys.texts import shown
from buildsys.values import dataclass

_LONGEST_TEXT = 500
_SOURCE = re.compile(r"(?P<name>[^\s(]+)(?:\s*\((?P<version>[^)\s]+)\))?")
_LICENCE = "License :: OSI Approved :: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """Files that record packages; `most` is how many bytes of each are read.

    `pattern` is what `find -path` takes: its `*` matches anything, `/` too.
    """

    pattern: str
    most: int
    read: Callable[[str, bytes], Iterator[Package]]

    def has(self, path: str) -> bool:
        """Whether a path is one of these files."""
        return fnmatchcase(path, self.pattern)


def packages_in(path: str, content: bytes) -> tuple[Package, ...]:
    """Return the packages that one file records; `path` says which kind of database it is."""
    database = database_of(path)
    found = tuple(database.read(path, content)) if database else ()
    if len(found) > MOST_PACKAGES:
        raise UnreadableInventory(f"`{shown(path)}` has more than {MOST_PACKAGES} packages")
    return found


def database_of(path: str) -> Database | None:
    """Return the kind of database that a path is, None for any other file."""
    return next((each for each in DATABASES if each.has(path)), None)


def _dpkg(path: str, content: bytes) -> Iterator[Package]:
    for paragraph in re.split(r"\n[ \t]*\n", content.decode("utf-8", "replace").replace("\r\n", "\n")):
        fields = _fields(paragraph)
        name, version = fields.get("package", ""), fields.get("version", "")
        # A package that was removed keeps a record with its configuration.
        is_installed = fields.get("status", "install ok installed").split()[-1:] == ["installed"]
        if not name or not version or not is_installed:
            continue
        source = _SOURCE.match(fields.get("source", "")) or _SOURCE.match(name)
        yield Package(
            type="deb",
            name=name,
            version=version,
            path=path,
            architecture=fields.get("architecture", ""),
            source=source["name"] if source else name,
            source_version=(source["version"] if source else "") or version,
        )


def _wheel(path: str, content: bytes) -> Iterator[Package]:
    # A description follows behind an empty line.
    text = re.split(r"\r?\n\r?\n", content.decode("utf-8", "replace"), maxsplit=1)[0]
    fields = _fields(text)
    if name := fields.get("name", ""):
        licence = fields.get("license-expression") or fields.get("license") or _classified(text)
        # Some have the whole text of a licence there.
        licence = licence if "\n" not in licence and len(licence) < 100 else ""
        yield Package(type="pypi", name=name, version=fields.get("version", ""), path=path, licence=licence)


def _classified(text: str) -> str:
    found = re.findall(rf"^Classifier: {re.escape(_LICENCE)}(.+)$", text, re.MULTILINE)
    return " AND ".join(each.strip() for each in found)


def _conda(path: str, content: bytes) -> Iterator[Package]:
    try:
        value: Mapping[str, Any] = object_of(content)
    except ValueError:
        value = {}
    # The name of the file says the same: name, version and build have no `-` but the first.
    parts = PurePosixPath(path).stem.rsplit("-", 2)
    named = dict(zip(("name", "version", "build"), parts, strict=False)) if len(parts) == 3 else {}
    name, version, build = (_text(value, key) or named.get(key, "") for key in ("name", "version", "build"))
    if not name:
        return
    channel = _text(value, "channel").rstrip("/")
    subdir = _text(value, "subdir") or (channel.rpartition("/")[2] if "://" in channel else "")
    # An address may name a mirror of one company, with credentials.
    channel = channel.removesuffix(f"/{subdir}").rpartition("/")[2]
    qualifiers = {"build": build, "channel": channel, "subdir": subdir}
    yield Package(
        type="conda",
        name=name,
        version=version,
        path=path,
        architecture=_text(value, "arch"),
        licence=_text(value, "license"),
        qualifiers=tuple((key, each) for key, each in sorted(qualifiers.items()) if each),
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return _short(found) if isinstance(found, str) else ""


def _fields(paragraph: str) -> dict[str, str]:
    """Return the fields of a paragraph of `Name: value` lines by their names in lower case; the first of two counts."""
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for line in paragraph.split("\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t"):
            last.append(line.strip())
        elif colon:
            last = [value.strip()]
            found.setdefault(name.strip().lower(), last)
    return {name: _short("\n".join(lines).strip()) for name, lines in found.items()}


def _short(text: str) -> str:
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()


DATABASES = (
    Database(pattern="var/lib/dpkg/status", most=64 << 20, read=_dpkg),
    Database(pattern="var/lib/dpkg/status.d/*", most=1 << 16, read=_dpkg),
    Database(pattern="*.dist-info/METADATA", most=1 << 16, read=_wheel),
    Database(pattern="*/conda-meta/*.json", most=4 << 20, read=_conda),
)
"""The databases that are read."""
