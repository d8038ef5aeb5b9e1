"""What a registry stores, and what of it belongs to the images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from buildsys.oci.client import Registry
from buildsys.oci.reference import Reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """Compressed bytes: the sum of the images, each with all its layers; their unique layers; the whole registry."""

    sum: int
    unique: int
    registry: int


def stored(images: Iterable[str], data: Path) -> Stored:
    """Return what images, given as references, take up; `data` is the folder of the registry's files."""
    layers: list[tuple[str, int]] = []
    with Registry() as registry:
        for image in sorted(images):
            manifest = registry.manifest(Reference.parse(image))
            if manifest is None:
                raise SystemExit(f"the registry does not have `{image}`, which was built")
            layers += [(layer.digest, layer.size) for layer in manifest.layers]
    return Stored(
        sum=sum(size for _, size in layers),
        unique=sum(dict(layers).values()),
        registry=sum(path.stat().st_size for path in data.glob("docker/registry/v2/blobs/sha256/*/*/data")),
    )
