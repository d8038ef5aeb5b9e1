"""What is read and written beside images: documents about one, and the bytes of its layers.

A document is a manifest with one blob, whose subject is the image's manifest where it is about one:
https://github.com/opencontainers/image-spec/blob/main/manifest.md ("Guidelines for Artifact Usage").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from buildsys.foreign import MOST_BYTES, object_of
from buildsys.oci.client import ImageRegistry
from buildsys.oci.http import DigestMismatch, NotFound, UnexpectedAnswer, UnreadableManifest
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Manifest, Reference
from buildsys.values import dataclass

_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
# https://github.com/opencontainers/image-spec/blob/main/annotations.md
CREATED = "org.opencontainers.image.created"
_CREATED_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactType:
    """The media types of a kind of document: that of its manifest and that of its blob."""

    manifest: str
    blob: str


TIME = ArtifactType(manifest="application/vnd.buildsys.time.v1", blob=_EMPTY_TYPE)
"""A document that says nothing but the time, in the annotation of its manifest."""


def time_text(seconds: float) -> str:
    """Return a time in seconds since 1970 as the annotation `CREATED` has it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime(_CREATED_FORM)


def time_of(annotations: Iterable[tuple[str, str]]) -> float | None:
    """Return the time in the annotations of a manifest, in seconds since 1970; None where none can be read."""
    try:
        return datetime.strptime(dict(annotations).get(CREATED, ""), _CREATED_FORM).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def dated(seconds: float) -> Mapping[str, str]:
    """Return the annotation of a document that was written at a time in seconds since 1970."""
    return {CREATED: time_text(seconds)}


def put_time(registry: ImageRegistry, location: Reference, subject: Descriptor, seconds: float) -> Descriptor:
    """Store a time beside a manifest that does not have it, or has another; in seconds since 1970."""
    return put_artifact(registry, location, TIME, _EMPTY, subject, annotations=dated(seconds))


def subject_of(manifest: Manifest) -> tuple[str, str]:
    """Return the type of a document and the digest of the manifest that it is about, each empty where there is none."""
    value = object_of(manifest.raw)
    kind, about = value.get("artifactType"), value.get("subject")
    digest = about.get("digest") if isinstance(about, dict) else None
    return kind if isinstance(kind, str) else "", digest if isinstance(digest, str) else ""


def put_artifact(
    registry: ImageRegistry,
    location: Reference,
    kind: ArtifactType,
    data: bytes,
    subject: Descriptor | None = None,
    *,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Descriptor:
    """Store a document under a tag, and return the descriptor of its manifest."""
    config = registry.put_blob(location, _EMPTY)
    blob = registry.put_blob(location, data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind.manifest,
        "config": _value(_EMPTY_TYPE, config),
        "layers": [_value(kind.blob, blob)],
        **({"subject": _value(subject.media_type, subject)} if subject else {}),
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    return registry.put_manifest(location, raw, OCI_MANIFEST)


def find_artifact(
    registry: ImageRegistry, location: Reference, kind: ArtifactType, subject: str | None = None
) -> bytes | None:
    """Return the document under a tag, None if there is none of that kind for the manifest with the digest `subject`.

    Without `subject`, for any manifest or none. What cannot be read, or is not what its digest says, counts as missing:
    it can be written once more.
    """
    try:
        manifest = registry.manifest(location)
        if manifest is None or len(manifest.layers) != 1:
            return None
        value, (blob,) = object_of(manifest.raw), manifest.layers
        about = value.get("subject") or {}
        if value.get("artifactType") != kind.manifest or blob.media_type != kind.blob or blob.size > MOST_BYTES:
            return None
        if not isinstance(about, dict) or (subject is not None and about.get("digest") != subject):
            return None
        return registry.blob(location, blob.digest)
    except (DigestMismatch, NotFound, UnreadableManifest):
        return None


def pieces(registry: ImageRegistry, repository: Reference, blob: Descriptor) -> Iterator[bytes]:
    """Yield a blob of any size in parts that are asked for one by one; behind the last one its digest is checked.

    A registry that knows no ranges answers with the whole blob, which is taken only where it is small. Raises
    RegistryProblem.
    """
    digest, position = hashlib.sha256(), 0
    while position < blob.size:
        last = min(position + MOST_BYTES, blob.size) - 1
        part = registry.blob_part(repository, blob.digest, position, last)
        if len(part) not in ((blob.size, last + 1) if position == 0 else (last + 1 - position,)):
            message = f"registry `{repository.host}` answered with another part of `{blob.digest}` than asked for"
            raise UnexpectedAnswer(message, host=repository.host)
        position += len(part)
        digest.update(part)
        yield part
    if blob.digest != (found := f"sha256:{digest.hexdigest()}"):
        message = f"`{repository.with_digest(blob.digest)}` has the digest `{found}`"
        raise DigestMismatch(message, host=repository.host)


def _value(media_type: str, descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": media_type, "digest": descriptor.digest, "size": descriptor.size}
