"""Where values of secrets come from: options before variables before settings, and what cannot be a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsys.errors import InvalidInput, WrongUsage
from buildsys.project.secrets import SecretSource, check_known, parse_options, source_problems, values
from buildsys.project.settings import mask_of, parse_settings, read_settings

TOKEN = "not-a-real-token"


@pytest.mark.parametrize(
    ("word", "file", "env"),
    [
        ("id=t,src=a/b", "a/b", None),
        ("id=t,source=a", "a", None),
        ("type=file,id=t,src=a", "a", None),
        ("id=t,env=NAME", None, "NAME"),
        ("type=env,id=t,src=NAME", None, "NAME"),
        ("type=env,id=t,env=NAME", None, "NAME"),
        ('id=t,"src=a,b"', "a,b", None),
        ("id=SET", None, "SET"),
        ("id=t", "t", None),
    ],
)
def test_option_is_read_as_buildx_reads_it(word: str, file: str | None, env: str | None) -> None:
    (found,) = parse_options([word], {"SET": "x"}).values()
    assert found == SecretSource(file=Path(file) if file else None, env=env)


@pytest.mark.parametrize(
    "word", ["", TOKEN, f"id={TOKEN}!,src=a", f"id=t,value={TOKEN}", f"id=t,{TOKEN}", 'id=t,"src=a']
)
def test_option_that_cannot_be_read_is_refused_without_being_quoted(word: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        parse_options([word], {})
    assert TOKEN not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", ["mirrors", "GIT_AUTH_TOKEN", "HTTP_AUTH_HEADER.example.com"])
def test_reserved_id_is_refused(name: str) -> None:
    with pytest.raises(WrongUsage, match="reserved"):
        parse_options([f"id={name},env=X"], {})


def test_option_of_no_layer_is_refused_with_the_nearest_id() -> None:
    check_known(["token"], ["token"])
    with pytest.raises(WrongUsage) as caught:
        check_known(["tokn"], ["token"])
    assert caught.value.hint == "did you mean `token`?"


def test_option_goes_before_the_environment_and_that_before_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of a file\n", encoding="utf-8")
    sources = {name: SecretSource(env="MINE") for name in ("a", "b", "c")}
    options = {"c": SecretSource(file=tmp_path / "file")}
    environ = {"MINE": "of a variable", "BUILDSYS_SECRET_B": "of the environment", "BUILDSYS_SECRET_C": "x"}
    assert values(environ, sources, options) == {
        "BUILDSYS_SECRET_A": "of a variable",
        "BUILDSYS_SECRET_C": "of a file\n",
    }


def test_variable_that_is_empty_gives_no_value() -> None:
    assert values({"MINE": ""}, {"a": SecretSource(env="MINE")}, {}) == {}
    assert values({"BUILDSYS_SECRET_A": "", "MINE": "x"}, {"a": SecretSource(env="MINE")}, {}) == {}
    with pytest.raises(InvalidInput, match="`MINE`, which is not set"):
        values({}, {}, {"a": SecretSource(env="MINE")})


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"a\0b", "zero bytes"), (b"\n", "is empty"), (b"x" * 98_305, "98305 bytes, expected at most 98304")],
)
def test_file_that_no_variable_can_hold_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InvalidInput, match=words):
        values({}, {}, {"a": SecretSource(file=tmp_path / "file")})


def test_bytes_of_a_file_are_the_value_whatever_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\r\n")
    found = values({}, {}, {"a": SecretSource(file=tmp_path / "file")})
    assert found["BUILDSYS_SECRET_A"].encode("utf-8", "surrogateescape") == b"\xff\xfe\r\n"


def test_settings_name_a_file_or_a_variable_and_never_a_value() -> None:
    wrong = {"a": SecretSource(), "b": SecretSource(file=Path("x"), env="X"), "c": SecretSource(env=TOKEN)}
    found = list(source_problems(wrong))
    assert [path for _, path, _ in found] == [("secrets", "a"), ("secrets", "b"), ("secrets", "c", "env")]
    assert TOKEN not in str(found)
    assert not list(source_problems({"a": SecretSource(env="X"), "b": SecretSource(file=Path("x"))}))


def test_file_of_the_settings_is_relative_to_their_folder_and_must_exist(tmp_path: Path) -> None:
    settings = parse_settings("secrets: {a: {file: x}, b: {env: Y}}\n", "s.yaml", tmp_path)
    assert settings.secrets == {"a": SecretSource(file=tmp_path / "x"), "b": SecretSource(env="Y")}
    (tmp_path / "buildsys.settings.yaml").write_text("secrets: {a: {file: x}}\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="does not exist"):
        read_settings(tmp_path, {})
    (tmp_path / "x").write_text("x", encoding="utf-8")
    assert read_settings(tmp_path, {}).secrets == {"a": SecretSource(file=tmp_path / "x")}


def test_value_in_the_environment_is_masked(tmp_path: Path) -> None:
    mask = mask_of(tmp_path, {"BUILDSYS_SECRET_A": f"{TOKEN}\n", "DOCKER_CONFIG": str(tmp_path)})
    assert mask.text(f"a {TOKEN} b") == "a *** b"
