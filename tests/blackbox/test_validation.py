"""What a run would use later is checked before anything is asked or built, and reported at its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import stand_ins
from tests.support.command_line import (
    ARTIFACT,
    ARTIFACT_DOCKERFILE,
    LOCK,
    SYSTEM,
    buildsys,
    program,
    refused,
    small_project,
    write,
)

LAYER, DOCKERFILE, STACKS = "layers/conf/layer.yaml", "layers/conf/Dockerfile", "stacks.yaml"
STACK = "stacks:\n  img: {layers: [dist, conf]}\n"
FAMILY = """\
families:
  fleet:
    description: a matrix
    name: "py{python}-{variant}"
    layers: [dist]
    matrix:
      - {python: [3.10, 3.11], variant: [cpu, gpu]}
"""
LABELLED = "parameters:\n  version: {description: release, default: 1.0, label: true}\n"
USING = ARTIFACT_DOCKERFILE.replace("COPY conf", "COPY {} /other\nCOPY conf")
LONG = "x" * (1 << 17)
LONG_SCRIPT = ("x" * 999 + "\n") * 140
BEFORE = "FROM toolchain AS x\n"


@pytest.mark.parametrize(
    ("file", "text", "place", "words"),
    [
        (STACKS, "stacks:\n  one: &one {layers: [dist]}\n  two: {<<: *one}\n", "3:9", ("merge keys",)),
        (STACKS, "stacks: {}\n", "1:1", ("has no stacks",)),
        (STACKS, f"registry: ghcr.io/Me/x\n{STACK}", "1:11", ("lower case", "write `ghcr.io/me/x`")),
        (STACKS, f"registry: https://ghcr.io/x\n{STACK}", "1:11", ("`https://`", "write `ghcr.io/x`")),
        (STACKS, f"registry: ghcr.io\n{STACK}", "1:11", ("without a path", "write `ghcr.io/images`")),
        (STACKS, f"stacks:\n  {'a' * 101}: {{layers: [dist]}}\n", "2:3", ("at most 100 characters",)),
        (STACKS, f"{FAMILY}    exclude:\n      - {{python: 3.1}}\n", "9:18", ("`python: 3.1`", "did you mean `3.1")),
        (STACKS, f"{FAMILY}    exclude:\n      - {{pythn: 3.11}}\n", "9:10", ("`pythn`", "did you mean `python`")),
        (STACKS, f"{FAMILY}    exclude:\n      - {{variant: [cpu, gpu]}}\n", "9:7", ("excludes every row",)),
        (STACKS, FAMILY.replace("[dist]", "[dist, {conf: , when: {variant: cpuu}}]"), "5:45", ("did you mean `cpu`",)),
        (LAYER, f"{ARTIFACT}checks: [{{needs: {{dist.v: '>=11 <13'}}}}]\n", "6:27", ("constraint", "`>=11,<13`")),
        (LAYER, f"{ARTIFACT}{LABELLED}", "7:3", ("marked `label`", "ARG VERSION")),
        (LAYER, f"{ARTIFACT}{LABELLED}tests: [{{run: 'x {{version}}'}}]\n", "7:3", ("marked `label`",)),
        (LAYER, ARTIFACT.replace("[os]", "[os, conf]"), "5:16", ("names itself",)),
        (LAYER, f"{ARTIFACT}tests: [cmd]\n", "6:9", ("write `{run: cmd}`",)),
        ("layers/dist/layer.yaml", f"{SYSTEM}packages: [parallel]\n", "7:12", ("write `{names: [parallel]}`",)),
        ("layers/dist/layer.yaml", f"{SYSTEM}packages: [{{names: [git, git]}}]\n", "7:26", ("`git` is listed twice",)),
        (
            "layers/dist/layer.yaml",
            f"{SYSTEM}packages:\n- {{names: [git=1]}}\n- {{names: [x, git=2]}}\n",
            "9:11",
            ("`git=1` and `git=2`",),
        ),
        (STACKS, f'registry: ""\n{STACK}', "1:11", ("is empty", "expected a registry and a path")),
        (STACKS, f"registry: {{a: b}}\n{STACK}", "1:11", ("expected a text",)),
        (STACKS, f"registry: ghcr.io/x:tag\n{STACK}", "1:11", ("has `x:tag`",)),
        (STACKS, f"registry: ghcr.io/x/\n{STACK}", "1:11", ("write `ghcr.io/x`",)),
        (STACKS, f"registry: ../x\n{STACK}", "1:11", ("has `..`", "not a registry")),
        (STACKS, f"registry: ghcr.io:99999/x\n{STACK}", "1:11", ("has `ghcr.io:99999`", "not a registry")),
        (STACKS, f"registry: me:pw@ghcr.io/x\n{STACK}", "1:11", ("has an `@`", "no credentials")),
        (LAYER, f"{ARTIFACT}environment: {{append: {{CFLAGS: -Ia}}}}\n", "6:32", ("`CFLAGS`", "add `separator:")),
        (LAYER, f"{ARTIFACT}environment: {{set: {{A: {LONG}}}}}\n", "6:24", ("at most 65535 bytes",)),
        (LAYER, f"{ARTIFACT}tests: [{{run: '{LONG}'}}]\n", "6:15", ("at most 131071 bytes",)),
        (DOCKERFILE, USING.format("cnf"), "2:6", ("`layers/conf/cnf`", "does not exist", "did you mean `conf`")),
        (DOCKERFILE, USING.format('["cnf", "conf",').replace("/other", '"/other/"]'), "2:8", ("does not exist",)),
        (DOCKERFILE, USING.format("layer.yaml"), "2:6", ("`layers/conf/layer.yaml`", "no build reads")),
        (DOCKERFILE, USING.format("tests/"), "2:6", ("does not exist",)),
        (
            DOCKERFILE,
            f"{BEFORE}RUN --mount=source=nope,target=/n true\n{ARTIFACT_DOCKERFILE}",
            "2:20",
            ("nope",),
        ),
        (DOCKERFILE, f"{BEFORE}ENV TARGETARCH=amd64\n{ARTIFACT_DOCKERFILE}", "2:5", ("`ENV TARGETARCH`",)),
        (DOCKERFILE, f"{BEFORE}ARG GPG_KEY=1\n{ARTIFACT_DOCKERFILE}", "2:5", ("rename a public value",)),
        (
            DOCKERFILE,
            f"{BEFORE}RUN <<E\n{('x' * 999 + chr(10)) * 140}E\n{ARTIFACT_DOCKERFILE}",
            "2:1",
            ("`RUN` has",),
        ),
        ("layers/when/layer.yaml", ARTIFACT, "1:1", ("`when` is reserved",)),
    ],
)
def test_error_is_reported_at_its_place(
    tmp_path: Path, file: str, text: str, place: str, words: tuple[str, ...]
) -> None:
    project = small_project(tmp_path, {file: text})
    refused(buildsys(project, "plan", "--offline"), f"--> {file}:{place}\n", *words)


def test_arguments_that_no_process_can_hold_together_are_refused(tmp_path: Path) -> None:
    names = [f"A{number}" for number in range(20)]
    lines = "".join(f"    {name}: [{'x' * 110_000}]\n" for name in names)
    arguments = "".join(f"ARG {name}\n" for name in names)
    files = {
        LAYER: f"{ARTIFACT}arguments:\n- lines:\n{lines}",
        DOCKERFILE: ARTIFACT_DOCKERFILE.replace("COPY conf", f"{arguments}COPY conf"),
    }
    done = buildsys(small_project(tmp_path, files), "plan", "--offline")
    refused(done, f"--> {LAYER}:", "the arguments of `conf on tool` have 2200090 bytes", "expected at most")


@pytest.mark.parametrize(
    "source",
    ["conf", "./conf", "/conf", "../conf", "nope*", "https://example.com/x", "$UNKNOWN/x", "<<E", '"conf"'],
)
def test_source_that_a_build_may_find_is_accepted(tmp_path: Path, source: str) -> None:
    text = USING.format(source) if source != "<<E" else USING.format("<<E").replace("/other\n", "/other\nx\nE\n")
    done = buildsys(small_project(tmp_path, {DOCKERFILE: text}), "plan", "--offline")
    assert "does not exist" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BUILDSYS_TAG", "feature/x", ("`feature/x` is not a tag", "set it to `feature-x`")),
        ("BUILDSYS_TAG", "a" * 129, ("is not a tag",)),
        ("BUILDSYS_REGISTRY", "ghcr.io/Example/images", ("lower case", "write `ghcr.io/example/images`")),
        ("BUILDSYS_REGISTRY", "registry.example.com", ("without a path", "write `registry.example.com/images`")),
        ("BUILDSYS_REGISTRY", "https://ghcr.io/x", ("`https://`", "write `ghcr.io/x`")),
        ("BUILDSYS_REGISTRY", "ghcr.io/x /y", ("has blanks", "write `ghcr.io/x/y`")),
        ("BUILDSYS_REGISTRY", "ghcr.io/" + "x" * 250, ("expected at most 255",)),
        ("BUILDSYS_REGISTRY", "127.0.0.1:9/" + "x" * 240, ("`…/nodes` has 258 characters",)),
        ("BUILDSYS_CACHE", "ghcr.io/Me/cache", ("write `ghcr.io/me/cache`",)),
        ("BUILDSYS_CACHE", "type=s3", ("type=local,/folder",)),
        ("BUILDSYS_CACHE_WRITE", "false", ("expected `0` or `1`",)),
    ],
)
def test_variable_is_checked_before_docker_is_asked(
    tmp_path: Path, name: str, value: str, words: tuple[str, ...]
) -> None:
    tools = program(tmp_path / "tools", "docker", "raise SystemExit(9)\n")
    project = small_project(tmp_path / "project")
    shell = {name: value, "PATH": f"{tools}:/usr/bin:/bin"}
    for command in (("plan", "--offline"), ("test", "img")):
        refused(buildsys(project, *command, shell=shell), f"`{name}`", *words)
    assert not (project / "docker-bake.hcl").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("test igm", 4),
        ("bake igm", 4),
        ("bake igm --dry-run", 4),
        ("bake img --set igm.args.A=1", 2),
        ("bake img --set img.args", 2),
        ("environment requirements.txt --on igm", 4),
    ],
)
def test_name_is_checked_before_docker_is_asked(tmp_path: Path, words: str, code: int) -> None:
    asked = tmp_path / "asked"
    tools = program(tmp_path / "tools", "docker", f"open({str(asked)!r}, 'w')\nraise SystemExit(9)\n")
    project = small_project(tmp_path / "project", {"requirements.txt": "idna==3.7\n"})
    done = buildsys(project, *words.split(), shell={"PATH": f"{tools}:/usr/bin:/bin"})
    refused(done, "hint: ", *(["`igm"] if "igm" in words else ["`--set`"]), code=code)
    assert not asked.exists()


def actions(project: Path, prefix: str) -> dict[str, str]:
    """Return what each command that looks says of the image `img`, by its words."""
    found = {}
    for words in ("plan --json", "explain img --json", "graph --format json", "bake img --push --dry-run"):
        done = buildsys(project, *words.split(), BUILDSYS_REGISTRY=prefix)
        assert done.code == 0, done.output
        if "json" in words:
            document = json.loads(done.stdout)
            listed = document.get("stacks") or document.get("nodes") or [document]
            found[words] = next(each["action"] for each in listed if each.get("name", "img") == "img")
        else:
            first = next(line.split()[0] for line in done.stdout.splitlines() if " img" in line)
            found[words] = {"image": "build"}.get(first, first)
    return found


def test_all_commands_that_look_say_the_same_on_a_parent_of_this_machine(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    own = LOCK.replace("docker.io/library/debian:12-slim", "127.0.0.1:9/own/debian").replace("1" * 64, "2" * 64)
    write(project, "buildsys.lock.local", own)
    with stand_ins.registry() as prefix:
        assert {*actions(project, prefix).values()} == {"build"}
        stand_ins.publish(project, prefix, "img")
        assert {*actions(project, prefix).values()} == {"reuse"}


@pytest.mark.parametrize("file", ["compose.yaml", "docker-compose.yml", "docker-bake.override.json"])
def test_file_that_plain_bake_merges_is_reported(tmp_path: Path, file: str) -> None:
    done = buildsys(small_project(tmp_path, {file: "{}\n"}), "plan", "--offline")
    assert f"also reads `{file}`" in done.stderr
    assert "-f docker-bake.hcl" in done.stderr
    # Where the bake file is up to date, doctor has the same warning.
    checks = json.loads(buildsys(tmp_path, "doctor", "--json", PATH="/nonexistent").stdout)["checks"]
    (found,) = (each for each in checks if each["name"] == "bake file")
    assert (found["state"], f"`{file}`" in found["found"], "-f docker-bake.hcl" in found["fix"]) == (
        "warning",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("-r base.txt", "base.txt"),
        ("--constraint=c.txt", "c.txt"),
        ("-e .", "`.`"),
        ("--find-links ./wheels", "./wheels"),
        ("x @ file:///x.whl", "file:///x.whl"),
        ("./x", "./x"),
        ("dist/x.whl", "dist/x.whl"),
        ("x @ https://${TOKEN}@example.com/x.whl", "has credentials"),
    ],
)
def test_requirement_that_no_build_sees_is_reported(tmp_path: Path, line: str, word: str) -> None:
    project = small_project(tmp_path, {"requirements.txt": f"idna==3.7\n{line}  # why\n"})
    done = buildsys(project, "environment", "requirements.txt", "--on", "img", BUILDSYS_REGISTRY="127.0.0.1:9/x")
    refused(done, "requirements.txt:2:", word)


def test_lines_for_pip_in_a_conda_environment_are_checked_too(tmp_path: Path) -> None:
    text = "dependencies:\n- python=3.12\n- pip:\n  - idna==3.7\n  - -r base.txt\n  - ./wheels/x.whl\n"
    project = small_project(tmp_path, {"environment.yml": text})
    done = buildsys(project, "environment", "environment.yml", "--on", "img", BUILDSYS_REGISTRY="127.0.0.1:9/x")
    refused(done, "--> environment.yml:5:5\n", "base.txt", "--> environment.yml:6:5\n", "./wheels/x.whl")


def test_parent_of_one_platform_under_a_stack_of_two_is_a_warning(tmp_path: Path) -> None:
    layers = {"layers/dist/layer.yaml": f"{SYSTEM}platforms: [linux/amd64, linux/arm64]\n"}
    stacks = "stacks:\n  img: {layers: [dist], platforms: [linux/amd64, linux/arm64]}\n"
    project = small_project(tmp_path, {STACKS: stacks, **layers})
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
    assert "lists no platforms of the parent `debian-12`" in done.stderr
    assert "`linux/amd64` and `linux/arm64`" in done.stderr


def test_platform_that_the_parent_lacks_is_reported(tmp_path: Path) -> None:
    platforms = f'platforms: {{linux/amd64: "sha256:{"2" * 64}"}}'
    lock = LOCK.replace('1"}\n  toolchain', f'1", {platforms}}}\n  toolchain')
    layers = {"layers/dist/layer.yaml": f"{SYSTEM}platforms: [linux/amd64, linux/arm64]\n"}
    stacks = "stacks:\n  img: {layers: [dist], platforms: [linux/amd64, linux/arm64]}\n"
    project = small_project(tmp_path, {"buildsys.lock": lock, STACKS: stacks, **layers})
    refused(buildsys(project, "plan", "--offline"), "linux/arm64", "parent `debian-12`", "stacks.yaml:2:3")


def test_password_in_the_registry_is_not_in_the_message(tmp_path: Path) -> None:
    project = small_project(tmp_path, {"stacks.yaml": f"registry: robot:hidden@example.com/x\n{STACK}"})
    done = buildsys(project, "plan", "--offline")
    refused(done, "stacks.yaml:1:11", "`registry` has an `@`, expected no credentials")
    assert "robot:hidden" not in done.stderr.splitlines()[0]


def test_layer_file_with_another_ending_is_named(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    write(project, "layers/other/layer.yml", ARTIFACT)
    refused(buildsys(project, "plan", "--offline"), "rename `layers/other/layer.yml`")
