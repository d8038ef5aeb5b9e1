"""What a key consists of, by name; the laws of keys are in tests/properties/test_key_laws.py."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from buildsys.commands.plan import make_plan, write_plan
from buildsys.config.model import File
from buildsys.errors import InvalidInput
from buildsys.plan.keys import folders_of, keys_of
from buildsys.project.workspace import Workspace
from tests.support.keyed import all_keys, contents_of, file, keyed
from tests.support.trees import FAST, tree

RULES = {f"layers/{name}/.dockerignore": "*\n" for name in ("system", "tools", "fast")}
SHA = "1" * 64


def small() -> dict[str, str]:
    return {**tree(), **RULES}


def test_inputs_of_a_system_are_its_dockerfile_packages_and_the_digest_below() -> None:
    made, keys = keyed(small())
    found = dict(keys.nodes["system-1"].inputs)
    assert found.pop("dockerfile") == file(small()["layers/system/Dockerfile"]).content
    assert found == {
        "argument PACKAGES": "base-files zip",
        "base": f"sha256:{SHA}",
        "definition": "1",
        "layer": "system",
        "platforms": "linux/amd64",
    }
    assert list(keys.nodes["system-1"].inputs) == sorted(keys.nodes["system-1"].inputs)
    assert keys.nodes.keys() == {node.name for node in made.nodes}


def test_inputs_of_an_artifact_are_its_toolchain_and_arguments_and_nothing_of_the_system() -> None:
    _, keys = keyed(small())
    found = dict(keys.nodes["fast-1_0-tools-1"].inputs)
    del found["dockerfile"]
    assert found == {
        "argument FLAGS": "",
        "argument VERSION": "1.0",
        "base": keys.nodes["tools-1"].key,
        "definition": "1",
        "layer": "fast",
        "platforms": "linux/amd64",
    }


def test_inputs_of_a_stack_are_its_nodes_and_settings() -> None:
    _, keys = keyed(small())
    assert dict(keys.stacks["one"].inputs) == {
        "artifact fast": keys.nodes["fast-1_0-tools-1"].key,
        "base": keys.nodes["system-1"].key,
        "definition": "1",
        "name": "one",
        "order of artifacts": "fast",
        "platforms": "linux/amd64",
        "ports": "",
        "user": "",
        "variable LANG": "C.UTF-8",
        "variable PATH": "/opt/fast/bin:$PATH",
        "workdir": "",
    }


def test_key_is_the_sha256_of_its_inputs_as_sorted_json() -> None:
    # Another text here means another definition of keys, and a rebuild of every image.
    _, keys = keyed({**small(), "layers/fast/layer.yaml": FAST.replace("/opt/fast/bin", "/opt/é")})
    found = keys.stacks["one"]
    listed = ",".join(f'"{name}":"{value}"' for name, value in sorted(found.inputs.items()))
    assert "é" in listed
    text = f"{{{listed}}}".replace("é", "\\u00e9")
    assert found.key == hashlib.sha256(text.encode()).hexdigest()


def test_parent_without_a_digest_counts_by_its_name() -> None:
    _, keys = keyed(small())
    assert keys.nodes["tools-1"].inputs["base"] == "example.com/tools:1"


def test_download_counts_by_its_checksum_and_without_one_by_its_address() -> None:
    text = FAST + "downloads: {source: {url: 'https://example.com/a', sha256: %s}}\n"
    files = small()
    files["layers/fast/Dockerfile"] = "FROM scratch AS source\nARG SOURCE_URL\nARG SOURCE_SHA256\n" + FAST_DOCKERFILE
    found = []
    for checksum in (SHA, "unknown, reason: r"):
        _, keys = keyed({**files, "layers/fast/layer.yaml": text % checksum})
        found.append(keys.nodes["fast-1_0-tools-1"].inputs["download source"])
    assert found == [f"sha256:{SHA}", "https://example.com/a"]
    locked = files["buildsys.lock"] + f"downloads: {{'https://example.com/a': {{sha256: {'2' * 64}, size: 3}}}}\n"
    _, keys = keyed({**files, "layers/fast/layer.yaml": text % "unknown, reason: r", "buildsys.lock": locked})
    assert keys.nodes["fast-1_0-tools-1"].inputs["download source"] == f"sha256:{'2' * 64}"


FAST_DOCKERFILE = tree()["layers/fast/Dockerfile"]


def files_of(files: dict[str, str]) -> list[str]:
    _, keys = keyed(files)
    return [name for name in keys.nodes["fast-1_0-tools-1"].inputs if name.startswith("file ")]


def test_files_count_as_the_rules_beside_the_dockerfile_let_them_through() -> None:
    files = {**tree(), "layers/fast/src/a.c": "", "layers/fast/src/b.o": "", "layers/fast/tests/x": ""}
    every = [".dockerignore", "Dockerfile", "layer.yaml", "src/a.c", "src/b.o", "tests/x"]
    assert files_of({**files, "layers/fast/.dockerignore": ""}) == [f"file {name}" for name in every]
    files["layers/fast/.dockerignore"] = "*\n!src\n**/*.o\n"
    assert files_of(files) == ["file src/a.c"]
    # Rules of one Dockerfile go before those of the folder.
    files["layers/fast/Dockerfile.dockerignore"] = "*\n!tests\n"
    assert files_of(files) == ["file tests/x"]


def test_rules_that_a_dockerfile_can_read_count_as_a_file_too() -> None:
    files = small()
    before, after = (
        keyed({**files, "layers/fast/.dockerignore": rules})[1].nodes["fast-1_0-tools-1"]
        for rules in ("*\n!.dockerignore\n", "*\n!.dockerignore\n# said\n")
    )
    assert before.inputs["file .dockerignore"] != after.inputs["file .dockerignore"]


def test_folder_that_a_user_gives_has_rules_of_its_own() -> None:
    fast = FAST.replace("flags:", "source: {description: s, type: folder, default: mine}\n  flags:")
    files = {**tree(fast=fast), **RULES, "mine/main.py": "x", "mine/a.log": "y", "mine/.dockerignore": "*.log\n"}
    files["layers/fast/Dockerfile"] = FAST_DOCKERFILE.replace("make", "--mount=type=bind,from=source,target=/s make")
    _, keys = keyed(files)
    found = next(each for name, each in keys.nodes.items() if name.startswith("fast"))
    assert {name: value for name, value in found.inputs.items() if name.startswith("folder")} == {
        "folder source .dockerignore": f"644 {file('*.log' + chr(10)).content}",
        "folder source main.py": f"644 {file('x').content}",
    }


def test_folder_without_files_is_reported_at_the_stack_that_names_it() -> None:
    fast = FAST.replace("flags:", "source: {description: s, type: folder, default: mine}\n  flags:")
    files = tree("stacks:\n  one: {layers: [system, {fast: {source: yours}}]}\n", fast=fast)
    files["layers/fast/Dockerfile"] = FAST_DOCKERFILE.replace("make", "--mount=type=bind,from=source,target=/s make")
    with pytest.raises(InvalidInput) as caught:
        keyed(files)
    assert [(str(each.location), each.message) for each in caught.value.diagnostics()] == [
        ("stacks.yaml:2:27", "layer `fast`: the folder `yours` does not exist or has no files")
    ]


def test_plan_that_names_a_folder_without_files_is_not_written(tmp_path: Path) -> None:
    fast = FAST.replace("flags:", "source: {description: s, type: folder, default: mine}\n  flags:")
    files = tree("stacks:\n  one: {layers: [system, fast]}\n", fast=fast)
    files["layers/fast/Dockerfile"] = FAST_DOCKERFILE.replace("make", "--mount=type=bind,from=source,target=/s make")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    workspace = Workspace(root=tmp_path)
    for check in (False, True):
        with pytest.raises(InvalidInput, match="the folder `mine` does not exist"):
            write_plan(workspace, {}, check=check)
    assert not (tmp_path / "docker-bake.hcl").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "main.py").write_text("x", encoding="utf-8")
    assert write_plan(workspace, {}, check=False).written


def test_dollar_in_a_value_is_not_taken_for_the_value_of_the_parent() -> None:
    plain = FAST.replace("prepend: {PATH: /opt/fast/bin}", "prepend: {A: /a}")
    dollar = FAST.replace("prepend: {PATH: /opt/fast/bin}", "set: {A: $A}, prepend: {A: /a}")
    found = [keyed({**small(), "layers/fast/layer.yaml": text})[1].stacks["one"] for text in (plain, dollar)]
    assert [each.inputs["variable A"] for each in found] == ["/a:$A", "/a:$$A"]
    assert found[0].key != found[1].key


def test_layers_that_share_a_dockerfile_have_keys_of_their_own() -> None:
    more = "description: d\nkind: system\nlicence: free\nrequires: [os]\npackages: [{names: [%s]}]\n"
    text = "stacks:\n  one: {layers: [system, more]}\n  two: {layers: [system, also]}\n"
    files = {**tree(text, more=more % "a", also=more % "a"), **RULES}
    _, keys = keyed(files)
    assert len({each.key for each in keys.nodes.values()}) == len(keys.nodes)


def written(root: Path, files: dict[str, str]) -> Workspace:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return Workspace(root=root)


def keys_on_disk(workspace: Workspace) -> dict[str, str]:
    made = make_plan(workspace.tree())
    return all_keys(keys_of(made, workspace.contents(folders_of(made))))


def test_checkout_gives_the_keys_of_its_texts_whatever_times_modes_and_owners_say(tmp_path: Path) -> None:
    files = {**small(), "layers/fast/.dockerignore": "*\n!tool\n", "layers/fast/tool": "#!/bin/sh\n"}
    workspace = written(tmp_path, files)
    tool = tmp_path / "layers" / "fast" / "tool"
    assert keys_on_disk(workspace) == all_keys(keyed(files)[1])
    os.utime(tool, (1, 1))
    tool.chmod(0o666)
    tool.parent.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tool, 12345, 12345)
    (tmp_path / "layers" / "fast" / "empty").mkdir()
    assert keys_on_disk(workspace) == all_keys(keyed(files)[1])


def test_bit_to_execute_and_where_a_link_leads_are_read_from_disk(tmp_path: Path) -> None:
    files = {**small(), "layers/fast/.dockerignore": "*\n!tool\n!link\n!folder\n", "layers/fast/tool": "x"}
    workspace = written(tmp_path, files)
    folder = tmp_path / "layers" / "fast"
    (folder / "tool").chmod(0o744)
    (folder / "link").symlink_to("tool")
    (folder / "folder").symlink_to("../system", target_is_directory=True)
    found = dict(workspace.contents(["layers/fast"])["layers/fast"])
    assert found["tool"] == replace(file("x"), executable=True, rules=None)
    assert found["link"] == File(content="link:tool")
    assert found["folder"] == File(content="link:../system")
    made = make_plan(workspace.tree())
    inputs = keys_of(made, workspace.contents(folders_of(made))).nodes["fast-1_0-tools-1"].inputs
    assert [inputs[f"file {name}"] for name in ("folder", "link", "tool")] == [
        "644 link:../system",
        "644 link:tool",
        f"755 {file('x').content}",
    ]


def test_folder_that_does_not_exist_has_no_files(tmp_path: Path) -> None:
    assert Workspace(root=tmp_path).contents(["gone"]) == {"gone": {}}


def test_more_contents_than_are_needed_change_nothing() -> None:
    made = make_plan(small())
    needed = contents_of(small(), made)
    assert all_keys(keys_of(made, {**needed, "other": {"a": file("b")}})) == all_keys(keys_of(made, needed))
