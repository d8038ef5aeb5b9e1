"""Where layers are copied from, as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.errors import WrongUsage
from buildsys.names import LOCK_FILE
from buildsys.project.origins import Origin, parse_origin, shipped

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "origin", "ref"),
    [
        ("https://example.com/layers.git@v1.2", "https://example.com/layers.git", "v1.2"),
        ("https://example.com:8443/a/layers@feature/x", "https://example.com:8443/a/layers", "feature/x"),
        ("https://example.com/layers", "https://example.com/layers", "HEAD"),
        ("git@example.com:a/layers.git@main", "git@example.com:a/layers.git", "main"),
        ("ssh://git@example.com/layers.git", "ssh://git@example.com/layers.git", "HEAD"),
        ("file:///srv/layers@v1", "file:///srv/layers", "v1"),
    ],
)
def test_address_of_a_repository_has_a_revision_behind_it(text: str, origin: str, ref: str, tmp_path: Path) -> None:
    found = parse_origin(text, tmp_path)
    assert found == Origin(origin=origin, ref=ref)
    assert parse_origin(str(found), tmp_path) == found


def test_folder_is_relative_to_the_project_unless_it_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("project/inside", "project/buildsys", "beside@v1", "beside"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "inside")
    root = tmp_path / "project"
    assert parse_origin("../../beside", root) == Origin(origin="../beside")
    # A folder that exists is meant, whatever is in its name.
    assert parse_origin("../../beside@v1", root) == Origin(origin="../beside@v1")
    assert parse_origin("../../beside@v2", root) == Origin(origin="../beside", ref="v2")
    assert parse_origin("../buildsys", root) == Origin(origin="./buildsys")
    assert parse_origin(str(tmp_path / "beside"), root) == Origin(origin=str(tmp_path / "beside"))


@pytest.mark.parametrize(
    "text",
    [
        "https://user@example.com/x@v1",
        "https://user:secret@example.com/x",
        "http://example.com/x",
        "git://example.com/x",
        "https://example.com/x@--upload-pack=touch",
        "https://example.com/x@a b",
        "ssh://-oProxyCommand=x/y",
        "ext::sh -c x",
        "nowhere",
        "nowhere@v1",
        "",
    ],
)
def test_other_places_are_refused_without_quoting_an_address(text: str, tmp_path: Path) -> None:
    with pytest.raises(WrongUsage) as caught:
        parse_origin(text, tmp_path)
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_checkout_ships_its_own_layers_and_lock() -> None:
    assert shipped() == ROOT
    assert (shipped() / LOCK_FILE).is_file()
    assert (shipped() / "layers" / "openmpi" / "layer.yaml").is_file()
