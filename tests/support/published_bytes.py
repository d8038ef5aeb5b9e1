"""What a registry on loopback holds: manifests by tag, files of layers by path, and bytes that no image should have."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

_TYPES = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
_SECONDS = re.compile(rb"(?<!\d)1[0-9]{9}(?!\d)")
_MOST = 1000
# Repositories of base images, which were not built by the run.
# What is beside nodes and images: documents in JSON. Some have the times of a run.
_DOCUMENTS = ("history-", "inventory-", "record-", "tests-")
_FOREIGN = ("bootstrap/",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What to look for: byte strings by their description, times in seconds within a span, files that are too new.

    `compiled` are byte strings that only files below `/opt` must not have.
    """

    needles: Mapping[str, bytes]
    seconds: tuple[float, float]
    latest: float
    compiled: Mapping[str, bytes] = field(default_factory=dict)

    def problems(self, entry: tarfile.TarInfo, data: bytes) -> Iterator[str]:
        """Yield what should not be in an entry of a layer."""
        if entry.mtime > self.latest:
            yield f"time {entry.mtime:.0f} is later than the timestamp"
        text = data + b"\n" + entry.name.encode() + b"\n" + entry.linkname.encode()
        # Packages of the system have paths such as `debian/source/format` in their texts.
        needles = {**self.needles, **(self.compiled if entry.name.startswith("opt/") else {})}
        for what, needle in needles.items():
            if needle in text:
                yield what
        first, last = self.seconds
        if any(first <= int(each) <= last for each in _SECONDS.findall(text)):
            yield "a time of the run in seconds"


@dataclass(kw_only=True, slots=True)
class Published:
    """Manifests as tag to digests, layers as digest to the files in them, and findings of the scan."""

    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    layers: dict[str, dict[str, str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the value for JSON."""
        return {"manifests": self.manifests, "layers": self.layers, "findings": self.findings}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Published:
        """Return the value that a record has."""
        return cls(manifests=value["manifests"], layers=value["layers"], findings=value["findings"])


def read_published(host: str, scan: Scan, prefix: str = "") -> Published:
    """Return what the registry at `host` holds below a prefix of its repositories, except layers of base images."""
    found = Published()
    foreign: set[str] = set()
    for repository in (each for each in _repositories(host) if each.startswith((prefix, *_FOREIGN))):
        for tag in sorted(_json(host, f"{repository}/tags/list").get("tags") or ()):
            if tag.startswith(_DOCUMENTS):
                continue
            manifest = _manifest(host, repository, tag)
            if repository.startswith(_FOREIGN):
                foreign |= {layer["digest"] for layer in manifest["layers"]}
            else:
                found.manifests[f"{repository.removeprefix(prefix)}:{tag}"] = manifest
    for name, manifest in found.manifests.items():
        for each in manifest["layers"]:
            digest = each["digest"]
            if digest not in found.layers and digest not in foreign:
                found.layers[digest] = {}
                with _open(host, f"{prefix}{name.rpartition(':')[0]}/blobs/{digest}") as blob:
                    for path, problem, value in _entries(blob, scan):
                        found.layers[digest][path] = value
                        found.findings += [f"{name} {path}: {problem}"] if problem else []
    return found


def _repositories(host: str) -> Iterator[str]:
    """Yield the names of all repositories; docker-registry 2.8 gives at most 1000 at once."""
    some = _json(host, f"_catalog?n={_MOST}")["repositories"]
    while some:
        yield from some
        some = _json(host, f"_catalog?n={_MOST}&last={some[-1]}")["repositories"] if len(some) == _MOST else []


def _manifest(host: str, repository: str, reference: str) -> dict[str, Any]:
    """Return the digest of a manifest, its layers and its config; an index has those of its first child too."""
    with _open(host, f"{repository}/manifests/{reference}") as answer:
        data = answer.read()
    digest, value = f"sha256:{hashlib.sha256(data).hexdigest()}", json.loads(data)
    if "manifests" in value:
        children = [_manifest(host, repository, each["digest"]) for each in value["manifests"]]
        return {
            "digest": digest,
            "layers": [each for child in children for each in child["layers"]],
            "children": children,
        }
    return {
        "digest": digest,
        "layers": value["layers"],
        "config": _json(host, f"{repository}/blobs/{value['config']['digest']}"),
    }


def _entries(blob: IO[bytes], scan: Scan) -> Iterator[tuple[str, str, str]]:
    """Yield path, problems, and a hash of everything about each entry of a layer."""
    with tarfile.open(fileobj=gzip.GzipFile(fileobj=blob), mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            data = file.read() if file else b""
            attributes = [
                entry.type.decode(),
                oct(entry.mode),
                entry.uid,
                entry.gid,
                entry.mtime,
                entry.linkname,
                entry.pax_headers,
            ]
            content = hashlib.sha256(data).hexdigest()[:16]
            yield (
                entry.name,
                "; ".join(scan.problems(entry, data)),
                f"{json.dumps(attributes, sort_keys=True)} {content}",
            )


def differences(old: Published, new: Published) -> Iterator[str]:
    """Yield each tag whose manifest differs, and the files in its layers that do; of an index, whose images do.

    An index itself has the time of its run (docs/registry.md).
    """
    for name in sorted(old.manifests.keys() | new.manifests.keys()):
        one, other = old.manifests.get(name), new.manifests.get(name)
        if one is None or other is None:
            yield f"{name}: only in the {'second' if one is None else 'first'} run"
        elif _images(one) != _images(other):
            yield f"{name}: {one['digest']} and {other['digest']}"
            yield from (f"  {each}" for each in _files(old, new, one, other))


def _images(manifest: Mapping[str, Any]) -> list[str]:
    return [each["digest"] for each in manifest.get("children", [manifest])]


def _files(old: Published, new: Published, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    if one.get("config") != other.get("config"):
        yield "the config differs"
    layers = [[each["digest"] for each in value["layers"]] for value in (one, other)]
    if len(layers[0]) != len(layers[1]):
        yield f"{len(layers[0])} and {len(layers[1])} layers"
    for before, after in zip(*layers, strict=False):
        if before != after:
            files = old.layers.get(before, {}), new.layers.get(after, {})
            names = sorted(
                path for path in files[0].keys() | files[1].keys() if files[0].get(path) != files[1].get(path)
            )
            yield from (f"{path}: {files[0].get(path)} and {files[1].get(path)}" for path in names)
            if not names:
                yield f"{before} and {after} have equal files"


def _json(host: str, path: str) -> Any:
    with _open(host, path) as answer:
        return json.load(answer)


def _open(host: str, path: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": _TYPES}), timeout=300)
