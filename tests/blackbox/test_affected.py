"""What a change affects: names on stdout, in the forms that CI services read, and the same set for every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.command_line import Run, buildsys, git, refused, small_project, write

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent.sock"}
STACKS = """\
stacks:
  img: {layers: [dist, conf], repository: images, tags: [img]}
  plain: {layers: [dist]}
  old: {layers: [dist, conf], deprecated: replaced by img}
"""


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A project in a folder of a repository."""
    project = small_project(tmp_path / "project", {"stacks.yaml": STACKS})
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "--all", "--force", ".")
    git(tmp_path, "commit", "--quiet", "--message", "begin")
    return project


def affected(project: Path, *words: str) -> Run:
    done = buildsys(project, "affected", "--since", "HEAD", *words)
    assert done.code == 0, done.output
    return done


def edit(project: Path, name: str, old: str, new: str) -> None:
    text = (project / name).read_text(encoding="utf-8")
    assert old in text
    write(project, name, text.replace(old, new, 1))


def test_names_are_on_stdout_and_counts_on_stderr(committed: Path) -> None:
    write(committed, "layers/conf/conf", "two\n")
    assert affected(committed) == Run(
        code=0,
        stdout="img\n",
        stderr="1 of 3 images, 1 node to build, 1 more that are deprecated or without support\n",
    )
    assert affected(committed, "--why").stdout == "img  conf on tool: conf changed\n"
    assert affected(committed, "old", "plain").stdout == "old\n"
    assert affected(committed, "*").stdout == "img\nold\n"


@pytest.mark.parametrize(("tags", "shown"), [("img, latest", "+latest"), ("other", "+other -img")])
def test_image_that_only_gains_or_loses_a_tag_is_named_and_not_rebuilt(committed: Path, tags: str, shown: str) -> None:
    edit(committed, "stacks.yaml", "[img]", f"[{tags}]")
    done = affected(committed, "--why")
    assert (done.stdout, done.stderr) == (
        f"img  not rebuilt, tags {shown}\n",
        "1 of 3 images, 1 of them not rebuilt\n",
    )


def test_matrix_is_one_line_of_json_also_where_nothing_differs(committed: Path) -> None:
    assert affected(committed, "--format", "github").stdout == '{"include":[]}\n'
    write(committed, "layers/dist/Dockerfile", "FROM base\nARG PACKAGES\nRUN echo\n")
    done = affected(committed, "--format", "github")
    assert json.loads(done.stdout) == {
        "include": [{"name": "img", "images": "img"}, {"name": "plain", "images": "plain"}]
    }
    assert done.stdout.count("\n") == 1


def test_comment_has_the_reason_and_how_long_it_takes(committed: Path) -> None:
    write(committed, "layers/conf/conf", "two\n")
    write(committed, ".buildsys/history.json", '{"version": 1, "seconds": {"conf-tool": 720.0}, "undone": []}\n')
    text = affected(committed, "--format", "markdown").stdout
    first = "This pull request rebuilds **1 of 3 images**, about 12 min, because `layers/conf/conf changed`."
    assert text.splitlines()[:2] == ["<!-- buildsys affected -->", first]


@pytest.mark.parametrize("nothing", ["0" * 40, "0" * 64])
def test_where_there_is_no_earlier_commit_everything_is_affected(committed: Path, nothing: str) -> None:
    done = buildsys(committed, "affected", "--since", nothing)
    assert (done.code, done.stdout) == (0, "img\nplain\n")
    assert done.stderr.startswith("warning: everything counts as affected: `00000000…`")
    document = json.loads(buildsys(committed, "affected", "--since", nothing, "--json").stdout)
    assert "no earlier commit" in document["note"]


def test_plan_of_what_differs_has_nothing_else(committed: Path) -> None:
    write(committed, "layers/conf/conf", "two\n")
    done = buildsys(committed, "plan", "--affected", "HEAD", "--offline", shell=NO_ENGINE)
    assert done.code == 0, done.output
    assert "3 of 3 nodes, 1 of 3 images" in done.stdout
    assert "affected since HEAD: 1 of 3 images, 1 node to build" in done.stderr
    git(committed.parent, "commit", "--quiet", "--all", "--message", "change")
    done = buildsys(committed, "plan", "--affected", "HEAD", "--offline", "--json", shell=NO_ENGINE)
    found = json.loads(done.stdout)
    assert {each["action"] for each in (*found["nodes"], *found["stacks"])} == {"leave"}


@pytest.mark.parametrize("command", ["bake", "bake --push", "bake --dry-run", "warm", "warm --check", "test"])
def test_where_nothing_differs_no_engine_and_no_registry_is_needed(committed: Path, command: str) -> None:
    done = buildsys(committed, *command.split(), "--affected", "HEAD", shell=NO_ENGINE)
    assert (done.code, done.stdout, done.stderr) == (0, "", "affected since HEAD: 0 of 3 images\n")


@pytest.mark.parametrize("command", ["bake", "warm", "test", "plan"])
def test_unknown_revision_is_refused_before_anything_else(committed: Path, command: str) -> None:
    refused(buildsys(committed, command, "--affected", "nowhere", shell=NO_ENGINE), "git has no revision `nowhere`")


def commands_of(done: Run) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("command", ["bake", "test"])
def test_error_in_a_file_is_an_annotation_at_its_line_of_the_repository(committed: Path, command: str) -> None:
    edit(committed, "stacks.yaml", "[dist, conf], dep", "[dist, cnof], dep")
    where = {**NO_ENGINE, "GITHUB_WORKSPACE": str(committed.parent)}
    done = buildsys(committed, command, "--annotations", "github", shell=where)
    assert done.code == 4
    [line] = commands_of(done)
    assert re.fullmatch(r"::error file=project/stacks\.yaml,line=4,col=\d+,title=buildsys::.*`cnof`.*%0Ahint: .*", line)
    assert "error: " in done.stderr
    assert commands_of(buildsys(committed, command, shell=where)) == []


def test_annotation_of_an_error_is_masked(committed: Path) -> None:
    secret = {"BUILDSYS_SECRET_TOKEN": "correct-horse"}
    edit(committed, "stacks.yaml", "[dist, conf], dep", "[dist, correct-horse], dep")
    done = buildsys(committed, "bake", "--annotations", "github", shell={**NO_ENGINE, **secret})
    [line] = commands_of(done)
    assert "correct-horse" not in line
    assert "***" in line


def test_options_that_contradict_each_other_are_refused(committed: Path) -> None:
    for line in (
        "bake --affected HEAD --failed",
        "affected --since HEAD --format github --json",
        "affected --since HEAD --format github --why",
        "test --annotations github --json",
    ):
        done = buildsys(committed, *line.split(), shell=NO_ENGINE)
        assert (done.code, done.stdout) == (2, ""), done.output
    refused(buildsys(committed, "affected", "--since", "HEAD", "--format", "gitlab"), "`text`, `github`", code=2)
    refused(buildsys(committed, "bake", "--annotations", "gitlab"), "expected `github`", code=2)
