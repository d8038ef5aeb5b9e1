"""The builder that `--builder` names handles every request, whatever the current builder is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import stand_ins
from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, buildsys, small_project, start, write

ENVIRONMENT_DOCKERFILE = ARTIFACT_DOCKERFILE.replace(
    "COPY conf /artifact/opt/conf/conf", "COPY --from=folder . /artifact/opt/env/"
)
# What of docker and buildx takes no builder, or asks what they are.
_OF_NO_BUILDER = {"info", "version", "image", "--help", "--version", "context"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a layer for environments of users, and files for them."""
    files = {
        "requirements.txt": "numpy==2.0\n",
        "own/Dockerfile": "FROM base\nRUN true\n",
        "layers/python-environment/layer.yaml": (
            ARTIFACT.replace("/opt/conf", "/opt/env")
            + "parameters:\n  folder: {description: the files, type: folder}\n"
        ),
        "layers/python-environment/Dockerfile": ENVIRONMENT_DOCKERFILE,
        "layers/python-environment/.dockerignore": "layer.yaml\n",
    }
    return small_project(tmp_path / "project", files)


@pytest.mark.parametrize(
    ("words", "published"),
    [
        (("bake", "img", "--retries", "0"), False),
        (("bake", "img", "--push", "--retries", "0"), False),
        (("warm", "img", "--retries", "0"), False),
        (("environment", "requirements.txt", "--on", "img"), False),
        (("environment", "own/Dockerfile", "--dockerfile", "--on", "img"), False),
        (("environment", "own/Dockerfile", "--dockerfile", "--on", "img"), True),
        (("doctor",), False),
    ],
)
def test_every_call_that_concerns_a_builder_names_the_one_that_was_asked_for(
    project: Path, tmp_path: Path, words: tuple[str, ...], published: bool
) -> None:
    file = tmp_path / "calls"
    path = stand_ins.docker(tmp_path / "bin")
    with stand_ins.registry() as prefix:
        if published:
            stand_ins.publish(project, prefix, "img")
        done = buildsys(
            project, *words, "--builder", "mine", PATH=path, CALLS=str(file), WHY="denied", BUILDSYS_REGISTRY=prefix
        )
    assert "Traceback" not in done.output, done.output
    asked = [call for call in stand_ins.calls(file) if not _OF_NO_BUILDER & {*call}]
    bakes = [call for call in asked if "bake" in call]
    assert bakes or words == ("doctor",), done.output
    for call in asked:
        named = call[call.index("--builder") + 1] if "--builder" in call else call[-1]
        assert named == "mine", call
    # The command that reproduces a failure is for the same builder.
    assert "alone:" not in done.output or "--builder mine" in done.output


def test_two_dockerfiles_at_once_are_each_baked_by_a_file_of_its_own(project: Path, tmp_path: Path) -> None:
    path = stand_ins.docker(tmp_path / "bin")
    (tmp_path / "bakes").mkdir()
    write(project, "other/Dockerfile.other", "FROM base\nRUN false\n")
    with stand_ins.registry() as prefix:
        stand_ins.publish(project, prefix, "img")
        shell = {
            "PATH": path,
            "CALLS": str(tmp_path / "calls"),
            "BAKES": str(tmp_path / "bakes"),
            "AWAITED": "2",
            "BUILDSYS_REGISTRY": prefix,
        }
        both = [
            start(project, "environment", name, "--dockerfile", "--on", "img", shell=shell)
            for name in ("own/Dockerfile", "other/Dockerfile.other")
        ]
        outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [1, 1], outputs
    texts = sorted(each.read_text(encoding="utf-8") for each in (tmp_path / "bakes").iterdir())
    assert len(texts) == 2
    assert sorted("Dockerfile.other" in text for text in texts) == [False, True]
    contexts = {target["context"] for text in texts for target in json.loads(text)["target"].values()}
    assert len(contexts) == 2, contexts
    files = {call[call.index("--file") + 1] for call in stand_ins.calls(tmp_path / "calls") if "rawjson" in call}
    assert len(files) == 2
