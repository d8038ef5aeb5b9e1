"""Two trees that differ in one thing that BuildKit can see have different keys, or their images are equal byte by byte.

Both trees are baked on one engine into two registries' paths, so that neither finds what the other has published, and
what the engine holds of the first may be taken for the second: that is the fault which this test would show.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ARTIFACT, buildsys, on_real_parents, refused, run, small_project, write

pytestmark = [pytest.mark.engine, pytest.mark.registry]

TIME = (1_700_000_000, 1_700_000_000)
# Permitted: CAP_NET_BIND_SERVICE; the form is that of `struct vfs_cap_data`, revision 2, in linux/capability.h.
CAPABILITY = struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0)
DOCKERFILE = """\
FROM toolchain AS build
COPY . /artifact/opt/{name}/

FROM scratch
COPY --from=build /artifact /
"""
WITH_FOLDER = DOCKERFILE.replace("COPY . ", "COPY --from=given . ")
GIVEN = "parameters: {given: {description: a folder, type: folder, default: given}}\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One thing in which two folders differ: each is written by a function; `counts` says whether keys differ."""

    one: Callable[[Path], Any]
    two: Callable[[Path], Any]
    counts: bool
    of_folder: bool = False


def nothing(folder: Path) -> None:
    del folder


def put(name: str, text: str = "one\n", mode: int = 0o644) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = write(folder, name, text)
        path.chmod(mode)
        os.utime(path, TIME)

    return act


def link(to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "link").symlink_to(to)


def hard_link(folder: Path) -> None:
    put("first")(folder)
    os.link(folder / "first", folder / "second")


def two_files(folder: Path) -> None:
    put("first")(folder)
    put("second")(folder)


def attribute(name: str, value: bytes) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        put("file")(folder)
        os.setxattr(folder / "file", name, value)

    return act


def older(folder: Path) -> None:
    put("file")(folder)
    os.utime(folder / "file", (1, 1))


def private_folder(folder: Path) -> None:
    put("sub/file")(folder)
    (folder / "sub").chmod(0o700)


def owned(folder: Path) -> None:
    put("file")(folder)
    os.chown(folder / "file", 1234, 1234)


def rules(name: str, text: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        put("hidden")(folder)
        put(name, text)(folder)

    return act


KINDS: Mapping[str, Kind] = {
    "name": Kind(one=put("one"), two=put("two"), counts=True),
    "name in capitals": Kind(one=put("name"), two=put("Name"), counts=True),
    "composed name": Kind(one=put("\u00e9"), two=put("e\u0301"), counts=True),
    "name of a folder": Kind(one=put("one/file"), two=put("two/file"), counts=True),
    "bytes": Kind(one=put("file", "one\n"), two=put("file", "two\n"), counts=True),
    "execute bit": Kind(one=put("file"), two=put("file", mode=0o755), counts=True),
    "other mode bits": Kind(one=put("file"), two=put("file", mode=0o4606), counts=False),
    "symlink target": Kind(one=link("conf"), two=link("./conf"), counts=True),
    "symlink or file": Kind(one=link("conf"), two=put("link"), counts=True),
    "hard link": Kind(one=hard_link, two=two_files, counts=False),
    "empty folder": Kind(one=lambda folder: (folder / "empty").mkdir(), two=nothing, counts=False),
    "mode of a folder": Kind(one=put("sub/file"), two=private_folder, counts=False),
    "extended attribute": Kind(one=attribute("user.said", b"x"), two=put("file"), counts=False),
    "capability of a file": Kind(one=attribute("security.capability", CAPABILITY), two=put("file"), counts=False),
    "owner": Kind(one=owned, two=put("file"), counts=False),
    "time": Kind(one=older, two=put("file"), counts=False),
    ".dockerignore": Kind(
        one=rules(".dockerignore", "hidden\n.*\n"), two=rules(".dockerignore", "other\n.*\n"), counts=True
    ),
    ".dockerignore of one Dockerfile": Kind(
        one=rules("Dockerfile.dockerignore", "hidden\nDockerfile*\n"),
        two=rules("Dockerfile.dockerignore", "other\nDockerfile*\n"),
        counts=True,
    ),
    "comment in an ignored .dockerignore": Kind(
        one=rules(".dockerignore", "hidden\n.*\n"), two=rules(".dockerignore", "# said\nhidden\n.*\n"), counts=False
    ),
    "ignored file": Kind(
        one=rules(".dockerignore", "hidden\n"),
        two=lambda folder: (rules(".dockerignore", "hidden\n")(folder), put("hidden", "two\n")(folder)),
        counts=False,
    ),
    "description and tests of a layer": Kind(
        one=nothing,
        two=lambda folder: (put("README.md")(folder), put("tests/deep/data")(folder)),
        counts=False,
    ),
    "name below tests of a folder": Kind(one=put("sub/tests/a"), two=put("sub/tests/b"), counts=True),
    "file of a given folder": Kind(one=put("file"), two=put("file", "two\n"), counts=True, of_folder=True),
    "README of a given folder": Kind(one=put("README.md"), two=nothing, counts=True, of_folder=True),
    "tests of a given folder": Kind(one=put("tests/x"), two=put("tests/x", "two\n"), counts=True, of_folder=True),
    "empty folder of a given folder": Kind(
        one=lambda folder: (folder / "empty").mkdir(), two=nothing, counts=False, of_folder=True
    ),
    "rules of a given folder": Kind(
        one=rules(".dockerignore", "hidden\n.*\n"),
        two=rules(".dockerignore", "other\n.*\n"),
        counts=True,
        of_folder=True,
    ),
}
NAMES = {kind: f"k{number}" for number, kind in enumerate(KINDS)}


def tree(project: Path, side: str) -> Path:
    """Write a project with one artifact layer for each kind of difference."""
    small_project(project)
    on_real_parents(project)
    for kind, name in NAMES.items():
        layer, text = project / "layers" / name, ARTIFACT.replace("/opt/conf", f"/opt/{name}")
        given = project / name / "given"
        parameter = GIVEN.replace("default: given", f"default: {name}/given") if KINDS[kind].of_folder else ""
        put("layer.yaml", text + parameter)(layer)
        form = WITH_FOLDER if KINDS[kind].of_folder else DOCKERFILE
        put("Dockerfile", form.replace("{name}", name))(layer)
        put("conf")(given if KINDS[kind].of_folder else layer)
        getattr(KINDS[kind], side)(given if KINDS[kind].of_folder else layer)
    write(project, "stacks.yaml", f"stacks:\n  img: {{layers: [dist, {', '.join(NAMES.values())}]}}\n")
    return project


@dataclass(frozen=True, kw_only=True, slots=True)
class Baked:
    """The key of a node, and everything that its layers say of each file."""

    key: str
    files: Mapping[str, tuple[Any, ...]]


def bake(project: Path, registry: str) -> Mapping[str, Baked]:
    done = buildsys(project, "bake", "img", "--push", seconds=600, BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    lines = (project / ".buildsys/events.jsonl").read_text("utf-8").splitlines()
    ended = {each["target"]: each for each in map(json.loads, lines) if each["event"] == "end"}
    planned = buildsys(project, "plan", "--offline", "--json")
    assert planned.code == 0, planned.output
    nodes = {each["layer"]: each for each in json.loads(planned.stdout)["nodes"]}
    return {
        name: Baked(key=nodes[name]["key"], files=files_of(ended[nodes[name]["name"]]["reference"]))
        for name in NAMES.values()
    }


def files_of(reference: str) -> Mapping[str, tuple[Any, ...]]:
    """Return type, mode, owner, target, extended attributes and content of each path in the layers of a node."""
    repository, _, digest = reference.partition("@")
    host, _, name = repository.partition("/")
    name = name.rpartition(":")[0] if ":" in name else name

    def get(path: str) -> bytes:
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        request = urllib.request.Request(f"http://{host}/v2/{name}/{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    manifest = json.loads(get(f"manifests/{digest}"))
    if "manifests" in manifest:
        manifest = json.loads(get(f"manifests/{manifest['manifests'][0]['digest']}"))
    found: dict[str, tuple[Any, ...]] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(get(f"blobs/{layer['digest']}"))) as archive:
            for each in archive:
                content = archive.extractfile(each) if each.isfile() else None
                kept = {key: value for key, value in each.pax_headers.items() if "xattr" in key}
                digest = hashlib.sha256(content.read()).hexdigest() if content else ""
                found[each.name] = (each.type, oct(each.mode), each.uid, each.gid, each.linkname, kept, digest)
    return found


@pytest.fixture(scope="module")
def both(registry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Baked], Mapping[str, Baked]]:
    """Each kind's node in both trees, baked one after the other."""
    folder, host = tmp_path_factory.mktemp("trees"), registry.partition("/")[0]
    unique = uuid.uuid4().hex[:12]
    one = bake(tree(folder / "one", "one"), f"{host}/bytes-{unique}/one")
    return one, bake(tree(folder / "two", "two"), f"{host}/bytes-{unique}/two")


@pytest.mark.parametrize("kind", KINDS)
def test_two_trees_have_different_keys_or_equal_images(
    both: tuple[Mapping[str, Baked], Mapping[str, Baked]], kind: str
) -> None:
    one, two = (each[NAMES[kind]] for each in both)
    assert one.files
    if KINDS[kind].counts:
        assert one.key != two.key
        # What counts is in the image: a key that follows what no build reads would rebuild for nothing.
        assert one.files != two.files
    else:
        assert one.key == two.key
        assert one.files == two.files


def test_name_that_is_not_utf_8_is_refused_at_its_folder(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    for folder in ("layers/conf", "layers/conf/deep"):
        path = os.fsencode(project / folder) + b"/\xe9t\xe9"
        (project / folder).mkdir(exist_ok=True)
        Path(os.fsdecode(path)).write_text("x", encoding="utf-8")
        refused(buildsys(project, "plan", "--offline"), "--> layers/conf", "\\udce9t\\udce9` is not UTF-8")
        Path(os.fsdecode(path)).unlink()
    (project / "layers/conf/link").symlink_to(os.fsdecode(b"\xe9t\xe9"))
    refused(buildsys(project, "plan", "--offline"), "the target of the symlink `layers/conf/link` is not UTF-8")
    write(project, "layers/conf/.dockerignore", "link\n")
    assert buildsys(project, "plan", "--offline").code == 0


def test_buildkit_itself_transfers_no_name_that_is_not_utf_8(tmp_path: Path) -> None:
    # Why it is refused. If this fails, BuildKit has learnt it, and keys could cover such names.
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9")).write_text("x", encoding="utf-8")
    done = run(tmp_path, "docker", "buildx", "build", "--output", "type=cacheonly", ".")
    assert done.code != 0
    assert "UTF-8" in done.output
