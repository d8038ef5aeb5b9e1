"""A Dockerfile is read by BuildKit's own frontend, as buildsys reads it, and does not set what BuildKit sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command_line import ARTIFACT, ARTIFACT_DOCKERFILE, buildsys, refused, write

FILE = "layers/conf/Dockerfile"
NOWHERE = "127.0.0.1:1/x"
FOREIGN = [
    ("# syntax=evil/f:1\n", 1),
    ("#syntax=evil/f:1\n", 1),
    ("#  SynTax  =  evil/f:1 more\n", 1),
    ("\ufeff# syntax=evil/f:1\n", 1),
    ("#!/usr/bin/env docker\n# syntax=evil/f:1\n", 2),
    ("\ufeff#!x\n# syntax=evil/f:1\n", 2),
    ("# check=skip=all\n# syntax=evil/f:1\n", 2),
    ("#!x\n# check=skip=all\n#syntax=evil/f:1\n", 3),
    ("// syntax=evil/f:1\n", 1),
    ("//SYNTAX = evil/f:1\n", 1),
    ("#!x\n// syntax=evil/f:1\n", 2),
    ("// check=skip=all\n// syntax=evil/f:1\n", 2),
    ("#\u00a0syntax=evil/f:1\n", 1),
    ("# syntax=evil/f:1\r\n", 1),
]


def dockerfiles(project: Path, texts: Sequence[str]) -> list[str]:
    """Give the artifact a flavour for each Dockerfile, and return the paths of these: one plan reads all of them."""
    names = [f"f{number}.Dockerfile" for number in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (project / "layers/conf" / name).write_bytes(text.encode())
    entries = "".join(f"  f{number}: {{dockerfile: {name}}}\n" for number, name in enumerate(names))
    write(project, "layers/conf/layer.yaml", f"{ARTIFACT}flavours:\n{entries}")
    return [f"layers/conf/{name}" for name in names]


def test_foreign_frontend_of_a_layer_is_refused(project: Path) -> None:
    files = dockerfiles(project, [head + ARTIFACT_DOCKERFILE for head, _ in FOREIGN])
    done = buildsys(project, "plan", "--offline")
    refused(done, *(f"--> {file}:{line}:1" for file, (_, line) in zip(files, FOREIGN, strict=True)))
    assert done.stderr.count("fetch a frontend") == len(FOREIGN)


def test_json_that_names_a_frontend_is_refused(project: Path) -> None:
    """Escapes may hide the key, so no JSON is a Dockerfile."""
    texts = [head + '{"\\u0073yntax": "evil/f:1",\n"x": "\\nFROM scratch"}\n' for head in ("", "#!x\n", "\n \t")]
    dockerfiles(project, texts)
    done = buildsys(project, "plan", "--offline")
    refused(done)
    assert done.stderr.count("the frontend that a JSON object names") == len(texts)


@pytest.mark.parametrize(
    "text", ["#!x\n# syntax=evil/f:1\nFROM base\n", "// syntax=evil/f:1\nFROM base\n", '\n{"syntax": "evil/f:1"}\n']
)
def test_foreign_frontend_of_a_users_dockerfile_is_refused_before_anything_is_asked(project: Path, text: str) -> None:
    file = write(project.parent, "Dockerfile", text)
    done = buildsys(project, "environment", file, "--on", "img", "--dockerfile", BUILDSYS_REGISTRY=NOWHERE)
    refused(done, f"--> {file}:", "frontend")


def with_arguments(project: Path, lines: str) -> None:
    write(project, FILE, ARTIFACT_DOCKERFILE.replace("COPY conf", f"{lines}COPY conf"))


@pytest.mark.parametrize("where", ["before", "inside"])
def test_argument_that_changes_how_buildkit_builds_is_refused(project: Path, where: str) -> None:
    names = [
        "BUILDKIT_SYNTAX",
        "BUILDKIT_INLINE_CACHE",
        "HTTP_PROXY",
        "https_proxy",
        "No_Proxy",
        "ALL_PROXY",
        "FTP_PROXY",
    ]
    lines = "".join(f"ARG {name}={'x' if number % 2 else ''}\n" for number, name in enumerate(names))
    if where == "before":
        write(project, FILE, lines + ARTIFACT_DOCKERFILE)
    else:
        with_arguments(project, lines)
    refused(buildsys(project, "plan", "--offline"), *(f"`ARG {name}` changes how BuildKit builds" for name in names))


def test_argument_whose_name_is_no_plain_name_is_refused(project: Path) -> None:
    names = ['"BUILDKIT_SYNTAX"', "BUILDKIT\\_SYNTAX", "TARGET${X}", "'TARGETARCH'", "A-B", "1A"]
    with_arguments(project, "".join(f"ARG {name}=x\n" for name in names))
    refused(buildsys(project, "plan", "--offline"), *(f"`ARG {name}` is not a plain name" for name in names))


PLATFORM = [
    *(f"{side}{what}" for side in ("TARGET", "BUILD") for what in ("PLATFORM", "OS", "ARCH", "VARIANT")),
    *("TARGETSTAGE", "SOURCE_DATE_EPOCH"),
]


@pytest.mark.parametrize("where", ["before", "inside", "last"])
def test_argument_that_buildkit_sets_has_no_default(project: Path, where: str) -> None:
    """A default for one of them puts the files of one platform into images of all."""
    lines = "".join(f"ARG {name}=amd64\n" for name in PLATFORM)
    if where == "last":
        write(
            project,
            FILE,
            ARTIFACT_DOCKERFILE.replace("FROM scratch", f"FROM toolchain AS other\n{lines}\nFROM scratch"),
        )
    elif where == "inside":
        with_arguments(project, f"ARG TARGETARCH X=1\n{lines}")
    else:
        write(project, FILE, lines + ARTIFACT_DOCKERFILE)
    done = buildsys(project, "plan", "--offline")
    refused(done, *(f"`ARG {name}` has a default" for name in PLATFORM), f"{len(PLATFORM)} errors")


def test_argument_that_buildkit_sets_is_known(project: Path) -> None:
    lines = "".join(f"ARG {name}\n" for name in PLATFORM)
    with_arguments(project, lines)
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


def test_argument_that_only_looks_like_one_of_buildkit_needs_a_source(project: Path) -> None:
    with_arguments(project, "ARG targetarch\nARG TARGETFOO\n")
    refused(buildsys(project, "plan", "--offline"), "`ARG targetarch` is neither", "`ARG TARGETFOO` is neither")


HIDING = {
    "escaped backslash": "COPY conf /x\\\\\nFROM evil/x\n",
    "unknown directive": "COPY conf /x `\nFROM evil/x\n",
    "carriage return in a comment": "# x \rCOPY <<E /x\nFROM evil/x\nE\n",
}
AMBIGUOUS = {
    "quoted field of a mount": "RUN --mount='type=bind,\"from=evil/x\",target=/y' true\n",
    "backslash in a mount": 'RUN --mount="type=bind,fr\\om=evil/x,target=/y" true\n',
    "letter that is a blank in bytes": "RUN --mount=type=tmpfs,target=/x\u00e0--mount=from=evil/x,target=/y true\n",
    "heredoc that only one reader sees": 'RUN true # ${x <<"RUN true"\nFROM evil/x\nRUN true\n',
    "heredoc with two ends": 'RUN <<"RUN true \\"b"\necho hi\nRUN true "b\nFROM evil/x\nRUN true \\"b\n',
    "heredoc behind a quote in braces": "RUN <<\"# X\" echo start ${x:-'}'}\nFROM evil/x\n# X\n",
    "variable with a default beside a heredoc": "RUN <<X echo ${x:-y}\ntrue\nX\n",
    "argument that is not closed": "ARG HTTP_PROXY=http://evil B=${x:-'}'}\nRUN true\n",
    "quoted flag of COPY": 'COPY --from="evil/x" /a /artifact/opt/conf/a\n',
}


@pytest.mark.parametrize("how", AMBIGUOUS)
def test_text_that_parsers_read_differently_is_refused(project: Path, how: str) -> None:
    text = ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf\n", AMBIGUOUS[how])
    (project / FILE).write_bytes(text.encode())
    refused(buildsys(project, "plan", "--offline"), f"--> {FILE}:2:")


def test_usual_heredocs_and_flags_are_planned(project: Path) -> None:
    steps = (
        "RUN --mount=type=cache,id=a-b_c,target=/var/cache --mount=type=tmpfs,target=/tmp <<EOF\n"
        "echo \"${x:-'}'}\" <<here\nEOF\n"
        "COPY --chown=0:0 <<'END' /artifact/opt/conf/a\n$x\nEND\n"
        'RUN <<-"A" && cat <<B\n\techo\n\tA\nb\nB\n'
        'RUN echo ${HOME:-/root} $((1 + 2)) "it\'s"\n'
    )
    write(project, FILE, ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf\n", steps))
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


@pytest.mark.parametrize("how", HIDING)
def test_instruction_that_only_buildkit_would_see_is_found(project: Path, how: str) -> None:
    head = "# comment=x\n# escape=`\n" if how == "unknown directive" else ""
    text = head + ARTIFACT_DOCKERFILE.replace("COPY conf /artifact/opt/conf/conf\n", HIDING[how])
    (project / FILE).write_bytes(text.encode())
    done = buildsys(project, "plan", "--offline")
    refused(done, f"--> {FILE}:")
    assert "`FROM evil/x` is neither" in done.stderr or "control character" in done.stderr


def test_another_escape_character_is_refused(project: Path) -> None:
    heads = ["# escape=`\n", "# check=skip=all\n# Escape = `\n"]
    files = dockerfiles(project, [head + ARTIFACT_DOCKERFILE for head in heads])
    locations = (f"--> {file}:{head.count(chr(10))}:1" for file, head in zip(files, heads, strict=True))
    refused(buildsys(project, "plan", "--offline"), *locations, "`# escape=`` ")


def test_control_character_in_a_dockerfile_is_refused_and_not_printed(project: Path) -> None:
    characters = ["\x00", "\x07", "\x0b", "\x1b", "\x85", "\r"]
    texts = [ARTIFACT_DOCKERFILE.replace("COPY conf", f"RUN x {each} y\nCOPY conf") for each in characters]
    files = dockerfiles(project, texts)
    done = buildsys(project, "plan", "--offline")
    refused(done, *(f"--> {file}:2:1" for file in files), "control character")
    assert not [each for each in characters if each in done.output]


def test_stage_of_a_name_that_is_taken_is_refused(project: Path) -> None:
    names = ["scratch", "SCRATCH", "context", "0", "-a", "a/b"]
    files = dockerfiles(project, [f"FROM toolchain AS {name}\nRUN true\n{ARTIFACT_DOCKERFILE}" for name in names])
    refused(buildsys(project, "plan", "--offline"), *(f"--> {file}:1:1" for file in files), *(f"`{n}`" for n in names))


def test_instruction_for_later_builds_is_refused(project: Path) -> None:
    lines = ["ONBUILD RUN id", "onbuild COPY x /", "ONBUILD ARG BUILDKIT_SYNTAX=x"]
    write(project, "layers/dist/Dockerfile", "FROM base\n" + "".join(f"{line}\n" for line in lines))
    locations = (f"--> layers/dist/Dockerfile:{number}:1" for number in (2, 3, 4))
    refused(buildsys(project, "plan", "--offline"), *locations, "`ONBUILD`")


def test_head_that_names_no_frontend_is_planned(project: Path) -> None:
    heads = [
        "# a comment\n# syntax=evil/f:1\n",
        "#!x\n# a comment\n",
        "# check=skip=all\n",
        "# escape=\\\n",
        "ARG X=1\n",
    ]
    dockerfiles(project, [head + ARTIFACT_DOCKERFILE for head in heads])
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output


def test_dockerfile_with_the_line_ends_of_windows_is_planned(project: Path) -> None:
    (project / FILE).write_bytes(ARTIFACT_DOCKERFILE.replace("\n", "\r\n").encode())
    write(project, "layers/conf/layer.yaml", ARTIFACT)
    done = buildsys(project, "plan", "--offline")
    assert done.code == 0, done.output
