"""What a reference, a descriptor and a manifest say, as docker and registries read them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildsys.errors import Diagnostic, InvalidInput
from buildsys.foreign import list_of, object_of, texts_of
from buildsys.texts import excerpt, shown
from buildsys.values import dataclass

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_PLATFORM = ("os", "architecture", "variant")
_MOST_SIZE = 1 << 63
# Docker takes 127 layers. Many manifests are read at a time, and each value takes 200 bytes.
_MOST_VALUES = 20_000
_NOT_STORED = ("foreign", "nondistributable")
MANIFEST_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

# The grammar of https://github.com/distribution/reference; a host may also be an IPv6 address in brackets.
_HUB = "docker.io"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
LONGEST_REPOSITORY = 255
"""Characters that registries and docker take in the name of a repository, the host included."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """An image by its full name; `digest` wins over `tag` where both are given, as docker has it."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference as docker reads it; a bare name gets the tag `latest`. Raises InvalidInput."""
        name, tag, digest = _parts(text)
        host, repository = split_host(name)
        wrong = (
            _wrong("host", host, _HOST)
            or _wrong("repository", repository, _REPOSITORY)
            or (None if tag is None else _wrong("tag", tag, _TAG))
            or (None if digest is None else _wrong("digest", digest, _DIGEST))
        )
        if wrong:
            raise InvalidInput([Diagnostic(message=f"`{text}` is not an image reference: {wrong}")])
        return cls(host=host, repository=repository, tag=tag or (None if digest else "latest"), digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Host and repository, without tag and digest."""
        return f"{self.host}/{self.repository}"

    @property
    def api_host(self) -> str:
        """The host that answers for this registry; docker.io has another name there."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    @property
    def target(self) -> str:
        """The digest if there is one, otherwise the tag."""
        return self.digest or self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository under `tag`."""
        if not _TAG.fullmatch(tag):
            raise InvalidInput([Diagnostic(message=f"`{tag}` is not a tag of an image")])
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """Return the same repository at `digest`, without a tag."""
        return replace(self, tag=None, digest=digest)


def split_host(text: str) -> tuple[str, str]:
    """Return the registry of an image and the rest of its name, both as docker completes them.

    The first part is a host if it has a dot, a colon or a capital letter, or is `localhost`; otherwise the image is on
    docker.io, in `library` if it has one part only. Tag and digest stay in the rest.
    """
    host, slash, path = text.partition("/")
    if not slash or not _is_host(host):
        host, path = _HUB, text
    if host == f"index.{_HUB}":
        host = _HUB
    if host == _HUB and "/" not in path:
        path = f"library/{path}"
    return host, path


def name_of(text: str) -> str:
    """Return a reference as it is written, without tag and digest."""
    return _parts(text)[0]


def prefix_problem(text: str) -> tuple[str, str] | None:
    """Return why no image's name can begin with a text and `/`, as `is <found>, expected …`, and a hint; or None.

    A prefix that names a registry needs a path there; one without a registry, such as `team`, is of this machine.
    """
    if "@" in text:
        return "has an `@`, expected no credentials and no digest", _EXAMPLE
    scheme, separator, rest = text.partition("://")
    if separator:
        return f"has the scheme `{excerpt(scheme)}://`, expected none in names of images", _write(rest.rstrip("/"))
    if text != "".join(text.split()):
        return "has blanks, expected a registry and a path", _write("".join(text.split()))
    if not text or text.endswith("/"):
        found = "ends in `/`" if text else "is empty"
        return f"{found}, expected a registry and a path", _write(text.rstrip("/")) if text else _EXAMPLE
    first, slash, path = text.partition("/")
    if not slash and _is_registry(first):
        return "names a registry without a path for images", _write(f"{text}/images")
    host, repository = (first, path) if _is_registry(first) else (_HUB, text)
    if not _can_be_asked(host):
        return f"has `{excerpt(host)}`, which is not a registry", _EXAMPLE
    if repository != repository.lower():
        return f"has capitals in `{excerpt(repository)}`, expected lower case", _write(
            text[: -len(repository)] + repository.lower()
        )
    if not _REPOSITORY.fullmatch(repository):
        return (
            f"has `{excerpt(repository)}`, expected lower-case letters, digits and single `.` `_` `-` `/` between",
            _EXAMPLE,
        )
    if len(text) > LONGEST_REPOSITORY:
        return f"has {len(text)} characters, expected at most {LONGEST_REPOSITORY} in names of images", _EXAMPLE
    return None


_LAST_PORT = 65535
_EXAMPLE = "write a registry and a path, such as `registry.example.com/images`"


def _write(text: str) -> str:
    return f"write `{text}`" if prefix_problem(text) is None else _EXAMPLE


def _can_be_asked(host: str) -> bool:
    """Whether a text is a host with or without a port that exists."""
    port = host.rpartition(":")[2]
    return bool(_HOST.fullmatch(host)) and not (port.isdecimal() and not 0 < int(port) <= _LAST_PORT)


def _is_registry(first: str) -> bool:
    """Whether the first part of a prefix is a host; a capital letter alone is a slip in a path."""
    return bool(set(".:[") & set(first)) or first == "localhost"


def registry_prefix(text: str) -> str | None:
    """Return a prefix of images' names if it names a registry and a path there, else None."""
    host, slash, _ = text.partition("/")
    return text.rstrip("/") if slash and _is_host(host) else None


def _parts(text: str) -> tuple[str, str | None, str | None]:
    name, at, digest = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None, digest if at else None


def _is_host(first: str) -> bool:
    return bool(set(".:[") & set(first)) or first == "localhost" or first != first.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What a registry says of one blob or manifest; `annotations` are sorted pairs, `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    platform: str | None = None

    @classmethod
    def of(cls, raw: bytes, media_type: str) -> Descriptor:
        """Return the descriptor of these bytes."""
        return cls(media_type=media_type, digest=digest_of(raw), size=len(raw))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Descriptor:
        """Return the descriptor written as `value`; `platform` becomes `os/architecture[/variant]`.

        Raises ValueError for a field that a descriptor cannot have.
        """
        platform = value.get("platform") or {}
        parts = [platform.get(key) for key in _PLATFORM]
        if not all(isinstance(part, str | None) for part in parts):
            raise ValueError("a platform has a part that is not a text")
        kind, digest, size = value.get("mediaType", ""), value.get("digest"), value.get("size")
        if not isinstance(kind, str):
            raise ValueError("a media type is no text")
        if not isinstance(digest, str) or not is_digest(digest):
            raise ValueError("a digest is none of sha256 or sha512")
        if type(size) is not int or not 0 <= size < _MOST_SIZE:
            raise ValueError(f"the size of `{digest}` is no number of bytes")
        return cls(
            media_type=kind,
            digest=digest,
            size=size,
            annotations=tuple(sorted(texts_of(value, "annotations").items())),
            platform="/".join(part for part in parts if part) or None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """An image (`config` and `layers`) or an index (`manifests`), with the bytes that its digest covers."""

    descriptor: Descriptor
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...]
    raw: bytes

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that a registry has of it: layers that must not be distributed live at a URL of their own."""
        own = (self.config, *self.layers) if self.config else self.layers
        return tuple(each for each in own if not any(word in each.media_type for word in _NOT_STORED))

    @classmethod
    def parse(cls, raw: bytes, media_type: str) -> Manifest:
        """Return the manifest in `raw`; ValueError for anything but the four known types.

        `media_type` is the registry's Content-Type; if it is none of the four, that of the document counts.
        """
        value = object_of(raw, values=_MOST_VALUES)
        if value.get("schemaVersion") != 2:
            raise ValueError("no manifest of schema version 2")
        kind = media_type.partition(";")[0].strip()
        if kind not in MANIFEST_TYPES:
            kind = value.get("mediaType") or (OCI_INDEX if "manifests" in value else OCI_MANIFEST)
        if kind not in MANIFEST_TYPES:
            raise ValueError(f"unknown media type `{shown(str(kind))[:100]}`")
        if "manifests" in value and "layers" in value:
            raise ValueError("it is an index and an image in one")
        try:
            return cls(
                descriptor=Descriptor.of(raw, kind),
                config=Descriptor.from_json(value["config"]) if "config" in value else None,
                layers=tuple(map(Descriptor.from_json, list_of(value, "layers", dict))),
                manifests=tuple(map(Descriptor.from_json, list_of(value, "manifests", dict))),
                annotations=tuple(sorted(texts_of(value, "annotations").items())),
                raw=raw,
            )
        except (TypeError, AttributeError) as error:
            raise ValueError("a field has a value of a wrong type") from error


def is_digest(text: str) -> bool:
    """Whether a text is a digest of a known algorithm."""
    return bool(_DIGEST.fullmatch(text))


def digest_of(raw: bytes, like: str = "sha256:") -> str:
    """Return the digest of `raw` in the algorithm that the digest `like` uses."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"


def _wrong(what: str, value: str, expected: re.Pattern[str]) -> str | None:
    return None if expected.fullmatch(value) else f"`{value}` is not a {what}"
