"""Whatever a text of a project is: the plan refuses it at its line, or `docker buildx bake --print` says the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildsys.bake.definition import Definition, Group, Target, Variable
from buildsys.bake.hcl import Expression, Template
from buildsys.bake.targets import Publication, plan_definition, run_definition
from buildsys.plan.keys import keys_of
from buildsys.plan.plan import Plan
from buildsys.run.index import annotations_of
from tests.support.hostile_project import FREE, IMAGES, INPUTS, SETTINGS, STACKS, VALUES, WORDS, projects
from tests.support.hostile_text import texts
from tests.support.keyed import contents_of

pytestmark = [
    pytest.mark.buildx,
    pytest.mark.skipif(shutil.which("docker") is None, reason="docker buildx is not installed"),
]

# Of so many at least 5,000 are right in the fields that may have any text.
COUNT = 5_900
LEAST = 5_000
# Bake takes a time that grows with the square of the number of targets.
STACKS_OF_ONE = 400
GROUPS = {
    "values": (VALUES, COUNT, COUNT),
    "inputs": (tuple(name for name in INPUTS if name not in VALUES), LEAST, LEAST),
    "settings": (SETTINGS, COUNT, COUNT),
    "words": (WORDS, COUNT, COUNT),
    "stacks": (STACKS, COUNT, STACKS_OF_ONE),
    "images": (IMAGES, LEAST, STACKS_OF_ONE),
}
# Why a text is refused where any other is right.
REASONS = (
    *("control character", "one line", "which bake would read as", "an empty part", "has the wrong form"),
    "first word of",
)


def bake(folder: Path, name: str, text: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what bake prints for the group of all targets, with the texts as they are."""
    file = folder / name
    file.write_bytes(text.encode())
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BUILDSYS_")}
    done = subprocess.run(
        ["docker", "buildx", "bake", "--print", "-f", str(file), "all-targets"],
        cwd=folder,
        env={**environment, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    for target in found["target"].values():
        # Bake writes these fields, and no others, so that they could be read as HCL again.
        for field in ("args", "labels"):
            target[field] = {plain(key): plain(value) for key, value in target.get(field, {}).items()}
        target["annotations"] = [plain(text) for text in target.get("annotations", ())]
        target["dockerfile-inline"] = plain(target.get("dockerfile-inline", ""))
    return found


def plain(text: str) -> str:
    return text.replace("$${", "${").replace("%%{", "%{")


def with_group(definition: Definition, targets: Iterable[str]) -> Definition:
    return replace(definition, groups=(*definition.groups, Group(name="all-targets", targets=tuple(targets))))


def without_caches(definition: Definition, plan: Plan) -> Definition:
    """Return the definition without the calls of functions that are most of bake's time."""
    targets = tuple(replace(target, cache_from=None, cache_to=None) for target in definition.targets)
    return with_group(
        replace(definition, targets=targets),
        [*plan.targets, *(name for name, members in plan.groups.items() if members)],
    )


def check(fields: tuple[str, ...], folder: Path, *, seed: int, count: int, size: int) -> None:
    """Assert for all texts of the fields that the plan refused them, or that bake says the same as the project."""
    tried, equal = Counter[str](), Counter[str]()
    for project in projects(fields, seed, count, size):
        plan = project.plan()
        definition = without_caches(plan_definition(plan), plan)
        for name, text in (("a.hcl", definition.to_hcl()), ("a.json", definition.to_json())):
            read = project.read(plan, bake(folder, name, text))
            wrong = {entry: (project.texts[entry[0]][entry[1]], found) for entry, found in read.items()}
            wrong = {entry: both for entry, both in wrong.items() if both[0] != both[1]}
            assert not wrong, f"{name}, seed {seed}: {list(wrong.items())[:5]}"
        tried.update({name: len(texts) for name, texts in project.texts.items()})
        equal.update(name for name, _ in read)
        for (name, number), message in project.refused.items():
            reasons = (*REASONS, "variable", "option of a program") if name in ("set", "prepend", "append") else REASONS
            assert name not in FREE or any(reason in message for reason in reasons), (
                project.texts[name][number],
                message,
            )
    for name in fields:
        assert tried[name] >= LEAST - 10 or name == "parent", tried
        assert equal[name] >= (LEAST if name in FREE else 300) or name in ("parent", "deprecated"), equal


# Bake takes as long for the images as for all other groups.
@pytest.mark.parametrize(
    "group", [pytest.param(each, marks=pytest.mark.long if each == "images" else ()) for each in GROUPS]
)
def test_texts_of_every_field_come_back_equal_or_are_refused(group: str, tmp_path: Path) -> None:
    fields, count, size = GROUPS[group]
    check(fields, tmp_path, seed=1, count=count, size=size)


@pytest.mark.long
@pytest.mark.parametrize("group", GROUPS)
def test_more_texts_of_every_field_come_back_equal_or_are_refused(group: str, tmp_path: Path) -> None:
    """The environment's SEED repeats a run."""
    fields, count, size = GROUPS[group]
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    for each in range(seed, seed + 4):
        check(fields, tmp_path, seed=each, count=count, size=size)


def test_annotations_of_keys_come_back_equal(tmp_path: Path) -> None:
    """What a key covers is an annotation of what is published: all values and settings are in it."""
    for fields in (VALUES, SETTINGS, WORDS):
        (project,) = projects(fields, 2, 1_000, 1_000)
        plan = project.plan()
        keys = keys_of(plan, contents_of(project.tree(), plan))
        notes = {name: annotations_of(keys.of(name)) for name in plan.targets}
        publications = {name: Publication(name=f"e.com/x:{name}", annotations=note) for name, note in notes.items()}
        definition = run_definition(plan, plan.targets, {}, publications=publications)
        for name, text in (
            ("a.hcl", with_group(definition, plan.targets).to_hcl()),
            ("a.json", with_group(definition, plan.targets).to_json()),
        ):
            printed = bake(tmp_path, name, text)["target"]
            for target, note in notes.items():
                assert sorted(printed[target]["annotations"]) == sorted(f"manifest:{k}={v}" for k, v in note.items())


def test_variables_come_back_equal_from_their_defaults_and_from_the_environment(tmp_path: Path) -> None:
    found = [unicodedata.normalize("NFC", text) for text in texts(random.Random(3), LEAST + 200)]
    values = {f"BUILDSYS_{number}": text for number, text in enumerate(dict.fromkeys(found)) if "\0" not in text}
    target = Target(
        name="a",
        args={name: Expression(name) for name in values},
        labels={
            f"x{name}": Template((Expression(name), f"|{text}|", Expression(name))) for name, text in values.items()
        },
    )
    variables = tuple(Variable(name=name, description=text, default=text) for name, text in values.items())
    definition = with_group(Definition(variables=variables, targets=(target,)), ["a"])
    unset = replace(definition, variables=tuple(replace(each, default="") for each in variables))
    for name, text, environment in (
        ("a.hcl", definition.to_hcl(), {}),
        ("a.json", definition.to_json(), {}),
        ("a.hcl", unset.to_hcl(), values),
    ):
        read = bake(tmp_path, name, text, environment)["target"]["a"]
        assert read["args"] == values
        assert read["labels"] == {f"x{name}": f"{text}|{text}|{text}" for name, text in values.items()}


def characters_come_back_equal(characters: list[str], folder: Path) -> None:
    rows = [characters[start : start + 512] for start in range(0, len(characters), 512)]
    # Behind a character with an accent of its own, one accent is moved before another.
    args = {f"A{n}": "".join(f'{c}"{c}${{{c}%{{{c}\\{c}\n{c}.' for c in row) + row[0] for n, row in enumerate(rows)}
    labels = {f"{row[0]}{n}": row[-1] for n, row in enumerate(rows)}
    definition = with_group(Definition(targets=(Target(name="a", args=args, labels=labels),)), ["a"])
    for name, text in (("a.hcl", definition.to_hcl()), ("a.json", definition.to_json())):
        read = bake(folder, name, text)["target"]["a"]
        assert [key for key, value in args.items() if read["args"][key] != value] == [], name
        assert read["labels"] == labels


def characters_in(*categories: str) -> list[str]:
    """Return the characters of categories of Unicode that are in its normal form C."""
    found = (chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    return [c for c in found if unicodedata.category(c)[0] in categories and unicodedata.is_normalized("NFC", c)]


def test_signs_and_accents_come_back_equal_before_what_has_a_meaning(tmp_path: Path) -> None:
    """A reader that goes by graphemes takes the quote behind some characters for a part of them."""
    format_characters = [c for c in characters_in("C") if unicodedata.category(c) in ("Cc", "Cf")]
    characters_come_back_equal([*characters_in("M", "Z"), *format_characters], tmp_path)


@pytest.mark.long
def test_every_character_comes_back_equal_before_what_has_a_meaning(tmp_path: Path) -> None:
    characters_come_back_equal(characters_in(*"CLMNPSZ"), tmp_path)
