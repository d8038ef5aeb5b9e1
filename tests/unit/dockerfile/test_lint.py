"""How a Dockerfile is split, what it names, and which rules it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.dockerfile import lint
from buildsys.dockerfile.parser import Dockerfile, Instruction, Reference


def parsed(text: str) -> Dockerfile:
    return Dockerfile.parse(text, "Dockerfile")


def instructions_of(text: str) -> tuple[Instruction, ...]:
    return parsed(text).instructions


def keywords(text: str) -> list[tuple[str, int, int]]:
    return [(each.keyword, each.line, each.end_line) for each in instructions_of(text)]


def messages(text: str, *contexts: str) -> list[str]:
    return [diagnostic.message for diagnostic in lint.problems(parsed(text), dict.fromkeys(contexts, ""))]


def test_continuation_goes_over_comments_and_empty_lines() -> None:
    text = "FROM base\nRUN a && \\\n  # said in between\n\n  b\nUSER me\n"
    assert keywords(text) == [("FROM", 1, 1), ("RUN", 2, 5), ("USER", 6, 6)]


def test_heredoc_is_no_instruction_whatever_it_holds() -> None:
    text = "FROM base\nRUN <<END\nFROM nothing\nCOPY --from=x / /\nEND\nUSER me\n"
    assert keywords(text) == [("FROM", 1, 1), ("RUN", 2, 5), ("USER", 6, 6)]
    assert parsed(text).references == (Reference(name="base", line=1, column=6, how="FROM"),)


def test_two_heredocs_of_one_copy_are_read_in_order() -> None:
    text = 'FROM base\nCOPY <<-"ONE" <<TWO /out/\n\ta\n\tONE\nb\nTWO\n'
    assert instructions_of(text)[1].heredocs == ("a\n", "b\n")


def test_other_escape_character_is_known_from_its_directive() -> None:
    text = "# escape=`\nFROM base\nRUN dir `\n  C:\\\n"
    assert keywords(text) == [("FROM", 2, 2), ("RUN", 3, 4)]


def test_heredoc_without_end_is_an_error() -> None:
    assert messages("FROM base\nRUN <<END\nx\n", "base") == ["the heredoc `END` has no end"]


def test_stage_is_known_after_its_from_and_everywhere_to_copy() -> None:
    text = "FROM later\nCOPY --from=later / /\nFROM base AS later\nCOPY --from=0 / /\n"
    assert [(each.name, each.how) for each in parsed(text).references] == [("later", "FROM"), ("base", "FROM")]


def test_mount_from_is_a_reference_at_its_own_place() -> None:
    text = "FROM base\nRUN --mount=type=bind,from=mirrors,target=/m \\\n    --mount=type=cache,target=/c,from=other x\n"
    found = [(each.name, each.line, each.column) for each in parsed(text).references]
    assert found == [("base", 1, 6), ("mirrors", 2, 28), ("other", 3, 39)]


def test_undeclared_context_is_reported_with_the_nearest_name() -> None:
    diagnostic = lint.problems(Dockerfile.parse("FROM toolchian AS build\n", "layers/x/Dockerfile"), {"toolchain": ""})[
        0
    ]
    assert diagnostic.message == "`FROM toolchian` is neither a stage of this file nor a context of the layer"
    assert diagnostic.hint == "did you mean `toolchain`?"
    assert str(diagnostic.location) == "layers/x/Dockerfile:1:6"


def test_stage_with_the_name_of_a_context_is_refused() -> None:
    assert messages("FROM toolchain AS toolchain\n", "toolchain") == [
        "the stage `toolchain` would be replaced by the declared context of that name"
    ]


def test_syntax_line_chmod_and_names_with_link_and_secrets_are_refused() -> None:
    text = "# syntax=docker/dockerfile:1\nFROM base\nARG API_TOKEN\nCOPY --link --chmod=755 --chown=me:1 a b\n"
    assert messages(text, "base") == [
        "a `# syntax=` line makes every build fetch a frontend from the network",
        "`ARG API_TOKEN` looks like a secret, and arguments stay readable in the image's history",
        "`--chmod` disables `--link` without a warning",
        "`--chown=me:1` with `--link` has no user names to look up",
    ]


def test_artifact_ends_as_scratch_with_one_copy_of_the_whole_path() -> None:
    good = "FROM toolchain AS build\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
    assert lint.artifact_problems(parsed(good), ("/opt/x",)) == ()
    bad = good.replace("/artifact /", "/artifact/opt/x /").replace("FROM scratch", "FROM scratch\nUSER 1")
    assert [each.message for each in lint.artifact_problems(parsed(bad), ("/opt/x",))] == [
        "an artifact's last stage has `USER`, expected only one `COPY --from=<stage> <folder> /`",
        "the copy puts the content of `/opt/x` into `/`, expected it at `/opt/x`",
    ]


def test_arguments_are_known_with_their_defaults_over_several_lines() -> None:
    assert parsed('ARG A\nFROM base\nARG B="x y" \\\n    C\n').declared == {
        "A": False,
        "B": True,
        "C": False,
    }


@pytest.mark.parametrize(
    ("command", "heredocs"),
    [
        ("RUN cat <<A && cat <<-B\na\nA\n\tb\n\tB", ("a\n", "b\n")),
        ("RUN cat 3<<A\na\nA", ("a\n",)),
        ("RUN <<'A B'\na\nA B", ("a\n",)),
        ("RUN cat \\\n  # in between\n  <<A\na\nA", ("a\n",)),
        ("RUN cat <<A\n  A\nA", ("  A\n",)),
        ("RUN cat <<A\nuser \\\nA", ("user \\\n",)),
        ("COPY <<a.txt <<b.txt /out/\n1\na.txt\n2\nb.txt", ("1\n", "2\n")),
        ("ONBUILD RUN <<A\na\nA", ("a\n",)),
        ("RUN cat <<<word", ()),
        ('RUN echo "<<A"', ()),
        ("RUN echo $((1<<2))", ()),
        ("RUN echo '\\' <<A\nx\nA", ("x\n",)),
        ("ENV X=<<A", ()),
        ("RUN <<A\nA", ("",)),
    ],
)
def test_heredocs_are_what_the_shell_would_read(command: str, heredocs: tuple[str, ...]) -> None:
    instructions = instructions_of(f"FROM base\n{command}\nUSER me\n")
    assert instructions[1].heredocs == heredocs
    assert instructions[-1].keyword == "USER"
    assert instructions[-1].line == command.count("\n") + 3


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing() -> None:
    text = "FROM base\nRUN a \\\n  b <<END\nx\nEND\nUSER me\n"
    assert instructions_of("\ufeff" + text.replace("\n", "\r\n")) == instructions_of(text)


def test_white_space_may_follow_a_continuation_except_in_a_comment() -> None:
    assert keywords("FROM base\nRUN a \\  \n  b\n# no \\\nUSER me\n") == [("FROM", 1, 1), ("RUN", 2, 3), ("USER", 5, 5)]


def test_file_that_ends_inside_an_instruction_is_read_to_its_end() -> None:
    assert keywords("FROM base\nRUN a \\") == [("FROM", 1, 1), ("RUN", 2, 2)]
    assert keywords("") == []


def test_directives_end_at_the_first_line_that_is_none() -> None:
    assert keywords("# a comment\n# escape=`\nFROM base\nRUN a \\\n  b\n") == [("FROM", 3, 3), ("RUN", 4, 5)]


def test_flags_are_distinguished_from_similar_text_behind_them() -> None:
    (copy,) = instructions_of('COPY --from="a b" --link --chown=1:2 --x y /z --not-one')
    assert copy.flags == (("from", "a b"), ("link", ""), ("chown", "1:2"), ("x", ""))
    assert copy.arguments == "y /z --not-one"


def test_platform_and_case_of_from_are_read() -> None:
    (stage,) = parsed("from --platform=$BUILDPLATFORM Base as Build\nrun x\n").stages
    assert (stage.base, stage.name, [each.keyword for each in stage.instructions]) == ("Base", "Build", ["RUN"])


@pytest.mark.parametrize("text", ["", "# nothing\n", "ARG X=1\n"])
def test_file_without_from_is_an_error_and_has_no_stage(text: str) -> None:
    assert parsed(text).stages == ()
    assert messages(text) == ["the file has no `FROM`"]
    assert len(lint.artifact_problems(parsed(text), ("/opt/x",))) == 0


@given(st.text(alphabet="FROM RUN<<-EOF'\"\\#=\n\t a$`{}", max_size=80))
def test_no_text_raises_and_every_instruction_has_its_lines(text: str) -> None:
    instructions = instructions_of(text)
    assert lint.problems(parsed(text), {"base": ""}) == lint.problems(parsed(text), {"base": ""})
    lint.artifact_problems(parsed(text), ("/opt/x",))
    lines = [number for each in instructions for number in (each.line, each.end_line)]
    assert lines == sorted(lines)
    assert all(1 <= number <= text.count("\n") + 1 for number in lines)


def test_file_without_a_stage_is_one_error() -> None:
    assert messages("RUN true\nUSER me\n") == ["the file has no `FROM`"]
    assert messages("RUN true\nFROM base\n", "base") == ["`RUN` is before the first `FROM`"]
