"""Asking what a change affects runs no program that the files of the change name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command_line import buildsys, git, refused, run, write

QUESTIONS = (("affected", "--since", "HEAD"), ("diff", "HEAD"), ("graph", "--affected", "HEAD"))
ATTRIBUTES = "* filter=x\n* diff=x\n"
HOOKS = ("reference-transaction", "post-checkout", "post-index-change")
MISSING = "a" * 40
FETCHES = """\
[core]
\trepositoryformatversion = 1
[extensions]
\tpartialclone = origin
[remote "origin"]
\tpromisor = true
\turl = ssh://localhost/other
"""


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """A folder in which a program of the attacker leaves a file with its name."""
    folder = tmp_path / "witness"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The folder of a repository that the project is in, two folders down; `project` is not its top."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def inside(repository: Path, project: Path) -> Path:
    """Move the project into the repository."""
    moved = repository / "between" / "project"
    moved.parent.mkdir()
    shutil.move(project, moved)
    return moved


def commit(folder: Path) -> None:
    git(folder, "add", "--all", "--force", ".")
    git(folder, "commit", "--quiet", "--message", "change")


def hostile_config(witness: Path) -> str:
    """Return settings of a repository that run a program in every way that git has."""

    def program(name: str) -> str:
        return f"touch {witness}/{name}; cat"

    settings: Mapping[str, Mapping[str, str]] = {
        "core": {
            "repositoryformatversion": "0",
            "bare": "false",
            "worktree": ".",
            "fsmonitor": program("fsmonitor"),
            "sshCommand": program("ssh"),
            "pager": program("pager"),
            "hooksPath": "hooks",
        },
        "alias": {name: f"!{program('alias')}" for name in ("archive", "rev-parse", "ls-tree", "cat-file")},
        'filter "x"': {"smudge": program("smudge"), "clean": program("clean")},
        'diff "x"': {"textconv": program("textconv"), "command": program("diff")},
        "pager": {name: program("pager") for name in ("archive", "ls-tree", "cat-file")},
        "gpg": {"program": program("gpg")},
    }
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += [f'\t{name} = "{value}"' for name, value in values.items()]
    return "\n".join(lines) + "\n"


def make_bare(folder: Path, witness: Path, scratch: Path) -> None:
    """Put a repository of the folder's own files beside them, as files that a pull request can hold."""
    shutil.copytree(folder, scratch)
    git(scratch, "init", "--quiet")
    commit(scratch)
    for name in ("HEAD", "objects", "refs"):
        shutil.move(scratch / ".git" / name, folder / name)
    write(folder, "config", hostile_config(witness))
    write(folder, "info/attributes", ATTRIBUTES)
    for name in HOOKS:
        write(folder, f"hooks/{name}", f"#!/bin/sh\ntouch {witness}/{name}\n").chmod(0o755)


def make_bare_that_fetches(folder: Path, witness: Path, form: str = "folders") -> None:
    """Put a repository beside the files that lacks its only commit, and says from where git gets it.

    Git wants two folders in it, and is content with files that can be executed, or with a file that leads to both.
    """
    write(folder, "HEAD", f"{MISSING}\n")
    rest = folder / "below" if form == "elsewhere" else folder
    for name in ("objects", "refs"):
        write(rest, name if form == "files" else f"{name}/keep", "").chmod(0o755)
    if form == "elsewhere":
        write(folder, "commondir", "below\n")
    write(rest, "config", hostile_config(witness) + FETCHES)


def ran(witness: Path) -> list[str]:
    return sorted(path.name for path in witness.iterdir())


def old_git(folder: Path) -> str:
    """Return a PATH with a git that ignores `safe.bareRepository`, as one before 2.38 does."""
    real = shutil.which("git")
    script = write(
        folder,
        "git",
        f"""\
#!/bin/sh
for word; do
    shift
    [ "$word" = safe.bareRepository=explicit ] && word=safe.other=1
    set -- "$@" "$word"
done
exec {real} "$@"
""",
    )
    script.chmod(0o755)
    return f"{folder}:{Path(str(real)).parent}:/usr/bin:/bin"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda words: str(words[0]))
@pytest.mark.parametrize("location", ["project", "between"])
def test_settings_of_committed_files_that_pass_for_a_repository_are_refused(
    project: Path, repository: Path, witness: Path, tmp_path: Path, location: str, question: tuple[str, ...]
) -> None:
    moved = inside(repository, project)
    folder = moved if location == "project" else moved.parent
    make_bare(folder, witness, tmp_path / "scratch")
    commit(repository)
    done = buildsys(moved, *question)
    assert ran(witness) == []
    refused(done, str(folder), "bare git repository", "`HEAD`")


@pytest.mark.parametrize("form", ["folders", "files", "elsewhere"])
@pytest.mark.parametrize("location", ["project", "between"])
def test_object_that_a_committed_repository_lacks_is_not_fetched_by_its_program(
    project: Path, repository: Path, witness: Path, location: str, form: str
) -> None:
    moved = inside(repository, project)
    folder = moved if location == "project" else moved.parent
    make_bare_that_fetches(folder, witness, form)
    commit(repository)
    done = buildsys(moved, "diff", "HEAD")
    assert ran(witness) == []
    refused(done, str(folder), "bare git repository")


@pytest.mark.parametrize("location", ["project", "between"])
def test_git_that_knows_no_such_setting_runs_nothing_either(
    project: Path, repository: Path, witness: Path, tmp_path: Path, location: str
) -> None:
    moved = inside(repository, project)
    make_bare(moved if location == "project" else moved.parent, witness, tmp_path / "scratch")
    commit(repository)
    done = buildsys(moved, "affected", "--since", "HEAD", PATH=old_git(tmp_path / "bin"))
    assert ran(witness) == []
    refused(done, "bare git repository")


@pytest.mark.parametrize("age", ["this git", "an old git"])
def test_empty_git_folder_in_the_project_does_not_hide_a_repository_above_it(
    project: Path, repository: Path, witness: Path, tmp_path: Path, age: str
) -> None:
    moved = inside(repository, project)
    make_bare(moved.parent, witness, tmp_path / "scratch")
    commit(repository)
    (moved / ".git").mkdir()
    path = old_git(tmp_path / "bin") if age == "an old git" else os.environ["PATH"]
    done = buildsys(moved, "affected", "--since", "HEAD", PATH=path)
    assert ran(witness) == []
    # A git that knows the setting refuses by itself.
    refused(done, str(moved.parent), code=5 if "cannot use bare repository" in done.stderr else 4)


def test_project_at_the_top_of_its_repository_is_refused_too(project: Path, witness: Path, tmp_path: Path) -> None:
    make_bare(project, witness, tmp_path / "scratch")
    git(project, "init", "--quiet")
    commit(project)
    for question in QUESTIONS:
        refused(buildsys(project, *question), str(project), "bare git repository")
    assert ran(witness) == []


@pytest.mark.parametrize("location", [".", "layers", "layers/conf"])
def test_plan_refuses_folders_in_which_buildx_would_start_git(project: Path, witness: Path, location: str) -> None:
    folder = (project / location).resolve()
    make_bare_that_fetches(folder, witness, "files")
    refused(buildsys(project, "plan", "--offline"), f"`{folder}`", "bare git repository")
    refused(buildsys(project, "plan", "--check"), f"`{folder}`", "bare git repository")


def test_filter_that_a_persons_own_settings_take_from_the_tree_is_not_run(
    project: Path, witness: Path, tmp_path: Path
) -> None:
    git(project, "init", "--quiet")
    write(project, "filter.sh", f"touch {witness}/$1; cat\n")
    write(project, ".gitattributes", ATTRIBUTES)
    for name, value in {
        "filter.x.smudge": "sh ./filter.sh smudge",
        "diff.x.textconv": "sh ./filter.sh textconv",
        "core.fsmonitor": "./filter.sh",
    }.items():
        git(project, "config", name, value)
    commit(project)
    for path in witness.iterdir():
        path.unlink()
    for question in QUESTIONS[:2]:
        assert buildsys(project, *question).code == 0
    assert ran(witness) == []


def test_git_folder_in_the_environment_does_not_make_a_repository_of_the_project(
    project: Path, repository: Path, witness: Path
) -> None:
    moved = inside(repository, project)
    commit(repository)
    # Hooks on a server get this one, and then change to another folder.
    make_bare_that_fetches(moved / "layers" / "conf" / "files", witness)
    done = buildsys(moved, "affected", "--since", "HEAD", GIT_DIR="layers/conf/files")
    assert ran(witness) == []
    assert (done.code, done.stdout) == (0, "img\n"), done.output


@pytest.mark.engine
@pytest.mark.registry
def test_bake_runs_no_program_that_a_layers_folder_names(real_project: Path, registry: str, witness: Path) -> None:
    git(real_project, "init", "--quiet")
    make_bare_that_fetches(real_project / "layers" / "conf", witness)
    commit(real_project)
    done = buildsys(
        real_project,
        *("bake", "img", "--push"),
        BUILDSYS_REGISTRY=registry,
        BUILDX_GIT_LABELS="full",
        BUILDX_GIT_CHECK_DIRTY="1",
    )
    assert ran(witness) == []
    assert done.code in (0, 4), done.output


def test_work_tree_of_a_bare_repository_around_it_is_no_suspect(project: Path, tmp_path: Path) -> None:
    git(project, "init", "--quiet")
    commit(project)
    git(tmp_path, "clone", "--quiet", "--bare", project.as_uri(), "around")
    git(tmp_path / "around", "worktree", "add", "--quiet", "tree")
    done = buildsys(tmp_path / "around" / "tree", "affected", "--since", "HEAD")
    assert (done.code, done.stdout, done.stderr) == (0, "", "0 of 1 images\n"), done.output


def test_repository_among_the_files_of_a_layers_test_is_no_suspect(project: Path, tmp_path: Path) -> None:
    git(project, "init", "--quiet")
    commit(project)
    git(tmp_path, "clone", "--quiet", "--bare", project.as_uri(), str(project / "layers/conf/tests/data.git"))
    write(project, "layers/conf/HEAD", "a file of that name\n")
    commit(project)
    assert run(project, "git", "status", "--short").stdout == ""
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
    done = buildsys(project, "affected", "--since", "HEAD")
    assert (done.code, done.stdout, done.stderr) == (0, "", "0 of 1 images\n"), done.output
