"""What builds see of a machine's settings: the script, the files beside it, and the bake variables."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from buildsys.names import TIMES
from buildsys.project.mirrors import (
    CONTEXT,
    mirror_files,
    mirrored_reference,
    mirrored_variables,
    mirrors_secret,
    write_mirrors,
)
from buildsys.project.settings import Settings


def script(settings: Settings, ca: bytes | None = None) -> list[str]:
    return mirror_files(settings, ca=ca)["use"].decode().splitlines()


def test_no_settings_make_a_script_that_does_nothing() -> None:
    assert script(Settings())[1:] == [f"[ ! -f {TIMES} ] || . {TIMES}", ":"]
    assert mirror_files(Settings()).keys() == {"use"}


def test_script_succeeds_even_where_its_last_test_is_false() -> None:
    assert script(Settings(apt={"bookworm": ("deb x y z",)}))[-1] == ":"


def test_apt_sources_replace_those_of_the_image_for_their_release() -> None:
    files = mirror_files(Settings(apt={"bookworm": ("deb http://m/d bookworm main",), "*": ("deb http://m/a x main",)}))
    assert files["apt/bookworm.list"] == b"deb http://m/d bookworm main\n"
    assert files["apt/any.list"] == b"deb http://m/a x main\n"
    configuration = files["apt/bookworm.conf"].decode()
    assert 'Dir::Etc::SourceList "/run/mirrors/apt/bookworm.list";' in configuration
    assert 'Dir::Etc::SourceParts "/dev/null";' in configuration


def test_release_is_asked_in_a_shell_of_its_own() -> None:
    # /etc/os-release sets VERSION and NAME, which layers have as arguments.
    lines = [line for line in script(Settings(apt={"*": ("deb x y z",)})) if "os-release" in line]
    assert lines == ['for each in "$(. /etc/os-release && echo "${VERSION_CODENAME:-none}")" any; do']


def test_certificates_alone_leave_the_sources_of_the_image() -> None:
    files = mirror_files(Settings(), ca=b"bundle")
    assert files["ca.crt"] == b"bundle"
    assert files["apt/any.conf"] == b'Acquire::https::CAInfo "/run/mirrors/ca.crt";\n'
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        assert f"export {name}=/run/mirrors/ca.crt" in script(Settings(), b"bundle")


def test_python_index_is_set_for_pip_and_uv() -> None:
    settings = Settings(
        pip={
            "index-url": ("https://m/simple",),
            "extra-index-url": ("https://a/s", "https://b/s"),
            "find-links": ("https://m/a", "https://m/b"),
            "trusted-host": ("m",),
        }
    )
    assert mirror_files(settings)["pip.conf"].decode().splitlines() == [
        *("[global]", "extra-index-url =", "    https://a/s", "    https://b/s", "find-links =", "    https://m/a"),
        *("    https://m/b", "index-url = https://m/simple", "trusted-host = m"),
    ]
    assert [line for line in script(settings) if "UV_" in line] == [
        "export UV_INDEX='https://a/s https://b/s'",
        "export UV_FIND_LINKS=https://m/a,https://m/b",
        "export UV_DEFAULT_INDEX=https://m/simple",
        "export UV_INSECURE_HOST=m",
    ]


def test_proxies_are_set_in_both_cases() -> None:
    assert script(Settings(proxy={"http": "http://p:1"}))[2:4] == [
        "export http_proxy=http://p:1",
        "export HTTP_PROXY=http://p:1",
    ]


def test_value_with_signs_of_the_shell_stays_a_value() -> None:
    lines = script(Settings(proxy={"no": "a$(b)'c"}))
    assert lines[2] == """export no_proxy='a$(b)'"'"'c'"""


PRIVATE = {
    "proxy": {"http": "http://me:hush@p:1", "no": "a"},
    "conda": {"channel_alias": "https://c/t/hush/x"},
    "pip": {"index-url": ("https://me:hush@m/simple",), "trusted-host": ("m",)},
    "apt": {"bookworm": ("deb https://me:hush@m x y",), "*": ("deb http://m x y",)},
}


@pytest.mark.parametrize("section", PRIVATE)
def test_credentials_are_in_the_secret_and_in_no_file(section: str) -> None:
    settings = Settings(**{section: PRIVATE[section]})  # type: ignore[arg-type]
    files = mirror_files(settings)
    assert not [name for name, data in files.items() if b"hush" in data]
    assert "hush" in mirrors_secret(settings)
    assert b". /run/secrets/mirrors" in files["use"]


def test_only_what_has_credentials_is_in_the_secret() -> None:
    found = [line for line in mirrors_secret(Settings(**PRIVATE)).splitlines() if "export" in line]  # type: ignore[arg-type]
    assert [line.split("=")[0] for line in found] == [
        f"export {name}" for name in ("UV_DEFAULT_INDEX", "CONDA_CHANNEL_ALIAS", "http_proxy", "HTTP_PROXY")
    ]
    files = mirror_files(Settings(**PRIVATE))  # type: ignore[arg-type]
    assert "apt/any.list" in files
    assert not {"pip.conf", "apt/bookworm.list"} & files.keys()
    assert b'"/dev/shm/buildsys-apt-bookworm.list"' in files["apt/bookworm.conf"]


def test_without_credentials_the_secret_is_empty_and_the_script_asks_for_none() -> None:
    settings = Settings(proxy={"http": "http://p:1"}, pip={"index-url": ("https://m/simple",)})
    assert mirrors_secret(settings) == ""
    assert b"secrets" not in mirror_files(settings)["use"]


def test_a_new_password_changes_no_file() -> None:
    one, two = (Settings(proxy={"http": f"http://me:{each}@p:1"}) for each in ("hush", "whisper"))
    assert mirror_files(one) == mirror_files(two)


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("docker.io/library/debian:12-slim", "m.example.com/hub/library/debian:12-slim"),
        ("debian:12", "m.example.com/hub/library/debian:12"),
        ("docker.io/debian:12", "m.example.com/hub/library/debian:12"),
        ("nvidia/cuda:1@sha256:ab", "m.example.com/hub/nvidia/cuda:1@sha256:ab"),
        ("nvcr.io/nvidia/cuda:1", "nvcr.io/nvidia/cuda:1"),
        ("localhost/a/b:1", "localhost/a/b:1"),
    ],
)
def test_parent_is_taken_from_the_mirror_of_its_registry(reference: str, found: str) -> None:
    assert mirrored_reference(reference, Settings(parents={"docker.io": "m.example.com/hub/"})) == found


def test_only_variables_that_differ_are_reported() -> None:
    settings = Settings(parents={"docker.io": "m"}, downloads={"https://a.example.com": "http://m/a"})
    origins = {"BUILDSYS_DOWNLOADS_A": "https://a.example.com", "BUILDSYS_DOWNLOADS_B": "https://b.example.com"}
    parents = {"BUILDSYS_PARENT_X": "docker.io/library/x:1", "BUILDSYS_PARENT_Y": "quay.io/y:1"}
    assert mirrored_variables(settings, origins=origins, parents=parents) == {
        "BUILDSYS_DOWNLOADS_A": "http://m/a",
        "BUILDSYS_PARENT_X": "m/library/x:1",
    }


def test_no_folder_is_named_where_builds_need_none_and_nothing_of_before_is_left(tmp_path: Path) -> None:
    nothing = Settings(parents={"docker.io": "m"})
    assert write_mirrors(nothing, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    write_mirrors(Settings(proxy={"http": "http://name:word@p"}), tmp_path)
    assert write_mirrors(nothing, tmp_path) == ""
    assert list((tmp_path / CONTEXT).iterdir()) == []


def test_folder_has_what_the_settings_say_now_and_nothing_of_before(tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "repo").mkdir(parents=True)
    (files / "repo" / "Packages").write_text("a", encoding="utf-8")
    before = Settings(apt=MappingProxyType({"bookworm": ("deb a b c",)}), files=files)
    assert write_mirrors(before, tmp_path) == CONTEXT
    assert (tmp_path / CONTEXT / "files" / "repo" / "Packages").read_text(encoding="utf-8") == "a"
    assert write_mirrors(Settings(proxy={"http": "http://p"}), tmp_path) == CONTEXT
    assert [path.name for path in (tmp_path / CONTEXT).rglob("*") if path.is_file()] == ["use"]


def test_what_is_written_can_be_read_by_everybody(tmp_path: Path) -> None:
    # apt reads its configuration as a user of its own.
    write_mirrors(Settings(apt={"*": ("deb a b c",)}), tmp_path)
    modes = {path.stat().st_mode & 0o444 for path in (tmp_path / CONTEXT).rglob("*")}
    assert modes == {0o444}
