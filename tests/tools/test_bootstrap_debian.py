"""The overlay that names bootstrapped parents, and the content of an image other than its packages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bootstrap_debian import (
    FILES,
    LocalRegistry,
    OverlayUnreadable,
    Parent,
    UnknownRelease,
    overlay_text,
    read_overlay,
    release_number,
    update_overlay,
)
from buildsys.config.lockfile import parse_lock

OLD = Parent(reference="127.0.0.1:1/bootstrap/debian", digest=f"sha256:{'a' * 64}")
NEW = Parent(reference="127.0.0.1:1/bootstrap/debian", digest=f"sha256:{'b' * 64}")


class DockerSnapshot(LocalRegistry):
    """A registry that has the given base images."""

    def __init__(self, *parents: Parent) -> None:
        super().__init__("127.0.0.1:1")
        self._parents = parents

    def holds(self, parent: Parent) -> bool:
        """Whether it has the base image."""
        return parent in self._parents

    def push_blob(self, repository: str, digest: str, body: bytes | io.IOBase, size: int) -> None:  # type: ignore[override]
        """Take nothing."""


def test_overlay_is_written_sorted_and_read_as_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "buildsys.lock.local"
    path.write_text(overlay_text({"debian-13": NEW, "debian-12": OLD}), encoding="utf-8")
    assert read_overlay(path) == {"debian-12": OLD, "debian-13": NEW}
    lock = parse_lock(path.read_text(encoding="utf-8"), path.name)
    assert {name: entry.digest for name, entry in lock.parents.items()} == {
        "debian-12": OLD.digest,
        "debian-13": NEW.digest,
    }


def test_absent_overlay_has_no_entries(tmp_path: Path) -> None:
    assert read_overlay(tmp_path / "none") == {}


def test_overlay_with_anything_else_in_it_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    path.write_text(overlay_text({"debian-12": OLD}) + "# mine\n", encoding="utf-8")
    with pytest.raises(OverlayUnreadable):
        update_overlay(path, {"12": NEW}, DockerSnapshot())
    assert path.read_text(encoding="utf-8").endswith("# mine\n")


def test_toolchain_stays_where_it_is_as_long_as_the_registry_has_it(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    update_overlay(path, {"12": OLD}, DockerSnapshot(OLD))
    update_overlay(path, {"12": NEW}, DockerSnapshot(OLD, NEW))
    assert read_overlay(path) == {"debian-12": NEW, "toolchain-debian-12": OLD}
    update_overlay(path, {"12": NEW}, DockerSnapshot(NEW))
    assert read_overlay(path)["toolchain-debian-12"] == NEW


def test_only_known_releases_are_built() -> None:
    assert release_number("debian:13") == "13"
    for name in ("debian:11", "ubuntu:22.04", "debian"):
        with pytest.raises(UnknownRelease, match=f"cannot bootstrap `{name}`") as caught:
            release_number(name)
        assert caught.value.hint == "use one of `debian:12`, `debian:13`"


def test_no_file_of_the_image_names_a_host() -> None:
    assert [name for name, text in FILES.items() if "://" in text] == []
