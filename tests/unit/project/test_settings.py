"""What the settings of a machine mean, which of file and environment wins, and every error at its location."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildsys.errors import InvalidInput, Unavailable
from buildsys.project import settings
from buildsys.project.settings import Settings, mask_of, parse_settings, read_settings, with_environment

HOME = Path("/home/me/project")
FULL = """\
parents: {docker.io: mirror.example.com/hub, nvcr.io: mirror.example.com/nvidia}
downloads: {"https://download.open-mpi.org": "http://mirror.example.com/open-mpi/"}
apt:
  bookworm: ["deb [trusted=yes] file:/run/mirrors/files/repo ./"]
  "*": deb http://mirror.example.com/all stable main
pip:
  index-url: https://mirror.example.com/simple
  extra-index-url: [https://a.example.com/simple, https://b.example.com/simple]
ca: certificates/bundle.crt
files: /srv/files
proxy: {http: "http://proxy.example.com:3128", no: localhost}
"""


def told(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_settings(text, "buildsys.settings.yaml", HOME)
    return [f"{each.location}: {each.message}" for each in caught.value.diagnostics()]


def test_every_setting_is_read() -> None:
    found = parse_settings(FULL, "buildsys.settings.yaml", HOME)
    assert dict(found.parents) == {"docker.io": "mirror.example.com/hub", "nvcr.io": "mirror.example.com/nvidia"}
    assert dict(found.downloads) == {"https://download.open-mpi.org": "http://mirror.example.com/open-mpi"}
    assert found.apt["bookworm"] == ("deb [trusted=yes] file:/run/mirrors/files/repo ./",)
    assert found.apt["*"] == ("deb http://mirror.example.com/all stable main",)
    assert found.pip["index-url"] == ("https://mirror.example.com/simple",)
    assert len(found.pip["extra-index-url"]) == 2
    assert (found.ca, found.files) == (HOME / "certificates/bundle.crt", Path("/srv/files"))
    assert dict(found.proxy) == {"http": "http://proxy.example.com:3128", "no": "localhost"}
    assert found.reaches_builds


def test_empty_file_says_nothing_and_reaches_no_build() -> None:
    found = parse_settings("# nothing yet\n", "buildsys.settings.yaml", HOME)
    assert found == Settings()
    assert not found.reaches_builds


def test_mirrors_of_parents_and_downloads_alone_reach_no_build() -> None:
    text = "parents: {docker.io: m.example.com}\ndownloads: {'https://x.example.com': 'http://m.example.com'}\n"
    assert not parse_settings(text, "buildsys.settings.yaml", HOME).reaches_builds


def test_all_errors_are_reported_at_once_each_at_its_location() -> None:
    text = (
        "parnts: {docker.io: x}\n"
        "parents: {docker.io: 'https://mirror.example.com'}\n"
        "downloads:\n"
        "  https://example.com/folder: http://m.example.com\n"
        "  https://example.org: m.example.com\n"
        "apt: [a]\n"
        "pip: {index: x, trusted-host: {a: b}}\n"
        "ca: [x]\n"
    )
    assert told(text) == [
        "buildsys.settings.yaml:1:1: unknown key `parnts`",
        "buildsys.settings.yaml:2:22: `https://mirror.example.com` cannot be a part of an image's name",
        "buildsys.settings.yaml:4:3: `https://example.com/folder` is not where downloads come from",
        "buildsys.settings.yaml:5:24: `downloads.https://example.org` is `m.example.com`, which is not an address",
        "buildsys.settings.yaml:6:6: `apt`: expected a mapping, found a list",
        "buildsys.settings.yaml:7:7: unknown key `index`",
        "buildsys.settings.yaml:7:31: `trusted-host`: expected a text, found a mapping",
        "buildsys.settings.yaml:8:5: `ca`: expected a text, found a list",
    ]


def test_unknown_key_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_settings("parnts: {}\n", "buildsys.settings.yaml", HOME)
    assert caught.value.diagnostics()[0].hint == "did you mean `parents`?"


def test_file_that_is_a_list_is_one_error() -> None:
    assert told("- a\n") == ["buildsys.settings.yaml:1:1: expected a mapping, found a list"]


def test_environment_wins_setting_by_setting() -> None:
    environ = {
        "BUILDSYS_PARENTS": "docker.io=other.example.com/hub quay.io=other.example.com/quay",
        "BUILDSYS_APT": "deb http://a.example.com x main; deb http://b.example.com x main",
        "BUILDSYS_APT_TRIXIE": "deb http://c.example.com trixie main",
        "BUILDSYS_PIP_INDEX_URL": "https://other.example.com/simple",
        "BUILDSYS_PROXY_HTTPS": "http://other.example.com:1",
        "BUILDSYS_CA": "other.crt",
    }
    before = parse_settings(FULL, "buildsys.settings.yaml", HOME)
    found = with_environment(before, environ, HOME)
    assert dict(found.parents) == {
        "docker.io": "other.example.com/hub",
        "nvcr.io": "mirror.example.com/nvidia",
        "quay.io": "other.example.com/quay",
    }
    assert found.apt["*"] == ("deb http://a.example.com x main", "deb http://b.example.com x main")
    assert found.apt["trixie"] == ("deb http://c.example.com trixie main",)
    assert found.apt["bookworm"] == before.apt["bookworm"]
    assert found.pip["index-url"] == ("https://other.example.com/simple",)
    assert found.pip["extra-index-url"] == before.pip["extra-index-url"]
    assert dict(found.proxy) == {**before.proxy, "https": "http://other.example.com:1"}
    assert (found.ca, found.files) == (HOME / "other.crt", before.files)


def test_empty_value_in_the_environment_takes_a_setting_away() -> None:
    environ = {"BUILDSYS_CA": "", "BUILDSYS_PIP_INDEX_URL": "", "BUILDSYS_APT_BOOKWORM": ""}
    found = with_environment(parse_settings(FULL, "buildsys.settings.yaml", HOME), environ, HOME)
    assert found.ca is None
    assert "index-url" not in found.pip
    assert "bookworm" not in found.apt


def test_other_variables_change_nothing() -> None:
    before = parse_settings(FULL, "buildsys.settings.yaml", HOME)
    assert with_environment(before, {"BUILDSYS_TAG": "x", "http_proxy": "y", "BUILDSYS_APTITUDE": "z"}, HOME) == before


def test_pair_of_parents_without_a_mirror_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"`docker\.io`, expected `registry=mirror`"):
        with_environment(Settings(), {"BUILDSYS_PARENTS": "docker.io"}, HOME)


def test_file_that_the_environment_names_must_exist(tmp_path: Path) -> None:
    assert read_settings(tmp_path, {}) == Settings()
    with pytest.raises(InvalidInput, match=r"`here\.yaml`, which does not exist"):
        read_settings(tmp_path, {"BUILDSYS_SETTINGS": "here.yaml"})


def test_files_that_settings_name_must_exist_and_all_missing_are_reported(tmp_path: Path) -> None:
    (tmp_path / "buildsys.settings.yaml").write_text("ca: a.crt\nfiles: b\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        read_settings(tmp_path, {})
    assert len(caught.value.diagnostics()) == 2


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "company"
    folder.mkdir()
    (folder / "ca.crt").touch()
    (folder / "mirrors.yaml").write_text("ca: ca.crt\n", encoding="utf-8")
    assert read_settings(tmp_path, {"BUILDSYS_SETTINGS": "company/mirrors.yaml"}).ca == folder / "ca.crt"


def test_registries_that_are_not_verified_are_named_by_the_file_or_the_environment() -> None:
    text = "registries: {insecure: ['registry.example.com:5000', localhost]}\n"
    before = parse_settings(text, "buildsys.settings.yaml", HOME)
    assert before.insecure == ("registry.example.com:5000", "localhost")
    assert not before.reaches_builds
    environ = {"BUILDSYS_REGISTRIES_INSECURE": "10.0.0.1:5000 other.example.com"}
    assert with_environment(before, environ, HOME).insecure == ("10.0.0.1:5000", "other.example.com")
    assert with_environment(before, {"BUILDSYS_REGISTRIES_INSECURE": ""}, HOME).insecure == ()
    assert with_environment(before, {}, HOME).insecure == before.insecure
    assert Settings().insecure == ()


@pytest.mark.parametrize("name", ["http://registry.example.com", "registry.example.com/ml", "registry", "a b:1", ""])
def test_registry_that_is_not_host_and_port_is_refused_in_its_place(name: str) -> None:
    text = f"registries: {{insecure: [ok.example.com, '{name}']}}\n"
    assert told(text) == [f"buildsys.settings.yaml:1:41: `registries.insecure` has `{name}`, which is not a registry"]
    if " " not in name and name:
        with pytest.raises(InvalidInput, match="`BUILDSYS_REGISTRIES_INSECURE` has"):
            with_environment(Settings(), {"BUILDSYS_REGISTRIES_INSECURE": name}, HOME)


def test_values_are_checked_also_where_the_shape_of_another_is_wrong() -> None:
    assert told("apt: x\nproxy: {http: here}\npip:\nconda: {channel_alias: ['http://a']}\n") == [
        "buildsys.settings.yaml:1:6: `apt`: expected a mapping, found a text",
        "buildsys.settings.yaml:2:15: `proxy.http` is not the address of a proxy",
        "buildsys.settings.yaml:4:24: `channel_alias`: expected a text, found a list",
    ]


def test_credentials_in_the_place_of_a_key_are_in_no_message() -> None:
    text = '"https://me:secret@x": 1\nparents: {"me:secret@x": [1]}\npip: {"me:secret@x": y}\n'
    found = told(text)
    assert len(found) >= 3
    assert "secret" not in " ".join(found)


def test_proxies_of_docker_are_masked_also_where_its_settings_are_a_symlink(tmp_path: Path) -> None:
    docker, files = tmp_path / "docker", tmp_path / "files"
    docker.mkdir()
    files.mkdir()
    proxy = "http://me:s3cret@proxy.example.com:3128"
    text = json.dumps({"proxies": {"default": {"httpProxy": proxy}}})
    (files / "config.json").write_text(text, encoding="utf-8")
    (docker / "config.json").symlink_to(files / "config.json")
    mask = mask_of(tmp_path, {"DOCKER_CONFIG": str(docker)})
    assert mask.text("the password is s3cret") == "the password is ***"


def test_proxies_of_docker_are_masked_as_they_are_used_and_not_as_docker_writes_them(tmp_path: Path) -> None:
    proxy = "http://me:s3\\u0026cret@proxy.example.com:3128"
    text = f'{{"proxies": {{"default": {{"httpProxy": "{proxy}"}}}}}}'
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    mask = mask_of(tmp_path, {"DOCKER_CONFIG": str(tmp_path)})
    assert mask.text("the password is s3&cret") == "the password is ***"


def test_git_that_does_not_answer_about_a_secret_has_a_hint_about_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("git: fatal: detected dubious ownership in repository")

    monkeypatch.setattr(settings, "find_repository", refuse)
    (tmp_path / "buildsys.settings.yaml").write_text("secrets: {token: {env: MY_TOKEN}}\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        read_settings(tmp_path, {})
    (found,) = caught.value.diagnostics()
    assert "dubious ownership" in found.message
    assert "`BUILDSYS_SECRET_<ID>`" in str(found.hint)
    # The hint fixes it.
    assert read_settings(tmp_path, {"BUILDSYS_SECRET_TOKEN": "s3cret"}).secrets


@pytest.mark.parametrize("source", ["{env: MY_TOKEN}", "{file: ../token}"])
def test_secret_that_a_committed_file_names_is_taken_from_its_variable_as_the_hint_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "token").write_text("s3cret", encoding="utf-8")
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(settings, "_is_committed", lambda *_: True)
    (project / "buildsys.settings.yaml").write_text(f"secrets: {{token: {source}}}\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        read_settings(project, {})
    (found,) = caught.value.diagnostics()
    assert str(found.hint).startswith("set `BUILDSYS_SECRET_TOKEN`, or ")
    assert read_settings(project, {"BUILDSYS_SECRET_TOKEN": "s3cret"}).secrets
