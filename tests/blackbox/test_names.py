"""A name that means something else already, to BuildKit, bake or a registry, is refused at its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, SYSTEM, buildsys, refused, write

CONF = "layers/conf/layer.yaml"
NOWHERE = "127.0.0.1:1/x"


def planned(project: Path) -> None:
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


def refused_plan(project: Path, *words: str) -> None:
    refused(buildsys(project, "plan", "--offline"), *words)


@pytest.mark.parametrize("kind", ["artifact", "system"])
def test_layer_of_a_reserved_name_is_refused(project: Path, kind: str) -> None:
    names = ["base", "scratch", "mirrors", "toolchain", "context", "dockerfile", "default"]
    text = ARTIFACT if kind == "artifact" else SYSTEM.replace("provides: [os]\n", "")
    for name in names:
        write(project, f"layers/{name}/layer.yaml", text.replace("/opt/conf", f"/opt/{name}"))
        if kind == "artifact":
            write(project, f"layers/{name}/Dockerfile", ARTIFACT_DOCKERFILE.replace("/opt/conf", f"/opt/{name}"))
    refused_plan(project, *(f"--> layers/{name}/layer.yaml:1:1" for name in names), f"{len(names)} errors", "reserved")


def test_artifact_of_a_number_is_refused(project: Path) -> None:
    """`COPY --from=0` would be the first stage of the assembly: the system again, and no artifact."""
    for name in ("0", "12"):
        shutil.copytree(project / "layers/conf", project / "layers" / name)
    write(project, "stacks.yaml", 'stacks:\n  img: {layers: [dist, "0"]}\n')
    refused_plan(project, "--> layers/0/layer.yaml:1:1", "--> layers/12/layer.yaml:1:1", "2 errors")


def test_folder_of_a_layer_has_the_form_of_a_name(project: Path) -> None:
    names = ["Conf", "a_b", "a.b", "a b", "a--b", "-a", "a-", "ä", 'a"b', "$a", "a:b", "a,b", "a\nRUN b", "a\x1bb"]
    for name in names:
        shutil.copytree(project / "layers/conf", project / "layers" / name)
    done = buildsys(project, "plan", "--offline")
    refused(done, f"{len(names)} errors", "cannot be a layer's name")
    assert "\x1b" not in done.output


def test_name_that_a_layer_provides_is_not_reserved(project: Path) -> None:
    write(project, CONF, f"{ARTIFACT}provides: [mpi, toolchain, base]\n")
    refused_plan(project, f"--> {CONF}:6:17", f"--> {CONF}:6:28", "2 errors")


def test_stack_of_a_reserved_name_is_refused(project: Path) -> None:
    names = ["nodes", "scratch", "base", "mirrors", "default"]
    write(project, "stacks.yaml", "stacks:\n" + "".join(f"  {name}: {{layers: [dist, conf]}}\n" for name in names))
    refused_plan(project, *(f"--> stacks.yaml:{number}:3" for number in range(2, 7)), "5 errors", "`nodes` is reserved")


def test_stack_of_a_family_with_a_reserved_name_is_refused(project: Path) -> None:
    rows = "    matrix: [{what: [nodes, base, fine]}]\n"
    family = f'  all-of-it:\n    description: x\n    name: "{{what}}"\n    layers: [dist, conf]\n{rows}'
    write(project, "stacks.yaml", f"families:\n{family}")
    refused_plan(project, "--> stacks.yaml:6:14", "`nodes` is reserved", "`base` is reserved", "2 errors")


def test_stack_with_the_name_of_images_on_another_is_refused(project: Path) -> None:
    text = "stacks:\n  img: {layers: [dist, conf]}\n  img-custom: {layers: [dist]}\n  other-custom: {layers: [dist]}\n"
    write(project, "stacks.yaml", text)
    refused_plan(project, "--> stacks.yaml:3:3", "`img-custom`")


def test_group_with_the_name_of_the_mirrors_is_refused(project: Path) -> None:
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, conf], groups: [mirrors]}\n")
    refused_plan(project, "--> stacks.yaml:2:3", "`mirrors` is reserved")


def test_group_with_the_name_of_a_node_has_a_place(project: Path) -> None:
    write(project, "layers/other/layer.yaml", SYSTEM.replace("provides: [os]", "requires: [os]").replace("parent", "#"))
    write(project, "layers/other/Dockerfile", "FROM base\nRUN true\n")
    write(project, "layers/other/.dockerignore", "*\n")
    write(project, "stacks.yaml", "stacks:\n  img: {layers: [dist, conf], groups: [dist-debian-12, dist]}\n")
    refused_plan(project, "--> stacks.yaml:2:3", "the group `dist` has the name of the node `dist`")


def test_variable_of_a_matrix_has_the_form_of_a_name(project: Path) -> None:
    names = ["A", "a b", "1", "ä", "a.b", "_a", "a\\nb"]
    rows = "    matrix:\n" + "".join(f'    - {{a: [x, y], "{name}": z}}\n' for name in names)
    family = f'  family:\n    description: x\n    name: "{{a}}"\n    layers: [dist, conf]\n{rows}'
    write(project, "stacks.yaml", f"families:\n{family}")
    refused_plan(
        project, *(f"--> stacks.yaml:{7 + number}:" for number in range(len(names))), "expected lower-case letters"
    )


def with_parameters(project: Path, names: list[str], kind: str = "string") -> None:
    """Write the artifact with parameters that its Dockerfile takes as arguments."""
    declared = "".join(f"  {name}: {{description: x, type: {kind}, default: x}}\n" for name in names)
    write(project, CONF, f"{ARTIFACT}parameters:\n{declared}")
    arguments = "".join(f"ARG {name.upper().replace('-', '_')}\n" for name in names)
    write(project, "layers/conf/Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY conf", f"{arguments}COPY conf"))


OWN = ["packages", "epoch", "prefix"]
SWITCHES = [
    "buildkit-syntax",
    "buildkit_inline_cache",
    "http-proxy",
    "https_proxy",
    "no-proxy",
    "all-proxy",
    "ftp-proxy",
]
PLATFORM = ["targetarch", "targetplatform", "targetos", "targetvariant", "buildplatform", "buildarch", "targetstage"]


@pytest.mark.parametrize(
    "names", [OWN, SWITCHES, [*PLATFORM, "source-date-epoch"]], ids=["own", "switches", "platform"]
)
def test_parameter_whose_argument_is_set_by_another_is_refused(project: Path, names: list[str]) -> None:
    with_parameters(project, names)
    locations = [f"--> {CONF}:{number}:3" for number in range(7, 7 + len(names))]
    refused_plan(project, *locations, "has a reserved name")


def test_parameter_that_is_only_in_texts_has_no_reserved_name_either(project: Path) -> None:
    names = ["packages", "buildkit-syntax", "http-proxy", "targetarch"]
    declared = "".join(f"  {name}: {{description: x, default: x}}\n" for name in names)
    labels = "".join(f'  {name}: "{{{name}}}"\n' for name in names)
    write(project, CONF, f"{ARTIFACT}parameters:\n{declared}labels:\n{labels}")
    refused_plan(project, *(f"--> {CONF}:{number}:3" for number in range(7, 11)), "4 errors")


def test_lines_of_an_argument_that_another_sets_are_refused(project: Path) -> None:
    names = ["PACKAGES", "EPOCH", "BUILDKIT_SYNTAX", "HTTP_PROXY", "MY_PROXY", "TARGETARCH", "SOURCE_DATE_EPOCH"]
    lines = "".join(f"    {name}: [x]\n" for name in names)
    write(project, CONF, f"{ARTIFACT}arguments:\n- lines:\n{lines}")
    refused_plan(project, *(f"--> {CONF}:{number}:5" for number in range(8, 8 + len(names))), f"{len(names)} errors")


SET = "parameters:\n  {}: {{description: x, default: x}}\n"
FETCHED = f'downloads:\n  s: {{{{url: "https://e.com/x", sha256: {"1" * 64}}}}}\n'
LINES = "arguments: [{{lines: {{{}: [x]}}}}]\n"


@pytest.mark.parametrize(
    ("declared", "argument"),
    [
        (SET.format("a-b") + "  a_b: {description: x, default: x}\n", "A_B"),
        (SET.format("a") + LINES.format("A"), "A"),
        (SET.format("s-url") + FETCHED.format(), "S_URL"),
        (FETCHED.format() + LINES.format("S_SHA256"), "S_SHA256"),
    ],
)
def test_two_inputs_of_one_argument_are_refused(project: Path, declared: str, argument: str) -> None:
    write(project, CONF, ARTIFACT + declared)
    lines = "ARG S_URL\nARG S_SHA256\n" if "downloads" in declared else f"ARG {argument}\n"
    write(project, "layers/conf/Dockerfile", ARTIFACT_DOCKERFILE.replace("COPY conf", f"{lines}COPY conf"))
    refused_plan(project, f"--> {CONF}:", f"would both be the argument `{argument}`")


def test_folder_with_the_name_of_another_context_is_refused(project: Path) -> None:
    names = ["base", "toolchain", "mirrors", "scratch", "context", "dockerfile", "other"]
    shutil.copytree(project / "layers/conf", project / "layers/other")
    write(project, "layers/other/layer.yaml", ARTIFACT.replace("/opt/conf", "/opt/other"))
    write(project, "layers/other/Dockerfile", ARTIFACT_DOCKERFILE.replace("/opt/conf", "/opt/other"))
    declared = "".join(f"  {name}: {{description: x, type: folder, default: x}}\n" for name in names)
    write(project, CONF, f"{ARTIFACT}after: [other]\nparameters:\n{declared}")
    locations = [f"--> {CONF}:{number}:3" for number in range(8, 8 + len(names))]
    refused_plan(project, *locations, f"{len(names)} errors")


def test_folder_that_is_not_an_argument_may_be_called_packages(project: Path) -> None:
    write(project, CONF, f"{ARTIFACT}parameters:\n  packages: {{description: x, type: folder, default: given}}\n")
    write(project, "given/file", "x\n")
    text = ARTIFACT_DOCKERFILE.replace("COPY conf", "COPY --from=packages file")
    write(project, "layers/conf/Dockerfile", text)
    planned(project)
    write(project, "layers/conf/Dockerfile", text.replace("COPY --from=packages", "ARG PACKAGES\nCOPY --from=packages"))
    refused_plan(project, f"--> {CONF}:7:3", "`PACKAGES`")


@pytest.mark.parametrize("tag", ["last", "last-img", "key-1", "incoming-1", "a/b", ""])
def test_tag_that_is_invalid_or_reserved_is_refused_before_the_start(project: Path, tag: str) -> None:
    done = buildsys(project, "bake", "--push", "img", BUILDSYS_REGISTRY=NOWHERE, BUILDSYS_TAG=tag)
    refused(done, "`BUILDSYS_TAG`", f"`{tag}`")


@pytest.mark.parametrize("tag", ["last", "key-1"])
@pytest.mark.parametrize("kind", ["requirements.txt", "Dockerfile"])
def test_reserved_tag_of_an_environment_is_refused(project: Path, tag: str, kind: str) -> None:
    file = write(project.parent, kind, "FROM base\n")
    words = ["--dockerfile"] if kind == "Dockerfile" else []
    done = buildsys(project, "environment", file, "--on", "img", "--tag", tag, *words, BUILDSYS_REGISTRY=NOWHERE)
    refused(done, "`--tag`", f"`{tag}` is reserved")


def test_name_near_a_reserved_one_is_planned(project: Path) -> None:
    (project / "layers/conf").rename(project / "layers/base-0")
    (project / "layers/tool").rename(project / "layers/toolchain")
    system = (project / "layers/dist/layer.yaml").read_text(encoding="utf-8")
    write(project, "layers/dist/layer.yaml", system.replace("layer: tool", "layer: toolchain"))
    write(project, "stacks.yaml", "stacks:\n  nodes2: {layers: [dist, base-0], groups: [default, gpu]}\n")
    planned(project)


def test_context_that_every_dockerfile_has_is_no_layer_to_require(project: Path) -> None:
    """The toolchain of an artifact would be replaced by nothing, and green."""
    (project / "layers/tool").rename(project / "layers/toolchain")
    system = (project / "layers/dist/layer.yaml").read_text(encoding="utf-8")
    write(project, "layers/dist/layer.yaml", system.replace("layer: tool", "layer: toolchain"))
    write(project, CONF, f"{ARTIFACT}after: [toolchain]\n")
    refused_plan(project, f"--> {CONF}:6:9", "`toolchain` is reserved")
