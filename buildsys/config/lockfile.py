"""What `buildsys.lock` says: the digests of parent images and the freshness epochs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.config.source import Data, Source, read
from buildsys.errors import Diagnostic, InvalidInput
from buildsys.oci.reference import name_of

LOCK_FILE = "buildsys.lock"
OVERLAY_FILE = "buildsys.lock.local"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedParent:
    """A parent image: `reference` has no digest; `digest` is None where it is unknown, `reason` says why.

    `digest` is that of the index where the image has one, `platforms` those of its manifests; `source` is where the
    digest was found if not in a registry.
    """

    reference: str
    digest: str | None
    reason: str | None = None
    source: str | None = None
    platforms: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    local: bool = False

    @property
    def pinned(self) -> str:
        """The reference with its digest, if that is known, and then without its tag, which says less."""
        if self.digest is None:
            return self.reference
        return f"{name_of(self.reference)}@{self.digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedDownload:
    """What an address gave whose checksum its layer does not know; `size` is in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The lock of a project; `epochs` maps a layer with `freshness` to the day it was last made fresh.

    `downloads` maps address to what it gave.
    """

    parents: Mapping[str, LockedParent] = field(default_factory=lambda: MappingProxyType({}))
    epochs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    downloads: Mapping[str, LockedDownload] = field(default_factory=lambda: MappingProxyType({}))


def parse_lock(text: str, file: str = LOCK_FILE) -> Lock:
    """Return what a lock file says; raises `InvalidInput` with every mistake."""
    source = read(text, file)
    diagnostics: list[Diagnostic] = []
    data = source.data if isinstance(source.data, dict) else {}
    if data.get("version") != "1":
        message = f"the lock has version `{data.get('version')}`, this buildsys reads version `1`"
        diagnostics.append(Diagnostic(message=message, location=source.location(("version",))))
    parents = {}
    for name, entry in _mapping(data.get("parents")).items():
        found = _parent(name, entry, source, diagnostics)
        if found:
            parents[name] = replace(found, local=file == OVERLAY_FILE)
    epochs = {}
    for name, value in _mapping(data.get("epochs")).items():
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            epochs[name] = value
        else:
            message = f"the epoch of `{name}` is not a day such as `2026-01-31`"
            diagnostics.append(Diagnostic(message=message, location=source.location(("epochs", name))))
    downloads = {}
    for address, entry in _mapping(data.get("downloads")).items():
        fields = _mapping(entry)
        sha256, size = fields.get("sha256"), fields.get("size")
        if isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256) and str(size).isdecimal():
            downloads[address] = LockedDownload(sha256=sha256, size=int(str(size)))
        else:
            message = f"the entry `{address}` needs a `sha256` of 64 hexadecimal digits and a `size`"
            diagnostics.append(Diagnostic(message=message, location=source.location(("downloads", address))))
    for key in data:
        if key not in ("version", "parents", "epochs", "downloads"):
            diagnostics.append(Diagnostic(message=f"unknown key `{key}`", location=source.key_location((key,))))
    if diagnostics:
        raise InvalidInput(diagnostics)
    return Lock(
        parents=MappingProxyType(parents), epochs=MappingProxyType(epochs), downloads=MappingProxyType(downloads)
    )


def overlaid(lock: Lock, overlay: Lock) -> Lock:
    """Return the lock with the entries of an overlay in place of its own."""
    return Lock(
        parents=MappingProxyType({**lock.parents, **overlay.parents}),
        epochs=MappingProxyType({**lock.epochs, **overlay.epochs}),
        downloads=MappingProxyType({**lock.downloads, **overlay.downloads}),
    )


def _parent(name: str, entry: Data, source: Source, diagnostics: list[Diagnostic]) -> LockedParent | None:
    location = source.location(("parents", name))
    fields = _mapping(entry)
    digest, reason = fields.get("digest"), fields.get("reason")
    images = fields.get("images")
    reference = images[0] if isinstance(images, list) and images else fields.get("reference")
    if not isinstance(reference, str) or not isinstance(digest, str):
        message = f"the entry `{name}` needs `images` or a `reference`, and a `digest`"
        diagnostics.append(Diagnostic(message=message, location=location))
        return None
    if digest == "unknown":
        if not isinstance(reason, str):
            message = f"the digest of `{name}` is unknown, and no `reason` says why"
            diagnostics.append(Diagnostic(message=message, location=location))
        return LockedParent(reference=reference, digest=None, reason=str(reason))
    if not _DIGEST.fullmatch(digest):
        message = f"`{digest}` is neither `unknown` nor `sha256:` and 64 hexadecimal digits"
        diagnostics.append(Diagnostic(message=message, location=source.location(("parents", name, "digest"))))
        return None
    written = fields.get("source")
    platforms = {key: str(value) for key, value in _mapping(fields.get("platforms")).items()}
    return LockedParent(
        reference=reference,
        digest=digest,
        source=written if isinstance(written, str) else None,
        platforms=MappingProxyType(platforms),
    )


def _mapping(value: Data) -> Mapping[str, Data]:
    return value if isinstance(value, dict) else {}


def lock_text(lock: Lock) -> str:
    """Return the lock as the text of its file: everything sorted by name, the same bytes for the same lock."""
    lines = ["# Written by `buildsys lock`; a person may edit it, the command keeps what it finds.", "version: 1"]
    lines += _section("epochs", [f"  {layer}: {day}" for layer, day in sorted(lock.epochs.items())])
    parents = []
    for name, parent in sorted(lock.parents.items()):
        parents += [f"  {name}:", f"    reference: {parent.reference}", f"    digest: {parent.digest or 'unknown'}"]
        parents += [f"    reason: {_quoted(parent.reason or '')}"] if parent.digest is None else []
        parents += [f"    source: {_quoted(parent.source)}"] if parent.source else []
        if parent.platforms:
            parents += ["    platforms:", *(f"      {k}: {v}" for k, v in sorted(parent.platforms.items()))]
    lines += _section("parents", parents)
    downloads = []
    for address, download in sorted(lock.downloads.items()):
        downloads += [f"  {_quoted(address)}:", f"    sha256: {download.sha256}", f"    size: {download.size}"]
    lines += _section("downloads", downloads)
    return "".join(f"{line}\n" for line in lines)


def _section(name: str, lines: list[str]) -> list[str]:
    return [f"{name}:", *lines] if lines else []


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
