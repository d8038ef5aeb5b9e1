"""The folder `.buildsys/` may come with a commit: no symlink in it is followed, and nothing in it is believed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from tests.support.command_line import (
    ARTIFACT,
    ARTIFACT_DOCKERFILE,
    COMMAND,
    buildsys,
    refused,
    run,
    small_project,
    write,
)

NOWHERE = "127.0.0.1:9/x"
PUSH = ("bake", "--push", "--retries", "0", "img")
ENVIRONMENT = ("environment", "requirements.txt", "--on", "img", "--quiet")
REQUIREMENTS = "numpy==2.0\n"
DIGEST = hashlib.sha256(REQUIREMENTS.encode()).hexdigest()[:12]
EVENT = '{"event": "run", "at": 1.0, "version": 1, "command": "word-of-another"}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a proxy in its settings, and a layer for environments of users."""
    environment = ARTIFACT_DOCKERFILE.replace(
        "COPY conf /artifact/opt/conf/conf", "COPY --from=folder . /artifact/opt/env/"
    )
    files = {
        "buildsys.settings.yaml": "proxy: {http: 'http://proxy.example.com:3128'}\n",
        "requirements.txt": REQUIREMENTS,
        "layers/python-environment/layer.yaml": (
            ARTIFACT.replace("/opt/conf", "/opt/env")
            + "parameters:\n  folder: {description: the files, type: folder}\n"
        ),
        "layers/python-environment/Dockerfile": environment,
        "layers/python-environment/.dockerignore": "layer.yaml\n",
    }
    return small_project(tmp_path / "project", files)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the project with what its owner would miss."""
    for name in ("precious", "use", "pip.conf", "files/precious", "apt/any.list", "run/x", "logs/bake.jsonl"):
        write(tmp_path, f"outside/{name}", EVENT)
    return tmp_path / "outside"


def look(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a folder with its mode and its bytes, and every folder."""
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def link(path: Path, to: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        (".buildsys", "outside"),
        (".buildsys/mirrors", "outside"),
        (".buildsys/mirrors", "outside/missing"),
        (".buildsys/mirrors/use", "outside/precious"),
        (".buildsys/mirrors/use", "outside/missing"),
        (".buildsys/mirrors/files", "outside/files"),
        (".buildsys/mirrors/other", "outside"),
    ],
)
def test_mirrors_are_not_written_through_a_symlink(project: Path, outside: Path, name: str, to: str) -> None:
    link(project / name, outside.parent / to)
    before = look(outside)
    refused(buildsys(project, "variables"), f"`{name}` is a symlink", f"rm {name}")
    assert look(outside) == before
    assert (project / name).is_symlink()


def test_lists_of_apt_are_not_written_through_a_symlink(project: Path, outside: Path) -> None:
    write(project, "buildsys.settings.yaml", "apt: {'*': deb http://mirror.example.com x main}\n")
    link(project / ".buildsys/mirrors/apt", outside / "apt")
    before = look(outside)
    refused(buildsys(project, "variables"), "`.buildsys/mirrors/apt` is a symlink")
    assert look(outside) == before


@pytest.mark.parametrize("codename", ["../../../../outside/apt/any", "a/../../../../precious"])
def test_codename_of_apt_writes_no_file_elsewhere(project: Path, outside: Path, codename: str) -> None:
    write(project, "buildsys.settings.yaml", f"apt: {{'{codename}': deb http://mirror.example.com x main}}\n")
    before = look(outside.parent)
    refused(buildsys(project, "variables"), codename)
    after = {name for name in look(outside.parent) if not name.startswith("project/.buildsys")}
    assert after == before.keys()
    assert look(outside) == {name.removeprefix("outside/"): before[name] for name in before if "outside/" in name}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        (".buildsys", "outside"),
        (".buildsys/events.jsonl", "outside/missing"),
        (".buildsys/events.jsonl", "outside/precious"),
        (".buildsys/events-before.jsonl", "outside/precious"),
        (".buildsys/history.json", "outside/missing"),
        (".buildsys/history.json", "outside/precious"),
        (".buildsys/report.html", "outside/missing"),
        (".buildsys/run", "outside/run"),
        (".buildsys/logs", "outside/logs"),
        (".buildsys/logs/bake.jsonl", "outside/logs/bake.jsonl"),
        (".buildsys/anything", "outside"),
    ],
)
@pytest.mark.parametrize("words", [PUSH, ENVIRONMENT], ids=["bake", "environment"])
def test_run_writes_and_reads_nothing_through_a_symlink(
    project: Path, outside: Path, words: tuple[str, ...], name: str, to: str
) -> None:
    link(project / name, outside.parent / to)
    before = look(outside)
    refused(buildsys(project, *words, BUILDSYS_REGISTRY=NOWHERE), f"`{name}` is a symlink", f"rm {name}")
    assert look(outside) == before


@pytest.mark.parametrize("words", [("bake", "--failed"), ("bake", "--push", "--failed")])
def test_history_of_another_is_not_read(project: Path, outside: Path, words: tuple[str, ...]) -> None:
    write(outside, "history", '{"version": 1, "seconds": {}, "undone": ["img"]}')
    link(project / ".buildsys/history.json", outside / "history")
    done = buildsys(project, *words, BUILDSYS_REGISTRY=NOWHERE)
    refused(done, "`.buildsys/history.json` is a symlink")


@pytest.mark.parametrize("name", ["events.jsonl", "events-before.jsonl", "report.html"])
@pytest.mark.parametrize("to", ["precious", "missing"])
def test_report_is_neither_built_from_another_file_nor_written_over_one(
    project: Path, outside: Path, name: str, to: str
) -> None:
    write(project, ".buildsys/events.jsonl", EVENT)
    (project / f".buildsys/{name}").unlink(missing_ok=True)
    link(project / f".buildsys/{name}", outside / to)
    before = look(outside)
    refused(buildsys(project, "report"), f"`.buildsys/{name}` is a symlink")
    assert look(outside) == before
    page = project / ".buildsys/report.html"
    assert not page.is_file() or page.is_symlink() or "word-of-another" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "to"),
    [
        (".buildsys/environments", "outside"),
        (f".buildsys/environments/{DIGEST}", "outside"),
        (f".buildsys/environments/{DIGEST}/requirements.txt", "outside/precious"),
        (f".buildsys/environments/{DIGEST}/requirements.txt", "outside/missing"),
        (f".buildsys/environments/{DIGEST}/more", "outside"),
    ],
)
def test_environment_is_not_written_through_a_symlink(project: Path, outside: Path, name: str, to: str) -> None:
    link(project / name, outside.parent / to)
    before = look(outside)
    refused(buildsys(project, *ENVIRONMENT, BUILDSYS_REGISTRY=NOWHERE), f"`{name}` is a symlink", f"rm {name}")
    assert look(outside) == before


@pytest.mark.parametrize("given", ["another==1.0\n", "", REQUIREMENTS])
def test_environment_follows_the_file_whatever_existed_before(project: Path, given: str) -> None:
    folder = project / f".buildsys/environments/{DIGEST}"
    write(folder, "requirements.txt", given)
    write(folder, "sitecustomize.py", "print('not asked for')\n")
    write(folder, "deep/er/x", "x\n")
    done = buildsys(project, *ENVIRONMENT, BUILDSYS_REGISTRY=NOWHERE)
    # What stops it is the registry, which is asked by the key of the folder.
    assert done.code == 5, done.output
    assert [each.name for each in folder.iterdir()] == ["requirements.txt"]
    assert (folder / "requirements.txt").read_text(encoding="utf-8") == REQUIREMENTS


@pytest.mark.parametrize("mask", ["077", "027", "000"])
def test_modes_of_what_builds_read_do_not_depend_on_the_umask(project: Path, tmp_path: Path, mask: str) -> None:
    write(tmp_path, "given/a", "a\n").chmod(0o600)
    (tmp_path / "given").chmod(0o700)
    write(project, "buildsys.settings.yaml", "apt: {'*': deb http://mirror.example.com x main}\nfiles: ../given\n")
    shell = ("sh", "-c", f'umask {mask}; exec "$@"', "sh", *COMMAND)
    run(project, *shell, *ENVIRONMENT, BUILDSYS_REGISTRY=NOWHERE)
    assert run(project, *shell, "variables").code == 0
    folders = [project / ".buildsys/mirrors", project / f".buildsys/environments/{DIGEST}"]
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    assert len(found) == 9
    modes = {path.relative_to(project).as_posix(): oct(stat.S_IMODE(path.stat().st_mode)) for path in found}
    expected = {path.relative_to(project).as_posix(): oct(0o755 if path.is_dir() else 0o644) for path in found}
    # What others may not read where it is they may not read in the copy.
    assert modes == {**expected, ".buildsys/mirrors/files/a": oct(0o600)}


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside/precious", "../../nothing", "loop"])
def test_files_of_the_settings_bring_nothing_in_from_elsewhere(
    project: Path, outside: Path, tmp_path: Path, target: str
) -> None:
    write(tmp_path, "given/repo/Packages", "a\n")
    link(tmp_path / "given/loop", target)
    write(project, "buildsys.settings.yaml", f"files: {tmp_path}/given\n")
    refused(buildsys(project, "variables"), f"{tmp_path}/given/loop")
    assert not (project / ".buildsys/mirrors/files/loop").exists()


def test_files_of_the_settings_may_not_hold_the_project(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "files: ..\n")
    refused(buildsys(project, "variables"), "--> buildsys.settings.yaml:1:8", "contains the complete project")


def test_symlinks_among_the_files_of_the_settings_lead_to_the_same_in_a_build(project: Path, tmp_path: Path) -> None:
    write(tmp_path, "given/pool/a/x", "a\n").chmod(0o755)
    link(tmp_path / "given/dists/near", "../pool/a/x")
    link(tmp_path / "given/dists/far", tmp_path / "given/pool")
    link(tmp_path / "given/dists/up", "..")
    write(project, "buildsys.settings.yaml", f"files: {tmp_path}/given\n")
    for _ in range(2):
        done = buildsys(project, "variables")
        assert done.code == 0, done.output
    files = project / ".buildsys/mirrors/files"
    assert {each.name: str(each.readlink()) for each in (files / "dists").iterdir()} == {
        "near": "../pool/a/x",
        "far": "../pool",
        "up": "..",
    }
    assert os.access(files / "pool/a/x", os.X_OK)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".buildsys/events.jsonl", PUSH),
        (".buildsys/events-before.jsonl", PUSH),
        (".buildsys/history.json", PUSH),
        (".buildsys/history.json", ENVIRONMENT),
        (".buildsys/report.html", PUSH),
        (".buildsys/report.html", ("report",)),
        (".buildsys/mirrors/use", ("variables",)),
        (f".buildsys/environments/{DIGEST}/requirements.txt", ENVIRONMENT),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_path_that_blocks_a_file_is_named(project: Path, name: str, words: tuple[str, ...], kind: str) -> None:
    write(project, ".buildsys/events.jsonl", EVENT)
    (project / name).unlink(missing_ok=True)
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(project / name)
    else:
        (project / name).mkdir()
    kill = ("timeout", "-s", "KILL", "20", *COMMAND)
    refused(run(project, *kill, *words, BUILDSYS_REGISTRY=NOWHERE), f"`{name}` is not a file", f"{name}`")


@pytest.mark.parametrize("name", [".buildsys", ".buildsys/mirrors"])
def test_file_in_the_place_of_a_folder_is_named(project: Path, name: str) -> None:
    write(project, name, "x\n")
    refused(buildsys(project, "variables"), f"`{name}` is not a folder", f"rm {name}")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"seconds": {"img": 1' + "0" * 400 + '}, "undone": []}',
    ],
)
def test_unreadable_history_is_lost_and_stops_nothing(project: Path, text: str) -> None:
    write(project, ".buildsys/history.json", text)
    done = buildsys(project, *PUSH, BUILDSYS_REGISTRY=NOWHERE)
    assert (done.code, "Traceback" in done.output) == (5, False), done.output


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"event": "end", "at": 1, "failure": {}}', '{"event": "end", "failure": {"kind": "x"}}']
)
def test_unreadable_events_are_skipped(project: Path, text: str) -> None:
    write(project, ".buildsys/events.jsonl", f"{EVENT}{text}\n")
    done = buildsys(project, "report")
    assert (done.code, "Traceback" in done.output) == (0, False), done.output


def test_files_that_a_user_names_may_be_symlinks(project: Path, outside: Path) -> None:
    link(project / "events", outside / "events")
    done = buildsys(project, *PUSH, "--events", "events", BUILDSYS_REGISTRY=NOWHERE)
    assert done.code == 5, done.output
    assert '"done"' in (outside / "events").read_text(encoding="utf-8")
    link(project / "given", outside / "precious")
    assert buildsys(project, "report", "given", "--output", "page.html").stdout == "page.html\n"


def test_run_keeps_its_events_and_those_of_the_run_before(project: Path) -> None:
    for _ in range(2):
        assert buildsys(project, *PUSH, BUILDSYS_REGISTRY=NOWHERE).code == 5
    for name in ("events.jsonl", "events-before.jsonl", "history.json"):
        assert (project / ".buildsys" / name).is_file()
