"""How a run ended is reported whatever cannot be written: the page, its files, its screen."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support import stand_ins
from tests.support.command_line import COMMAND, Run, buildsys, git, run, write

BAKE = ("bake", "img", "--retries", "0")
FAILED, INVALID, UNAVAILABLE = 1, 4, 5


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Variables with a docker whose bakes fail."""
    return {"PATH": stand_ins.docker(tmp_path / "bin"), "CALLS": str(tmp_path / "calls"), "WHY": "denied"}


def ended_well(done: Run, code: int = FAILED) -> None:
    assert "Traceback" not in done.output, done.output
    assert done.code == code, done.output


def summary_of(done: Run) -> str:
    ended_well(done)
    assert "built nothing" in done.stdout, done.output
    return done.stdout


def during_a_bake(tmp_path: Path, python: str) -> None:
    """Let the docker do something else before it bakes a target, after what is fetched for all of them."""
    path = tmp_path / "bin" / "docker"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition("\n")
    path.write_text(
        f"{head}\nimport re, sys\nif re.search(r'/[0-9]+-[^ ]*[.]json ', ' '.join(sys.argv)):\n    {python}\n{rest}",
        encoding="utf-8",
    )


@pytest.mark.parametrize("name", ["report.html", "history.json", "events-before.jsonl"])
def test_file_that_cannot_be_written_hides_no_summary(
    project: Path, tmp_path: Path, shell: dict[str, str], name: str
) -> None:
    file = project / ".buildsys" / name
    during_a_bake(tmp_path, f"import os; os.makedirs({str(file)!r} + '/x', exist_ok=True)")
    text = summary_of(buildsys(project, *BAKE, shell=shell))
    assert file.is_dir()
    assert ("not written" in text) == (name == "report.html")


def test_folder_that_takes_no_more_hides_no_summary(project: Path, tmp_path: Path, shell: dict[str, str]) -> None:
    # A file in the place of the folder: also root cannot write below it.
    state = project / ".buildsys"
    words = f"import os; os.rename({str(state)!r}, {str(state)!r} + '-gone'); open({str(state)!r}, 'w').close()"
    during_a_bake(tmp_path, words)
    text = summary_of(buildsys(project, *BAKE, shell=shell))
    assert "report: not written" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_events_that_no_disk_takes_hide_no_summary(project: Path, shell: dict[str, str]) -> None:
    summary_of(buildsys(project, *BAKE, "--events", "/dev/full", shell=shell))


@pytest.mark.parametrize("streams", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("progress", ["auto", "docker"])
def test_screen_that_cannot_be_written_changes_no_exit_code(
    project: Path, shell: dict[str, str], streams: str, progress: str
) -> None:
    words = ("sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND, *BAKE, "--progress", progress)
    ended_well(run(project, *words, shell=shell))
    events = (project / ".buildsys/events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["exit_code"] == FAILED
    assert (project / ".buildsys/history.json").is_file()


# Each prints a result, and none waits for an engine or a registry.
PRINTING = (
    *("--help", "--version", "plan --offline --json", "list", "show img", "variables", "schema layer"),
    *("explain img --offline", "why img conf", "diff HEAD", "affected --since HEAD --json", "graph --offline"),
    *("lock --offline", "outdated", "doctor", "test img", "bake img --dry-run", "report", "warm img --check"),
    *("inventory --fill", "init new", "add ucx", "new stack more --layers dist,conf", "gc"),
)
# It prints what it has built, at its end, as `bake` does.
BUILDING = {"environment"}
# They print what a registry with published images has, or what they have moved there, or in a lock with epochs.
MOVING = {"fresh", "history", "promote", "rollback"}


@pytest.fixture
def printing(project: Path, shell: dict[str, str]) -> dict[str, str]:
    """Variables with which every command of `PRINTING` prints something; the settings lead base images nowhere."""
    write(
        project, "buildsys.settings.yaml", "proxy: {http: 'http://127.0.0.1:9'}\nparents: {docker.io: '127.0.0.1:9'}\n"
    )
    write(project, ".buildsys/events.jsonl", '{"event": "run", "at": 1.0, "version": 1, "command": "x"}\n')
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    return shell


def test_every_command_is_tested_on_a_full_disk(project: Path) -> None:
    _, _, listed = buildsys(project, "--help").stdout.partition("\nCommands:\n")
    commands = set(re.findall(r"^  ([a-z]+) ", listed.partition("\n\n")[0], re.MULTILINE))
    assert commands == {words.split()[0] for words in PRINTING if not words.startswith("-")} | BUILDING | MOVING


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", PRINTING)
def test_result_that_no_disk_takes_is_an_error(project: Path, printing: dict[str, str], words: str) -> None:
    with stand_ins.registry() as prefix:
        if words == "test img":
            stand_ins.publish(project, prefix, "img")
        given = {**printing, "BUILDSYS_REGISTRY": prefix, "BUILDSYS_PARENTS": f"docker.io={prefix.partition('/')[0]}"}
        done = run(project, "sh", "-c", f'exec "$@" {words} >/dev/full', "sh", *COMMAND, shell=given)
    ended_well(done, UNAVAILABLE)
    assert "error: the output cannot be written: No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_error_that_no_disk_takes_keeps_its_exit_code(project: Path) -> None:
    ended_well(run(project, "sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh", *COMMAND, "list"), UNAVAILABLE)
    ended_well(run(project, "sh", "-c", 'exec "$@" 2>/dev/full', "sh", *COMMAND, "show", "nothing"), INVALID)
    ended_well(
        run(project, "bash", "-c", '"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', "-", *COMMAND, "show", "x"), INVALID
    )


def test_reader_that_goes_changes_no_exit_code(project: Path, shell: dict[str, str]) -> None:
    words = ("bash", "-c", '"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', "bash", *COMMAND, *BAKE)
    ended_well(run(project, *words, shell=shell))


def test_run_with_nothing_to_do_keeps_the_page_of_the_last_one_that_built(project: Path, shell: dict[str, str]) -> None:
    page = project / ".buildsys/report.html"
    with stand_ins.registry() as prefix:
        summary_of(buildsys(project, *BAKE, shell=shell))
        drawn = page.read_text("utf-8")
        stand_ins.publish(project, prefix, "img")
        done = buildsys(project, "bake", "img", "--push", shell={**shell, "BUILDSYS_REGISTRY": prefix})
    ended_well(done, 0)
    assert "nothing to do: 1 image up to date" in done.stdout
    assert "report: " not in done.stdout
    assert page.read_text("utf-8") == drawn
    assert buildsys(project, "report").code == 0
    assert "<h1>Nothing to do</h1>" in page.read_text("utf-8")


def obeyed(text: str) -> list[str]:
    """Return the lines that GitHub's runner obeys: with `::` behind blanks, and with `##[` anywhere."""
    return [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line]


COMMANDS = "first\n::error::no\n  ::add-mask::e\n##[error]no\nx ##vso[task.complete]no"


@pytest.mark.parametrize(
    "options",
    ["--quiet", "--progress auto", "--progress plain", "--progress docker"]
    + [f"--verbose --progress {progress}" for progress in ("auto", "plain", "docker")],
)
def test_output_of_a_build_is_no_command_to_the_runner_of_a_job(
    project: Path, shell: dict[str, str], options: str
) -> None:
    done = buildsys(project, *BAKE, *options.split(), shell={**shell, "WHY": COMMANDS})
    ended_well(done)
    assert "error::no" in done.output
    assert obeyed(done.output) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stacks.yaml", "stacks: {img: {layers: [dist, '##[error]no']}}\n"),
        ("stacks.yaml", 'stacks: {img: {layers: [dist, "x\\n::error::no"]}}\n'),
        ("stacks.yaml", "stacks:\n  img: {layers: [dist]} ##[error]no\n::error::no\n"),
        ("docker-bake.hcl", "::error::no\n  ##[error]no\n"),
    ],
)
def test_text_of_a_file_is_no_command_to_the_runner_of_a_job(project: Path, name: str, text: str) -> None:
    write(project, name, text)
    done = buildsys(project, "plan", "--check")
    ended_well(done, 3 if name == "docker-bake.hcl" else 4)
    assert "error" in done.output
    assert obeyed(done.output) == []


def test_json_is_no_command_to_the_runner_of_a_job_and_means_the_same(project: Path) -> None:
    write(project, "stacks.yaml", "stacks: {img: {description: 'a ##[error]no', layers: [dist]}}\n")
    done = buildsys(project, "list", "--json")
    assert obeyed(done.stdout) == []
    assert json.loads(done.stdout)["stacks"][0]["description"] == "a ##[error]no"
