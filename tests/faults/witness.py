"""What a registry really holds, read without buildsys and around the proxy: every byte of every tagged manifest."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# Larger ones are the system's own, which no case changes.
_OWN_LAYER = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A manifest as it is stored."""

    digest: str
    document: Mapping[str, Any]


@dataclass(slots=True)
class Witness:
    """A registry at `host:port`, asked directly. What was once seen whole is not read again: bytes do not change."""

    address: str
    _whole: set[tuple[str, str]] = field(default_factory=set)

    def _get(self, path: str) -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", path, headers={"Accept": ", ".join(_TYPES)})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Link", "")
        finally:
            connection.close()

    def repositories(self, prefix: str) -> tuple[str, ...]:
        """Return the repositories below a prefix."""
        status, body, _ = self._get("/v2/_catalog?n=1000")
        assert status == 200, body
        return tuple(sorted(each for each in json.loads(body)["repositories"] if each.startswith(f"{prefix}/")))

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return all tags of a repository."""
        status, body, link = self._get(f"/v2/{repository}/tags/list")
        assert status in (200, 404), body
        assert not link, "more tags than one page"
        return tuple(sorted(json.loads(body).get("tags") or ())) if status == 200 else ()

    def manifest(self, repository: str, target: str) -> Found | None:
        """Return the manifest of a tag or digest, none if there is none."""
        status, body, _ = self._get(f"/v2/{repository}/manifests/{target}")
        if status == 404:
            return None
        assert status == 200, body
        return Found(digest=_digest(body), document=json.loads(body))

    def digest(self, repository: str, tag: str) -> str:
        """Return what a tag points to, nothing if it does not exist."""
        found = self.manifest(repository, tag)
        return found.digest if found else ""

    def lacking(self, repository: str, target: str) -> list[str]:
        """Return what is missing or damaged of a tag: every blob is fetched and its bytes are hashed."""
        found = self.manifest(repository, target)
        if found is None:
            return [f"{repository}:{target} has no manifest"]
        if (repository, found.digest) in self._whole:
            return []
        wrong = []
        if target.startswith("sha256:") and target != found.digest:
            wrong.append(f"{repository}@{target} is {found.digest}")
        for child in found.document.get("manifests", ()):
            wrong += self.lacking(repository, child["digest"])
        for blob in _blobs(found.document):
            if (repository, blob["digest"]) in self._whole:
                continue
            status, body, _ = self._get(f"/v2/{repository}/blobs/{blob['digest']}")
            if status != 200 or len(body) != blob["size"] or _digest(body) != blob["digest"]:
                wrong.append(f"{repository}:{target} lacks {blob['digest']}: {status}, {len(body)} bytes")
            else:
                self._whole.add((repository, blob["digest"]))
        if not wrong:
            self._whole.add((repository, found.digest))
        return wrong

    def files(self, repository: str, tag: str, pattern: str) -> dict[str, str]:
        """Return the texts of the files in an image whose paths match, out of its own layers."""
        found = self.manifest(repository, tag)
        assert found is not None, f"{repository}:{tag}"
        texts: dict[str, str] = {}
        for blob in found.document["layers"]:
            if blob["size"] > _OWN_LAYER:
                continue
            _, body, _ = self._get(f"/v2/{repository}/blobs/{blob['digest']}")
            texts |= dict(_texts(body, pattern))
        return texts


def _texts(body: bytes, pattern: str) -> Iterator[tuple[str, str]]:
    data = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile() and re.fullmatch(pattern, member.name.lstrip("./")):
                file = archive.extractfile(member)
                assert file is not None
                yield member.name.lstrip("./"), file.read().decode()


def _blobs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for blob in ([document["config"]] if "config" in document else []) + list(document.get("layers", ())):
        if blob["digest"] not in seen:
            seen.add(blob["digest"])
            yield blob


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
