"""What `docker buildx bake --print` reads is what was given to the writer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.bake.hcl import Attribute, Block, Comment, Expression, Heredoc, Item, Template, write
from tests.support.laws import examples

pytestmark = [
    pytest.mark.buildx,
    pytest.mark.skipif(shutil.which("docker") is None, reason="docker buildx is not installed"),
]

# The characters that HCL gives a meaning come up often, all others now and then.
TRICKY = st.sampled_from(list("${%}\\\"~\n\t\r #EOT'`,=<>\x00\x01\x7f\x85\u2028\ufeffé€𝒳"))
TEXTS = st.text(
    TRICKY | st.characters(exclude_categories=["Cs"]),
    max_size=12,
).map(lambda text: unicodedata.normalize("NFC", text))
LAW = examples(4)


def read_back(items: tuple[Item, ...], folder: Path) -> dict[str, dict[str, object]]:
    """Return the targets that buildx read; `--print` escapes `${` and `%{` again, which is undone."""
    file = folder / "docker-bake.hcl"
    file.write_bytes(write(items).encode())
    done = subprocess.run(
        ["docker", "buildx", "bake", "--print", "-f", str(file), "all"],
        cwd=folder,
        env={**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + file.read_text(encoding="utf-8")
    targets: dict[str, dict[str, object]] = json.loads(done.stdout)["target"]
    return {name: {key: plain(value) for key, value in target.items()} for name, target in targets.items()}


def plain(value: object) -> object:
    if isinstance(value, str):
        return value.replace("$${", "${").replace("%%{", "%{")
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def file_of(targets: Mapping[str, tuple[Attribute, ...]]) -> tuple[Item, ...]:
    return (
        Comment(text="a test"),
        Block(kind="group", labels=("all",), body=(Attribute(name="targets", value=sorted(targets)),)),
        *(Block(kind="target", labels=(name,), body=body) for name, body in targets.items()),
    )


@LAW
@given(batch=st.lists(TEXTS, min_size=150, max_size=300))
def test_every_string_is_read_back(tmp_path_factory: pytest.TempPathFactory, batch: list[str]) -> None:
    args = {f"A{number}": text for number, text in enumerate(batch)}
    items = file_of({"a": (Attribute(name="args", value=args),)})
    assert read_back(items, tmp_path_factory.mktemp("bake"))["a"]["args"] == args


@LAW
@given(labels=st.dictionaries(TEXTS, TEXTS, min_size=80, max_size=150))
def test_every_key_is_read_back(tmp_path_factory: pytest.TempPathFactory, labels: dict[str, str]) -> None:
    items = file_of({"a": (Attribute(name="labels", value=labels),)})
    assert read_back(items, tmp_path_factory.mktemp("bake"))["a"]["labels"] == labels


@LAW
@given(batch=st.lists(st.lists(TEXTS.map(lambda text: f"x{text}"), unique=True), min_size=30, max_size=60))
def test_every_list_is_read_back(tmp_path_factory: pytest.TempPathFactory, batch: list[list[str]]) -> None:
    items = file_of({f"t{n}": (Attribute(name="entitlements", value=texts),) for n, texts in enumerate(batch)})
    read = read_back(items, tmp_path_factory.mktemp("bake"))
    assert [sorted(_list(read[f"t{n}"].get("entitlements"))) for n in range(len(batch))] == [
        sorted(texts) for texts in batch
    ]


@LAW
@given(batch=st.lists(TEXTS | TEXTS.map(lambda text: f"{text}\n"), min_size=60, max_size=120))
def test_every_heredoc_is_read_back(tmp_path_factory: pytest.TempPathFactory, batch: list[str]) -> None:
    texts = [f"FROM base\n{text}" for text in batch]
    items = file_of(
        {
            f"t{number}": (
                Attribute(name="dockerfile-inline", value=Heredoc(text=text)),
                Attribute(name="target", value="last"),
            )
            for number, text in enumerate(texts)
        }
    )
    read = read_back(items, tmp_path_factory.mktemp("bake"))
    assert [read[f"t{number}"]["dockerfile-inline"] for number in range(len(texts))] == texts


@LAW
@given(batch=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=60, max_size=120))
def test_every_template_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, batch: list[tuple[str, str, str]]
) -> None:
    # A mark on each side of the interpolated value keeps composition of characters out of the comparison.
    args = {
        f"A{n}": Template(parts=(a, Expression(text="BUILDSYS_X"), f"|{b}", Expression(text='"<>"'), f"|{c}"))
        for n, (a, b, c) in enumerate(batch)
    }
    variable = Block(kind="variable", labels=("BUILDSYS_X",), body=(Attribute(name="default", value="|v${}|"),))
    items = (variable, *file_of({"a": (Attribute(name="args", value=args),)}))
    read = read_back(items, tmp_path_factory.mktemp("bake"))["a"]["args"]
    assert read == {f"A{n}": f"{a}|v${{}}||{b}<>|{c}" for n, (a, b, c) in enumerate(batch)}


def test_null_booleans_and_keywords_as_keys_are_read(tmp_path: Path) -> None:
    body = (
        Attribute(name="args", value={"for": "1", "null": "2", "true": "3", "if": "4", "a-b": "5", "_": "6"}),
        Attribute(name="labels", value=None),
        Attribute(name="no-cache", value=True),
    )
    target = read_back(file_of({"a": body}), tmp_path)["a"]
    assert target["args"] == {"for": "1", "null": "2", "true": "3", "if": "4", "a-b": "5", "_": "6"}
    assert target["no-cache"] is True
    assert "labels" not in target


def _list(value: object) -> list[str]:
    assert value is None or isinstance(value, list)
    return list(value or [])
