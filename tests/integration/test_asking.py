"""What is affected by a change, why, and what the lock says: the command in repositories of git, without an engine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import BUILDSYS, ROOT, Run, run

GOLDEN = ROOT / "tests" / "golden" / "optional-artifact" / "project"
# The images with Open MPI from a wheel, as stacks.yaml says; the others compile it.
WITH_WHEEL = [
    "debian12",
    "debian12-conda",
    "debian12-cuda13.0",
    "debian12-cuda13.0-miniconda",
    "debian12-miniconda",
    "debian12-mpi4py",
    "debian13",
    "debian13-cuda13.0",
    "debian13-mpi4py",
    "lab",
]
LOCK = f"""\
version: 1
epochs: {{system: 2026-11-23}}
parents:
  linux-1: {{reference: "example.com/linux:1", digest: "sha256:{"1" * 64}"}}
  tools-1: {{reference: "example.com/linux:1", digest: "sha256:{"2" * 64}"}}
"""


def git(folder: Path, *words: str) -> str:
    done = run(
        "git",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.com",
        *words,
        cwd=folder,
        seconds=60,
    )
    assert done.code == 0, done.stderr
    return done.stdout


def commit(folder: Path, message: str = "change") -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def ask(folder: Path, *words: str, **environment: str) -> Run:
    return run(BUILDSYS, *words, cwd=folder, seconds=60, environment=environment)


def answer(folder: Path, *words: str, **environment: str) -> str:
    done = ask(folder, *words, **environment)
    assert done.code == 0, done.stderr
    return done.stdout


def document(folder: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(folder, *words, "--json"))
    assert found["schema_version"] == 1
    return found


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def add(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


@pytest.fixture
def shipped(project: Path) -> Path:
    """The project as it ships, without this machine's own files, in a repository."""
    for name in ("buildsys.lock.local", "buildsys.settings.yaml"):
        (project / name).unlink(missing_ok=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project)
    return project


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small project in a folder of a repository; its layers keep what no build shall read from it."""
    folder = tmp_path / "in" / "folder"
    shutil.copytree(GOLDEN, folder)
    for layer in (folder / "layers").iterdir():
        add(layer / ".dockerignore", "*\n!*.sh\n!link\n")
    (folder / "buildsys.lock").write_text(LOCK, encoding="utf-8")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return folder


def affected(folder: Path, *words: str) -> list[str]:
    """Return the lines of what is affected since the last commit; stderr has their number."""
    done = ask(folder, "affected", "--since", "HEAD", *words)
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert done.stderr.startswith(f"{len(lines)} of ")
    return lines


def test_what_no_build_reads_affects_nothing(shipped: Path) -> None:
    layer = shipped / "layers" / "openmpi"
    add(layer / "README.md", "notes\n")
    add(layer / "tests" / "more.c", "int main() {}\n")
    edit(layer / "layer.yaml", "description: ", "description: in other words, ")
    add(shipped / "stacks.yaml", "# said\n")
    assert affected(shipped) == []
    assert answer(shipped, "diff", "HEAD") == "nothing differs\n"


def test_comment_in_a_dockerfile_affects_exactly_the_images_that_use_it(shipped: Path) -> None:
    add(shipped / "layers" / "openmpi" / "wheels.Dockerfile", "# said\n")
    assert affected(shipped) == WITH_WHEEL
    why = [line.split(maxsplit=1) for line in affected(shipped, "--why")]
    assert why == [[name, "openmpi (wheels) 4.1.8: its Dockerfile changed"] for name in WITH_WHEEL]


def test_added_package_rebuilds_exactly_the_nodes_of_its_release(shipped: Path) -> None:
    more = "packages:\n  - {when: {release: 13}, names: [zip]}\n"
    edit(shipped / "layers" / "debian-os" / "layer.yaml", "packages:\n", more)
    changes = document(shipped, "diff", "HEAD")["changes"]
    assert {(each["kind"], each["name"]): each["cause"] for each in changes} == {
        ("node", "debian-os-13"): "debian-os-13",
        ("node", "git-on-debian-os-13"): "debian-os-13",
        ("image", "debian13"): "debian-os-13",
        ("image", "debian13-cuda13.0"): "debian-os-13",
        ("image", "debian13-mpi4py"): "debian-os-13",
    }
    assert {(each["change"], each["input"]) for each in changes} == {("changed", "argument PACKAGES")}
    text = answer(shipped, "diff", "HEAD").splitlines()
    assert text[0].split() == ["changed", "node", "debian-os", "13", "packages", "+zip"]
    assert text[-1] == "2 nodes and 3 images differ"


def test_added_or_removed_stack_is_the_only_difference(small: Path) -> None:
    add(small / "stacks.yaml", "  more: {layers: [system, fast]}\n")
    assert affected(small, "--why") == ["more"]
    commit(small)
    edit(small / "stacks.yaml", "  more: {layers: [system, fast]}\n", "")
    assert affected(small) == []
    changes = document(small, "diff", "HEAD")["changes"]
    assert [(each["change"], each["name"]) for each in changes] == [("removed", "more")]


def test_checkout_and_revision_agree_on_modes_links_and_bytes(small: Path) -> None:
    layer = small / "layers" / "fast"
    (layer / "run.sh").write_bytes(b"#!/bin/sh\n\xff\n")
    (layer / "run.sh").chmod(0o755)
    (layer / "link").symlink_to("run.sh")
    commit(small)
    assert affected(small) == []
    os.utime(layer / "run.sh", (1, 1))
    (layer / "run.sh").chmod(0o700)
    assert affected(small) == []
    (layer / "run.sh").chmod(0o644)
    assert affected(small, "--why") == ["with-fast  fast 1.0 on tools 1: run.sh changed"]
    git(small, "checkout", "--quiet", ".")
    (layer / "link").unlink()
    assert affected(small, "--why") == ["with-fast  fast 1.0 on tools 1: link was removed"]


def test_revision_before_the_project_existed_is_reported(small: Path, tmp_path: Path) -> None:
    git(tmp_path, "mv", "in/folder", "elsewhere")
    commit(tmp_path)
    done = ask(tmp_path / "elsewhere", "diff", "HEAD~1")
    assert (done.code, done.stderr) == (4, "error: the revision `HEAD~1` has no folder `elsewhere`\n")


def test_shallow_clone_reports_everything_as_affected_with_a_hint_to_deepen(small: Path, tmp_path: Path) -> None:
    add(small / "README.md", "notes\n")
    commit(small)
    assert ask(small, "affected", "--since", "HEAD~1") == Run(code=0, stdout="", stderr="0 of 2 images\n")
    git(tmp_path, "clone", "--quiet", "--depth", "1", (tmp_path).as_uri(), "shallow")
    clone = tmp_path / "shallow" / "in" / "folder"
    done = ask(clone, "affected", "--since", "HEAD~1")
    assert (done.code, done.stdout) == (0, "with-fast\nwithout\n")
    warning, count = done.stderr.splitlines()
    assert warning == (
        "warning: everything counts as affected: `HEAD~1` is not in this shallow clone. "
        "deepen it: `git fetch --unshallow`, or `fetch-depth: 0` in a CI's checkout"
    )
    assert count.startswith("2 of 2 images, ")
    found = document(clone, "affected", "--since", "HEAD~1")
    assert [each["name"] for each in found["images"]] == ["with-fast", "without"]
    assert "git fetch --unshallow" in found["note"]
    assert affected(clone) == []
    done = ask(clone, "diff", "HEAD~1")
    assert (done.code, done.stdout) == (5, "")
    assert "hint: deepen it: `git fetch --unshallow`" in done.stderr


def test_revision_that_is_invalid_or_cannot_be_planned_is_reported(small: Path, tmp_path: Path) -> None:
    done = ask(small, "affected", "--since", "nowhere")
    hint = "hint: name a branch, tag or commit that `git log` shows, such as `HEAD~1`\n"
    assert (done.code, done.stdout, done.stderr) == (4, "", f"error: git has no revision `nowhere`\n{hint}")
    edit(small / "stacks.yaml", "zip-tools, comm", "zip-tool, comm")
    commit(small)
    edit(small / "stacks.yaml", "zip-tool, comm", "zip-tools, comm")
    done = ask(small, "diff", "HEAD")
    assert (done.code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: the project of `HEAD` cannot be planned: the stack `without` has the layer")
    shutil.rmtree(tmp_path / ".git")
    done = ask(small, "diff", "HEAD")
    assert (done.code, done.stdout) == (5, "")
    assert "not a git repository" in done.stderr


def test_explanation_has_inputs_places_and_users(small: Path) -> None:
    found = document(small, "explain", "fast-1_0-tools-1", "--offline")
    assert (found["title"], found["action"]) == ("fast 1.0 on tools 1", "build")
    assert found["reason"] == "nothing was published under its name yet"
    assert (found["needs"], found["used_by"]) == (["tools-1"], ["with-fast"])
    assert found["inputs"].keys() == {
        "argument FLAGS",
        "argument VERSION",
        "base",
        "definition",
        "dockerfile",
        "download source",
        "layer",
        "platform",
        "timestamp",
    }
    lines = answer(small, "explain", "fast-1_0-tools-1", "--offline").splitlines()
    assert lines[0] == "fast 1.0 on tools 1  fast-1_0-tools-1"
    assert lines[1] == f"key       {found['key']}"
    assert lines[4] == "used by   with-fast"
    assert "  argument VERSION  1.0" in lines
    done = ask(small, "explain", "w*", "--offline")
    assert (done.code, done.stderr.splitlines()) == (
        4,
        ["error: `w*` matches 2 targets, expected one", "hint: name one of them, such as `with-fast`"],
    )


def test_keys_do_not_depend_on_how_python_orders_what_it_hashes(small: Path) -> None:
    first, second = (answer(small, "explain", "with-fast", "--offline", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second


def test_why_shows_the_way_of_a_layer_that_no_stack_names(small: Path) -> None:
    add(small / "stacks.yaml", "  more: {layers: [system, collect]}\n")
    assert answer(small, "why", "more", "gpu") == "collect  named by the stack\n  gpu  required by `collect`\n"
    assert document(small, "why", "more", "gpu")["path"] == [
        {"layer": "collect", "why": "named by the stack"},
        {"layer": "gpu", "why": "required by `collect`"},
    ]
    done = ask(small, "why", "without", "gpu")
    assert (done.code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: `gpu` is not a layer of stack `without`\n")


def graph(folder: Path, *words: str) -> str:
    return answer(folder, "graph", "--offline", *words)


def test_graph_in_every_form(small: Path) -> None:
    assert graph(small, "--stack", "without") == (
        "without [build]\n"
        "├─ comm 1.0 on tools 1 [build]\n"
        "│  └─ tools 1 [build]\n"
        "└─ zip-tools on system 1 [build]\n"
        "   └─ system 1 [build]\n"
    )
    mermaid = graph(small, "--format", "mermaid").splitlines()
    assert mermaid[0] == "flowchart LR"
    assert sum("-->" in line for line in mermaid) == edge_count(small) == 8
    assert graph(small, "--format", "dot").count(" -> ") == 8
    done = ask(small, "graph", "--format", "svg")
    assert (done.code, done.stdout) == (2, "")


def edge_count(folder: Path) -> int:
    found = json.loads(graph(folder, "--format", "json"))
    assert found["schema_version"] == 1
    return sum(len(each["needs"]) for each in found["nodes"])


def test_graph_of_what_is_affected_has_that_and_what_it_needs(small: Path) -> None:
    edit(small / "layers" / "fast" / "Dockerfile", "RUN", "# said\nRUN")
    found = graph(small, "--affected", "HEAD")
    assert found.splitlines()[0] == "with-fast [changed]"
    assert "fast 1.0 on tools 1 [changed]" in found
    assert "without" not in found


def words_of(done: Run) -> Sequence[str]:
    return done.stderr.splitlines()


def test_lock_check_fails_on_a_parent_without_an_entry(small: Path) -> None:
    assert ask(small, "lock", "--check", "--offline") == Run(code=0, stdout="", stderr="")
    edit(small / "layers" / "tools" / "layer.yaml", '"tools-{release}"', '"new-tools-{release}"')
    before = (small / "buildsys.lock").read_bytes()
    done = ask(small, "lock", "--check")
    assert (done.code, done.stdout) == (3, "")
    assert words_of(done) == [
        "+ new-tools-1",
        "error: `buildsys.lock` lacks 1 entry",
        "hint: run `buildsys lock`",
    ]
    assert (small / "buildsys.lock").read_bytes() == before


def test_lock_check_fails_on_an_epoch_without_an_entry(small: Path) -> None:
    add(small / "layers" / "system" / "Dockerfile", "ARG EPOCH\n")
    edit(small / "buildsys.lock", "epochs: {system: 2026-11-23}\n", "")
    done = ask(small, "lock", "--check")
    assert (done.code, words_of(done)[0]) == (3, "+ system")


def test_lock_offline_writes_what_it_knows_and_says_what_it_does_not(small: Path) -> None:
    edit(small / "layers" / "tools" / "layer.yaml", '"tools-{release}"', '"new-tools-{release}"')
    done = ask(small, "lock", "--offline")
    assert done.code == 0
    assert "new-tools-1" in done.stdout
    assert "not asked, offline" in done.stdout
    text = (small / "buildsys.lock").read_text(encoding="utf-8")
    assert "digest: unknown\n" in text
    assert "tools-1: {" not in text
    assert ask(small, "lock", "--check", "--offline").code == 0
    assert ask(small, "lock", "--offline").code == 0
    assert (small / "buildsys.lock").read_text(encoding="utf-8") == text


def test_pattern_that_means_nothing_leaves_the_lock_alone(small: Path) -> None:
    done = ask(small, "lock", "--update", "nothing-*", "--offline")
    assert done.code == 4
    assert words_of(done)[0] == "error: the lock has no entry `nothing-*`"
    assert (small / "buildsys.lock").read_text(encoding="utf-8") == LOCK
    assert ask(small, "lock", "linux-1").code == 2


@pytest.mark.parametrize("words", [["plan"], ["lock", "--check"], ["affected", "--since", "HEAD"]])
def test_conflict_marker_in_the_lock_is_an_error_with_its_line(small: Path, words: list[str]) -> None:
    marked = LOCK.replace("  tools-1:", "<<<<<<< HEAD\n  tools-1:") + "=======\n>>>>>>> other\n"
    (small / "buildsys.lock").write_text(marked, encoding="utf-8")
    done = ask(small, *words)
    assert (done.code, done.stdout) == (4, "")
    assert "  --> buildsys.lock:5:1\n" in done.stderr
    assert (small / "buildsys.lock").read_text(encoding="utf-8") == marked


def test_few_objects_that_are_a_billion_files_are_refused(small: Path) -> None:
    listing = small.parents[1] / "listing"

    def tree(lines: str) -> str:
        listing.write_text(lines, encoding="utf-8")
        return run("sh", "-c", f"git mktree <{listing}", cwd=small, seconds=60).stdout.strip()

    many = "100644 blob " + git(small, "hash-object", "-w", "stacks.yaml").strip()
    for _ in range(9):
        many = "040000 tree " + tree("".join(f"{many}\t{letter * 100}\n" for letter in "abcdefghij"))
    folder = tree(f"{many}\tfolder\n")
    whole = tree(f"040000 tree {folder}\tin\n")
    done = ask(small, "diff", git(small, "commit-tree", "-m", "change", whole).strip())
    assert (done.code, done.stdout) == (4, "")
    assert "the list of files of the tree" in done.stderr
