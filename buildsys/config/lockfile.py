"""What `buildsys.lock` says: the timestamp, digests of parents, epochs, checksums of downloads, copied layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from types import MappingProxyType

from buildsys import texts
from buildsys.errors import Diagnostic, Diagnostics, InvalidInput, Location
from buildsys.names import LOCK_FILE, OVERLAY_FILE
from buildsys.oci.reference import name_of
from buildsys.recipes.fields import NOTHING, SHA256, TEXT, newer_format
from buildsys.recipes.recipe import Recipe
from buildsys.records import hints
from buildsys.records.schema import Record, location_of, nullable, optional, parse, required
from buildsys.records.shapes import Boolean, Converted, Dictionary, Integer, Many, Shape, Text
from buildsys.records.source import read
from buildsys.values import dataclass

_LIKE_DIGEST = "`sha256:` and 64 hexadecimal digits"
_RELOCK = "remove the entry and run `buildsys lock`"
DIGEST = Text(form="^sha256:[0-9a-f]{64}$", like=_LIKE_DIGEST, repair=hints.digest, advice=_RELOCK)
_DIGEST: Shape[str | None] = Converted(
    Text(
        form=r"^(sha256:[0-9a-f]{64}|unknown)$",
        like=f"{_LIKE_DIGEST}, or `unknown`",
        repair=hints.digest,
        advice=_RELOCK,
    ),
    lambda text: None if text == "unknown" else text,
)
_CHECKSUM = Text(
    form="^[0-9a-f]{64}$",
    like="64 hexadecimal digits",
    repair=hints.checksum,
    advice="remove the entry and run `buildsys add`",
)
REVISION = "[A-Za-z0-9][A-Za-z0-9._/+-]*"
"""The form of a branch, a tag or a commit that layers are copied from: neither an option of git nor a pattern."""
_REF = Text(form=f"^{REVISION}$", like="a branch, a tag or a commit", advice="run `buildsys add --update --from`")
_IMAGE = Text(rule=texts.image, what="the image", repair=str.lower, advice="write the repository and its tag")
_HELPER = Text(
    form=r"^.+@sha256:[0-9a-f]{64}$",
    like="an image with its digest, such as `docker.io/library/debian@sha256:…`",
    rule=texts.image,
    advice="write the digest of the image, or remove the entry",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedParent:
    """A parent image: `reference` has no digest; `digest` is None where it is unknown, `reason` says why.

    `digest` is that of the index where the image has one, `platforms` those of its manifests; `source` is where the
    digest was found if not in a registry. A file may list `images`; the first is the reference. `local` are
    the entries of an overlay. An unknown digest that is `accepted` is not warned of. `triggers` says that it has
    ONBUILD, which is looked for where an image is assembled on it. `location` is that of the digest.
    """

    reference: str = optional(_IMAGE, "")
    digest: str | None = required(_DIGEST, "that of the image, or `unknown` with a `reason`")
    reason: str | None = nullable(TEXT, None)
    source: str | None = nullable(TEXT, None)
    platforms: Mapping[str, str] = nullable(Dictionary(DIGEST), NOTHING)
    images: tuple[str, ...] = optional(Many(_IMAGE), ())
    accepted: bool = optional(Boolean(), False)
    triggers: bool = optional(Boolean(), False)
    local: bool = False
    location: Location | None = location_of("digest")

    @property
    def pinned(self) -> str:
        """The reference with its digest, if that is known, and then without its tag, which says less."""
        if self.digest is None:
            return self.reference
        return f"{name_of(self.reference)}@{self.digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedDownload:
    """What an address gave whose checksum its layer does not know; `size` is in bytes.

    A checksum of None is unknown here too, which is `accepted`.
    """

    sha256: str | None = required(SHA256)
    size: int = optional(Integer(0), 0)
    accepted: bool = optional(Boolean(), False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedLayer:
    """A layer that was copied: `origin` is `buildsys`, a folder or the address of a git repository.

    `ref` is what was asked of the repository, such as a branch; `revision` is the commit, or the version of buildsys.
    `sha256` is the checksum of the layer's files as they were copied.
    """

    origin: str = required(TEXT, "where the layer was copied from")
    ref: str = optional(_REF, "")
    revision: str = optional(TEXT, "")
    sha256: str = required(_CHECKSUM)


def epoch_parts(epoch: str) -> tuple[date, int]:
    """Return the day of an epoch and its counter, which is 1 where none is written; epochs are ordered by these.

    Raises `ValueError` for a day that does not exist.
    """
    day, _, counter = epoch.partition(".")
    return date.fromisoformat(day), int(counter or 1)


def epoch_name(recipe: Recipe, epochs: Mapping[str, str]) -> str:
    """Return which entry of `epochs` is that of a recipe: its layer and flavour if they have one, else its layer."""
    own = f"{recipe.layer}/{recipe.flavour}"
    return own if own in epochs else recipe.layer


def timestamp_text(seconds: int) -> str:
    """Return a time in seconds since 1970 as it is written in the lock."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def timestamp_of(text: str) -> int:
    """Return the seconds since 1970 of a time as it is written in the lock; raises `ValueError` for any other text."""
    return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())


def timestamp_problem(text: str) -> str | None:
    """Return what is wrong with a timestamp, None if it is fine."""
    try:
        seconds = timestamp_of(text)
    except ValueError:
        return _LIKE_TIME
    # Wherever a clock is west of UTC, 1980 begins later, and zip archives hold no earlier day.
    return None if seconds >= FIRST_TIMESTAMP else f"a time from {timestamp_text(FIRST_TIMESTAMP)} on"


def _epoch_problem(epoch: str) -> str | None:
    try:
        epoch_parts(epoch)
    except ValueError:
        return _LIKE_EPOCH
    return None


def _version_problem(version: str) -> str | None:
    return None if version == "1" else "`1`, the version that this buildsys reads"


# The first day that a zip archive can hold is 1980-01-01, in local time.
FIRST_TIMESTAMP = 315619200
# The timestamp of a project whose lock has none: 1980-01-02T00:00:00Z.
DEFAULT_TIMESTAMP = FIRST_TIMESTAMP
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_LIKE_TIME = "a time in UTC such as `2026-11-23T00:00:00Z`"
_TIMESTAMP: Shape[int] = Converted(
    Text(
        form=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$",
        like=_LIKE_TIME,
        rule=timestamp_problem,
        advice="run `buildsys lock --timestamp`, which sets today",
    ),
    timestamp_of,
)
_LIKE_EPOCH = "a day such as `2026-11-23`, or with a counter from 2 on, `2026-11-23.2`"
_EPOCH = Text(
    form=r"^\d{4}-\d{2}-\d{2}(\.([2-9]|[1-9]\d{1,5}))?$",
    like=_LIKE_EPOCH,
    rule=_epoch_problem,
    advice="write the year, the month and the day, or remove the entry and run `buildsys lock`",
)


class _Version(Text):
    """The version of the format, whose only one is 1."""

    example = "1"


_VERSION = _Version(rule=_version_problem, repair=lambda _: "1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The lock of a project; `epochs` maps layers with `freshness` to their last refresh: a day, and maybe a counter.

    A key is `layer`, or `layer/flavour` for one flavour of it.
    `timestamp` is in seconds since 1970, None where the lock has none. `downloads` maps address to what it gave.
    `helper` is the image on which nodes are listed, where it is none of the parents (docs/inventory.md). `layers` are
    those that were copied into the project (docs/projects.md).
    """

    version: str = required(_VERSION, default="1")
    timestamp: int | None = nullable(_TIMESTAMP, None)
    parents: Mapping[str, LockedParent] = nullable(Dictionary(Record(LockedParent, "LockedParent")), NOTHING)
    epochs: Mapping[str, str] = nullable(Dictionary(_EPOCH), NOTHING)
    downloads: Mapping[str, LockedDownload] = nullable(Dictionary(Record(LockedDownload, "LockedDownload")), NOTHING)
    helper: str = optional(_HELPER, "")
    layers: Mapping[str, LockedLayer] = nullable(Dictionary(Record(LockedLayer, "LockedLayer")), NOTHING)


_LOCK = Record(Lock, "Lock")


def parse_lock(text: str, file: str = LOCK_FILE) -> Lock:
    """Return what a lock file says; raises `InvalidInput` with everything that is wrong."""
    source = read(text, file)
    if newer := newer_format(source, "version"):
        raise InvalidInput([newer])
    diagnostics = Diagnostics()
    lock = parse(source, _LOCK, diagnostics)
    if diagnostics:
        raise InvalidInput(diagnostics)
    parents = {}
    for name, parent in lock.parents.items() if lock else ():
        location = source.key_location(("parents", name))
        reference = parent.images[0] if parent.images else parent.reference
        if not reference:
            message = f"the entry `{name}` has no `reference`"
            hint = "add `reference: …`, the image with its tag, or remove the entry and run `buildsys lock`"
            diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
        if parent.digest is None and parent.reason is None:
            message = f"the digest of `{name}` is unknown, and no `reason` says why"
            hint = "add `reason: …`, or remove the entry and run `buildsys lock`"
            diagnostics.append(Diagnostic(message=message, location=parent.location, hint=hint))
        parents[name] = replace(parent, reference=reference, images=(), local=file == OVERLAY_FILE)
    for address, download in lock.downloads.items() if lock else ():
        if download.sha256 is None and not download.accepted:
            message = f"the checksum of `{address}` is unknown, and that is not `accepted`"
            location = source.location(("downloads", address, "sha256"))
            diagnostics.append(Diagnostic(message=message, location=location, hint="add `accepted: true`"))
    if diagnostics or lock is None:
        raise InvalidInput(diagnostics)
    return replace(lock, parents=MappingProxyType(parents))


def copied_layers(text: str) -> frozenset[str]:
    """Return the layers that were copied into a project by its lock; none where the lock is wrong."""
    # Most locks have none, and are read only once.
    if "\nlayers:" not in text:
        return frozenset()
    try:
        return frozenset(parse_lock(text).layers)
    except InvalidInput:
        return frozenset()


def overlaid(lock: Lock, overlay: Lock) -> Lock:
    """Return the lock with the entries of an overlay in place of its own."""
    return Lock(
        timestamp=overlay.timestamp or lock.timestamp,
        parents=MappingProxyType({**lock.parents, **overlay.parents}),
        epochs=MappingProxyType({**lock.epochs, **overlay.epochs}),
        downloads=MappingProxyType({**lock.downloads, **overlay.downloads}),
        helper=overlay.helper or lock.helper,
        layers=lock.layers,
    )


def lock_text(lock: Lock) -> str:
    """Return the lock as the text of its file: everything sorted by name, the same bytes for the same lock."""
    lines = ["# Written by `buildsys lock`; a person may edit it, the command keeps what it finds.", "version: 1"]
    lines += [f"timestamp: {timestamp_text(lock.timestamp)}"] if lock.timestamp is not None else []
    lines += [f"helper: {lock.helper}"] if lock.helper else []
    lines += _section("epochs", [f"  {layer}: {epoch}" for layer, epoch in sorted(lock.epochs.items())])
    parents = []
    for name, parent in sorted(lock.parents.items()):
        parents += [f"  {name}:", f"    reference: {parent.reference}", f"    digest: {parent.digest or 'unknown'}"]
        parents += [f"    reason: {_quoted(parent.reason or '')}"] if parent.digest is None else []
        parents += ["    accepted: true"] if parent.digest is None and parent.accepted else []
        parents += [f"    source: {_quoted(parent.source)}"] if parent.source else []
        parents += ["    triggers: true"] if parent.triggers else []
        if parent.platforms:
            parents += ["    platforms:", *(f"      {k}: {v}" for k, v in sorted(parent.platforms.items()))]
    lines += _section("parents", parents)
    downloads = []
    for address, download in sorted(lock.downloads.items()):
        downloads += [f"  {_quoted(address)}:", f"    sha256: {download.sha256 or 'unknown'}"]
        downloads += [f"    size: {download.size}" if download.sha256 else "    accepted: true"]
    lines += _section("downloads", downloads)
    layers = []
    for name, layer in sorted(lock.layers.items()):
        layers += [f"  {name}:", f"    origin: {_quoted(layer.origin)}"]
        layers += [f"    ref: {_quoted(layer.ref)}"] if layer.ref else []
        layers += [f"    revision: {_quoted(layer.revision)}"] if layer.revision else []
        layers += [f"    sha256: {layer.sha256}"]
    lines += _section("layers", layers)
    return "".join(f"{line}\n" for line in lines)


def _section(name: str, lines: list[str]) -> list[str]:
    return [f"{name}:", *lines] if lines else []


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
