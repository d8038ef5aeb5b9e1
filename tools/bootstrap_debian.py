"""Makes a Debian parent image from the package mirror alone, pushes it, notes it in the lock's overlay."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from machine_apt import CommandFailed, DebianSource, Failure, remove_tree, run_command, tried_again

CODENAMES = {"12": "bookworm", "13": "trixie"}
ARCHITECTURES = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le"}
IMAGE_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EPOCH = "1970-01-01T00:00:00Z"

# Files that differ from one debootstrap to the next, or that an image does not need.
LEFTOVERS = (
    "var/lib/apt/lists/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/*-old",
    "var/log/*",
    "etc/*-",
    "etc/hostname",
    "etc/resolv.conf",
    "dev/*",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
)
# What Debian's own images hold: no service is started by a package, and dpkg does not wait for the disk.
FILES = {
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}

OVERLAY_HEAD = (
    "# Parents bootstrapped on this machine: an uncommitted overlay of buildsys.lock"
    " (see docs/architecture.md).\n"
    "version: 1\n"
    "parents:\n"
)
OVERLAY_ENTRY = re.compile(r"  ([a-z0-9.-]+):\n    reference: (\S+)\n    digest: (sha256:[0-9a-f]{64})\n")


class OverlayUnreadable(Failure):
    """The overlay holds something that this tool did not write; it is not changed."""

    exit_code = 4

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"`{path}` does not have the shape that this tool writes", "move it away, then bootstrap again"
        )


class UnknownRelease(Failure):
    """An image name that this tool cannot bootstrap."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        known = ", ".join(f"`debian:{number}`" for number in CODENAMES)
        super().__init__(f"cannot bootstrap `{name}`", f"use one of {known}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A compressed image layer on disk, with the digests of its two forms."""

    path: Path
    digest: str
    uncompressed_digest: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """Where a parent image is: a repository with its registry, and a manifest digest."""

    reference: str
    digest: str


class HashingWriter:
    """Passes bytes on to a file and hashes them on the way."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target = target
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write and hash one piece."""
        self._hash.update(data)
        return self._target.write(data)

    def flush(self) -> None:
        """Flush the file below."""
        self._target.flush()

    @property
    def digest(self) -> str:
        """The digest of what was written so far, with its algorithm in front."""
        return f"sha256:{self._hash.hexdigest()}"


def release_number(name: str) -> str:
    """The number in `debian:NUMBER`; raises `UnknownRelease`."""
    distribution, _, number = name.partition(":")
    if distribution != "debian" or number not in CODENAMES:
        raise UnknownRelease(name)
    return number


def make_layer(
    number: str, source: DebianSource, cache: Path, environment: Mapping[str, str], *, again: bool = False
) -> Layer:
    """The root file system of a Debian release as a layer: the cached one, unless `again` is set.

    `environment` is one in which `debootstrap` is found. The bytes are a function of the unpacked packages
    and this module: names sorted, owners numeric, times 0, no time in the gzip header.
    """
    note = cache / f"debian-{number}.json"
    path = cache / f"debian-{number}.tar.gz"
    if again or not note.is_file() or not path.is_file():
        note.unlink(missing_ok=True)
        root = cache / f"debian-{number}.root"
        _debootstrap(CODENAMES[number], root, source, cache / "packages", environment)
        _clean(root, source.sources_list(CODENAMES[number]))
        layer = _pack(root, path)
        remove_tree(root)
        note.write_text(json.dumps([layer.digest, layer.uncompressed_digest]) + "\n", encoding="utf-8")
        return layer
    digest, uncompressed_digest = json.loads(note.read_text(encoding="utf-8"))
    return Layer(path=path, digest=digest, uncompressed_digest=uncompressed_digest)


def _debootstrap(suite: str, root: Path, source: DebianSource, packages: Path, environment: Mapping[str, str]) -> None:
    packages.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--cache-dir={packages.resolve()}"]
    command += [f"--keyring={source.keyring}"] if source.keyring else []
    command += [suite, str(root), source.uri]

    def attempt() -> None:
        remove_tree(root)
        run_command(command, environment=environment)

    tried_again(attempt)


def _clean(root: Path, sources_list: str) -> None:
    """Remove what belongs to this machine or this day: addresses, names, lists, logs, dates of passwords."""
    for pattern in LEFTOVERS:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, text in {"etc/apt/sources.list": sources_list, **FILES}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    shadow = root / "etc" / "shadow"
    shadow.write_text(
        re.sub(r"^([^:]*:[^:]*:)\d+:", r"\g<1>0:", shadow.read_text(encoding="utf-8"), flags=re.MULTILINE),
        encoding="utf-8",
    )


def _pack(root: Path, path: Path) -> Layer:
    command = ["tar", "--create", "--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu", "."]
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        compressed = HashingWriter(file)
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=compressed, mtime=0) as zipped,
            subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as tar,
        ):
            plain = HashingWriter(zipped)
            assert tar.stdout is not None
            shutil.copyfileobj(tar.stdout, plain, 1 << 20)
        if tar.returncode:
            raise CommandFailed(command, tar.returncode, "")
    partial.replace(path)
    return Layer(path=path, digest=compressed.digest, uncompressed_digest=plain.digest)


class LocalRegistry:
    """The few calls of the distribution protocol that pushing one image needs; plain HTTP, no proxy.

    See https://github.com/opencontainers/distribution-spec/blob/main/spec.md
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, str]:
        url = urllib.parse.urljoin(f"http://{self.address}", path)
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
        try:
            with self._opener.open(request, timeout=120) as answer:
                return dict(answer.headers.items())
        except urllib.error.HTTPError as error:
            words = error.read(300).decode(errors="replace")
            raise RegistryRefused(method, url, error.code, words) from error
        except OSError as error:
            raise Failure(f"the registry at `{self.address}` does not answer: {error}") from error

    def _exists(self, path: str) -> bool:
        try:
            self._call("HEAD", path, headers={"Accept": MANIFEST_TYPE})
        except RegistryRefused as refusal:
            if refusal.code == 404:
                return False
            raise
        return True

    def holds(self, parent: Parent) -> bool:
        """Whether the parent is in this very registry."""
        address, _, repository = parent.reference.partition("/")
        return address == self.address and self._exists(f"/v2/{repository}/manifests/{parent.digest}")

    def push_blob(self, repository: str, digest: str, body: bytes | IO[bytes], size: int) -> None:
        """Upload a blob in one piece, unless it exists."""
        if self._exists(f"/v2/{repository}/blobs/{digest}"):
            return
        location = self._call("POST", f"/v2/{repository}/blobs/uploads/", body=b"")["Location"]
        target = f"{location}{'&' if '?' in location else '?'}digest={urllib.parse.quote(digest)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._call("PUT", target, body=body, headers=headers)

    def push_manifest(self, repository: str, tag: str, manifest: bytes) -> None:
        """Upload an OCI manifest under a tag."""
        self._call("PUT", f"/v2/{repository}/manifests/{tag}", body=manifest, headers={"Content-Type": MANIFEST_TYPE})


class RegistryRefused(Failure):
    """The registry answered with an error status."""

    def __init__(self, method: str, url: str, code: int, words: str) -> None:
        super().__init__(f"`{method} {url}` was answered with {code}: {words.strip()}")
        self.code = code


def push_image(registry: LocalRegistry, number: str, layer: Layer) -> Parent:
    """Push the layer as the OCI image `bootstrap/debian:NUMBER`; its digest depends on the layer only."""
    repository = "bootstrap/debian"
    debian_name = run_command(["dpkg", "--print-architecture"]).strip()
    config = _canonical(
        {
            "architecture": ARCHITECTURES.get(debian_name, debian_name),
            "os": "linux",
            "created": EPOCH,
            "config": {"Env": [IMAGE_PATH], "Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.uncompressed_digest]},
            "history": [{"created": EPOCH, "created_by": f"debootstrap --variant=minbase {CODENAMES[number]}"}],
        }
    )
    size = layer.path.stat().st_size
    manifest = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": size}],
        }
    )
    with layer.path.open("rb") as file:
        registry.push_blob(repository, layer.digest, file, size)
    registry.push_blob(repository, _digest(config), config, len(config))
    registry.push_manifest(repository, number, manifest)
    return Parent(reference=f"{registry.address}/{repository}", digest=_digest(manifest))


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def update_overlay(path: Path, parents: Mapping[str, Parent], registry: LocalRegistry) -> None:
    """Record the built base images, by release number, in the overlay file; other entries stay.

    A toolchain moves only on request: its entry stays too, unless the registry no longer holds what it names.
    """
    entries = read_overlay(path)
    for number, parent in parents.items():
        entries[f"debian-{number}"] = parent
        toolchain = entries.get(f"toolchain-debian-{number}")
        if toolchain is None or not registry.holds(toolchain):
            entries[f"toolchain-debian-{number}"] = parent
    partial = path.with_name(path.name + ".partial")
    partial.write_text(overlay_text(entries), encoding="utf-8")
    partial.replace(path)


def read_overlay(path: Path) -> dict[str, Parent]:
    """The entries of the overlay, none if there is no file; raises `OverlayUnreadable`."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    found = OVERLAY_ENTRY.findall(text)
    entries = {name: Parent(reference=reference, digest=digest) for name, reference, digest in found}
    if overlay_text(entries) != text:
        raise OverlayUnreadable(path)
    return entries


def overlay_text(entries: Mapping[str, Parent]) -> str:
    """The overlay file as text, entries by name."""
    return OVERLAY_HEAD + "".join(
        f"  {name}:\n    reference: {parent.reference}\n    digest: {parent.digest}\n"
        for name, parent in sorted(entries.items())
    )
