"""An error of input is said once, at the word that is wrong, with a hint that fixes it; warnings are few."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, LOCK, SYSTEM, Run, buildsys, small_project, write

PLAN = ("plan", "--offline")


def errors(done: Run) -> list[str]:
    """Return what is said of each error: its message, place and hint in one text."""
    assert "Traceback" not in done.output, done.output
    assert done.code == 4, done.output
    return [part for part in re.split(r"^(?=error: )", done.stderr, flags=re.MULTILINE) if part.startswith("error: ")]


def only_error(project: Path, *parts: str) -> None:
    """Assert that there is one error, and that what is said of it has all parts."""
    found = errors(buildsys(project, *PLAN))
    assert len(found) == 1, "".join(found)
    error = found[0]
    missing = [part for part in parts if part not in error]
    assert not missing, f"{missing} not in: {error}"


def test_layer_file_of_another_ending_is_named_and_nothing_else_is_reported(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    (project / "layers/dist/layer.yaml").rename(project / "layers/dist/layer.yml")
    only_error(project, "--> layers/dist/layer.yml:", "hint: rename `layers/dist/layer.yml` to `layer.yaml`")


def test_error_in_the_layer_that_provides_the_system_is_the_only_one(tmp_path: Path) -> None:
    project = small_project(tmp_path, {"layers/dist/layer.yaml": SYSTEM.replace("kind: system", "kind: sistem")})
    only_error(project, "`sistem` is not one of", "--> layers/dist/layer.yaml:2:7", "hint: did you mean `system`?")


def test_missing_dockerfile_leaves_no_parameter_unused(tmp_path: Path) -> None:
    layer = f"{ARTIFACT}parameters: {{flags: {{description: x, default: x}}}}\n"
    project = small_project(tmp_path, {"layers/conf/layer.yaml": layer})
    (project / "layers/conf/Dockerfile").unlink()
    only_error(project, "`layers/conf/Dockerfile` is missing", "hint: create it")


def test_dockerfile_in_lower_case_is_named(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    (project / "layers/conf/Dockerfile").rename(project / "layers/conf/dockerfile")
    only_error(project, "hint: rename `layers/conf/dockerfile` to `Dockerfile`")


@pytest.mark.parametrize(("layer", "old"), [("dist", "FROM base"), ("conf", "FROM toolchain")])
def test_misspelt_from_is_one_error(tmp_path: Path, layer: str, old: str) -> None:
    project = small_project(tmp_path)
    path = project / f"layers/{layer}/Dockerfile"
    write(project, f"layers/{layer}/Dockerfile", path.read_text(encoding="utf-8").replace(old, old.replace("RO", "OR")))
    only_error(project, "`FORM` is not an instruction", "hint: did you mean `FROM`?")


def test_image_in_from_is_answered_with_the_context_to_use_and_the_flavour(tmp_path: Path) -> None:
    layer = ARTIFACT.replace("prefix: /opt/conf\n", "") + "flavours: {first: {prefix: /opt/conf}}\n"
    dockerfile = ARTIFACT_DOCKERFILE.replace("FROM toolchain", "FROM gcc:14")
    project = small_project(tmp_path, {"layers/conf/layer.yaml": layer, "layers/conf/Dockerfile": dockerfile})
    only_error(project, "flavour `first`", "hint: use `toolchain`", "write a layer of kind `toolchain`")


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("packages: [parallel]", "write `{names: [parallel]}`"),
        ("tests: [conf]", "write `{run: conf}`"),
        ("requires: os", "write `[os]`"),
        ("weight: {memory: 4 GiB}", "write `4 GB`"),
        ("healthcheck: {command: [x], interval: 30}", "write `30s`"),
        ("env: {A: b}", "did you mean `environment`?"),
        ("ports: ['80:8080']", "write `8080`"),
        ("workdir: opt/conf", "write `/opt/conf`"),
    ],
)
def test_hint_has_the_form_that_is_right(tmp_path: Path, field: str, hint: str) -> None:
    project = small_project(tmp_path, {"layers/dist/layer.yaml": f"{SYSTEM}{field}\n"})
    only_error(project, f"hint: {hint}")


def test_value_that_is_not_allowed_has_a_hint_with_those_that_are(tmp_path: Path) -> None:
    layer = SYSTEM.replace("name: debian-12", 'name: "debian-{release}"')
    layer += "parameters: {release: {description: x, values: [11, 12], default: 12, label: true}}\n"
    stacks = "stacks:\n  img: {layers: [dist: {release: bookworm}, conf]}\n"
    project = small_project(tmp_path, {"layers/dist/layer.yaml": layer, "stacks.yaml": stacks})
    only_error(project, "--> stacks.yaml:2:34", "hint: use one of `11`, `12`")


def test_missing_epoch_is_at_its_field_and_names_the_command(tmp_path: Path) -> None:
    project = small_project(tmp_path, {"layers/dist/layer.yaml": f"{SYSTEM}freshness: week\n"})
    write(project, "layers/dist/Dockerfile", "FROM base\nARG PACKAGES\nARG EPOCH\nRUN true\n")
    only_error(project, "no epoch for the layer `dist`", "--> layers/dist/layer.yaml:7:1", "hint: run `buildsys lock`")


def test_misspelt_required_field_is_not_missing_too(tmp_path: Path) -> None:
    layer = SYSTEM.replace("licence:", "license:")
    project = small_project(tmp_path, {"layers/dist/layer.yaml": layer})
    only_error(project, "unknown key `license`", "hint: did you mean `licence`?")


def test_misspelt_platform_is_one_error_at_its_own_place(tmp_path: Path) -> None:
    stacks = "stacks:\n  img: {layers: [dist, conf], platforms: [linux/amd46]}\n"
    project = small_project(tmp_path, {"stacks.yaml": stacks})
    only_error(project, "--> stacks.yaml:2:43", "hint: did you mean `linux/amd64`?")


UNKNOWN = re.sub(r'digest: "[^"]*"', "digest: unknown, reason: no source has it", LOCK)


def test_unknown_digests_are_one_warning_with_its_place(tmp_path: Path) -> None:
    done = buildsys(small_project(tmp_path, {"buildsys.lock": UNKNOWN}), *PLAN)
    assert done.code == 0, done.output
    assert done.stderr.count("warning: ") == 1
    assert "the digests of 2 parents are unknown: `debian-12`, `toolchain-debian-12`" in done.stderr
    assert "--> buildsys.lock:3:" in done.stderr


def test_verbose_plan_has_the_reason_of_each_unknown_digest(tmp_path: Path) -> None:
    done = buildsys(small_project(tmp_path, {"buildsys.lock": UNKNOWN}), *PLAN, "--verbose")
    assert done.stderr.count("is unknown: no source has it") == 2


def test_unknown_digest_that_the_lock_accepts_is_only_in_the_document(tmp_path: Path) -> None:
    lock = UNKNOWN.replace("reason: no source has it", "reason: no source has it, accepted: true")
    project = small_project(tmp_path, {"buildsys.lock": lock})
    assert buildsys(project, *PLAN).stderr == ""
    document = json.loads(buildsys(project, *PLAN, "--json").stdout)
    assert document["warnings"] == []
    assert len(document["accepted"]) == 2
