"""Images built without an engine: a base image that has moved, and the folder of mirrors as the rivals see it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from bootstrap_debian import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, HashingWriter, Layer, LocalRegistry

CHANGED = "./etc/moved"


def changed_layer(layer: Layer, path: Path) -> Layer:
    """Write the layer with one more file to `path`, recompressed, and return it."""
    plain = path.with_suffix(".plain")
    with gzip.open(layer.path) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    with tarfile.open(plain, "a") as tar:
        text = b"this parent has moved\n"
        member = tarfile.TarInfo(CHANGED)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    with path.open("wb") as out:
        compressed = HashingWriter(out)
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=compressed, mtime=0) as zipped,
            plain.open("rb") as file,
        ):
            content = HashingWriter(zipped)
            shutil.copyfileobj(file, content, 1 << 20)
    plain.unlink()
    return Layer(path=path, digest=compressed.digest, uncompressed_digest=content.digest)


def folder_layer(folder: Path) -> tuple[bytes, bytes]:
    """Return a folder as a layer, plain and compressed, the same bytes for the same files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                data = path.read_bytes()
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    return plain.getvalue(), gzip.compress(plain.getvalue(), mtime=0)


def push_folder(registry: LocalRegistry, repository: str, folder: Path) -> str:
    """Push a folder as an image of one layer, and return its reference with digest."""
    plain, packed = folder_layer(folder)
    rootfs = {"type": "layers", "diff_ids": [_digest(plain)]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": _digest(packed), "size": len(packed)}],
        }
    ).encode()
    for blob in (packed, config):
        registry.push_blob(repository, _digest(blob), io.BytesIO(blob), len(blob))
    registry.push_manifest(repository, "latest", manifest)
    return f"{registry.address}/{repository}@{_digest(manifest)}"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
