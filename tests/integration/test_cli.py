"""The command as a process, without an engine: exit codes, exact words, and which stream they go to."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from buildsys import __version__
from tests.support.commands import BUILDSYS, ROOT, Run, run

GOLDEN = ROOT / "tests" / "golden" / "optional-artifact"
SHIPPED_LAYERS = sorted(path.parent.name for path in (ROOT / "layers").glob("*/layer.yaml"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small project with its bake file up to date."""
    shutil.copytree(GOLDEN / "project", tmp_path / "small")
    shutil.copy(GOLDEN / "docker-bake.hcl", tmp_path / "small")
    return tmp_path / "small"


def ask(*words: str | Path, cwd: Path, **environment: str) -> Run:
    return run(BUILDSYS, *words, cwd=cwd, seconds=60, environment=environment)


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def document(done: Run) -> dict[str, Any]:
    """Return the one JSON document on stdout."""
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["schema_version"] == 1
    return found


def test_version_is_one_line() -> None:
    assert run(BUILDSYS, "--version") == Run(code=0, stdout=f"buildsys {__version__}\n", stderr="")


def test_check_of_a_file_that_is_up_to_date_reports_it(small: Path) -> None:
    done = ask("plan", "--check", cwd=small)
    assert done.code == 0
    assert done.stdout.splitlines()[-1] == "6 nodes, 2 images. docker-bake.hcl is up to date."


def test_check_after_an_edit_shows_the_difference_and_leaves_the_file(small: Path) -> None:
    replace_in(small / "stacks.yaml", "description: both", "description: the two")
    before = (small / "docker-bake.hcl").read_bytes()
    done = ask("plan", "--check", cwd=small)
    assert (done.code, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert lines[:2] == ["--- docker-bake.hcl (as it is)", "+++ docker-bake.hcl (as it would be written)"]
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == [
        '-  description = "both"',
        '+  description = "the two"',
    ]
    assert lines[-2:] == [
        "error: `docker-bake.hcl` is not up to date",
        "hint: run `buildsys plan` and commit the result",
    ]
    assert (small / "docker-bake.hcl").read_bytes() == before


def test_check_without_a_file_says_that_there_is_none(small: Path) -> None:
    (small / "docker-bake.hcl").unlink()
    done = ask("plan", "--check", cwd=small)
    assert done.code == 3
    assert "error: `docker-bake.hcl` does not exist\n" in done.stderr
    assert not (small / "docker-bake.hcl").exists()


def test_plan_writes_once_and_then_finds_it_up_to_date(small: Path) -> None:
    (small / "docker-bake.hcl").unlink()
    assert ask("plan", cwd=small).stdout.endswith("docker-bake.hcl is written.\n")
    assert (small / "docker-bake.hcl").read_bytes() == (GOLDEN / "docker-bake.hcl").read_bytes()
    assert ask("plan", cwd=small).stdout.endswith("docker-bake.hcl is up to date.\n")


def test_broken_stacks_file_is_reported_on_stderr_with_its_location(small: Path) -> None:
    replace_in(small / "stacks.yaml", "comm, fast]", "comm, fats]")
    assert ask("plan", cwd=small) == Run(
        code=4,
        stdout="",
        stderr=(
            "error: the stack `with-fast` has the layer `fats`, which does not exist\n"
            "  --> stacks.yaml:2:57\n"
            "  |\n"
            "2 |   with-fast: {description: both, layers: [system, comm, fats]}\n"
            "  |                                                         ^^^^\n"
            "hint: did you mean `fast`?\n"
        ),
    )


@pytest.mark.parametrize("words", [["list", "--json"], ["plan", "--json"], ["show", "without", "--json"]])
def test_error_leaves_stdout_empty_even_for_json(small: Path, words: list[str]) -> None:
    replace_in(small / "stacks.yaml", "stacks:", "stakcs:")
    done = ask(*words, cwd=small)
    assert (done.code, done.stdout) == (4, "")
    assert "error: unknown key `stakcs`\n  --> stacks.yaml:1:1\n" in done.stderr


def test_all_errors_of_all_files_are_reported_at_once(small: Path) -> None:
    replace_in(small / "stacks.yaml", "zip-tools, comm", "zip-tool, comm")
    replace_in(small / "layers" / "fast" / "layer.yaml", "licence: MIT", "license: MIT")
    (small / "layers" / "tools" / "layer.yaml").unlink()
    done = ask("plan", cwd=small)
    assert [line for line in done.stderr.splitlines() if line.startswith(("error", "  -->"))] == [
        "error: unknown key `license`",
        "  --> layers/fast/layer.yaml:3:1",
        "error: the layer `tools` has no `layer.yaml`",
        "  --> layers/tools/layer.yaml:1:1",
        "error: the stack `without` has the layer `zip-tool`, which does not exist",
        "  --> stacks.yaml:3:30",
    ]
    assert done.stderr.endswith("\n3 errors\n")


def test_unknown_stack_is_reported_with_the_nearest_name(small: Path) -> None:
    assert ask("show", "withuot", cwd=small) == Run(
        code=4, stdout="", stderr="error: no stack is named `withuot`\nhint: did you mean `without`?\n"
    )


def test_folder_without_project_is_reported_with_a_hint(tmp_path: Path) -> None:
    assert ask("list", cwd=tmp_path) == Run(
        code=4,
        stdout="",
        stderr=(
            "error: no `stacks.yaml` in this folder or above it\n"
            "hint: change to the project folder, or name it: `buildsys -C DIR …`\n"
        ),
    )
    assert "error: `nowhere` does not exist\n" in ask("-C", "nowhere", "list", cwd=tmp_path).stderr


def test_project_is_found_from_a_folder_inside_it(small: Path) -> None:
    assert ask("list", cwd=small / "layers" / "fast") == ask("list", cwd=small)


@pytest.mark.parametrize("words", [["-C", "small"], ["-Csmall"], ["--directory", "small"], ["--directory=small"]])
def test_error_in_a_project_named_by_an_option_is_shown_with_its_line(small: Path, words: list[str]) -> None:
    # Another project is around, whose second line is not the one that is wrong.
    (small.parent / "stacks.yaml").write_text("stacks: {}\n# another line\n", encoding="utf-8")
    replace_in(small / "stacks.yaml", "comm, fast]", "comm, fats]")
    done = ask(*words, "list", cwd=small.parent)
    assert (done.code, done.stdout) == (4, "")
    assert "\n2 |   with-fast: {description: both, layers: [system, comm, fats]}\n" in done.stderr


def test_other_project_is_named_by_an_option(small: Path) -> None:
    assert ask("-C", "small", "list", cwd=small.parent) == ask("list", cwd=small)


@pytest.mark.parametrize("words", [["--nonsense"], ["plan", "--chekc"], ["show"], ["schema", "stack"], ["nothing"]])
def test_wrong_usage_exits_with_2_and_a_message_on_stderr(words: list[str]) -> None:
    done = run(BUILDSYS, *words)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr


def test_list_document_has_the_documented_fields() -> None:
    found = document(run(BUILDSYS, "list", "--json"))
    assert "openmpi4.1.0-ubuntu20.04" in {stack["name"] for stack in found["stacks"]}
    fields = {"name", "family", "groups", "tags", "deprecated", "parent_image", "platforms", "layers", "environment"}
    for stack in found["stacks"]:
        assert fields <= stack.keys()
        assert stack["tags"]
        assert all({"name", "parameters"} <= layer.keys() for layer in stack["layers"])
        assert all(isinstance(value, str) for value in stack["environment"].values())
    assert {stack["name"] for stack in found["stacks"] if stack["deprecated"]} != set()


def test_plan_document_has_the_documented_fields_and_leads_nowhere_else(project: Path) -> None:
    found = document(ask("plan", "--json", cwd=project))
    names = {node["name"] for node in found["nodes"]}
    for node in found["nodes"]:
        assert {"name", "layer", "kind", "parameters", "needs"} <= node.keys()
        assert node["kind"] in ("system", "artifact", "toolchain")
        assert set(node["needs"]) <= names
    for stack in found["stacks"]:
        assert {"name", "needs", "tags"} <= stack.keys()
        assert set(stack["needs"]) <= names
    assert found["summary"]["nodes"] == len(names)
    assert found["summary"]["stacks"] == len(found["stacks"])


def test_show_prints_layers_parameters_and_environment(small: Path) -> None:
    done = ask("show", "without", cwd=small)
    assert done.code == 0
    assert "  comm  artifact, named by the stack\n" in done.stdout
    assert "      flags    --quick --note=${HOME} 5%{x}  from stack\n" in done.stdout
    assert "  PATH  /opt/comm/bin:$PATH  from comm\n" in done.stdout
    found = document(ask("show", "without", "--json", cwd=small))
    assert found["name"] == "without"
    assert found["environment"] == {"LANG": "C.UTF-8", "PATH": "/opt/comm/bin:$PATH"}


def test_warnings_go_to_stderr_and_not_into_the_document(small: Path) -> None:
    replace_in(small / "buildsys.lock", "linux-1:", "linux-9:")
    done = ask("plan", "--json", cwd=small)
    assert "the digest of the parent `linux-1` is unknown: `buildsys.lock` has no entry for it" in str(document(done))
    assert done.stderr == ""
    assert ask("plan", cwd=small).stderr.startswith("warning: the digest of the parent `linux-1` is unknown")


@pytest.mark.parametrize("name", ["layer", "stacks"])
def test_schema_is_a_schema_and_the_committed_one(name: str) -> None:
    done = run(BUILDSYS, "schema", name)
    assert done.code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
    assert done.stdout == (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")


class _Editor(yaml.SafeLoader):
    """Reads YAML as editors do, by the core schema of YAML 1.2: a date is a text."""


_Editor.yaml_implicit_resolvers = {
    first: [each for each in found if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_by_editor(file: Path) -> Any:
    """Return the value of a file, with the keys of JSON, which are texts."""
    return json.loads(json.dumps(yaml.load(file.read_text(encoding="utf-8"), Loader=_Editor)))


@pytest.mark.parametrize("name", SHIPPED_LAYERS)
def test_shipped_layer_is_valid_to_an_editor_that_reads_the_schema(name: str) -> None:
    schema = json.loads((ROOT / "schemas" / "layer.schema.json").read_text(encoding="utf-8"))
    read = read_by_editor(ROOT / "layers" / name / "layer.yaml")
    problems = [
        f"{problem.json_path}: {problem.message[:200]}"
        for problem in jsonschema.Draft202012Validator(schema).iter_errors(read)
    ]
    assert problems == []
    assert not jsonschema.Draft202012Validator(schema).is_valid({**read, "licens": "x"})


def test_shipped_stacks_are_valid_to_an_editor_that_reads_the_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "stacks.schema.json").read_text(encoding="utf-8"))
    read = read_by_editor(ROOT / "stacks.yaml")
    jsonschema.Draft202012Validator(schema).validate(read)


def test_schema_check_reports_an_outdated_copy(small: Path) -> None:
    assert ask("schema", "--write", cwd=small).code == 0
    assert ask("schema", "--check", cwd=small) == Run(code=0, stdout="", stderr="")
    replace_in(small / "schemas" / "layer.schema.json", "artifact", "artefact")
    done = ask("schema", "--check", cwd=small)
    assert (done.code, done.stdout) == (3, "")
    assert done.stderr.endswith("hint: run `buildsys schema --write` and commit the result\n")


def test_layer_without_its_dockerfile_is_reported_with_the_missing_file(small: Path) -> None:
    (small / "layers" / "fast" / "Dockerfile").unlink()
    done = ask("plan", cwd=small)
    assert done.code == 4
    assert "error: `layers/fast/Dockerfile` is missing, and an artifact needs it\n" in done.stderr
    assert "  --> layers/fast/layer.yaml:2:7\n" in done.stderr


def test_write_that_stops_half_way_leaves_the_old_file(small: Path) -> None:
    file = small / "docker-bake.hcl"
    file.write_text("old\n", encoding="utf-8")
    # No file may grow above one block, so the write of the new one fails in its middle.
    done = run("sh", "-c", f'ulimit -f 1; exec "{BUILDSYS}" plan', cwd=small)
    assert (done.code, done.stdout) == (5, "")
    assert done.stderr.endswith(f"error: `{file}` cannot be written: File too large\n")
    assert file.read_text(encoding="utf-8") == "old\n"
    assert {path.name for path in small.iterdir()} == {"docker-bake.hcl", "stacks.yaml", "buildsys.lock", "layers"}


def test_file_keeps_its_mode_when_it_is_rewritten(small: Path) -> None:
    file = small / "docker-bake.hcl"
    file.write_text("old\n", encoding="utf-8")
    file.chmod(0o640)
    assert ask("plan", cwd=small).code == 0
    assert file.stat().st_mode & 0o777 == 0o640


def test_hash_seed_changes_no_byte() -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom buildsys.bake.targets import plan_definition\n"
        "from buildsys.commands.plan import make_plan\nfrom buildsys.project.workspace import Workspace\n"
        "from buildsys.report.documents import list_document, plan_document, text\n"
        "plan = make_plan(Workspace(root=Path('.')).tree())\n"
        "sys.stdout.write(plan_definition(plan).to_hcl() + text(plan_document(plan)) + text(list_document(plan)))\n"
    )
    texts = {run(sys.executable, "-c", script, environment={"PYTHONHASHSEED": seed}).stdout for seed in ("0", "1", "2")}
    assert len(texts) == 1
    assert len(texts.pop()) > 10_000


def test_reader_that_goes_away_is_no_error(small: Path) -> None:
    done = run("sh", "-c", f'"{BUILDSYS}" plan --json | head -c 1', cwd=small)
    assert (done.stdout, done.stderr) == ("{", "")


def test_output_is_plain_where_it_is_no_terminal(small: Path) -> None:
    for words in (["plan"], ["list"], ["show", "without"], ["show", "x"]):
        done = ask(*words, cwd=small, FORCE_COLOR="1")
        assert "\x1b" not in done.stdout + done.stderr
