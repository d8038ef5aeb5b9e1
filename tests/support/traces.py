"""Finds where a text is kept: in a registry, in a project's folder, in what a command printed or gave to docker."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.command_line import program

_TYPES = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        *("oci.image.index.v1", "oci.image.manifest.v1"),
        *("docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"),
    )
)
_DOCKER = """
import json, os, shutil, subprocess, sys, time
words = sys.argv[1:]
folder = {folder!r}
name = str(time.monotonic_ns())
with open(os.path.join(folder, name), "w") as file:
    file.write("\\n".join(words))
for number, word in enumerate(words):
    if word in ("--file", "-f"):
        shutil.copy(words[number + 1], os.path.join(folder, name + ".bake"))
if "info" in words:
    # Without the path of the plugin, buildx is called through this docker too.
    answer = json.loads(subprocess.run([{docker!r}, *words], stdout=subprocess.PIPE, check=True).stdout)
    answer["ClientInfo"]["Plugins"] = []
    print(json.dumps(answer))
    sys.exit()
os.execv({docker!r}, [{docker!r}, *words])
"""


def watched_docker(folder: Path) -> tuple[Path, Path]:
    """Write a docker that keeps its arguments and bake files; return the folder for PATH and where it keeps them."""
    docker = shutil.which("docker")
    assert docker
    kept = folder / "given-to-docker"
    kept.mkdir(parents=True)
    return program(folder / "watched", "docker", _DOCKER.format(folder=str(kept), docker=docker)), kept


def forms(text: str) -> tuple[bytes, ...]:
    """Return a text as it is, and each of the three ways in which base64 of a longer text shows it."""
    found = [text.encode()]
    for before in range(3):
        code = base64.b64encode(b"\0" * before + text.encode())
        found.append(code[4 if before else 0 : len(code) // 4 * 4 - 4])
    return tuple(found)


def holds(data: bytes, text: str) -> bool:
    """Whether bytes have a text in any form."""
    return any(form in data for form in forms(text))


def in_folder(folder: Path, text: str, *, without: tuple[Path, ...] = ()) -> list[str]:
    """Return the files below a folder that hold a text, except some, with base64 of BuildKit's logs decoded."""
    files = (path for path in folder.rglob("*") if path.is_file() and path not in without)
    return [str(path.relative_to(folder)) for path in files if holds(_unpacked(path.read_bytes()), text)]


def in_registry(prefix: str, text: str) -> list[str]:
    """Return each manifest, config and layer below a prefix of a registry that holds a text."""
    host, _, path = prefix.partition("/")
    # A registry lists at most 1,000 names at once.
    looked = list[str]()
    while names := json.loads(_get(host, f"_catalog?n=1000&last={looked[-1] if looked else path}"))["repositories"]:
        looked += [name for name in names if name.startswith(f"{path}/")]
        if looked[-1:] != names[-1:]:
            break
    assert looked, f"nothing in {prefix}"
    found, seen = list[str](), set[str]()
    for name in looked:
        for tag in json.loads(_get(host, f"{name}/tags/list")).get("tags") or ():
            found += [where for where, data in _blobs(host, name, tag, seen) if holds(data, text)]
    return found


def _get(host: str, path: str) -> bytes:
    request = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": _TYPES})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def _blobs(host: str, name: str, reference: str, seen: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the unpacked bytes of a manifest and of everything that it names, each blob once, with where each is."""
    text = _get(host, f"{name}/manifests/{reference}")
    yield f"{name}:{reference}", text
    manifest: dict[str, Any] = json.loads(text)
    for child in manifest.get("manifests", ()):
        yield from _blobs(host, name, child["digest"], seen)
    for blob in (*manifest.get("layers", ()), *([manifest["config"]] if "config" in manifest else ())):
        if blob["digest"] in seen:
            continue
        seen.add(blob["digest"])
        data = _get(host, f"{name}/blobs/{blob['digest']}")
        yield f"{name}:{reference} {blob['digest']}", _unpacked(data)


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
