"""A difference from a revision is a difference from the tree of its commit, whatever git is configured to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND, buildsys, environment, git, refused, run, write

CONF = "layers/conf/conf"


def commit(folder: Path) -> None:
    git(folder, "add", "--all", "--force", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "change")


@pytest.fixture
def committed(project: Path) -> Path:
    """The project, committed at the top of a repository that converts nothing of itself."""
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "config", "core.autocrlf", "false")
    commit(project)
    return project


def nothing_differs(project: Path, revision: str = "HEAD", **given: str) -> None:
    """Assert that the checkout is clean, and that no node and no image is reported to differ."""
    assert run(project, "git", "status", "--short").stdout == ""
    done = run(project, *COMMAND, "diff", revision, **given)  # type: ignore[arg-type]
    assert (done.code, done.stdout) == (0, "nothing differs\n"), done.output


def causes(project: Path, revision: str = "HEAD") -> str:
    done = buildsys(project, "affected", "--since", revision, "--why")
    assert done.code == 0, done.output
    assert done.stderr.startswith(f"{len(done.stdout.splitlines())} of 1 images")
    return done.stdout


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("one\n", "conf export-ignore"),
        ("one\n", "layers/conf export-ignore"),
        ("one\n", "* export-ignore"),
        ("$Format:%H$\n", "conf export-subst"),
        ("$Id$\n", "conf ident"),
        ("one\n", "* text eol=crlf"),
        ("one\n", "conf working-tree-encoding=UTF-16"),
    ],
    ids=["file-ignored", "layer-ignored", "all-ignored", "subst", "ident", "crlf", "encoding"],
)
def test_attributes_change_nothing_in_a_commit(committed: Path, text: str, attributes: str) -> None:
    write(committed, CONF, text)
    commit(committed)
    write(committed, ".gitattributes", f"{attributes}\n")
    # Of a file that is not added again git has no reason to think that it changed.
    git(committed, "add", ".gitattributes")
    git(committed, "commit", "--quiet", "--message", "attributes")
    nothing_differs(committed)
    assert causes(committed) == ""


@pytest.mark.parametrize("where", ["info", "user", "folder"])
def test_attributes_outside_of_the_top_of_the_tree_change_nothing(committed: Path, tmp_path: Path, where: str) -> None:
    if where == "info":
        write(committed, ".git/info/attributes", "conf export-ignore\n")
    elif where == "user":
        git(committed, "config", "core.attributesFile", str(write(tmp_path, "mine", "conf export-ignore\n")))
    else:
        write(committed, "layers/conf/.gitattributes", "conf export-ignore\n")
        commit(committed)
    nothing_differs(committed)


def test_change_of_an_ignored_file_is_seen(committed: Path) -> None:
    write(committed, ".gitattributes", "conf export-ignore\n")
    commit(committed)
    write(committed, CONF, "two\n")
    assert "conf changed" in causes(committed)
    commit(committed)
    nothing_differs(committed)
    assert "conf changed" in causes(committed, "HEAD~1")


def test_project_in_a_folder_has_the_attributes_of_the_whole_repository_ignored(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    write(project, ".gitattributes", "* export-ignore\n")
    write(tmp_path, ".gitattributes", "project export-ignore\n* ident\n")
    commit(tmp_path)
    nothing_differs(project)


def test_objects_that_git_replaces_are_read_as_they_are(committed: Path) -> None:
    old = git(committed, "rev-parse", f"HEAD:{CONF}").strip()
    other = git(committed, "hash-object", "-w", "stacks.yaml").strip()
    git(committed, "replace", old, other)
    nothing_differs(committed)


def test_symlinks_in_the_project_are_read_as_from_disk(committed: Path) -> None:
    layer = committed / "layers" / "conf"
    (layer / "Dockerfile").rename(layer / "plain")
    (layer / "Dockerfile").symlink_to("./plain")
    (layer / "near").symlink_to("./conf")
    (layer / "folder").symlink_to("..//tool/")
    commit(committed)
    nothing_differs(committed)
    (layer / "near").unlink()
    (layer / "near").symlink_to("plain")
    assert "near changed" in causes(committed)


def test_symlinks_in_a_revision_that_lead_round_or_out_end_in_a_message(committed: Path) -> None:
    dockerfile = committed / "layers" / "conf" / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    for target in ("Dockerfile", "../../../secret", "/etc/passwd", "nowhere"):
        dockerfile.unlink()
        dockerfile.symlink_to(target)
        commit(committed)
        dockerfile.unlink()
        write(committed, "layers/conf/Dockerfile", text)
        refused(buildsys(committed, "diff", "HEAD"), "the project of `HEAD` cannot be planned", "Dockerfile")


def test_names_of_every_kind_are_read(committed: Path) -> None:
    layer = committed / "layers" / "conf"
    deep = "/".join(["a" * 120] * 5)
    for name in ("two\nlines", 'a "quoted" \\ name', "-dash", "tab\tb", "snow ☃", f"{deep}/file", ":(top)x", "*"):
        write(layer, name, "text\n")
    commit(committed)
    nothing_differs(committed)
    write(layer, "two\nlines", "other\n")
    write(layer, f"{deep}/file", "other\n")
    assert causes(committed).startswith("img ")


def test_bytes_that_are_no_text_are_read_in_files_and_refused_in_names_and_targets(committed: Path) -> None:
    layer = os.fsencode(committed / "layers" / "conf")
    Path(os.fsdecode(layer + b"/file")).write_bytes(b"\xff\x00\r\n" * 1000)
    commit(committed)
    nothing_differs(committed)
    name, link = (Path(os.fsdecode(layer + each)) for each in (b"/\xff\xfe", b"/link"))
    name.write_bytes(b"text\n")
    link.symlink_to(name.name)
    commit(committed)
    said = ("the name `layers/conf/", "the target of the symlink `layers/conf/link` is not UTF-8", "2 errors")
    refused(buildsys(committed, "diff", "HEAD"), *said)
    # A revision that has them can still be read.
    name.unlink()
    link.unlink()
    assert causes(committed).startswith("img ")


def test_executable_bit_is_the_only_mode_bit_that_counts(committed: Path) -> None:
    file = committed / CONF
    file.chmod(0o755)
    commit(committed)
    nothing_differs(committed)
    file.chmod(0o644)
    assert "conf changed" in causes(committed)


def test_project_in_a_folder_of_a_strange_name_is_found(project: Path, tmp_path: Path) -> None:
    moved = tmp_path / "a\nb" / "-c ☃ 'd'"
    moved.parent.mkdir()
    project.rename(moved)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    nothing_differs(moved)


def test_submodule_that_is_not_checked_out_is_an_empty_folder(committed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    write(other, "file", "text\n")
    commit(other)
    git(committed, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "layers/conf/other")
    commit(committed)
    git(committed, "submodule", "--quiet", "deinit", "--force", "--all")
    nothing_differs(committed)


@pytest.mark.parametrize("form", ["worktree", "submodule"])
def test_project_whose_git_folder_is_elsewhere_is_found(committed: Path, tmp_path: Path, form: str) -> None:
    if form == "worktree":
        git(committed, "worktree", "add", "--quiet", str(tmp_path / "work"), "HEAD")
        project = tmp_path / "work"
    else:
        (tmp_path / "outer").mkdir()
        git(tmp_path / "outer", "init", "--quiet")
        words = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(committed), "inner")
        git(tmp_path / "outer", *words)
        project = tmp_path / "outer" / "inner"
    nothing_differs(project)
    write(project, CONF, "two\n")
    assert "conf changed" in causes(project)


@pytest.mark.parametrize("value", [".git", "other/.git"])
def test_repository_is_that_of_the_project_whatever_a_hook_sets(committed: Path, tmp_path: Path, value: str) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "--quiet")
    folder = committed / "layers"
    given = value if value == ".git" else str(tmp_path / value)
    done = buildsys(folder, "affected", "--since", "HEAD", GIT_DIR=given, GIT_WORK_TREE=str(tmp_path / "other"))
    assert (done.code, done.stdout, done.stderr) == (0, "", "0 of 1 images\n"), done.output


def test_objects_are_those_of_the_projects_repository_whatever_a_hook_sets(committed: Path, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    nothing_differs(committed, GIT_OBJECT_DIRECTORY=str(tmp_path / "objects"), GIT_INDEX_FILE=str(tmp_path / "index"))


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("HEAD:layers", "is a tree, not a commit"),
        (f"HEAD:{CONF}", "is a blob, not a commit"),
        ("HEAD^{tree}", "is a tree, not a commit"),
        ("^HEAD", "git has no revision"),
        ("--all", "git has no revision"),
        ("", "git has no revision"),
        ("HEAD\nHEAD", "git has no revision"),
        ("HEAD@{99}", "git has no revision"),
    ],
)
def test_name_of_another_object_than_a_commit_is_refused(committed: Path, revision: str, words: str) -> None:
    refused(buildsys(committed, "affected", f"--since={revision}"), f"`{revision}`", words)


@pytest.mark.parametrize("revision", ["main", "annotated", ":/change", "HEAD^{/change}"])
def test_every_name_of_a_commit_will_do(committed: Path, revision: str) -> None:
    git(committed, "tag", "--annotate", "--message", "text", "annotated")
    nothing_differs(committed, revision)


def test_folder_that_was_a_file_or_a_symlink_is_not_a_folder_of_that_revision(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    kept = tmp_path / "kept"
    project.rename(kept)
    write(tmp_path, "project", "a file\n")
    commit(tmp_path)
    (tmp_path / "project").unlink()
    (tmp_path / "project").symlink_to("kept")
    commit(tmp_path)
    (tmp_path / "project").unlink()
    kept.rename(project)
    commit(tmp_path)
    nothing_differs(project)
    for revision in ("HEAD~1", "HEAD~2"):
        refused(buildsys(project, "diff", revision), f"the revision `{revision}` has no folder `project`")


def test_first_line_of_git_is_the_reason_and_the_others_are_the_hint(committed: Path) -> None:
    # So git itself tests what it does with a folder of another user.
    done = buildsys(committed, "affected", "--since", "HEAD", GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    refused(done, "error: git: fatal: detected dubious ownership", str(committed), "hint: ", "safe.directory", code=5)


def test_reason_is_found_behind_warnings_and_in_any_language(committed: Path) -> None:
    config = committed / ".git" / "config"
    config.write_text(config.read_text(encoding="utf-8") + "[extensions]\n\tunheard = of\n", encoding="utf-8")
    config.write_text(config.read_text(encoding="utf-8").replace("version = 0", "version = 1"), encoding="utf-8")
    done = buildsys(committed, "diff", "HEAD", LC_ALL="de_DE.UTF-8")
    refused(done, "error: git: fatal: unknown repository extension found", "hint: unheard", code=5)


def test_missing_git_is_reported(committed: Path, tmp_path: Path) -> None:
    done = buildsys(committed, "affected", "--since", "HEAD", PATH=str(tmp_path))
    refused(done, "the command `git` is not on PATH", "hint: install git", code=5)


def test_object_that_is_missing_is_reported(committed: Path) -> None:
    name = git(committed, "rev-parse", f"HEAD:{CONF}").strip()
    (committed / ".git" / "objects" / name[:2] / name[2:]).unlink()
    refused(buildsys(committed, "diff", "HEAD"), f"git: the object `{name}` is missing", "git fsck", code=5)


def test_large_file_of_a_revision_is_not_held_in_memory(committed: Path) -> None:
    large = committed / "layers" / "conf" / "large"
    with large.open("wb") as file:
        file.truncate(200 * 2**20)
    commit(committed)
    large.unlink()
    measured = (
        "import os, resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    words = [sys.executable, "-c", measured, *COMMAND, "affected", "--since", "HEAD", "--why"]
    done = subprocess.run(words, cwd=committed, env=environment({}), capture_output=True, text=True, check=True)
    *answer, mebibytes = done.stdout.splitlines()
    assert "large was removed" in answer[0]
    assert int(mebibytes) < 150
