"""What is published under a key is built from the bytes and modes that the key covers (faults H5 and H7)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import (
    ARTIFACT,
    ARTIFACT_DOCKERFILE,
    COMMAND,
    IGNORED,
    buildsys,
    environment,
    git,
    on_real_parents,
    run,
    small_project,
    write,
)

pytestmark = [pytest.mark.engine, pytest.mark.registry]


def artifact(project: Path, name: str, *steps: str) -> Path:
    """Write an artifact layer that copies its whole context to its prefix, and return its folder."""
    folder = project / "layers" / name
    write(folder, "layer.yaml", ARTIFACT.replace("/opt/conf", f"/opt/{name}"))
    copy = "".join(f"{line}\n" for line in (f"COPY . /artifact/opt/{name}/", *steps))
    write(folder, "Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf\n", copy))
    write(folder, ".dockerignore", f"{IGNORED}hidden\n")
    write(folder, "conf", "one\n")
    return folder


def push(project: Path, registry: str, *words: str) -> None:
    done = buildsys(project, "bake", "--all", "--push", *words, BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output


def listing(registry: str, image: str, folder: str) -> dict[str, str]:
    """Return what is in a folder of an image, by path: modes in octal digits, of a file its content behind them."""
    script = (
        f'cd {folder} && find . -mindepth 1 | while read -r path; do echo "$path $(stat -c %a "$path") '
        '$(if [ -L "$path" ]; then readlink "$path"; elif [ -f "$path" ]; then tr "\\n" " " <"$path"; fi)"; done'
    )
    done = run(
        Path.cwd(), "docker", "run", "--pull=always", "--quiet", "--rm", f"{registry}/{image}", "sh", "-c", script
    )
    assert done.code == 0, done.output
    found = (line.removeprefix("./").split(" ", 1) for line in done.stdout.splitlines())
    return {path: rest.strip() for path, rest in found if path not in ("Dockerfile", ".dockerignore")}


# --- H7: modes and empty folders, which no key covers.


@pytest.fixture
def umask_of_another(real_project: Path) -> Path:
    """A project with every mode that git does not keep, folders without files, and a hard link."""
    folder = artifact(real_project, "odd")
    write(real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist, odd]}\n")
    modes = {"a600": 0o600, "a664": 0o664, "a4755": 0o4755, "a2711": 0o2711, "a1644": 0o1644, "a700": 0o700}
    for name, mode in modes.items():
        write(folder, f"files/{name}", "x\n").chmod(mode)
    (folder / "files").chmod(0o2770)
    (folder / "empty" / "below").mkdir(parents=True)
    os.link(folder / "conf", folder / "linked")
    return real_project


def test_image_has_the_modes_that_git_keeps_and_no_empty_folder(umask_of_another: Path, registry: str) -> None:
    push(umask_of_another, registry)
    assert listing(registry, "img", "/opt/odd") == {
        "conf": "644 one",
        "linked": "644 one",
        "files": "755",
        "files/a600": "644 x",
        "files/a664": "644 x",
        "files/a4755": "755 x",
        "files/a2711": "755 x",
        "files/a1644": "644 x",
        "files/a700": "755 x",
    }


def test_checkout_of_a_colleague_with_another_umask_gives_the_same_files(real_project: Path, registry: str) -> None:
    folder = artifact(real_project, "odd")
    write(folder, "sub/program", "x\n").chmod(0o755)
    write(real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist, odd]}\n")
    git(real_project, "init", "-q", ".")
    git(real_project, "add", "-A")
    git(real_project, "commit", "-qm", "one")
    theirs = real_project.parent / "theirs"
    assert run(real_project, "sh", "-c", f"umask 077; git clone -q . '{theirs}'").code == 0
    done = run(
        theirs,
        "sh",
        "-c",
        'umask 077; exec "$@"',
        "sh",
        *COMMAND,
        "bake",
        "--all",
        "--push",
        BUILDSYS_REGISTRY=registry,
    )
    assert done.code == 0, done.output
    assert listing(registry, "img", "/opt/odd") == {"conf": "644 one", "sub": "755", "sub/program": "755 x"}


def test_hard_links_of_a_checkout_are_files_of_their_own_in_a_build(real_project: Path, registry: str) -> None:
    mounted = (
        "RUN --mount=type=bind,target=/context cp -a /context/. /artifact/opt/odd/ && echo two >>/artifact/opt/odd/conf"
    )
    folder = artifact(real_project, "odd", mounted)
    os.link(folder / "conf", folder / "linked")
    write(real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist, odd]}\n")
    push(real_project, registry)
    assert listing(registry, "img", "/opt/odd") == {"conf": "644 one two", "linked": "644 one"}


FOLDER_LAYER = """\
description: files of a folder
kind: artifact
licence: MIT
prefix: /opt/given
requires: [os]
parameters:
  folder: {description: whose files, type: folder}
"""
FOLDER_DOCKERFILE = """\
FROM toolchain AS build
COPY --from=folder . /artifact/opt/given/

FROM scratch
COPY --from=build /artifact /
"""


def with_folder(project: Path) -> Path:
    """Add a layer with the files of a folder that a parameter names, and return the folder."""
    write(project, "layers/given/layer.yaml", FOLDER_LAYER)
    write(project, "layers/given/Dockerfile", FOLDER_DOCKERFILE)
    write(project, "layers/given/.dockerignore", IGNORED)
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, given: {folder: environments/own}]}\n")
    return write(project, "environments/own/file", "one\n").parent


def test_folder_that_a_parameter_names_has_the_modes_that_git_keeps(real_project: Path, registry: str) -> None:
    folder = with_folder(real_project)
    (folder / "file").chmod(0o4700)
    (folder / "empty").mkdir()
    push(real_project, registry)
    assert listing(registry, "img", "/opt/given") == {"file": "755 one"}


def test_folder_of_a_dockerfile_of_the_users_own_has_the_modes_that_git_keeps(
    real_project: Path, registry: str, tmp_path: Path
) -> None:
    write(tmp_path, "own/Dockerfile", "FROM base\nCOPY . /own/\n")
    write(tmp_path, "own/file", "x\n").chmod(0o604)
    (tmp_path / "own" / "empty").mkdir()
    words = ("environment", tmp_path / "own" / "Dockerfile", "--dockerfile", "--on", "img", "--tag", "own")
    done = buildsys(real_project, *words, BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    assert listing(registry, "img-custom:own", "/own") == {"file": "644 x"}


def test_image_in_the_engines_store_has_the_modes_that_git_keeps(umask_of_another: Path, registry: str) -> None:
    assert buildsys(umask_of_another, "bake", "img", BUILDSYS_REGISTRY=registry).code == 0
    words = ("stat", "-c", "%a", "/opt/odd/files/a4755", "/opt/odd/files")
    found = run(umask_of_another, "docker", "run", "--rm", f"{registry}/img", *words)
    assert found.stdout.split() == ["755", "755"], found.output


def test_mirrors_folder_of_the_project_which_no_key_covers_has_no_part_in_a_build(
    real_project: Path, registry: str
) -> None:
    write(real_project, "mirrors/use", "export FROM_THE_TREE=yes\n")
    mounted = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors . /run/mirrors/use; env >/env\n"
    write(real_project, "layers/dist/Dockerfile", f"FROM base\nARG PACKAGES\n{mounted}")
    push(real_project, registry)
    found = run(real_project, "docker", "run", "--rm", f"{registry}/img", "cat", "/env")
    assert found.code == 0, found.output
    assert "FROM_THE_TREE" not in found.stdout


# --- H5: BuildKit's transfer takes a file for one that it holds if size and time are equal, of any folder of that name.


def same_time(file: Path) -> None:
    os.utime(file, ns=(1_700_000_000_000_000_000, 1_700_000_000_000_000_000))


def test_edit_that_leaves_size_and_time_of_a_file_is_in_the_image_of_its_key(real_project: Path, registry: str) -> None:
    folder = artifact(real_project, "odd")
    write(real_project, "stacks.yaml", "stacks:\n  img: {layers: [dist, odd]}\n")
    for text in ("one", "two"):
        same_time(write(folder, "conf", f"{text}\n"))
        push(real_project, registry)
        assert listing(registry, "img", "/opt/odd") == {"conf": f"644 {text}"}


@pytest.mark.parametrize("kind", ["layer", "folder", "dockerfile"])
def test_project_does_not_get_the_files_of_another_of_the_same_size_and_time(
    tmp_path: Path, real_project: Path, registry: str, kind: str
) -> None:
    for text in ("one", "two"):
        project = shutil.copytree(real_project, tmp_path / text / "project")
        if kind == "layer":
            file = artifact(project, "odd") / "conf"
            write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, odd]}\n")
            image, location = "img", "/opt/odd/conf"
        elif kind == "folder":
            file, image, location = with_folder(project) / "file", "img", "/opt/given/file"
        else:
            write(project, "own/Dockerfile", "FROM base\nCOPY . /own/\n")
            file, image, location = project / "own/conf", "img-custom:own", "/own/conf"
        file.write_text(f"{text}\n", encoding="utf-8")
        same_time(file)
        if kind == "dockerfile":
            words = ("environment", project / "own/Dockerfile", "--dockerfile", "--on", "img", "--tag", "own")
            done = buildsys(project, *words, BUILDSYS_REGISTRY=registry)
            assert done.code == 0, done.output
        else:
            push(project, registry)
        assert listing(registry, image, str(Path(location).parent))[Path(location).name] == f"644 {text}"


# --- H5: files that are edited while a run is in progress.

CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda folder: (folder / "conf").write_text("two\n", encoding="utf-8"),
    "added": lambda folder: write(folder, "extra", "new\n"),
    "removed": lambda folder: (folder / "spare").unlink(),
    "renamed-over": lambda folder: write(folder.parent.parent, "moved", "two\n").replace(folder / "conf"),
    "executable": lambda folder: (folder / "conf").chmod(0o755),
    "recipe": lambda folder: (folder / "Dockerfile").write_text("FROM base\nRUN false\n", encoding="utf-8"),
    "ignore-rules": lambda folder: (folder / ".dockerignore").write_text("spare\n", encoding="utf-8"),
    "symlink": lambda folder: relink(folder / "link", "spare"),
    "symlink-out": lambda folder: relink(folder / "link", "/etc/passwd"),
    "folder": lambda folder: (folder / "empty").mkdir(mode=0o777),
    "whole-layer": lambda folder: shutil.rmtree(folder),
    "passing": lambda folder: write(folder, ".conf.swp", "x\n"),
}
EXPECTED = {"conf": "644 one", "spare": "644 spare", "link": "777 conf"}


def relink(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def start(project: Path, registry: str, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=project,
        env=environment({"BUILDSYS_REGISTRY": registry}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(project: Path, running: subprocess.Popen[str], step: str) -> None:
    """Wait until a step of the run has begun, as its events say."""
    events = project / ".buildsys" / "events.jsonl"
    for _ in range(600):
        if events.exists() and step in events.read_text(encoding="utf-8", errors="replace"):
            return
        assert running.poll() is None, running.stdout.read() if running.stdout else ""
        time.sleep(0.1)
    raise AssertionError(f"no step {step} began")


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory, registry_host: str) -> Iterator[tuple[str, str]]:
    """A run in which each layer's folder changed in another way while the toolchain was built: registry and output."""
    folder = tmp_path_factory.mktemp("edited")
    registry = f"{registry_host}/blackbox-edited-{time.time_ns()}"
    project = on_real_parents(small_project(folder / "project"))
    for name in CHANGES:
        layer = artifact(project, name, f"RUN true # {folder}")
        write(layer, "spare", "spare\n")
        write(layer, "hidden", "hidden\n")
        (layer / "link").symlink_to("conf")
    stacks = "".join(f"  {name}: {{layers: [dist, {name}]}}\n" for name in CHANGES)
    write(project, "stacks.yaml", f"stacks:\n{stacks}")
    write(project, "layers/tool/Dockerfile", f"FROM base\nRUN sleep 5 # waiting {folder}\n")
    running = start(project, registry, "bake", "--all", "--push", "--keep-going", "--progress", "plain")
    wait_for(project, running, "waiting")
    for name, change in CHANGES.items():
        change(project / "layers" / name)
    output, _ = running.communicate(timeout=180)
    yield registry, f"{running.returncode}\n{output}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", CHANGES)
def test_image_holds_what_its_key_says_whatever_changed_during_the_run(edited: tuple[str, str], name: str) -> None:
    registry, output = edited
    assert output.startswith("0\n"), output
    assert listing(registry, name, f"/opt/{name}") == EXPECTED


def test_dockerfile_of_the_users_own_is_built_as_it_was_when_the_command_began(
    real_project: Path, registry: str, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    write(own, "Dockerfile", f"FROM base\nRUN sleep 4 # waiting {tmp_path}\nCOPY . /own/\n")
    write(own, "file", "one\n")
    push(real_project, registry)
    words = ("environment", own / "Dockerfile", "--dockerfile", "--on", "img", "--tag", "own")
    running = start(real_project, registry, *words)
    wait_for(real_project, running, "waiting")
    write(own, "file", "two\n")
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    assert listing(registry, "img-custom:own", "/own") == {"file": "644 one"}


def test_local_image_holds_what_its_label_says_whatever_changed_during_the_bake(
    real_project: Path, registry: str
) -> None:
    write(real_project, "layers/tool/Dockerfile", f"FROM base\nRUN sleep 4 # waiting {real_project}\n")
    running = start(real_project, registry, "bake", "img", "--progress", "plain")
    wait_for(real_project, running, "waiting")
    write(real_project, "layers/conf/conf", "two\n")
    (real_project / "layers/conf/link").symlink_to("/etc/passwd")
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    found = run(real_project, "docker", "run", "--rm", f"{registry}/img", "cat", "/opt/conf/conf")
    assert found.stdout == "one\n", found.output


def test_copies_of_contexts_are_removed_after_a_run(real_project: Path, registry: str) -> None:
    push(real_project, registry)
    (folder,) = (real_project / ".buildsys" / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"events.jsonl", "lock", "logs", "report.html"}
