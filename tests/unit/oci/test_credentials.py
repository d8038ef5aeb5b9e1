"""Whose credentials are found in docker's settings: order of helpers and entries, and how a bad one is reported."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from buildsys.oci.credentials import Credential, CredentialsUnreadable, docker_credentials


def settings(folder: Path, **values: object) -> Path:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def absent(program: str, server: str) -> tuple[int, str]:
    return 1, "credentials not found in native keychain\n"


def test_no_settings_have_no_credentials(tmp_path: Path) -> None:
    assert docker_credentials(tmp_path)("r.example.com") is None


def test_entry_is_found_under_host_and_under_address(tmp_path: Path) -> None:
    auths = {"r.example.com": {"auth": coded("me:a:b")}, "https://127.0.0.1:5000/v2/": {"auth": coded("you:c")}}
    known = docker_credentials(settings(tmp_path, auths=auths))
    assert known("r.example.com") == Credential(username="me", password="a:b")
    assert known("127.0.0.1:5000") == Credential(username="you", password="c")
    assert known("example.com") is None


def test_docker_hub_has_an_address_of_its_own(tmp_path: Path) -> None:
    known = docker_credentials(settings(tmp_path, auths={"https://index.docker.io/v1/": {"auth": coded("me:x")}}))
    assert known("docker.io") == Credential(username="me", password="x")


def test_helper_of_the_host_goes_before_the_store_and_that_before_entries(tmp_path: Path) -> None:
    asked = []

    def helper(program: str, server: str) -> tuple[int, str]:
        asked.append((program, server))
        return 0, json.dumps({"Username": program, "Secret": "s"})

    folder = settings(
        tmp_path,
        credHelpers={"a.example.com": "special"},
        credsStore="common",
        auths={"a.example.com": {"auth": coded("entry:x")}},
    )
    known = docker_credentials(folder, helper=helper)
    assert known("a.example.com") == Credential(username="special", password="s")
    assert known("b.example.com") == Credential(username="common", password="s")
    assert known("a.example.com") == Credential(username="special", password="s")
    assert asked == [("special", "a.example.com"), ("common", "b.example.com")]


def test_entry_is_used_where_the_helper_has_no_credentials(tmp_path: Path) -> None:
    folder = settings(tmp_path, credsStore="common", auths={"a.example.com": {"auth": coded("entry:x")}})
    assert docker_credentials(folder, helper=absent)("a.example.com") == Credential(username="entry", password="x")


def test_identity_token_of_a_helper_is_known_by_its_user_name(tmp_path: Path) -> None:
    def helper(program: str, server: str) -> tuple[int, str]:
        return 0, json.dumps({"Username": "<token>", "Secret": "t"})

    assert docker_credentials(settings(tmp_path, credsStore="x"), helper=helper)("r.example.com") == Credential(
        identity_token="t"
    )


@pytest.mark.parametrize("answer", [(1, "the keychain is locked"), (0, "no json"), (0, "[]")])
def test_helper_that_fails_is_named_and_its_output_is_not_shown(tmp_path: Path, answer: tuple[int, str]) -> None:
    known = docker_credentials(settings(tmp_path, credsStore="x"), helper=lambda *_: answer)
    with pytest.raises(CredentialsUnreadable, match="`docker-credential-x`") as caught:
        known("r.example.com")
    assert answer[1] not in caught.value.message


def test_settings_that_cannot_be_read_are_reported_without_their_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"x": "s3cret"', encoding="utf-8")
    with pytest.raises(CredentialsUnreadable) as caught:
        docker_credentials(tmp_path)("r.example.com")
    assert "s3cret" not in caught.value.message


def test_helper_whose_name_no_program_can_have_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("embedded null byte")

    monkeypatch.setattr(subprocess, "run", refuse)
    known = docker_credentials(settings(tmp_path, credsStore="x\0y"))
    with pytest.raises(CredentialsUnreadable, match="cannot be run"):
        known("r.example.com")
