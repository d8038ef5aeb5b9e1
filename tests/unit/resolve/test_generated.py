"""The Dockerfile of an artifact of files, and which text of `files` reaches it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.dockerfile import lint
from buildsys.dockerfile.parser import Dockerfile
from buildsys.plan.plan import Plan
from buildsys.recipes import fields
from buildsys.recipes.recipe import PlacedFile
from buildsys.resolve.generated import files_dockerfile
from buildsys.resolve.node import Node
from tests.support.trees import diagnostics, planned, tree

FILES = """\
description: files
kind: artifact
licence: free
requires: [os]
"""
STACKS = "stacks:\n  one: {layers: [system, scripts]}\n"


def project(files: str, more: str = "", stacks: str = STACKS) -> dict[str, str]:
    found = tree(stacks, scripts=f"{FILES}{more}files:\n{files}")
    del found["layers/scripts/Dockerfile"], found["layers/scripts/.dockerignore"]
    return found


def node(plan: Plan, layer: str = "scripts") -> Node:
    return next(each for each in plan.nodes if each.recipe.layer == layer)


def text(files: Mapping[str, str]) -> str:
    entries = (dict(zip(("source", "mode", "owner"), words.split(), strict=False)) for words in files.values())
    named = ({key: None if value == "-" else value for key, value in entry.items()} for entry in entries)
    placed = (PlacedFile(path=path, **entry) for path, entry in zip(files, named, strict=True))  # type: ignore[arg-type]
    return files_dockerfile(placed, {"gid": "100"})


def test_folders_above_a_file_are_created_before_it_as_those_of_root() -> None:
    assert text({"/etc/a/b.conf": "b.conf - 7:{gid}"}).splitlines() == [
        "FROM scratch AS files",
        "WORKDIR /etc/a",
        "COPY --chown=7:100 b.conf /etc/a/",
        "",
        "FROM scratch",
        "COPY --link --from=files / /",
    ]


def test_folder_with_an_owner_or_a_mode_is_copied_with_both_and_a_plain_one_is_created() -> None:
    lines = text({"/etc/a/": "a/ 2775 0:100", "/srv/b/": "- 0755", "/srv/c/": "- - 1"}).splitlines()
    assert lines[:3] == ["FROM scratch AS folders", "WORKDIR /0/a", "WORKDIR /1/c"]
    assert lines[4:] == [
        "FROM scratch AS files",
        "WORKDIR /etc",
        "WORKDIR /srv",
        "WORKDIR /srv/b",
        "COPY --from=folders --chown=0:100 --chmod=2775 /0/ /etc/",
        "COPY --from=folders --chown=1:1 --chmod=0755 /1/ /srv/",
        "COPY --chown=0:100 a/ /etc/a/",
        "",
        "FROM scratch",
        "COPY --link --from=files / /",
    ]


def test_files_of_one_folder_with_one_mode_are_one_step_and_another_name_is_another() -> None:
    steps = text({"/a/x": "x 644", "/a/y": "sub/y 0644", "/a/z": "x 644", "/b": "b"}).splitlines()
    assert steps[2:5] == ["COPY b /", "COPY --chmod=0644 sub/y x /a/", "COPY --chmod=0644 x /a/z"]


def test_artifact_of_files_is_built_on_nothing_and_is_one_node_for_all_systems() -> None:
    stacks = "stacks:\n  one: {layers: [system, scripts]}\n  two: {layers: [system: 2, scripts]}\n"
    files = project("  /opt/x/run: run\n", stacks=stacks.replace("system: 2", "system: {release: 2}"))
    found = planned(files)
    placed = node(found)
    assert (placed.base, placed.parent, placed.below, placed.dockerfile) == (
        None,
        None,
        (),
        "layers/scripts/layer.yaml",
    )
    assert [image.artifacts for image in found.stacks] == [(("scripts", "scripts"),)] * 2


def test_paths_of_files_are_the_prefixes_and_those_in_a_folder_of_it_need_none() -> None:
    entries = "  /opt/x/: {}\n  /opt/x/a: a\n  /opt/xy: a\n  /opt/x/b/: {mode: 700}\n"
    assert node(planned(project(entries))).recipe.prefix == ("/opt/x", "/opt/xy")
    assert node(planned(project(entries))).recipe.replaced == {"/opt/x/a", "/opt/xy"}


def test_two_layers_with_one_file_are_refused_and_two_in_one_folder_are_not() -> None:
    stacks = STACKS.replace("scripts]", "scripts, more]")
    both = project("  /usr/bin/a: a\n", stacks=stacks)
    both["layers/more/layer.yaml"] = both["layers/scripts/layer.yaml"]
    [message] = [each[1] for each in diagnostics(both)]
    assert message == "the layers `scripts` and `more` of `one` both own `/usr/bin/a`"
    both["layers/more/layer.yaml"] = both["layers/more/layer.yaml"].replace("bin/a:", "bin/b:")
    assert planned(both)


def test_owner_may_be_a_parameter_and_must_become_ids() -> None:
    more = "parameters:\n  gid: {description: group, default: 100}\n"
    assert "--chown=0:100 " in node(planned(project('  /a/b: {from: b, owner: "0:{gid}"}\n', more))).generated
    stacks = STACKS.replace("scripts]", "scripts: {gid: users}]")
    [message] = [each[1] for each in diagnostics(project('  /a/b: {from: b, owner: "0:{gid}"}\n', more, stacks))]
    assert "`0:users`, expected a number" in message


WORDS = st.text(alphabet="ab/.-_~$ \n\"'\\`{}[]*?<#=%@:+,0é", min_size=1, max_size=12)


@given(
    path=WORDS | st.from_regex(str(fields.FILE_PATH.form), fullmatch=True),
    source=WORDS | st.from_regex(str(fields.FILE_SOURCE.form), fullmatch=True),
    mode=st.sampled_from(["0644", "777", "9", "u+x", "0 x"]),
    owner=WORDS | st.sampled_from(["0", "7:100"]),
)
def test_no_text_of_an_entry_becomes_more_than_one_word_of_a_copy(
    path: str, source: str, mode: str, owner: str
) -> None:
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for text in (path, source, owner)]
    entry = f'  "{quoted[0]}": {{from: "{quoted[1]}", mode: "{mode}", owner: "{quoted[2]}"}}\n'
    files = project(entry)
    if diagnostics(files):
        return
    parsed = Dockerfile.parse(node(planned(files)).generated, "Dockerfile")
    assert lint.problems(parsed, {"context": ""}) == ()
    words = [instruction.keyword for instruction in parsed.instructions]
    assert [word for word in words if word not in ("WORKDIR", "COPY")] == ["FROM"] * (words.count("FROM"))
    assert all(len(each.arguments.split()) == 2 for each in parsed.instructions if each.keyword == "COPY")


AFTER = "description: d\nkind: system\nlicence: free\nrequires: [os]\n"
BOTH = "stacks:\n  one: {layers: [system, after]}\n"
INSTALLED = "FROM base\nARG PACKAGES\nRUN install $PACKAGES\n"


def after(more: str, system: str = INSTALLED) -> dict[str, str]:
    return {**tree(BOTH, after=AFTER + more), "layers/system/Dockerfile": system}


def test_commands_are_one_step_behind_the_dockerfile_that_installs_the_packages() -> None:
    more = "packages: [{names: [x]}]\nrun: [a, b c]\n"
    found = node(planned(after(more)), "after")
    assert found.generated == f"{INSTALLED}\nRUN <<END\nset -eu\na\nb c\nEND\n"
    assert dict(found.arguments) == {"PACKAGES": "x"}
    assert (found.added_layers, found.dockerfile) == (2, "layers/system/Dockerfile")
    assert str(found.place(3)) == "layers/system/Dockerfile:3:1"
    assert str(found.place(7)) == "layers/after/layer.yaml:6:1"


def test_commands_alone_need_no_layer_that_installs() -> None:
    files = after("run: a\n")
    files["layers/system/layer.yaml"] = files["layers/system/layer.yaml"].replace("packages:", "#")
    del files["layers/system/Dockerfile"]
    found = node(planned(files), "after")
    assert found.generated == "FROM base\nRUN <<END\nset -eu\na\nEND\n"
    assert (found.parent is not None, found.added_layers) == (True, 1)


def test_parameter_that_a_command_names_is_an_argument_and_one_that_none_names_is_refused() -> None:
    more = "parameters:\n  level: {description: d, default: 1}\nrun: 'set-level \"${LEVEL}\" $TARGETARCH'\n"
    found = node(planned(after(more)), "after")
    assert found.generated.splitlines()[1:4] == ["ARG LEVEL", "ARG TARGETARCH", "RUN <<END"]
    assert dict(found.arguments) == {"LEVEL": "1"}
    [(place, message, hint)] = diagnostics(after(more.replace("LEVEL", "LEVELS")))
    assert (place, message) == ("layers/after/layer.yaml:6:3", "nothing in this layer uses the parameter `level`")
    assert hint == "remove it, or write `$LEVEL` in `run`"


def test_argument_of_the_dockerfile_that_installs_is_not_one_of_the_commands() -> None:
    more = "parameters:\n  retries: {description: d, default: 1}\npackages: [{names: [x]}]\nrun: 'try $RETRIES'\n"
    system = INSTALLED.replace("ARG PACKAGES", "ARG PACKAGES\nARG RETRIES=5")
    [message] = [each[1] for each in diagnostics(after(more, system))]
    assert message == "`run` of `after` names the argument `RETRIES`, which is one of `system` too"


@pytest.mark.parametrize("end", ["", "\n\n", " \\", " \\\n", " \\\n# said\n\n", "\n# said \\\n", " \\\n\\\n"])
def test_last_instruction_of_a_dockerfile_does_not_continue_in_the_commands(end: str) -> None:
    found = node(planned(after("packages: [{names: [x]}]\nrun: a\n", INSTALLED.rstrip() + end)), "after")
    parsed = Dockerfile.parse(found.generated, "Dockerfile")
    assert [each.keyword for each in parsed.instructions] == ["FROM", "ARG", "RUN", "RUN"]
    assert [each.heredocs for each in parsed.runs] == [(), ("set -eu\na\n",)]


@given(st.text(alphabet="END12\n\t <-'\"\\#$`{}a", max_size=40))
def test_no_text_of_a_command_ends_its_step(command: str) -> None:
    files = after(f"packages: [{{names: [x]}}]\nrun: {json.dumps(command)}\n")
    if not command.strip():
        assert diagnostics(files)
        return
    parsed = Dockerfile.parse(node(planned(files), "after").generated, "Dockerfile")
    assert [each.keyword for each in parsed.instructions] == ["FROM", "ARG", "RUN", "RUN"]
    assert parsed.runs[1].heredocs[0].rstrip("\n") == f"set -eu\n{command}".rstrip("\n")
