"""How a run ended is reported whatever cannot be written: the page, its files, its screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.blackbox import stand_ins
from tests.blackbox.support import COMMAND, Run, buildsys, run

BAKE = ("bake", "img", "--retries", "0")
FAILED = 1


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
