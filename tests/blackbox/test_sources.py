"""What is published under a key is built from the bytes and modes that the key covers (faults H5 and H7)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blackbox.support import (
    ARTIFACT,
    ARTIFACT_DOCKERFILE,
    COMMAND,
    IGNORED,
    Run,
    buildsys,
    environment,
    git,
    refused,
    run,
    small_project,
    write,
)

pytestmark = [pytest.mark.registry]

NEEDS_ENGINE = pytest.mark.engine


def push(project: Path, registry: str, *words: str, **given: str) -> Run:
    return buildsys(project, "bake", "img", "--push", *words, BUILDSYS_REGISTRY=registry, shell=given)


# --- H7: modes and empty folders, none of which a key covers. Refused before an engine is asked.


def set_mode(name: str, mode: int) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        (project / name).chmod(mode)

    return change


def empty_folder(name: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        (project / name).mkdir(parents=True)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(set_mode("layers/conf/conf", 0o600), "layers/conf/conf` with 600", id="umask-077-file"),
        pytest.param(set_mode("layers/conf/conf", 0o664), "layers/conf/conf` with 664", id="umask-002-file"),
        pytest.param(set_mode("layers/conf/conf", 0o700), "layers/conf/conf` with 700", id="umask-077-program"),
        pytest.param(set_mode("layers/conf/conf", 0o4755), "layers/conf/conf` with 4755", id="set-user-id"),
        pytest.param(set_mode("layers/conf/conf", 0o2755), "layers/conf/conf` with 2755", id="set-group-id"),
        pytest.param(set_mode("layers/conf/conf", 0o1644), "layers/conf/conf` with 1644", id="sticky"),
        pytest.param(set_mode("layers/conf/files", 0o700), "layers/conf/files/` with 700", id="umask-077-folder"),
        pytest.param(set_mode("layers/conf/files", 0o2755), "layers/conf/files/` with 2755", id="set-group-id-folder"),
        pytest.param(set_mode("layers/conf/files", 0o777), "layers/conf/files/` with 777", id="open-folder"),
        pytest.param(empty_folder("layers/conf/cache"), "`layers/conf/cache` is a folder without files", id="empty"),
        pytest.param(empty_folder("layers/conf/a/b"), "`layers/conf/a/b` is a folder without files", id="empty-below"),
        pytest.param(set_mode("layers/dist/Dockerfile", 0o640), "layers/dist/Dockerfile` with 640", id="system-layer"),
    ],
)
def test_what_git_does_not_keep_is_not_published(
    project: Path, registry: str, change: Callable[[Path], None], said: str
) -> None:
    write(project, "layers/conf/files/inside", "x\n")
    change(project)
    done = push(project, registry, DOCKER_HOST="unix:///nonexistent.sock")
    refused(done, said, "hint: ")


def test_hint_of_odd_modes_names_a_command_after_which_nothing_is_refused(project: Path, registry: str) -> None:
    write(project, "layers/conf/files/program", "#!/bin/sh\n").chmod(0o4711)
    (project / "layers/conf/files").chmod(0o2770)
    (project / "layers/conf/conf").chmod(0o600)
    done = push(project, registry, DOCKER_HOST="unix:///nonexistent.sock")
    refused(done, "3 paths have a mode that git does not keep")
    command = done.stderr.partition("hint: run `")[2].partition("`")[0]
    assert command.startswith("chmod -R "), done.stderr
    assert run(project, "sh", "-c", command).code == 0
    done = push(project, registry, DOCKER_HOST="unix:///nonexistent.sock")
    assert "mode" not in done.stderr
    assert (project / "layers/conf/files/program").stat().st_mode & 0o7777 == 0o755


def test_modes_of_files_that_no_build_can_read_are_not_looked_at(project: Path, registry: str) -> None:
    write(project, "layers/conf/tests/secret", "x\n").chmod(0o600)
    (project / "layers/conf/layer.yaml").chmod(0o600)
    (project / "layers/conf").chmod(0o700)
    done = push(project, registry, DOCKER_HOST="unix:///nonexistent.sock")
    assert (done.code, "mode" in done.stderr) == (5, False), done.stderr


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


def with_folder(project: Path) -> None:
    write(project, "layers/given/layer.yaml", FOLDER_LAYER)
    write(project, "layers/given/Dockerfile", FOLDER_DOCKERFILE)
    write(project, "layers/given/.dockerignore", IGNORED)
    write(project, "environments/own/file", "one\n")
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, conf, given: {folder: environments/own}]}\n")


def test_modes_in_a_folder_that_a_parameter_names_count(project: Path, registry: str) -> None:
    with_folder(project)
    (project / "environments/own/file").chmod(0o660)
    refused(push(project, registry, DOCKER_HOST="unix:///nonexistent.sock"), "environments/own/file` with 660")


def test_modes_in_the_folder_of_a_dockerfile_of_the_users_own_count(
    project: Path, registry: str, tmp_path: Path
) -> None:
    write(tmp_path, "own/Dockerfile", "FROM base\nCOPY file /file\n")
    write(tmp_path, "own/file", "x\n").chmod(0o604)
    words = ("environment", tmp_path / "own" / "Dockerfile", "--dockerfile", "--on", "img")
    done = buildsys(project, *words, BUILDSYS_REGISTRY=registry, DOCKER_HOST="unix:///nonexistent.sock")
    refused(done, "own/file` with 604")


@NEEDS_ENGINE
def test_image_of_odd_modes_in_the_engines_store_is_not_taken_for_that_of_a_clean_checkout(
    real_project: Path, registry: str
) -> None:
    (real_project / "layers/conf/conf").chmod(0o600)
    mine = {"BUILDSYS_REGISTRY": registry}
    assert buildsys(real_project, "bake", "img", shell=mine).code == 0
    (real_project / "layers/conf/conf").chmod(0o644)
    done = buildsys(real_project, "bake", "img", "--dry-run", shell=mine)
    assert "build" in done.stdout, done.output
    assert buildsys(real_project, "bake", "img", shell=mine).code == 0
    listed = run(real_project, "docker", "run", "--rm", f"{registry}/img", "stat", "-c", "%a", "/opt/conf/conf")
    assert listed.stdout.strip() == "644", listed.output


@NEEDS_ENGINE
def test_mirrors_folder_of_the_project_which_no_key_covers_has_no_part_in_a_build(
    real_project: Path, registry: str
) -> None:
    write(real_project, "mirrors/use", "export FROM_THE_TREE=yes\n")
    mounted = "RUN --mount=type=bind,from=mirrors,target=/run/mirrors . /run/mirrors/use; env >/env\n"
    write(real_project, "layers/dist/Dockerfile", f"FROM base\nARG PACKAGES\n{mounted}")
    done = buildsys(real_project, "bake", "img", "--push", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    found = run(real_project, "docker", "run", "--rm", f"{registry}/img", "cat", "/env")
    assert found.code == 0, found.output
    assert "FROM_THE_TREE" not in found.stdout


# --- H5: files that are edited while a run is in progress.

CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda folder: (folder / "conf").write_text("two\n", encoding="utf-8"),
    "edited-and-back": lambda folder: rewrite(folder / "conf"),
    "added": lambda folder: write(folder, "extra", "new\n"),
    "removed": lambda folder: (folder / "spare").unlink(),
    "renamed-over": lambda folder: write(folder.parent.parent, "moved", "two\n").replace(folder / "conf"),
    "executable": lambda folder: (folder / "conf").chmod(0o755),
    "recipe": lambda folder: append(folder / "Dockerfile", "# later\n"),
    "ignore-rules": lambda folder: append(folder / ".dockerignore", "spare\n"),
    "symlink": lambda folder: relink(folder / "link", "spare"),
}
UNTOUCHED = "untouched"


def rewrite(file: Path) -> None:
    before = file.stat()
    file.write_text("two\n", encoding="utf-8")
    file.write_text("one\n", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(text)


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
def edited(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Path, str, str]]:
    """A run in which artifacts of nine layers changed in nine ways while their toolchain was built; and its output."""
    prefix = os.environ.get("BUILDSYS_REGISTRY", "")
    if not prefix.startswith("127.0.0.1:"):
        pytest.skip("BUILDSYS_REGISTRY names no registry on loopback")
    folder = tmp_path_factory.mktemp("edited")
    registry = f"{prefix.partition('/')[0]}/blackbox-edited-{folder.parent.name}-{os.getpid()}"
    project = small_project(folder / "project")
    (project / "buildsys.lock").unlink()
    overlay = Path(os.environ.get("BUILDSYS_OVERLAY") or Path(__file__).parents[2] / "buildsys.lock.local")
    write(project, "buildsys.lock.local", overlay.read_text(encoding="utf-8"))
    names = [*CHANGES, UNTOUCHED]
    for name in names:
        layer = f"layers/{name}"
        write(project, f"{layer}/layer.yaml", ARTIFACT.replace("/opt/conf", f"/opt/{name}"))
        dockerfile = ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf", f"COPY . /artifact/opt/{name}/")
        write(project, f"{layer}/Dockerfile", dockerfile)
        write(project, f"{layer}/.dockerignore", IGNORED)
        write(project, f"{layer}/conf", "one\n")
        write(project, f"{layer}/spare", "spare\n")
        (project / layer / "link").symlink_to("conf")
    stacks = "".join(f"  {name}: {{layers: [dist, {name}]}}\n" for name in names)
    write(project, "stacks.yaml", f"stacks:\n{stacks}")
    write(project, "layers/tool/Dockerfile", f"FROM base\nRUN sleep 5 # waiting {folder}\n")
    running = start(project, registry, "bake", "--all", "--push", "--keep-going", "--progress", "plain")
    wait_for(project, running, "waiting")
    for name, change in CHANGES.items():
        change(project / "layers" / name)
    output, _ = running.communicate(timeout=180)
    yield project, registry, f"{running.returncode}\n{output}"
    shutil.rmtree(folder, ignore_errors=True)


def published(registry: str, stack: str) -> bool:
    """Whether the registry has any tag of a stack."""
    host, _, repository = registry.partition("/")
    done = run(Path.cwd(), "curl", "-s", f"http://{host}/v2/{repository}/{stack}/tags/list")
    return '"latest"' in done.stdout or '"key-' in done.stdout


@NEEDS_ENGINE
@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_published_of_a_layer_that_changed_during_the_run(edited: tuple[Path, str, str], name: str) -> None:
    _, registry, output = edited
    assert output.startswith("1\n"), output
    assert not published(registry, name)
    assert f"`layers/{name}/" in output


@NEEDS_ENGINE
def test_what_did_not_change_during_the_run_is_published(edited: tuple[Path, str, str]) -> None:
    project, registry, output = edited
    host, _, repository = registry.partition("/")
    done = run(project, "curl", "-s", f"http://{host}/v2/{repository}/{UNTOUCHED}/tags/list")
    assert '"key-' in done.stdout, output


@NEEDS_ENGINE
def test_sources_that_changed_are_published_by_the_next_run_under_their_own_key(
    edited: tuple[Path, str, str],
) -> None:
    project, registry, _ = edited
    done = buildsys(project, "bake", "added", "edited", "--push", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    found = run(project, "docker", "run", "--rm", f"{registry}/edited", "cat", "/opt/edited/conf")
    assert found.stdout == "two\n", found.output


@NEEDS_ENGINE
def test_dockerfile_of_the_users_own_that_changes_during_the_build_is_not_published(
    real_project: Path, registry: str, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    write(own, "Dockerfile", f"FROM base\nRUN sleep 4 # waiting {tmp_path}\nCOPY file /file\n")
    write(own, "file", "one\n")
    words = ("environment", own / "Dockerfile", "--dockerfile", "--on", "img")
    assert buildsys(real_project, "bake", "img", "--push", BUILDSYS_REGISTRY=registry).code == 0
    running = start(real_project, registry, *words)
    wait_for(real_project, running, "waiting")
    write(own, "file", "two\n")
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1, output
    assert "own/file` changed while the run was in progress" in output


@NEEDS_ENGINE
def test_local_image_of_sources_that_changed_during_the_bake_is_not_reused(real_project: Path, registry: str) -> None:
    write(real_project, "layers/tool/Dockerfile", f"FROM base\nRUN sleep 4 # waiting {real_project}\n")
    running = start(real_project, registry, "bake", "img", "--progress", "plain")
    wait_for(real_project, running, "waiting")
    write(real_project, "layers/conf/conf", "two\n")
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1, output
    write(real_project, "layers/conf/conf", "one\n")
    done = buildsys(real_project, "bake", "img", BUILDSYS_REGISTRY=registry)
    assert done.code == 0, done.output
    found = run(real_project, "docker", "run", "--rm", f"{registry}/img", "cat", "/opt/conf/conf")
    assert found.stdout == "one\n", found.output


def test_checkout_of_a_colleague_with_another_umask_is_not_published(project: Path, registry: str) -> None:
    git(project, "init", "-q", ".")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "one")
    theirs = project.parent / "theirs"
    assert run(project, "sh", "-c", f"umask 077; git clone -q . '{theirs}'").code == 0
    done = push(theirs, registry, DOCKER_HOST="unix:///nonexistent.sock")
    refused(done, "chmod -R u=rwX,go=rX")
