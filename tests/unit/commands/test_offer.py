"""What an origin offers: which layers others require, which files differ, which entries of a lock are needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from buildsys.commands.offer import IGNORED, Offer, checksum, contents_of, difference
from buildsys.config.catalog import layers_of
from buildsys.config.lockfile import Lock, lock_text, parse_lock
from buildsys.dockerfile.ignore import ignored
from buildsys.errors import InvalidInput
from buildsys.names import UNBUILT
from buildsys.project.origins import OpenOrigin, Origin
from buildsys.project.placement import NewFile
from buildsys.project.workspace import Workspace

TODAY = date(2026, 11, 30)
HEAD = "description: x\nlicence: MIT\n"
SYSTEM = f"{HEAD}kind: system\n"
LAYERS = {
    "one-os": f"{SYSTEM}provides: [os]\nfreshness: week\nparent: {{name: 'one-{{release}}', images: [x]}}\n"
    "parameters: {release: {description: x}}\ntoolchain: {layer: chain}\n",
    "two-os": f"{SYSTEM}provides: [os]\n",
    "chain": f"{HEAD}kind: toolchain\nparent: {{name: chain, images: [x]}}\n",
    "first": f"{SYSTEM}requires: [second, extra]\nafter: [unrelated]\n",
    "second": f"{SYSTEM}requires: [os]\n",
    "third": f"{SYSTEM}provides: [extra]\nrequires: [first]\n",
    "broken": f"{SYSTEM}requires: first\n",
    "lost": f"{SYSTEM}requires: [nowhere]\n",
}


def offer(tmp_path: Path, layers: Mapping[str, str] = LAYERS, lock: str = "version: 1\n") -> Offer:
    for name, text in layers.items():
        (tmp_path / "layers" / name).mkdir(parents=True)
        (tmp_path / "layers" / name / "layer.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "layers" / "chain" / "Dockerfile").write_text("FROM base\nRUN true\n", encoding="utf-8")
    (tmp_path / "buildsys.lock").write_text(lock, encoding="utf-8")
    return Offer(OpenOrigin(origin=Origin(), revision="1", library=Workspace(root=tmp_path)))


def test_required_layers_are_followed_and_present_ones_are_not(tmp_path: Path) -> None:
    found = offer(tmp_path)
    system, _ = layers_of({"layers/my-os/layer.yaml": f"{SYSTEM}provides: [os]\n"})
    assert found.required(["first"], ["my-os"], system.values()) == ("second", "third")
    assert found.required(["one-os"], (), ()) == ("chain",)
    # What is copied as well provides the name, wherever it is in the list.
    assert found.required(["first", "two-os"], (), ()) == ("second", "third")
    assert found.required(["first"], ["second", "third"], [found.layers["third"]]) == ()


def test_name_that_several_provide_or_none_is_an_error(tmp_path: Path) -> None:
    found = offer(tmp_path)
    with pytest.raises(InvalidInput, match="`second` requires `os`, which no layer of this project provides"):
        found.required(["second"], (), ())
    with pytest.raises(InvalidInput, match="has no layer `nowhere`"):
        found.required(["lost"], (), ())


def test_layer_that_cannot_be_read_is_reported_with_its_place_in_the_origin(tmp_path: Path) -> None:
    found = offer(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        found.check("broken")
    assert [str(each.location) for each in caught.value.diagnostics()] == ["buildsys: layers/broken/layer.yaml:4:11"]
    found.check("first")


def test_lock_gets_the_entries_of_copied_layers_and_keeps_its_own(tmp_path: Path) -> None:
    digest, other = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    entries = "".join(f"  {name}: {{reference: x, digest: {digest!r}}}\n" for name in ("one-1", "one-2", "other-one-1"))
    epochs = "epochs: {one-os: 2020-01-06, else: 2020-01-06}\n"
    text = f"version: 1\ntimestamp: 2026-11-23T00:00:00Z\n{epochs}parents:\n{entries}"
    held = parse_lock(f"version: 1\nparents: {{one-2: {{reference: y, digest: {other!r}}}}}\n")
    found = offer(tmp_path, lock=text).added_to(held, ["one-os", "chain"], TODAY)
    assert {name: each.digest for name, each in found.parents.items()} == {"one-1": digest, "one-2": other}
    # The packages of a new project are those of this week.
    assert dict(found.epochs) == {"one-os": "2026-11-30"}
    assert found.timestamp is not None
    assert {*found.layers} == {"one-os", "chain"}
    assert parse_lock(lock_text(found)) == found


def test_copy_has_the_rules_that_plain_bake_needs_only_with_a_dockerfile(tmp_path: Path) -> None:
    found = offer(tmp_path)
    assert found.files("chain")[".dockerignore"].data.decode() == IGNORED
    assert ".dockerignore" not in found.files("first")
    assert all(ignored(IGNORED)(name) for name in UNBUILT)
    assert not ignored(IGNORED)("Dockerfile")


def test_checksum_covers_paths_bytes_modes_and_symlinks() -> None:
    files = (
        {"a": NewFile(data=b"1")},
        {"b": NewFile(data=b"1")},
        {"a": NewFile(data=b"2")},
        {"a": NewFile(data=b"1", executable=True)},
        {"a": NewFile(data=b"1", is_link=True)},
        {"a": NewFile(data=b"1"), "b": NewFile(data=b"1")},
    )
    assert len({checksum(contents_of(each)) for each in files}) == len(files)


def test_difference_has_texts_other_files_and_modes() -> None:
    before = {
        "gone": NewFile(data=b"1\n"),
        "mode": NewFile(data=b"1\n"),
        "same": NewFile(data=b"1\n"),
        "text": NewFile(data=b"1\n2"),
        "picture": NewFile(data=b"\xff"),
    }
    after = {
        "mode": NewFile(data=b"1\n", executable=True),
        "new": NewFile(data=b"1\n"),
        "picture": NewFile(data=b"\xfe"),
        "same": NewFile(data=b"1\n"),
        "text": NewFile(data=b"1\n3\n"),
    }
    assert difference("layers/x", before, after, "here 2").splitlines() == [
        *("--- layers/x/gone", "+++ /dev/null", "@@ -1 +0,0 @@", "-1"),
        "layers/x/mode has a different mode",
        *("--- /dev/null", "+++ layers/x/new (here 2)", "@@ -0,0 +1 @@", "+1"),
        "layers/x/picture differs",
        *("--- layers/x/text", "+++ layers/x/text (here 2)", "@@ -1,2 +1,2 @@", " 1", "-2", "+3"),
    ]
    assert difference("x", after, after, "") == ""


def test_lock_without_copied_layers_is_as_before() -> None:
    assert "layers" not in lock_text(Lock())
