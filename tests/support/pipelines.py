"""A project with the pipelines of `examples/ci` in a repository of its own, and what its registry has afterwards."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.command_line import ROOT, buildsys, git, small_project, write

EXAMPLES = ROOT / "examples" / "ci"
# What buildsys writes for itself, see docs/registry.md.
_OWN = ("incoming-", "inventory-", "key-", "last-", "platform-", "tests-")
_LAYER = """\
description: a layer
kind: {kind}
licence: various
parent: {{name: {name}, images: ["{image}:12"]}}
"""
_SYSTEM = """\
provides: [os]
freshness: week
toolchain: {layer: tool}
tests: [{run: cat /opt/conf/conf /fixed, expect: one}]
"""
EPOCH = "2026-11-23"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkout:
    """A clone of the bare repository beside it, on the branch main; `registry` is where its pipelines publish."""

    folder: Path
    bare: Path
    registry: str

    def commit(self) -> str:
        """Commit everything, with a bake file that is up to date, push it, and return the commit."""
        done = buildsys(self.folder, "plan", "--offline")
        assert done.code == 0, done.output
        git(self.folder, "add", "--all", ".")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "change")
        git(self.folder, "push", "--quiet", str(self.bare), "HEAD")
        return git(self.folder, "rev-parse", "HEAD").strip()

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        write(self.folder, name, text.replace(old, new, 1))

    def tags(self, repository: str) -> dict[str, str]:
        """Return the digest of each public tag of a repository, which may not exist."""
        names = (each for each in self._names(repository) if not each.startswith(_OWN))
        return {name: self._asked(f"{repository}/manifests/{name}")[1] for name in names}

    def keys(self, repository: str) -> list[str]:
        """Return the keys that are published in a repository, which may not exist."""
        return [each for each in self._names(repository) if each.startswith("key-")]

    def _names(self, repository: str) -> list[str]:
        try:
            return sorted(json.loads(self._asked(f"{repository}/tags/list")[0])["tags"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

    def _asked(self, path: str) -> tuple[bytes, str]:
        host, _, prefix = self.registry.partition("/")
        accepted = {"Accept": "application/vnd.oci.image.index.v1+json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{host}/v2/{prefix}/{path}", headers=accepted), timeout=30
        ) as answer:
            return answer.read(), answer.headers.get("Docker-Content-Digest", "")


def checkout(folder: Path, registry: str, files: dict[str, str]) -> Checkout:
    """Return a project of two images on the Debian that was bootstrapped for this checkout, committed with `files`."""
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or ROOT / "buildsys.lock.local")
    parents = yaml.safe_load(overlay.read_text(encoding="utf-8"))["parents"]
    names = {"dist": "debian-12", "tool": "toolchain-debian-12"}
    # As a lock has them, so that `lock --update` asks the registry for them.
    locked = {name: {key: parents[name][key] for key in ("reference", "digest")} for name in names.values()}
    image = locked["debian-12"]["reference"]
    for each in locked.values():
        each["reference"] = f"{image}:12"
    lock = {"version": 1, "timestamp": f"{EPOCH}T00:00:00Z", "epochs": {"dist": EPOCH}, "parents": locked}
    bare = folder / "bare.git"
    project = small_project(
        folder / "project",
        {
            "stacks.yaml": "stacks:\n  img: {layers: [dist, conf]}\n  other: {layers: [dist, conf]}\n",
            "buildsys.lock": yaml.safe_dump(lock),
            "layers/dist/layer.yaml": _LAYER.format(kind="system", name=names["dist"], image=image) + _SYSTEM,
            "layers/dist/Dockerfile": "FROM base\nARG PACKAGES\nARG EPOCH\nRUN echo fixed >/fixed\n",
            "layers/tool/layer.yaml": _LAYER.format(kind="toolchain", name=names["tool"], image=image),
            ".gitignore": ".buildsys/\n.gitlab-ci-local/\n*.md\n",
            **files,
        },
    )
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(project, "init", "--quiet", "--initial-branch=main")
    found = Checkout(folder=project, bare=bare, registry=registry)
    found.commit()
    return found


def own_command(folder: Path, root: Path = ROOT) -> Path:
    """Write a program `buildsys` that is this checkout's, or that of a copy, and return its folder."""
    path = write(folder, "buildsys", f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -P -m buildsys "$@"\n')
    path.chmod(0o755)
    return folder
