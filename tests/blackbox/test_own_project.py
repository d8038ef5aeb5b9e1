"""A project of one's own: it begins, copies layers and gets new ones, and nothing that a person wrote is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import SYSTEM, TOOL, buildsys, git, refused, run, write

OTHER = """\
description: a program of others
kind: artifact
licence: MIT
prefix: /opt/other
requires: [dist]
after: [unheard-of]
"""
OTHER_DOCKERFILE = """\
FROM toolchain AS build
COPY . /artifact/opt/other/

FROM scratch
COPY --from=build /artifact /
"""
PROGRAM = "#!/bin/sh\necho 1\n"


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of a project but for what a command keeps for itself."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if ".buildsys/" not in f"{path}/"}


def clean_plan(project: Path) -> None:
    done = buildsys(project, "plan")
    assert (done.code, done.stderr) == (0, "")
    assert buildsys(project, "plan", "--check").code == 0
    assert buildsys(project, "lock", "--check", "--offline").code == 0


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that is in no git repository and has no network."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def started(empty: Path) -> Path:
    """A project as `init` writes it."""
    assert buildsys(empty, "init").code == 0
    return empty


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """The project of others, with one layer to copy, what that requires, and one that it does not require."""
    folder = tmp_path / "others"
    for name, text in {
        "stacks.yaml": "stacks:\n  img: {layers: [dist]}\n",
        "buildsys.lock": "version: 1\nparents:\n"
        f'  debian-12: {{reference: "docker.io/library/debian:12-slim", digest: "sha256:{"1" * 64}"}}\n'
        f'  toolchain-debian-12: {{reference: "docker.io/library/debian:12-slim", digest: "sha256:{"2" * 64}"}}\n'
        f'  left-out: {{reference: "docker.io/library/other:1", digest: "sha256:{"3" * 64}"}}\n',
        "layers/dist/layer.yaml": SYSTEM,
        "layers/tool/layer.yaml": TOOL,
        "layers/tool/Dockerfile": "FROM base\nRUN true\n",
        "layers/other/layer.yaml": OTHER,
        "layers/other/Dockerfile": OTHER_DOCKERFILE,
        "layers/other/program": PROGRAM,
        "layers/unheard-of/layer.yaml": "description: x\nkind: system\nlicence: MIT\n",
    }.items():
        write(folder, name, text)
    (folder / "layers/other/program").chmod(0o755)
    (folder / "layers/other/link").symlink_to("program")
    return folder


@pytest.fixture
def repository(others: Path) -> Path:
    """The project of others as a git repository whose tag is `v1`."""
    git(others, "init", "--quiet", "--initial-branch=main")
    git(others, "add", "--all")
    git(others, "commit", "--quiet", "--message", "one")
    git(others, "tag", "v1")
    return others


@pytest.fixture
def copied(started: Path, others: Path) -> Path:
    """A project that has copied the layer of others."""
    done = buildsys(started, "add", "other", "--from", others)
    assert done.code == 0, done.stderr
    return started


@pytest.mark.parametrize("system", ["debian", "ubuntu"])
def test_new_project_is_planned_without_warning_network_or_git(empty: Path, system: str) -> None:
    done = buildsys(empty, "init", "--os", system, "images")
    assert (done.code, done.stderr) == (0, "")
    assert f"layers/{system}-os" in done.stdout
    clean_plan(empty / "images")
    assert "image  hello" in buildsys(empty / "images", "plan").stdout


def test_editors_find_the_schema_that_a_new_project_names(started: Path) -> None:
    for name in ("stacks.yaml", "layers/hello/layer.yaml"):
        first = (started / name).read_text(encoding="utf-8").splitlines()[0]
        schema = (started / name).parent / first.removeprefix("# yaml-language-server: $schema=")
        assert schema.is_file(), first
    assert buildsys(started, "schema", "--check").code == 0


@pytest.mark.parametrize("name", ["stacks.yaml", ".gitignore", "layers/hello/notes", "buildsys.lock"])
def test_new_project_overwrites_nothing_and_names_what_exists(empty: Path, name: str) -> None:
    write(empty, name, "mine\n")
    before = files(empty)
    refused(buildsys(empty, "init"), "overwrites nothing", f"`{name.removesuffix('/notes')}`")
    assert files(empty) == before
    assert not (empty / "schemas").exists()


def test_new_project_that_cannot_be_written_leaves_nothing(empty: Path) -> None:
    write(empty, "layers", "a file in the place of a folder\n")
    refused(buildsys(empty, "init"), "layers", code=5)
    assert [path.name for path in empty.iterdir()] == ["layers"]


def test_layers_that_come_with_buildsys_are_copied_with_what_they_require(started: Path) -> None:
    done = buildsys(started, "add", "openmpi", "nccl")
    assert done.stdout.startswith("added layers/openmpi, layers/nccl and what they require: layers/cuda-runtime (from")
    done = buildsys(started, "new", "stack", "gpu-image", "--layers", "debian-os,cuda-runtime,nccl,openmpi=4.1.4,hello")
    assert (done.code, done.stderr) == (0, "")
    clean_plan(started)
    assert "openmpi: 4.1.4" in (started / "stacks.yaml").read_text(encoding="utf-8")


def test_layers_are_copied_once(started: Path) -> None:
    assert buildsys(started, "add", "git").code == 0
    lock = started / "buildsys.lock"
    lock.write_text(lock.read_text(encoding="utf-8") + "# a comment of a person\n", encoding="utf-8")
    before = files(started)
    done = buildsys(started, "add", "git")
    assert (done.code, done.stdout) == (0, "layers/git stays as it is\n")
    assert files(started) == before


def test_name_that_several_layers_provide_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "stacks.yaml", "stacks: {}\n")
    refused(buildsys(tmp_path, "add", "git"), "`git` requires `os`", "`buildsys add debian-os git`")
    assert not (tmp_path / "layers").exists()
    assert buildsys(tmp_path, "add", "debian-os", "git").code == 0


def test_layer_of_others_is_copied_from_a_folder_with_its_entries_of_the_lock(copied: Path, others: Path) -> None:
    assert {path.name for path in (copied / "layers").iterdir()} >= {"other", "dist", "tool"}
    # What plain bake needs, and its origin lacks.
    rules = (copied / "layers/other/.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"layer.yaml", "README.md", "tests"} <= {*rules}
    assert (copied / "layers/other/program").stat().st_mode & 0o111
    assert (copied / "layers/other/link").readlink() == Path("program")
    lock = (copied / "buildsys.lock").read_text(encoding="utf-8")
    assert f'origin: "{others}"' in lock
    # That of the project stays, that of others is added, and what no layer needs is not.
    assert "2" * 64 not in lock or "toolchain-debian-12" in lock
    assert "left-out" not in lock
    # `after` names a layer that was not copied.
    assert buildsys(copied, "new", "stack", "mine", "--layers", "dist,other").code == 0
    clean_plan(copied)


def test_folder_is_kept_relative_to_the_project(started: Path, others: Path) -> None:
    assert buildsys(started / "layers", "add", "other", "--from", "../../others").code == 0
    assert 'origin: "../others"' in (started / "buildsys.lock").read_text(encoding="utf-8")
    assert buildsys(started, "add", "--update").code == 0


def test_own_layer_is_never_replaced(started: Path) -> None:
    write(started, "layers/git/layer.yaml", "description: mine\nkind: system\nlicence: MIT\nrequires: [os]\n")
    before = files(started)
    refused(buildsys(started, "add", "git", "ucx"), "`layers/git` is a layer of this project", "rename the folder")
    refused(buildsys(started, "add", "--update", "git"), "was not copied")
    assert files(started) == before


def test_layer_that_an_interrupted_command_copied_is_taken_over(started: Path) -> None:
    lock = (started / "buildsys.lock").read_bytes()
    assert buildsys(started, "add", "git").code == 0
    (started / "buildsys.lock").write_bytes(lock)
    assert buildsys(started, "add", "git").code == 0
    assert "\n  git:\n" in (started / "buildsys.lock").read_text(encoding="utf-8")


def test_update_shows_the_difference_and_writes_it(copied: Path, others: Path) -> None:
    write(others, "layers/other/program", "#!/bin/sh\necho 2\n")
    write(others, "layers/other/new", "new\n")
    (others / "layers/other/link").unlink()
    done = buildsys(copied, "add", "--update", "other")
    assert (done.code, done.stderr) == (0, "")
    for line in ("-echo 1", "+echo 2", "--- /dev/null", "+++ layers/other/new", "+++ /dev/null", "-program"):
        assert line in done.stdout
    assert "updated layers/other" in done.stdout
    assert (copied / "layers/other/new").is_file()
    assert not (copied / "layers/other/link").is_symlink()
    before = files(copied)
    assert "stays as it is" in buildsys(copied, "add", "--update").stdout
    assert files(copied) == before


def test_update_brings_what_a_layer_requires_since(copied: Path, others: Path) -> None:
    write(others, "layers/other/layer.yaml", OTHER.replace("[dist]", "[dist, more]"))
    write(others, "layers/more/layer.yaml", "description: x\nkind: system\nlicence: MIT\nrequires: [dist]\n")
    assert "what they require: layers/more" in buildsys(copied, "add", "--update").stdout
    assert (copied / "layers/more/layer.yaml").is_file()


def test_update_never_loses_a_change_of_the_project(copied: Path, others: Path) -> None:
    write(copied, "layers/other/program", f"{PROGRAM}echo mine\n")
    # As long as its origin is the same there is nothing to lose.
    assert "with changes of this project" in buildsys(copied, "add", "--update").stdout
    write(others, "layers/other/program", f"{PROGRAM}echo theirs\n")
    write(others, "layers/dist/layer.yaml", f"{SYSTEM}workdir: /tmp\n")
    before = files(copied)
    done = buildsys(copied, "add", "--update")
    refused(done, "`layers/other` would lose a change of this project", code=3)
    assert "-echo mine" in done.output
    assert "+echo theirs" in done.output
    assert files(copied) == before
    # The hint, in its two ways.
    assert "updated layers/dist" in buildsys(copied, "add", "--update", "dist").stdout
    shutil.rmtree(copied / "layers/other")
    assert "updated layers/other" in buildsys(copied, "add", "--update").stdout
    assert "theirs" in (copied / "layers/other/program").read_text(encoding="utf-8")


def test_layers_are_copied_from_a_revision_of_a_repository(started: Path, repository: Path) -> None:
    done = buildsys(started, "add", "other", "--from", f"file://{repository}@v1")
    assert (done.code, done.stderr) == (0, "")
    assert (started / "layers/other/program").stat().st_mode & 0o111
    commit = git(repository, "rev-parse", "v1").strip()
    lock = (started / "buildsys.lock").read_text(encoding="utf-8")
    assert f'ref: "v1"\n    revision: "{commit}"' in lock
    write(repository, "layers/other/program", "#!/bin/sh\necho 2\n")
    git(repository, "commit", "--quiet", "--all", "--message", "two")
    # A tag stays; a branch is named instead.
    assert "layers/other stays as it is" in buildsys(started, "add", "--update").stdout
    done = buildsys(started, "add", "--update", "other", "--from", f"{repository}@main")
    assert "+echo 2" in done.stdout


def test_copy_of_a_folder_and_of_its_repository_have_one_checksum(copied: Path, repository: Path) -> None:
    done = buildsys(copied, "add", "--update", "other", "--from", f"{repository}@v1")
    assert "stays as it is" in done.stdout


@pytest.mark.parametrize(
    ("place", "words", "code"),
    [
        ("https://user:hunter2@example.com/layers.git@v1", ["without credentials"], 2),
        ("ext::sh -c touch% /tmp/x", ["does not exist"], 2),
        ("http://example.com/layers.git@v1", ["expected one with `https`"], 2),
        ("missing", ["`missing`", "does not exist"], 2),
        ("file:///nowhere/at/all@v1", ["git: fatal"], 5),
    ],
)
def test_place_that_layers_are_not_copied_from_is_refused(
    started: Path, place: str, words: list[str], code: int
) -> None:
    before = files(started)
    done = buildsys(started, "add", "other", "--from", place)
    refused(done, *words, code=code)
    assert "hunter2" not in done.output
    assert files(started) == before


def test_revision_that_a_repository_lacks_is_invalid(started: Path, repository: Path) -> None:
    refused(buildsys(started, "add", "other", "--from", f"{repository}@v9"), "has no revision `v9`")
    refused(buildsys(started, "add", "nope", "--from", f"{repository}@v1"), "has no layer `nope`")


def test_no_program_of_a_repository_is_run(started: Path, repository: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    hooks = repository / ".git" / "hooks"
    for name in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-merge"):
        write(hooks, name, f"#!/bin/sh\ntouch {witness}\n").chmod(0o755)
    git(repository, "config", "uploadpack.packObjectsHook", f"touch {witness};")
    git(repository, "config", "core.fsmonitor", f"touch {witness}")
    write(repository, ".gitattributes", "* filter=x\n")
    git(repository, "config", "filter.x.smudge", f"touch {witness}; cat")
    git(repository, "add", ".gitattributes")
    git(repository, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "attributes")
    witness.unlink(missing_ok=True)
    assert buildsys(started, "add", "other", "--from", f"{repository}@main").code == 0
    assert not witness.exists()


def test_symlink_of_a_layer_that_leaves_its_origin_is_refused(started: Path, others: Path) -> None:
    write(others.parent, "secret", "hunter2\n")
    (others / "layers/other/stolen").symlink_to("../../../secret")
    before = files(started)
    refused(buildsys(started, "add", "other", "--from", others), "points outside")
    assert files(started) == before


def test_outdated_lists_layers_that_their_origin_has_changed(tmp_path: Path, others: Path) -> None:
    project = tmp_path / "mine"
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, other]}\n")
    unknown = '{reference: "docker.io/library/debian:12-slim", digest: unknown, reason: not asked, accepted: true}'
    write(project, "buildsys.lock", f"version: 1\nparents:\n  debian-12: {unknown}\n  toolchain-debian-12: {unknown}\n")
    assert buildsys(project, "add", "other", "--from", "../others").code == 0
    assert buildsys(project, "outdated").stdout == "nothing has moved\n"
    write(others, "layers/other/program", "#!/bin/sh\necho 2\n")
    done = buildsys(project, "outdated")
    assert "layers/other" in done.stdout
    assert "`buildsys add --update other`" in done.stdout
    assert "layers/tool" not in done.stdout
    shutil.rmtree(others)
    assert "layers are copied from there" in buildsys(project, "outdated").stdout


def test_outdated_lists_changed_layers_before_it_ends_without_a_registry(tmp_path: Path, others: Path) -> None:
    project = tmp_path / "mine"
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, other]}\n")
    parent = f'{{reference: "127.0.0.1:1/debian:12-slim", digest: "sha256:{"1" * 64}"}}'
    write(project, "buildsys.lock", f"version: 1\nparents:\n  debian-12: {parent}\n  toolchain-debian-12: {parent}\n")
    assert buildsys(project, "add", "other", "--from", "../others").code == 0
    write(others, "layers/other/program", "#!/bin/sh\necho 2\n")
    done = buildsys(project, "outdated")
    assert done.code == 5
    assert "`buildsys add --update other`" in done.stdout
    assert "debian-12" in done.stdout
    assert "nothing answered for `debian-12`" in done.stderr
    entries = json.loads(buildsys(project, "outdated", "--json").stdout)["entries"]
    assert {each["name"] for each in entries} == {"debian-12", "toolchain-debian-12", "layers/other"}


def test_lock_keeps_the_entries_of_copied_layers(copied: Path) -> None:
    before = (copied / "buildsys.lock").read_text(encoding="utf-8").partition("\nlayers:")[2]
    assert before
    assert buildsys(copied, "lock", "--offline").code == 0
    assert (copied / "buildsys.lock").read_text(encoding="utf-8").partition("\nlayers:")[2] == before


@pytest.mark.parametrize("kind", ["artifact", "system", "toolchain"])
def test_new_layer_is_planned_and_linted_as_it_is(started: Path, kind: str) -> None:
    done = buildsys(started, "new", "layer", "my-own", "--kind", kind)
    assert (done.code, done.stderr) == (0, "")
    if kind != "toolchain":
        assert buildsys(started, "new", "stack", "mine", "--layers", "debian-os,my-own").code == 0
    clean_plan(started)
    dockerfile = started / "layers/my-own/Dockerfile"
    rules = Path(__file__).parents[2] / ".hadolint.yaml"
    if kind != "system" and shutil.which("hadolint"):
        done = run(started, "hadolint", "--config", rules, dockerfile)
        assert done.code == 0, done.output


def test_new_layer_needs_a_system(tmp_path: Path) -> None:
    write(tmp_path, "stacks.yaml", "stacks: {}\n")
    refused(buildsys(tmp_path, "new", "layer", "tool"), "provides `os`", "`buildsys add debian-os`")
    assert not (tmp_path / "layers").exists()


def test_new_stack_keeps_every_other_line(started: Path) -> None:
    text = (
        "# The first line.\nregistry: mine   # here\nstacks:\n    # before\n    hello:\n"
        "        layers: [debian-os]  # one\n\n# The families.\nfamilies: {}\n"
    )
    write(started, "stacks.yaml", text)
    assert buildsys(started, "new", "stack", "more").code == 0
    found = (started / "stacks.yaml").read_text(encoding="utf-8")
    assert [line for line in found.splitlines() if line not in text.splitlines()] == [
        "    more:",
        "      layers:",
        "        - debian-os",
    ]
    assert found.replace("    more:\n      layers:\n        - debian-os\n", "") == text
    clean_plan(started)


def test_new_stack_that_cannot_be_planned_is_not_written(started: Path) -> None:
    before = files(started)
    refused(buildsys(started, "new", "stack", "gpu"), "the name of a group")
    refused(buildsys(started, "new", "stack", "mine", "--layers", "debian-os=12"), "has no parameter `version`")
    refused(buildsys(started, "new", "stack", "mine", "--layers", "git"), "names `git`", "`buildsys add git`")
    assert files(started) == before


def test_layer_may_be_a_symlink_inside_the_project(started: Path) -> None:
    (started / "shared").mkdir()
    (started / "layers/hello").rename(started / "shared/hello")
    (started / "layers/hello").symlink_to("../shared/hello")
    clean_plan(started)


def test_plan_warns_where_plain_bake_would_copy_what_no_build_reads(started: Path) -> None:
    write(started, "layers/hello/Dockerfile", OTHER_DOCKERFILE.replace("/opt/other", "/opt/hello"))
    rules = started / "layers/hello/.dockerignore"
    assert "plain `docker buildx bake`" not in buildsys(started, "plan").stderr
    rules.unlink()
    assert "`layers/hello/.dockerignore`" in buildsys(started, "plan").stderr
