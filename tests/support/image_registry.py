"""A registry in memory, and the images that an engine would push to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from buildsys.oci.http import NotFound, RegistryProblem, Unreachable
from buildsys.oci.reference import OCI_MANIFEST, Descriptor, Manifest, Reference, digest_of

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass
class FakeRegistry:
    """Holds manifests and blobs by repository; `written` are the references of manifests in the order of their writing.

    `mounts` is whether it links blobs between repositories; `problems` are raised, by tag, where one would be written.
    Hosts that are `down` take no connection. `sent` and `mounted` are the blobs that came in pieces or from another
    repository. `deleted` are manifests in the order of their deletion, and `before_deletion` is called with each.
    Without `catalog` it lists no repositories. `config` has what the configs of pushed images say in place of the
    truth.
    """

    mounts: bool = True
    problems: dict[str, list[RegistryProblem]] = field(default_factory=dict)
    manifests_by_name: dict[tuple[str, str], bytes] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    config: dict[str, object] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    mounted: list[str] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    catalog: bool = True
    before_deletion: Callable[[Reference], None] = lambda _: None

    def manifest(self, reference: Reference) -> Manifest | None:
        self._connect(reference)
        self.asked.append(str(reference))
        raw = self.manifests_by_name.get((reference.name, reference.target))
        return None if raw is None else Manifest.parse(raw, OCI_MANIFEST)

    def _connect(self, reference: Reference) -> None:
        if reference.host in self.down:
            raise Unreachable(f"registry `{reference.host}` cannot be reached: connection refused", host=reference.host)

    def head(self, reference: Reference) -> Descriptor | None:
        found = self.manifest(reference)
        return found.descriptor if found else None

    def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> Descriptor:
        self._connect(reference)
        if problems := self.problems.get(reference.target):
            raise problems.pop(0)
        self.written.append(f"{reference.name.rpartition('/')[2]}:{reference.target}")
        for target in (reference.target, digest_of(raw)):
            self.manifests_by_name[reference.name, target] = raw
        return Descriptor.of(raw, media_type)

    def tag(self, source: Reference, new_tag: str) -> Descriptor:
        found = self.manifest(source)
        if found is None:
            raise NotFound(f"`{source}` does not exist", host=source.host, status=404)
        return self.put_manifest(source.with_tag(new_tag), found.raw, OCI_MANIFEST)

    def tags(self, repository: Reference) -> tuple[str, ...]:
        found = (target for name, target in self.manifests_by_name if name == repository.name)
        return tuple(sorted(target for target in found if ":" not in target))

    def repositories(self, host: Reference) -> tuple[str, ...]:
        if not self.catalog:
            return ()
        return tuple(sorted({name.partition("/")[2] for name, _ in self.manifests_by_name}))

    def delete(self, reference: Reference) -> bool:
        self.before_deletion(reference)
        found = self.manifests_by_name.get((reference.name, reference.target))
        if found is None:
            return False
        self.deleted.append(f"{reference.repository.rpartition('/')[2]}@{reference.target}")
        for place, raw in list(self.manifests_by_name.items()):
            if place[0] == reference.name and raw == found:
                del self.manifests_by_name[place]
        return True

    def blob(self, repository: Reference, digest: str) -> bytes:
        return self.blobs[repository.name, digest]

    def blob_part(self, repository: Reference, digest: str, first: int, last: int) -> bytes:
        return self.blobs[repository.name, digest][first : last + 1]

    def blob_exists(self, repository: Reference, digest: str, size: int | None = None) -> bool:
        self._connect(repository)
        return (repository.name, digest) in self.blobs

    def mount_blob(self, target_repository: Reference, digest: str, source_repository: Reference) -> bool:
        data = self.blobs.get((source_repository.name, digest))
        if not self.mounts or data is None or target_repository.host != source_repository.host:
            return False
        self.mounted.append(f"{target_repository.name}@{digest}")
        self.blobs[target_repository.name, digest] = data
        return True

    def put_blob(self, repository: Reference, data: bytes, media_type: str = "") -> Descriptor:
        self.blobs[repository.name, digest_of(data)] = data
        return Descriptor.of(data, media_type)

    def send_blob(self, repository: Reference, digest: str, pieces: Callable[[], Iterable[bytes]]) -> None:
        data = b"".join(pieces())
        assert digest_of(data) == digest
        self.sent.append(f"{repository.name}@{digest}")
        self.blobs[repository.name, digest] = data

    def push(self, reference: Reference, content: str, annotations: Mapping[str, str]) -> str:
        """Store an image of one layer as an engine does, and return its digest."""
        layer = self.put_blob(reference, content.encode(), LAYER)
        rootfs = {"type": "layers", "diff_ids": [digest_of(b"plain " + content.encode())]}
        said = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, **self.config}
        config = self.put_blob(reference, json.dumps(said).encode(), CONFIG)
        value = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
            "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size}],
            "annotations": dict(annotations),
        }
        return self.put_manifest(reference, json.dumps(value).encode(), OCI_MANIFEST).digest

    def lose(self, reference: str) -> None:
        """Forget the layers of an image, as garbage collection of a broken registry would."""
        parsed = Reference.parse(reference)
        found = self.manifest(parsed)
        assert found is not None
        for layer in found.layers:
            for repository, digest in list(self.blobs):
                if digest == layer.digest:
                    del self.blobs[repository, digest]
