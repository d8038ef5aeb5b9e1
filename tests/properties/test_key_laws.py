"""A key follows each of its inputs and nothing else, and so do the keys of everything built from it.

Every change edits the sources; the expected effects are derived without looking at keys.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildsys.commands.plan import make_plan
from buildsys.config.model import File
from buildsys.plan import keys
from buildsys.plan.keys import keys_of
from buildsys.plan.plan import Plan, epoch_of
from buildsys.resolve.node import ImageTarget, Node
from tests.properties.test_laws import SHUFFLES, reordered, shuffled
from tests.support.keyed import Files, all_keys, contents_of, file, keyed
from tests.support.laws import examples
from tests.support.projects import Project, other_stack, projects, with_stacks
from tests.support.trees import tree

KEY_LAW = examples(4)
RICH, USER = "rich", "uses-rich"
FOLDER = "given/folder"
_OTHER = "0123456789abcdef" * 4
_DIGEST = f"sha256:{'ab' * 32}"
_COMMON = {"kind": "artifact", "licence": "free"}
_RICH: Mapping[str, Any] = {
    **_COMMON,
    "description": "has one of everything",
    "prefix": "/opt/rich",
    "requires": ["os"],
    "order": "9",
    "parameters": {"source": {"description": "what is copied", "type": "folder", "default": FOLDER}},
    "arguments": [{"lines": {"PINS": ["one==1", "two==2"]}}],
    "downloads": {"archive": [{"url": "https://example.com/archive", "sha256": "1" * 64}]},
    "environment": {"set": {"RICH": "yes"}, "prepend": {"RICH_PATH": ["/opt/rich/bin"]}},
    "labels": {"com.example.rich": "yes"},
    "ports": ["8080", "22"],
    "user": "someone",
    "workdir": "/srv",
    "entrypoint": ["tini", "--"],
    "command": ["serve"],
    "healthcheck": {"command": ["check"], "interval": "5m"},
    "tests": [{"run": "true"}],
}
_RICH_DOCKERFILE = """\
FROM scratch AS download
ARG ARCHIVE_URL
ARG ARCHIVE_SHA256
ADD --checksum=sha256:${ARCHIVE_SHA256} ${ARCHIVE_URL} /archive
FROM toolchain AS build
ARG PINS
RUN --mount=type=bind,from=download,target=/in --mount=type=bind,from=source,target=/source make
FROM scratch
COPY --from=build /artifact /
"""
_USER = {**_COMMON, "description": "is built with it", "prefix": "/opt/user", "requires": ["os", RICH], "order": "9"}
_USER_DOCKERFILE = (
    "FROM toolchain AS build\nCOPY --from=rich / /\nRUN make\nFROM scratch\nCOPY --from=build /artifact /\n"
)
_RULES = "Dockerfile\n.docker*\n**/*.log\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """A project as a tree, its plan, and what its builds read."""

    project: Project
    tree: Mapping[str, str]
    plan: Plan
    files: Files

    def keys(self) -> dict[str, str]:
        return all_keys(keys_of(self.plan, self.files))

    def with_project(self, project: Project) -> Sources:
        return self.with_tree({**self.tree, **_texts(project)})

    def with_tree(self, tree: Mapping[str, str]) -> Sources:
        plan = make_plan(tree)
        return replace(self, tree=tree, plan=plan, files=contents_of(tree, plan))

    def with_layer(self, name: str, **fields: Any) -> Sources:
        layers = {**self.project.layers, name: {**self.project.layers[name], **fields}}
        return self.with_project(replace(self.project, layers=layers))

    def with_node(self, node: Node, **fields: Any) -> Sources:
        nodes = tuple(replace(each, **fields) if each is node else each for each in self.plan.nodes)
        return replace(self, plan=replace(self.plan, nodes=nodes))

    def with_file(self, folder: str, path: str, found: File | None) -> Sources:
        changed = {name: each for name, each in self.files[folder].items() if name != path}
        if found is not None:
            changed[path] = found
        return replace(self, files={**self.files, folder: changed})


def _texts(project: Project) -> dict[str, str]:
    """Return the files of a project whose layers ignore what no build shall read."""
    tree = {**project.tree(), f"{FOLDER}/main": "main", f"{FOLDER}/.dockerignore": "*.log\n", f"{FOLDER}/x.log": "-"}
    for name in project.dockerfiles:
        tree[f"layers/{name}/.dockerignore"] = _RULES
        tree |= {f"layers/{name}/{path}": "?" for path in ("README.md", "tests/run", "more/x.log", "more/read")}
    locked = [f'  {parent}: {{reference: "example.com/x:1", digest: "{_DIGEST}"}}\n' for parent in _PARENTS]
    tree["buildsys.lock"] += "parents:\n" + "".join(locked)
    return tree


_PARENTS = tuple(f"{name}-{release}" for name in ("bsd", "lin", "tools") for release in ("1", "2.10"))


@st.composite
def sources(draw: st.DrawFn) -> Sources:
    """Draw a project with a stack that has a layer with one of everything, and a layer that is built with it."""
    project = draw(projects())
    (name, first), *rest = project.stacks
    lines = [*first["layers"], {RICH: {}}, {USER: {}}]
    project = replace(
        project,
        layers={**project.layers, RICH: _RICH, USER: _USER},
        dockerfiles={**project.dockerfiles, RICH: _RICH_DOCKERFILE, USER: _USER_DOCKERFILE},
        stacks=((name, {**first, "layers": lines}), *rest),
    )
    tree = _texts(project)
    plan = make_plan(tree)
    return Sources(project=project, tree=tree, plan=plan, files=contents_of(tree, plan))


def reached(plan: Plan, direct: Iterable[str]) -> set[str]:
    """Return the given nodes and stacks, and everything built from them."""
    found = set(direct)
    for node in plan.nodes:
        if found & set(node.below):
            found.add(node.name)
    return found | {stack.name for stack in plan.stacks if found & set(stack.below)}


def one_of(pick: random.Random, candidates: Iterable[Any]) -> Any:
    return pick.choice(list(candidates))


Change = Callable[[Sources, random.Random], tuple[Sources, set[str]]]


def dockerfile_bytes(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    text = old.tree[node.dockerfile] + "# said more\n"
    path = node.dockerfile.removeprefix(f"{node.folder}/")
    return old.with_file(node.folder, path, file(text)), same_folder(old, node)


def same_folder(old: Sources, node: Node) -> set[str]:
    return {each.name for each in old.plan.nodes if each.folder == node.folder}


def file_that_is_read(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_file(node.folder, "more/read", file("other")), same_folder(old, node)


def file_that_is_new(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_file(node.folder, "more/read2", file("")), same_folder(old, node)


def file_that_is_gone(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_file(node.folder, "more/read", None), same_folder(old, node)


def executable_bit(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_file(node.folder, "more/read", file("?", executable=True)), same_folder(old, node)


def rules_that_let_a_file_through(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_file(node.folder, ".dockerignore", file(f"{_RULES}!more/*.log\n")), same_folder(old, node)


def packages(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    used = {node.recipe.layer for node in old.plan.nodes if node.packages}
    name = one_of(pick, sorted(used))
    more = [*old.project.layers[name]["packages"], {"names": ["one-more"]}]
    return old.with_layer(name, packages=more), {n.name for n in old.plan.nodes if n.recipe.layer == name}


def parameter_value(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, [each for each in old.plan.nodes if each.arguments])
    which = pick.randrange(len(node.arguments))
    arguments = [(name, f"{value}x" if index == which else value) for index, (name, value) in enumerate(node.arguments)]
    return old.with_node(node, arguments=tuple(arguments)), {node.name}


def pins(old: Sources, _: random.Random) -> tuple[Sources, set[str]]:
    return old.with_layer(RICH, arguments=[{"lines": {"PINS": ["one==1", "two==3"]}}]), rich_nodes(old)


def checksum(old: Sources, _: random.Random) -> tuple[Sources, set[str]]:
    downloads = {"archive": [{"url": "https://example.com/archive", "sha256": "2" * 64}]}
    return old.with_layer(RICH, downloads=downloads), rich_nodes(old)


def address_without_a_checksum(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, [each for each in old.plan.nodes if each.downloads])
    name = f"https://example.com/{pick.random()}"
    return old.with_node(node, downloads=(replace(node.downloads[0], sha256=None, url=name),)), {node.name}


def layer_of_the_same_recipe(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, [each for each in old.plan.nodes if epoch_of(old.plan, each) is None])
    return old.with_node(node, recipe=replace(node.recipe, layer="renamed")), {node.name}


def rich_nodes(old: Sources) -> set[str]:
    return {node.name for node in old.plan.nodes if node.recipe.layer == RICH}


def parent_digest(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    name = one_of(pick, [parent.name for parent in old.plan.parents])
    lock = re.sub(
        rf"(?m)^  {re.escape(name)}: .*$",
        f'  {name}: {{reference: x, digest: "sha256:{_OTHER}"}}',
        old.tree["buildsys.lock"],
    )
    direct = {node.name for node in old.plan.nodes if node.parent and node.parent.name == name}
    return old.with_tree({**old.tree, "buildsys.lock": lock}), direct


def epoch(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    name = one_of(pick, sorted(old.plan.epochs))
    lock = old.tree["buildsys.lock"].replace(f'{name}: "2026-11-23"', f'{name}: "2026-11-30"')
    # Packages of other layers are installed by the system's own Dockerfile, which has the epoch as an argument.
    direct = {node.name for node in old.plan.nodes if node.build.layer == name}
    return old.with_tree({**old.tree, "buildsys.lock": lock}), direct


def platform(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, old.plan.nodes)
    return old.with_node(node, platform="linux/arm64"), {node.name}


def file_of_a_folder_that_is_given(old: Sources, _: random.Random) -> tuple[Sources, set[str]]:
    return old.with_file(FOLDER, "main", file("other")), rich_nodes(old)


def artifact_that_it_is_made_with(old: Sources, pick: random.Random) -> tuple[Sources, set[str]]:
    node: Node = one_of(pick, [each for each in old.plan.nodes if each.needs])
    (context, need), *others = node.needs
    other = old.plan.nodes[0].name if need is None else None
    return old.with_node(node, needs=((context, other), *others)), {node.name}


INPUTS: tuple[Change, ...] = (
    dockerfile_bytes,
    file_that_is_read,
    file_that_is_new,
    file_that_is_gone,
    executable_bit,
    rules_that_let_a_file_through,
    packages,
    parameter_value,
    pins,
    checksum,
    parent_digest,
    epoch,
    platform,
    file_of_a_folder_that_is_given,
    artifact_that_it_is_made_with,
    address_without_a_checksum,
    layer_of_the_same_recipe,
)


@pytest.mark.parametrize("change", INPUTS, ids=lambda each: each.__name__)
def test_change_of_an_input_changes_its_key_and_those_of_all_dependants_and_no_other(change: Change) -> None:
    @KEY_LAW
    @given(old=sources(), pick=SHUFFLES)
    def law(old: Sources, pick: random.Random) -> None:
        new, direct = change(old, pick)
        before, after = old.keys(), new.keys()
        assert before.keys() == after.keys()
        assert direct
        assert {name for name in before if before[name] != after[name]} == reached(old.plan, direct)

    law()


@KEY_LAW
@given(old=sources(), pick=SHUFFLES)
def test_target_of_a_symlink_is_an_input_and_its_content_is_not(old: Sources, pick: random.Random) -> None:
    node: Node = one_of(pick, old.plan.nodes)
    here = old.with_file(node.folder, "more/link", File(content="link:read"))
    there = old.with_file(node.folder, "more/link", File(content="link:../more/read"))
    before, after = here.keys(), there.keys()
    assert {name for name in before if before[name] != after[name]} == reached(old.plan, same_folder(old, node))


IMAGE_FIELDS: Mapping[str, Any] = {
    "environment": {"set": {"RICH": "no"}, "prepend": {"RICH_PATH": ["/opt/rich/bin"]}},
    "environment of the parent": {"set": {"RICH": "yes"}, "append": {"RICH_PATH": ["/opt/rich/bin"]}},
    "labels": {"com.example.rich": "no"},
    "ports": ["8080"],
    "user": "nobody",
    "workdir": "/",
    "entrypoint": ["tini"],
    "command": [],
    "healthcheck": {"command": ["check"], "interval": "5m", "retries": "2"},
    "healthcheck removed": None,
}


@pytest.mark.parametrize("field", IMAGE_FIELDS)
def test_setting_of_an_image_changes_the_images_that_have_it_and_no_node(field: str) -> None:
    @KEY_LAW
    @given(old=sources())
    def law(old: Sources) -> None:
        new = old.with_layer(RICH, **{field.split()[0]: IMAGE_FIELDS[field]})
        before, after = old.keys(), new.keys()
        having = {s.name for s in old.plan.stacks if RICH in {each.name for each in s.layers}}
        assert having
        assert {name for name in before if before[name] != after[name]} == having

    law()


@KEY_LAW
@given(old=sources())
def test_order_of_artifacts_changes_the_image_alone(old: Sources) -> None:
    def turned(stack: ImageTarget) -> ImageTarget:
        return replace(stack, artifacts=stack.artifacts[::-1])

    new = replace(old, plan=replace(old.plan, stacks=tuple(map(turned, old.plan.stacks))))
    before, after = old.keys(), new.keys()
    several = {stack.name for stack in old.plan.stacks if len(stack.artifacts) > 1}
    assert several
    assert {name for name in before if before[name] != after[name]} == several


@KEY_LAW
@given(old=sources())
def test_name_of_a_stack_is_an_input_of_it_and_of_no_node(old: Sources) -> None:
    copies = [(f"copy-of-{name}", fields) for name, fields in old.project.stacks]
    before = old.keys()
    after = old.with_project(with_stacks(old.project, [*old.project.stacks, *copies])).keys()
    assert {name: key for name, key in after.items() if name in before} == before
    assert len(after) == len(before) + len(copies)
    stacks = [after[stack.name] for stack in old.plan.stacks]
    assert not {key for name, key in after.items() if name not in before} & set(stacks)


OWN_FIELDS: Mapping[str, Any] = {
    "environment": {"set": {"OWN": "{braces}"}},
    "environment that replaces a layer's": {"set": {"RICH": "no"}},
    "labels": {"com.example.own": "yes"},
    "ports": ["9000"],
    "user": "own",
    "workdir": "/own",
    "entrypoint": ["own"],
    "command": ["own", "{braces}"],
    "healthcheck": {"command": ["own"]},
}


def with_own(old: Sources, fields: Mapping[str, Any]) -> Sources:
    """Return the project with own fields of its first stack."""
    (name, first), *rest = old.project.stacks
    return old.with_project(with_stacks(old.project, [(name, {**first, **fields}), *rest]))


@pytest.mark.parametrize("field", OWN_FIELDS)
def test_own_setting_of_a_stack_changes_its_image_and_nothing_else(field: str) -> None:
    @KEY_LAW
    @given(old=sources())
    def law(old: Sources) -> None:
        before, after = old.keys(), with_own(old, {field.split()[0]: OWN_FIELDS[field]}).keys()
        first = {each.name for each in old.plan.stacks if each.stack == old.project.stacks[0][0]}
        assert before.keys() == after.keys()
        assert {name for name in before if before[name] != after[name]} == first

    law()


@KEY_LAW
@given(old=sources())
def test_own_tests_and_empty_own_fields_change_no_key(old: Sources) -> None:
    fields = {"tests": [{"run": "true"}], "labels": {}, "ports": [], "packages": [], "environment": []}
    assert with_own(old, fields).keys() == old.keys()


@KEY_LAW
@given(old=sources())
def test_own_packages_are_a_node_that_stacks_of_equal_bases_share(old: Sources) -> None:
    own = [{"names": ["zlib", "curl"]}]
    (name, first), *rest = old.project.stacks
    twin = ("twin", {**first, "packages": [{"names": ["curl"]}, {"names": ["zlib"]}]})
    new = old.with_project(with_stacks(old.project, [(name, {**first, "packages": own}), *rest, twin]))
    before, after = old.keys(), new.keys()
    added = after.keys() - before.keys()
    bases = {image.base for image in new.plan.stacks if image.stack in (name, "twin")}
    assert added == {*bases, "twin"}
    assert len(bases) == 1
    changed = {image.name for image in old.plan.stacks if image.stack == name}
    assert {each for each in before if before[each] != after[each]} == changed


@KEY_LAW
@given(data=st.data(), old=sources())
def test_no_stack_affects_the_keys_of_another(data: st.DataObject, old: Sources) -> None:
    more = data.draw(other_stack(old.project))
    before = old.keys()
    after = old.with_project(with_stacks(old.project, [*old.project.stacks, more])).keys()
    assert {name: after.get(name) for name in before} == before
    fewer = old.with_project(with_stacks(old.project, old.project.stacks[:1])).keys()
    assert fewer == {name: before[name] for name in fewer}


@KEY_LAW
@given(old=sources(), pick=SHUFFLES)
def test_order_of_declarations_and_of_files_changes_no_key(old: Sources, pick: random.Random) -> None:
    project = replace(
        old.project,
        layers={
            name: shuffled(dict(fields), pick) for name, fields in shuffled(dict(old.project.layers), pick).items()
        },
        stacks=tuple((name, reordered(fields, pick)) for name, fields in shuffled(old.project.stacks, pick)),
        families=tuple((name, reordered(fields, pick)) for name, fields in old.project.families),
    )
    new = old.with_tree(shuffled({**old.tree, **_texts(project)}, pick))
    files = {folder: shuffled(found, pick) for folder, found in shuffled(new.files, pick).items()}
    assert replace(new, files=files).keys() == old.keys()


def described(old: Sources) -> Sources:
    layers = {
        name: {**fields, "description": "in other words", "licence": "MIT", "tests": [{"run": "false"}]}
        for name, fields in old.project.layers.items()
    }
    stacks = tuple((name, {**fields, "description": "x", "groups": ["y"]}) for name, fields in old.project.stacks)
    return old.with_project(replace(old.project, layers=layers, stacks=stacks))


def deprecated(old: Sources) -> Sources:
    stacks = tuple((name, {**fields, "deprecated": "old"}) for name, fields in old.project.stacks)
    return old.with_project(replace(old.project, stacks=stacks))


def commented(old: Sources) -> Sources:
    text = re.sub(r"(?m)$", "  # said", old.tree["stacks.yaml"])
    return old.with_tree({**old.tree, "stacks.yaml": f"registry: example.org/other\n{text}"})


def description_and_tests_of_a_layer(old: Sources) -> Sources:
    changed = {
        f"layers/{name}/{path}": "other" for name in old.project.dockerfiles for path in ("README.md", "tests/run")
    }
    changed |= {f"layers/{name}/tests/deep/new": "new" for name in old.project.dockerfiles}
    return old.with_tree({**old.tree, **changed})


def ignored_files(old: Sources) -> Sources:
    ignored = ("more/x.log", "more/new.log")
    changed = {f"layers/{name}/{path}": "other" for name in old.project.dockerfiles for path in ignored}
    changed |= {f"layers/{name}/.dockerignore": f"# said\n{_RULES}" for name in old.project.dockerfiles}
    return old.with_tree({**old.tree, **changed, f"{FOLDER}/x.log": "other"})


def address_of_a_download(old: Sources) -> Sources:
    downloads = {"archive": [{"url": "https://mirror.example.org/elsewhere", "sha256": "1" * 64}]}
    return old.with_layer(RICH, downloads=downloads)


def tag_and_source_of_a_parent(old: Sources) -> Sources:
    lock = (
        old.tree["buildsys.lock"].replace("example.com/x:1", "example.org/y:2").replace("digest:", "source: s, digest:")
    )
    return old.with_tree({**old.tree, "buildsys.lock": lock})


def order_of_ports(old: Sources) -> Sources:
    return old.with_layer(RICH, ports=["22", "8080"])


NON_INPUTS = (
    described,
    deprecated,
    commented,
    ignored_files,
    description_and_tests_of_a_layer,
    address_of_a_download,
    tag_and_source_of_a_parent,
    order_of_ports,
)


@pytest.mark.parametrize("change", NON_INPUTS, ids=lambda each: each.__name__)
def test_what_cannot_change_a_result_changes_no_key(change: Callable[[Sources], Sources]) -> None:
    @KEY_LAW
    @given(old=sources())
    def law(old: Sources) -> None:
        new = change(old)
        assert (new.tree, new.files) != (old.tree, old.files)
        assert new.keys() == old.keys()

    law()


@KEY_LAW
@given(old=sources())
def test_number_of_the_definition_is_an_input_of_every_key(old: Sources) -> None:
    before = old.keys()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "DEFINITION", f"{keys.DEFINITION} or another")
        after = old.keys()
    assert before.keys() == after.keys()
    assert not {*before.values()} & {*after.values()}


@KEY_LAW
@given(old=sources(), pick=SHUFFLES)
def test_platform_of_an_image_is_an_input_of_it_alone(old: Sources, pick: random.Random) -> None:
    image: ImageTarget = one_of(pick, old.plan.stacks)
    stacks = tuple(replace(each, platform="linux/arm64") if each is image else each for each in old.plan.stacks)
    before, after = old.keys(), replace(old, plan=replace(old.plan, stacks=stacks)).keys()
    assert {name for name in before if before[name] != after[name]} == {image.name}


@KEY_LAW
@given(old=sources())
def test_timestamp_is_an_input_of_every_key(old: Sources) -> None:
    before = old.keys()
    after = replace(old, plan=replace(old.plan, timestamp=old.plan.timestamp + 1)).keys()
    assert before.keys() == after.keys()
    assert not {*before.values()} & {*after.values()}


_PLACED = """\
description: files
kind: artifact
licence: free
requires: [os]
parameters:
  gid: {description: group, default: 100}
files:
  /usr/local/bin/run: run
  /etc/placed/: {from: config, owner: "0:{gid}"}
"""
_PLACED_FILES = {"run": "echo", "config/a": "a = 1", "config/.hidden": "", "other": "of no entry"}


def placed_keys(
    text: str = _PLACED, release: int = 1, files: Mapping[str, File] = MappingProxyType({})
) -> dict[str, str]:
    """Return the keys of a project with a layer of files, whose texts or modes may differ."""
    found = tree(f"stacks:\n  one: {{layers: [system: {{release: {release}}}, placed]}}\n", placed=text)
    del found["layers/placed/Dockerfile"], found["layers/placed/.dockerignore"]
    found |= {f"layers/placed/{path}": each for path, each in _PLACED_FILES.items()}
    plan = make_plan(found)
    contents = contents_of(found, plan)
    contents["layers/placed"] |= files
    return all_keys(keys_of(plan, contents))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bin/run:", "bin/start:"),
        ("bin/run: run", "bin/run: other"),
        ("bin/run: run", "bin/run: {from: run, mode: 0700}"),
        ("bin/run: run", "bin/run: {from: run, owner: 1000}"),
        ("owner: ", "mode: 2775, owner: "),
        ("default: 100", "default: 50"),
        ("files:\n", "files:\n  /srv/empty/: {}\n"),
    ],
)
def test_path_source_mode_and_owner_of_a_file_are_inputs_of_its_node_and_the_images_alone(old: str, new: str) -> None:
    assert old in _PLACED
    before, after = placed_keys(), placed_keys(_PLACED.replace(old, new, 1))
    assert {name for name in before if before[name] != after[name]} == {"placed", "one"}


@pytest.mark.parametrize("path", ["run", "config/a", "config/new"])
def test_bytes_and_mode_of_a_placed_file_are_inputs_of_its_node_and_the_images_alone(path: str) -> None:
    before = placed_keys()
    for after in (placed_keys(files={path: each}) for each in (file("else"), file("", executable=True))):
        assert {name for name in before if before[name] != after[name]} == {"placed", "one"}


def test_neither_the_system_nor_another_file_of_the_layer_is_an_input_of_an_artifact_of_files() -> None:
    before = placed_keys()
    assert placed_keys(files={"other": file("else")}) == before
    assert placed_keys(f"{_PLACED}# said\n") == before
    assert placed_keys(release=2)["placed"] == before["placed"]


_RUN = """\
description: commands
kind: system
licence: free
requires: [os]
parameters:
  level: {description: d, default: 1}
packages: [{names: [x]}]
run: [set-level $LEVEL, clean]
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clean", "clean --all"),
        ("[set-level $LEVEL, clean]", "[clean, set-level $LEVEL]"),
        ("default: 1", "default: 2"),
        ("names: [x]", "names: [y]"),
    ],
)
def test_commands_and_the_parameters_that_they_name_are_inputs_of_their_node_and_of_what_is_on_it(
    old: str, new: str
) -> None:
    def keys(text: str) -> dict[str, str]:
        found = tree("stacks:\n  one: {layers: [system, after]}\n  two: {layers: [system]}\n", after=text)
        plan = make_plan(found)
        return all_keys(keys_of(plan, contents_of(found, plan)))

    assert old in _RUN
    before, after = keys(_RUN), keys(_RUN.replace(old, new))
    assert {name for name in before if before[name] != after.get(name)} == {"after-on-system-1", "one"}


def test_dockerfile_of_the_system_is_an_input_of_commands_behind_it() -> None:
    found = tree("stacks:\n  one: {layers: [system, after]}\n", after=_RUN)
    changed = {**found, "layers/system/Dockerfile": found["layers/system/Dockerfile"] + "# said\n"}
    before, after = (all_keys(keyed(each)[1]) for each in (found, changed))
    assert all(before[name] != after[name] for name in before)


# Which law shows that a row of the tables in docs/keys.md counts, and changes nothing that is not built from it. A row
# without a law fails, and so does a law without a row.
LAWS: Mapping[str, Mapping[str, tuple[Callable[..., Any], ...]]] = {
    "Inputs of a node": {
        "definition": (test_number_of_the_definition_is_an_input_of_every_key,),
        "layer": (layer_of_the_same_recipe, test_own_packages_are_a_node_that_stacks_of_equal_bases_share),
        "platform": (platform,),
        "dockerfile": (dockerfile_bytes,),
        "run": (test_commands_and_the_parameters_that_they_name_are_inputs_of_their_node_and_of_what_is_on_it,),
        "files": (test_path_source_mode_and_owner_of_a_file_are_inputs_of_its_node_and_the_images_alone,),
        "file PATH": (
            file_that_is_read,
            file_that_is_new,
            file_that_is_gone,
            executable_bit,
            rules_that_let_a_file_through,
            test_target_of_a_symlink_is_an_input_and_its_content_is_not,
            test_bytes_and_mode_of_a_placed_file_are_inputs_of_its_node_and_the_images_alone,
        ),
        "folder CONTEXT PATH": (file_of_a_folder_that_is_given,),
        "argument NAME": (parameter_value, packages, pins),
        "epoch": (epoch,),
        "timestamp": (test_timestamp_is_an_input_of_every_key,),
        "download NAME": (checksum, address_without_a_checksum),
        "base": (parent_digest,),
        "context NAME": (artifact_that_it_is_made_with,),
    },
    "Inputs of a stack": {
        "definition": (test_number_of_the_definition_is_an_input_of_every_key,),
        "platform": (test_platform_of_an_image_is_an_input_of_it_alone,),
        "timestamp": (test_timestamp_is_an_input_of_every_key,),
        "name": (test_name_of_a_stack_is_an_input_of_it_and_of_no_node,),
        # Keys of nodes: every change of an input changes everything that is built from it.
        "base": INPUTS,
        "artifact LAYER": INPUTS,
        "order of artifacts": (test_order_of_artifacts_changes_the_image_alone,),
        **dict.fromkeys(
            ("variable NAME", "label NAME", "ports", "user", "workdir", "entrypoint", "command", "healthcheck"),
            (
                test_setting_of_an_image_changes_the_images_that_have_it_and_no_node,
                test_own_setting_of_a_stack_changes_its_image_and_nothing_else,
            ),
        ),
    },
}


@pytest.mark.parametrize("table", LAWS)
def test_every_row_of_the_tables_of_inputs_has_a_law(table: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {table}\n")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`[^|]*) \|", section)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == LAWS[table].keys()
    for law in (each for laws in LAWS[table].values() for each in laws):
        assert law in INPUTS or law.__name__.startswith("test_")
